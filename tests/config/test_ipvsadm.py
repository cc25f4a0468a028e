"""ipvsadm lines. Expected values: what ipvsadm 1.31 made of each line, as ``ipvsadm -S -n`` showed it."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lbsim import config
from lbsim.config.command_line import A_COMMAND
from lbsim.config.options import SCHEDULERS
from lbsim.errors import ConfigError
from lbsim.model.config import (
    AddDest,
    AddService,
    AdminCommand,
    Clear,
    DeleteDest,
    DeleteService,
    DestId,
    EditDest,
    EditService,
    Persistence,
    Place,
    ServiceId,
    SetTimeouts,
    Tunnel,
    Zero,
)
from lbsim.model.listing import (
    ListConnections,
    ListDaemons,
    ListTable,
    ListTimeouts,
    Request,
    SaveTable,
    ShowVersion,
)

WEB = ServiceId("tcp", ip_address("192.168.1.10"), 80)
DNS = ServiceId("udp", ip_address("192.168.1.10"), 53)
SCTP = ServiceId("sctp", ip_address("192.168.1.10"), 80)
WEB6 = ServiceId("tcp", ip_address("fd00::10"), 80)


def rs(address: str, port: int = 80) -> DestId:
    return DestId(ip_address(address), port)


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config.parse_command(text)
    return caught.value


# Commands


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("-A -t 192.168.1.10:80 -s rr", AddService(WEB, "rr")),
        ("-A -u 192.168.1.10:53 -s lc", AddService(DNS, "lc")),
        ("-A -t [fd00::10]:80 -s sh", AddService(WEB6, "sh")),
        ("-A -t 192.168.1.10:80 -s sh -b sh-port", AddService(WEB, "sh", ("sh-port",))),
        ("-E -t 192.168.1.10:80 -s lc", EditService(WEB, "lc")),
        ("-D -t 192.168.1.10:80", DeleteService(WEB)),
        ("-a -t 192.168.1.10:80 -r 10.0.0.11:8080 -m", AddDest(WEB, rs("10.0.0.11", 8080))),
        ("-a -t 192.168.1.10:80 -r 10.0.0.11:80 -m -w 3", AddDest(WEB, rs("10.0.0.11"), weight=3)),
        ("-a -t [fd00::10]:80 -r [fd00:1::11]:80 -m", AddDest(WEB6, rs("fd00:1::11"))),
        ("-e -t 192.168.1.10:80 -r 10.0.0.11:80 -m -w 0", EditDest(WEB, rs("10.0.0.11"), weight=0)),
        ("-d -t 192.168.1.10:80 -r 10.0.0.11:80", DeleteDest(WEB, rs("10.0.0.11"))),
        ("-C", Clear()),
        ("-Z", Zero()),
        ("-Z -t 0.0.0.0", Zero()),
        ("-Z -u [::]:0", Zero()),
        ("-Z -t 192.168.1.10:80", Zero(WEB)),
        ("-Z -f 3 -6", Zero(ServiceId.marked(3, 6))),
        ("--set 0 30 2678400", SetTimeouts(0, 30, 2678400)),
        ("-A --sctp-service 192.168.1.10:80 -s rr", AddService(SCTP, "rr")),
        ("-A -f 4294967295 -s rr", AddService(ServiceId.marked(2**32 - 1), "rr")),
        ("-A -t 192.168.1.10:80 -s rr -p", AddService(WEB, "rr", persistence=Persistence(360))),
        ("-A -t 192.168.1.10:80 -s rr -p 600 -M 24", AddService(WEB, "rr", persistence=Persistence(600, 24))),
        ("-A -t 192.168.1.10:80 -s rr -M 255.255.255.0", AddService(WEB, "rr")),
        ("-A -p -t [fd00::10]:80 -M 64x -s rr", AddService(WEB6, "rr", persistence=Persistence(360, 64))),
        ("-A -M 64 -t [fd00::10]:80 -p -s rr", AddService(WEB6, "rr", persistence=Persistence(360))),
        ("-A -u 192.168.1.10:53 -s rr -o --pe sip", AddService(DNS, "rr", one_packet=True, engine="sip")),
        ("-A -t 192.168.1.10:80 -s sh -b flag-2,flag-3", AddService(WEB, "sh", ("sh-port", "flag-3"))),
        ("-A -t 192.168.1.10:80 -s rr -b flag-3,flag-1", AddService(WEB, "rr", ("flag-1", "flag-3"))),
        ("-a -t 192.168.1.10:80 -r 10.0.0.11:8080", AddDest(WEB, rs("10.0.0.11", 80), "droute")),
        ("-a -t 192.168.1.10:80 -r 10.0.0.11:8080 -i", AddDest(WEB, rs("10.0.0.11", 80), "tunnel")),
        ("-a -f 1 -r 10.0.0.11:8080 -g", AddDest(ServiceId.marked(1), rs("10.0.0.11", 8080), "droute")),
        ("-d -t 192.168.1.10:80 -r 10.0.0.11:8080", DeleteDest(WEB, rs("10.0.0.11", 8080))),
        ("-a -t 192.168.1.10:80 -r 10.0.0.11 -mx 9 -y3", AddDest(WEB, rs("10.0.0.11"), upper=9, lower=3)),
        (
            "-e -t 192.168.1.10:80 -r [fd00::11]:1 -i --tun-type gue --tun-port 6080 --tun-remcsum",
            EditDest(WEB, rs("fd00::11"), "tunnel", tunnel=Tunnel("gue", 6080, "remcsum")),
        ),
    ],
)
def test_each_command_is_read(text: str, command: AdminCommand) -> None:
    assert config.parse_command(text) == command


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("--add-service --tcp-service 192.168.1.10:80 --scheduler rr", AddService(WEB, "rr")),
        ("--add-service --udp-service=192.168.1.10:53 --scheduler=rr", AddService(DNS, "rr")),
        (
            "--edit-service --tcp-service=192.168.1.10:80 --scheduler=sh --sched-flags=sh-port",
            EditService(WEB, "sh", ("sh-port",)),
        ),
        ("--delete-service --tcp-service 192.168.1.10:80", DeleteService(WEB)),
        (
            "--add-server --tcp-service=192.168.1.10:80 --real-server=10.0.0.11:80 --masquerading --weight=3",
            AddDest(WEB, rs("10.0.0.11"), weight=3),
        ),
        (
            "--edit-server --tcp-service 192.168.1.10:80 --real-server 10.0.0.11 --weight 3 --masquerading",
            EditDest(WEB, rs("10.0.0.11"), weight=3),
        ),
        (
            "--delete-server --tcp-service 192.168.1.10:80 --real-server 10.0.0.11",
            DeleteDest(WEB, rs("10.0.0.11")),
        ),
        ("--clear", Clear()),
        ("-A -t192.168.1.10:80 -srr", AddService(WEB, "rr")),
        ("-A -t=192.168.1.10:80 -s=rr", AddService(WEB, "rr")),
        ("-At 192.168.1.10:80 -s rr", AddService(WEB, "rr")),
        ("-At192.168.1.10:80 -s rr", AddService(WEB, "rr")),
        ("-A -t 192.168.1.10:80 -s rr --", AddService(WEB, "rr")),
        ('-A -t "192.168.1.10:80" -s "rr"', AddService(WEB, "rr")),
        ("-at 192.168.1.10:80 -r 10.0.0.11 -mw5", AddDest(WEB, rs("10.0.0.11"), weight=5)),
        ("-at 192.168.1.10:80 -r10.0.0.12:8080 -m -w7", AddDest(WEB, rs("10.0.0.12", 8080), weight=7)),
        ("-a -m -t 192.168.1.10:80 -w 3 -r 10.0.0.15", AddDest(WEB, rs("10.0.0.15"), weight=3)),
        ("-amt 192.168.1.10:80 -w 3 -r 10.0.0.15", AddDest(WEB, rs("10.0.0.15"), weight=3)),
    ],
)
def test_options_may_be_spelled_in_all_the_ways_of_popt(text: str, command: AdminCommand) -> None:
    assert config.parse_command(text) == command


@pytest.mark.parametrize(
    ("text", "dest"),
    [
        ("-a -t 192.168.1.10:80 -r 10.0.0.11 -m", rs("10.0.0.11", 80)),
        ("-a -r 10.0.0.11 -m -t 192.168.1.10:80", rs("10.0.0.11", 0)),
        ("-a -r 10.0.0.14:8080 -m -t 192.168.1.10:80", rs("10.0.0.14", 8080)),
        ("-a -t 192.168.1.10:80 -r 10.0.0.12:0 -m", rs("10.0.0.12", 0)),
        ("-a -t 192.168.1.10:http -r 10.0.0.11:https -m", rs("10.0.0.11", 443)),
        ("-a -t [fd00::10]:80 -r fd00:1::11 -m", rs("fd00:1::11", 80)),
        ("-a -t 192.168.1.10:80 -r [10.0.0.11]:8080 -m", rs("10.0.0.11", 80)),
        ("-d -t 192.168.1.10:80 -r 10.0.0.15", rs("10.0.0.15", 80)),
    ],
)
def test_a_real_server_without_port_takes_that_of_a_service_before_it(text: str, dest: DestId) -> None:
    command = config.parse_command(text)
    assert isinstance(command, AddDest | DeleteDest)
    assert command.dest == dest


@pytest.mark.parametrize(
    ("typed", "flags"),
    [
        ("sh-port", ("sh-port",)),
        ("sh-port,sh-fallback", ("sh-fallback", "sh-port")),
        ("sh-port,,sh-fallback", ("sh-fallback", "sh-port")),
        ("sh-port,sh-port", ("sh-port",)),
        ("''", ()),
    ],
)
def test_scheduler_flags_are_a_comma_list(typed: str, flags: tuple[str, ...]) -> None:
    assert config.parse_command(f"-A -t 192.168.1.10:80 -b {typed} -s sh") == AddService(WEB, "sh", flags)


@pytest.mark.parametrize(
    ("scheduler", "flags"),
    [
        ("rr", ("flag-1", "flag-2", "flag-3")),
        ("sh", ("sh-fallback", "sh-port", "flag-3")),
        ("mh", ("mh-fallback", "mh-port", "flag-3")),
    ],
)
def test_flags_by_number_go_with_every_scheduler_and_are_called_as_it_calls_them(
    scheduler: str, flags: tuple[str, ...]
) -> None:
    command = config.parse_command(f"-A -t 192.168.1.10:80 -s {scheduler} -b flag-3,flag-1,flag-2")
    assert command == AddService(WEB, scheduler, flags)


def test_mh_has_flags_of_its_own() -> None:
    command = config.parse_command("-A -t 192.168.1.10:80 -s mh -b mh-port,mh-fallback")
    assert command == AddService(WEB, "mh", ("mh-fallback", "mh-port"))


@pytest.mark.parametrize(
    ("typed", "weight"),
    [("0", 0), ("65536", 65536), ("2147483647", 2147483647), ("' 5'", 5), ("+6", 6), ("007", 7)],
)
def test_a_weight_is_a_number_of_31_bits(typed: str, weight: int) -> None:
    command = config.parse_command(f"-a -t 192.168.1.10:80 -r 10.0.0.11 -m -w {typed}")
    assert command == AddDest(WEB, rs("10.0.0.11"), weight=weight)


@pytest.mark.parametrize(
    "text",
    ["-D -t 192.168.1.10", "-a -t 192.168.1.10 -r 10.0.0.11 -m", "-d -t 192.168.1.10 -r 10.0.0.11"],
)
def test_a_service_without_port_may_be_named_where_only_the_kernel_would_refuse_it(text: str) -> None:
    command = config.parse_command(text)
    assert isinstance(command, DeleteService | AddDest | DeleteDest)
    assert command.service.port == 0


@pytest.mark.parametrize("address", ["224.0.0.1", "0.0.0.0", "255.255.255.255"])
def test_an_address_that_only_the_kernel_refuses_is_read(address: str) -> None:
    assert config.parse_command(f"-a -t 192.168.1.10:80 -r {address} -m") == AddDest(WEB, rs(address))


def test_a_real_server_of_the_other_family_may_be_deleted_in_vain() -> None:
    assert config.parse_command("-d -t 192.168.1.10:80 -r [fd00::1]:80") == DeleteDest(WEB, rs("fd00::1"))


def test_a_command_knows_its_place_and_text() -> None:
    command = config.parse_command("  sudo ipvsadm -C  # all of it", place=Place("s.yaml", 7, 10))
    assert (command.place, command.text) == (Place("s.yaml", 7, 12), "sudo ipvsadm -C")


# Refused by ipvsadm itself

NO_SERVICE = "-t, -u, --sctp-service or -f is needed: expected -t ADDRESS:PORT, or one of the others"
FLAGS = "flag-1, flag-2, flag-3, mh-fallback, mh-port, sh-fallback, sh-port"


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        (
            "ipvsadm",
            "ipvsadm alone lists the table: expected one of the commands -A, -E, -D, -a, -e, -d, -C, -Z, --set",
            1,
        ),
        (
            "-t 192.168.1.10:80 -A",
            "-t stands before the command: expected one of the commands -A, -E, -D, -a, -e, -d, -C, -Z, --set first",
            1,
        ),
        (
            "ipvsadm list",
            "unexpected word 'list': expected one of the commands -A, -E, -D, -a, -e, -d, -C, -Z, --set",
            9,
        ),
        (
            "-A -t 192.168.1.10:80 rr",
            "unexpected word 'rr': expected -A with -t, -u, --sctp-service, -f, -s, -p, -M, -o, --pe, -b",
            23,
        ),
        (
            "-A -t 192.168.1.10:80 -- -s rr",
            "unexpected word '-s': expected -A with -t, -u, --sctp-service, -f, -s, -p, -M, -o, --pe, -b",
            26,
        ),
        (
            "-A - -t 192.168.1.10:80",
            "unexpected word '-': expected -A with -t, -u, --sctp-service, -f, -s, -p, -M, -o, --pe, -b",
            4,
        ),
        ("-C foo", "unexpected word 'foo': expected -C alone", 4),
        ("-A -D -t 192.168.1.10:80", "-D is a second command: expected one command per line", 4),
        ("-AC", "-C is a second command: expected one command per line", 1),
        ("-A -A -t 192.168.1.10:80", "-A is a second command: expected one command per line", 4),
        (
            "-A --tcp 192.168.1.10:80",
            "unknown option '--tcp', did you mean '--tcp-service'? expected one of: "
            "--fwmark-service, --netmask, --ops, --pe, --persistent, --sched-flags, --scheduler, --sctp-service, "
            "--tcp-service, --udp-service",
            4,
        ),
        (
            "--lear",
            "unknown command '--lear', did you mean '--clear'? expected one of: --add-server, --add-service, "
            "--clear, --delete-server, --delete-service, --edit-server, --edit-service, --help, --list, --restore, "
            "--save, --set, --start-daemon, --stop-daemon, --version, --zero",
            1,
        ),
        ("-z", "unknown command '-z': expected one of the commands -A, -E, -D, -a, -e, -d, -C, -Z, --set", 1),
        ("-C --nosuch", "unknown option '--nosuch': expected -C alone", 4),
        (
            "-D -z",
            "unknown option '-z': expected -D with -t, -u, --sctp-service, -f",
            4,
        ),
        ("-C -z", "unknown option '-z': expected -C alone", 4),
        ("-add-service -t 192.168.1.10:80", "-d is a second command: expected one command per line", 1),
        ("-A -t", "-t has no value: expected -t ADDRESS:PORT", 4),
        ("-A -t 192.168.1.10:80 --scheduler", "--scheduler has no value: expected --scheduler SCHEDULER", 23),
        (
            "-a -r 10.0.0.11 --masquerading=5",
            "--masquerading takes no value: expected --masquerading alone",
            17,
        ),
        ("-A -s rr", NO_SERVICE, 1),
        ("-D", NO_SERVICE, 1),
        ("-a -r 10.0.0.11", NO_SERVICE, 1),
        ("-a -t 192.168.1.10:80 -m", "-r is needed: expected -r ADDRESS:PORT", 1),
        ("-d -t 192.168.1.10:80", "-r is needed: expected -r ADDRESS:PORT", 1),
        (
            "-A -t 192.168.1.10:80 -u 192.168.1.10:80",
            "-u is one too many: expected -t, -u, --sctp-service or -f once",
            23,
        ),
        ("-A -t 192.168.1.10:80 -s rr --scheduler lc", "--scheduler is one too many: expected -s once", 29),
        ("-a -t 192.168.1.10:80 -r 10.0.0.11 -m -m", "-m is one too many: expected -m, -g or -i once", 39),
        (
            "-A -t 192.168.1.10:80 -w 1",
            "-w is not legal with -A: expected -A with -t, -u, --sctp-service, -f, -s, -p, -M, -o, --pe, -b",
            23,
        ),
        (
            "-d -t 192.168.1.10:80 -m -r 10.0.0.11",
            "-m is not legal with -d: expected -d with -t, -u, --sctp-service, -f, -r",
            23,
        ),
        ("-C -t 192.168.1.10:80", "-t is not legal with -C: expected -C alone", 4),
        (
            "-A -s rr -t 192.168.1.10",
            "a service on port 0 must be persistent: expected a port from 1 to 65535, or -p",
            10,
        ),
        (
            "-E -t [192.168.1.77]:80 -s rr",
            "a service on port 0 must be persistent: expected a port from 1 to 65535, or -p",
            4,
        ),
        (
            "-a -t 192.168.1.10:80 -r [fd00::1]:80 -m",
            "a real server of IPv6 for a service of IPv4: expected one family (only tunneling mixes them)",
            23,
        ),
        (
            "-A -t 192.168.1.10:80 -s rr -b sh-port",
            "scheduler rr has no flag sh-port: expected -s sh with it",
            32,
        ),
        (
            "-A -t 192.168.1.10:80 -s sh -b nosuch",
            f"unknown scheduler flag 'nosuch'; expected one of: {FLAGS}",
            32,
        ),
        ("-A -t 192.168.1.10:80 -s sh -b ,", f"',' holds no flag: expected one of: {FLAGS}", 32),
        (
            "-a -r 10.0.0.13:http -m -t 192.168.1.10:80",
            "port name 'http' before the service: expected a number, or -t or -u first",
            7,
        ),
    ],
)
def test_what_ipvsadm_refuses_is_refused_where_it_stands(text: str, message: str, column: int) -> None:
    error = refused(text)
    assert (error.message, error.line, error.column, error.text) == (message, 1, column, text)


@pytest.mark.parametrize("weight", ["-1", "abc", "1.5", "''", "0x8", "2147483648", "5x"])
def test_what_is_no_weight_is_refused(weight: str) -> None:
    error = refused(f"-a -t 192.168.1.10:80 -r 10.0.0.11 -m -w {weight}")
    assert error.message.endswith("is no weight: expected a number from 0 to 2147483647")


@pytest.mark.parametrize("option", ["-A -t", "-A -u", "-a -t 192.168.1.10:80 -r"])
def test_host_names_are_not_looked_up(option: str) -> None:
    assert "host names are not looked up: make dumps with ipvsadm -S -n" in refused(f"{option} www:80").message


# What makes no sense in a config, and what is not modelled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-L", f"-L lists the table and changes nothing: {A_COMMAND}"),
        ("-lnc", f"-l lists the table and changes nothing: {A_COMMAND}"),
        ("--save -n", f"-S saves the table and changes nothing: {A_COMMAND}"),
        ("-v", f"-v tells ipvsadm's version and changes nothing: {A_COMMAND}"),
        ("-h", f"lbsim does not print ipvsadm's help: {A_COMMAND}"),
        ("-R", "-R reads standard input: expected the lines themselves"),
        ("--start-daemon master", f"lbsim does not model --start-daemon (the sync daemon): {A_COMMAND}"),
        ("--stop-daemon backup", f"lbsim does not model --stop-daemon (the sync daemon): {A_COMMAND}"),
        (
            "-A -u 192.168.1.10:53 -s rr --pe sap",
            "unknown persistence engine 'sap', did you mean 'sip'? expected one of: sip",
        ),
    ],
)
def test_what_changes_no_table_is_no_config(text: str, message: str) -> None:
    assert refused(text).message == message


@pytest.mark.parametrize("words", ["", "-s ''", "-s wlc"])
def test_without_a_scheduler_it_is_wlc(words: str) -> None:
    assert config.parse_command(f"-A -t 192.168.1.10:80 {words}") == AddService(WEB, "wlc")
    assert config.parse_command(f"-E -t 192.168.1.10:80 {words}") == EditService(WEB, "wlc")


KERNEL_SCHEDULERS = "dh, fo, lblc, lblcr, lc, mh, none, nq, ovf, rr, sed, sh, twos, wlc, wrr"


def test_every_scheduler_of_the_kernel_is_known() -> None:
    assert sorted(SCHEDULERS) == KERNEL_SCHEDULERS.split(", ")


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        ("r", "unknown scheduler 'r', did you mean 'rr'? expected one of: " + KERNEL_SCHEDULERS),
        ("RR", "unknown scheduler 'RR'; expected one of: " + KERNEL_SCHEDULERS),
        ("roundrobin", "unknown scheduler 'roundrobin'; expected one of: " + KERNEL_SCHEDULERS),
    ],
)
def test_an_unknown_scheduler_is_answered_with_the_known_ones(scheduler: str, message: str) -> None:
    assert refused(f"-A -t 192.168.1.10:80 -s {scheduler}").message == message


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_modelled_scheduler_is_read(scheduler: str) -> None:
    assert config.parse_command(f"-A -t 192.168.1.10:80 -s {scheduler}") == AddService(WEB, scheduler)


# At the prompt


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("ipvsadm", ListTable(numeric=False)),
        ("-l", ListTable(numeric=False)),
        ("-Ln --rate --stats --nosort -X", ListTable("stats", sort=False, exact=True)),
        ("-Ln --tun-info --persistent-conn", ListTable("persistent-conn")),
        ("-Ln -f 2 -6 --thresholds", ListTable("thresholds", ServiceId.marked(2, 6))),
        ("-Lnc", ListConnections()),
        ("-L -c --persistent-conn", ListConnections(numeric=False, engine_data=True)),
        ("-L --timeout -n", ListTimeouts()),
        ("-L --daemon", ListDaemons()),
        ("-Sn", SaveTable()),
        ("-S", SaveTable(numeric=False)),
        ("-v -whatever", ShowVersion()),
        ("-A -t 192.168.1.10:80 -s nosuch --pe nosuch", AddService(WEB, "nosuch", engine="nosuch")),
        ("-A -t 192.168.1.10:80 -s averyveryverylongname", AddService(WEB, "averyveryverylo")),
        ("-C", Clear()),
    ],
)
def test_at_the_prompt_listings_may_be_asked_for_and_unknown_schedulers(text: str, request_: Request) -> None:
    assert config.parse_request(text) == request_
