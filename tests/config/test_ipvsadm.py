"""ipvsadm lines. Expected values: what ipvsadm 1.31 made of each line, as ``ipvsadm -S -n`` showed it."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lbsim import config
from lbsim.config.ipvsadm import KERNEL_MESSAGES, SCHEDULERS, dump, format_command, refusal
from lbsim.errors import ConfigError
from lbsim.model.config import (
    AddDest,
    AddService,
    AdminCommand,
    Clear,
    DeleteDest,
    DeleteService,
    DestId,
    DirectorConfig,
    EditDest,
    EditService,
    Place,
    ServiceId,
)

WEB = ServiceId("tcp", ip_address("192.168.1.10"), 80)
DNS = ServiceId("udp", ip_address("192.168.1.10"), 53)
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


@pytest.mark.parametrize("scheduler", ["rr", "sh", "mh"])
def test_flags_without_a_meaning_of_their_own_go_with_every_scheduler(scheduler: str) -> None:
    command = config.parse_command(f"-A -t 192.168.1.10:80 -s {scheduler} -b flag-3,flag-1,flag-2")
    assert command == AddService(WEB, scheduler, ("flag-1", "flag-2", "flag-3"))


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


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        (
            "ipvsadm",
            "ipvsadm alone lists the table: expected one of the commands -A, -E, -D, -a, -e, -d, -C",
            1,
        ),
        (
            "-t 192.168.1.10:80 -A",
            "-t stands before the command: expected one of the commands -A, -E, -D, -a, -e, -d, -C first",
            1,
        ),
        (
            "ipvsadm list",
            "unexpected word 'list': expected one of the commands -A, -E, -D, -a, -e, -d, -C",
            9,
        ),
        (
            "-A -t 192.168.1.10:80 rr",
            "unexpected word 'rr': expected -A with -t, -u, -s, -b",
            23,
        ),
        ("-A -t 192.168.1.10:80 -- -s rr", "unexpected word '-s': expected -A with -t, -u, -s, -b", 26),
        ("-A - -t 192.168.1.10:80", "unexpected word '-': expected -A with -t, -u, -s, -b", 4),
        ("-C foo", "unexpected word 'foo': expected -C alone", 4),
        ("-A -D -t 192.168.1.10:80", "-D is a second command: expected one command per line", 4),
        ("-AC", "-C is a second command: expected one command per line", 1),
        ("-A -A -t 192.168.1.10:80", "-A is a second command: expected one command per line", 4),
        (
            "-A --tcp 192.168.1.10:80",
            "unknown option '--tcp', did you mean '--tcp-service'? expected one of: --sched-flags, "
            "--scheduler, --tcp-service, --udp-service",
            4,
        ),
        (
            "--lear",
            "unknown command '--lear', did you mean '--clear'? expected one of: --add-server, --add-service, "
            "--clear, --delete-server, --delete-service, --edit-server, --edit-service",
            1,
        ),
        ("-z", "unknown command '-z': expected one of the commands -A, -E, -D, -a, -e, -d, -C", 1),
        ("-C --nosuch", "unknown option '--nosuch': expected -C alone", 4),
        (
            "-D -z",
            "unknown option '-z': expected -D with -t, -u",
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
        ("-A -s rr", "-t or -u is needed: expected -t ADDRESS:PORT or -u ADDRESS:PORT", 1),
        ("-D", "-t or -u is needed: expected -t ADDRESS:PORT or -u ADDRESS:PORT", 1),
        ("-a -r 10.0.0.11", "-t or -u is needed: expected -t ADDRESS:PORT or -u ADDRESS:PORT", 1),
        ("-a -t 192.168.1.10:80 -m", "-r is needed: expected -r ADDRESS:PORT", 1),
        ("-d -t 192.168.1.10:80", "-r is needed: expected -r ADDRESS:PORT", 1),
        ("-A -t 192.168.1.10:80 -u 192.168.1.10:80", "-u is one too many: expected -t or -u once", 23),
        ("-A -t 192.168.1.10:80 -s rr --scheduler lc", "--scheduler is one too many: expected -s once", 29),
        ("-a -t 192.168.1.10:80 -r 10.0.0.11 -m -m", "-m is one too many: expected -m once", 39),
        ("-A -t 192.168.1.10:80 -w 1", "-w is not legal with -A: expected -A with -t, -u, -s, -b", 23),
        ("-d -t 192.168.1.10:80 -m", "-m is not legal with -d: expected -d with -t, -u, -r", 23),
        ("-C -t 192.168.1.10:80", "-t is not legal with -C: expected -C alone", 4),
        (
            "-A -s rr -t 192.168.1.10",
            "a service on port 0 needs persistence (-p), which lbsim does not model yet: "
            "expected ADDRESS:PORT with a port from 1 to 65535",
            10,
        ),
        (
            "-E -t [192.168.1.77]:80 -s rr",
            "a service on port 0 needs persistence (-p), which lbsim does not model yet: "
            "expected ADDRESS:PORT with a port from 1 to 65535",
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
            29,
        ),
        (
            "-A -t 192.168.1.10:80 -s sh -b nosuch",
            "unknown scheduler flag 'nosuch'; expected one of: flag-1, flag-2, flag-3, mh-fallback, mh-port, "
            "sh-fallback, sh-port",
            32,
        ),
        (
            "-A -t 192.168.1.10:80 -s sh -b ,",
            "',' holds no flag: expected one of: flag-1, flag-2, flag-3, mh-fallback, mh-port, sh-fallback, sh-port",
            32,
        ),
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


# Known, but not modelled

A_COMMAND = "one of the commands -A, -E, -D, -a, -e, -d, -C"


@pytest.mark.parametrize(
    ("text", "what", "expected"),
    [
        ("-L", "-L (listing the table)", A_COMMAND),
        ("-Ln", "-L (listing the table)", A_COMMAND),
        ("--save -n", "--save (saving the table)", A_COMMAND),
        ("-R", "-R (reading standard input)", "the lines themselves"),
        ("-Z", "-Z (zeroing counters)", A_COMMAND),
        ("--set 1 2 3", "--set (other timeouts)", "the kernel's own: tcp 900, tcpfin 120, udp 300"),
        ("-A -f 1", "-f (services by firewall mark)", "-t or -u"),
        ("-A --sctp-service 192.168.1.10:1", "--sctp-service (SCTP)", "-t or -u"),
        ("-A -t 192.168.1.10:80 -s rr -p 600", "-p (persistence)", "a service without it"),
        ("-A -u 192.168.1.10:53 -os rr", "-o (one-packet scheduling)", "a service without it"),
        ("-A -u 192.168.1.10:53 --pe=sip", "--pe (persistence)", "a service without it"),
        ("-a -t 192.168.1.10:80 -r 10.0.0.11 -g", "-g (direct routing)", "-m"),
        ("-a -t 192.168.1.10:80 -r 10.0.0.11 --ipip", "--ipip (tunneling)", "-m"),
        ("-a -t 192.168.1.10:80 -r 10.0.0.11 -m -x10", "-x (thresholds)", "a real server without it"),
    ],
)
def test_what_is_not_modelled_is_refused_by_name(text: str, what: str, expected: str) -> None:
    assert refused(text).message == f"lbsim does not model {what} yet: expected {expected}"


@pytest.mark.parametrize("words", ["", "-s ''", "-s wlc"])
def test_without_a_scheduler_it_is_wlc(words: str) -> None:
    assert config.parse_command(f"-A -t 192.168.1.10:80 {words}") == AddService(WEB, "wlc")
    assert config.parse_command(f"-E -t 192.168.1.10:80 {words}") == EditService(WEB, "wlc")


@pytest.mark.parametrize("command", ["-a", "-e"])
def test_the_default_forwarding_method_is_not_modelled(command: str) -> None:
    assert refused(f"{command} -t 192.168.1.10:80 -r 10.0.0.11 -w 7").message == (
        "-m is needed (without it ipvsadm takes -g, direct routing, which lbsim does not model yet): expected -m"
    )


# Every option of ipvsadm 1.31 that lbsim does not follow.
OTHER_OPTIONS = """
-n --numeric -c --connection -f --fwmark-service --sctp-service -p --persistent -M --netmask -g --gatewaying
-i --ipip -x --u-threshold -y --l-threshold --mcast-interface --timeout --daemon --stats --rate --thresholds
--persistent-conn --nosort --syncid -X --exact -o --ops --pe --mcast-group --mcast-port --mcast-ttl
--sync-maxlen --tun-info --tun-type --tun-port --tun-nocsum --tun-csum --tun-remcsum --sort -6 --ipv6
-R --restore -S --save -L -l --list -Z --zero --set --start-daemon --stop-daemon -h --help -v --version
"""


@pytest.mark.parametrize("option", OTHER_OPTIONS.split())
def test_every_other_option_of_ipvsadm_is_known_by_name(option: str) -> None:
    assert refused(f"-A {option}").message.startswith(f"lbsim does not model {option} (")


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


# The reverse


@pytest.mark.parametrize(
    "text",
    [
        "ipvsadm -A -t 192.168.1.10:80 -s rr",
        "ipvsadm -A -u [fd00::10]:53 -s sh -b sh-fallback,sh-port",
        "ipvsadm -E -t 192.168.1.10:80 -s lc",
        "ipvsadm -D -t 192.168.1.10:80",
        "ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.11:8080 -m -w 3",
        "ipvsadm -e -t [::ffff:10.0.0.1]:80 -r [fd00:1::11]:0 -m -w 0",
        "ipvsadm -d -u 192.168.1.10:53 -r 10.0.0.11:53",
        "ipvsadm -C",
    ],
)
def test_a_command_is_written_as_it_was_read(text: str) -> None:
    assert format_command(config.parse_command(text)) == text


# What the real tool dumped, byte for byte.
SEED = """\
-A -t 192.168.1.10:80 -s rr
-a -t 192.168.1.10:80 -r 10.0.0.11:80 -m -w 1
-a -t 192.168.1.10:80 -r 10.0.0.12:80 -m -w 1
"""
FAR_APART = """\
-A -t 192.168.1.10:80 -s rr
-a -t 192.168.1.10:80 -r 172.16.0.9:80 -m -w 1
-a -t 192.168.1.10:80 -r 192.168.7.1:80 -m -w 1
-a -t 192.168.1.10:80 -r 203.0.113.5:80 -m -w 1
-a -t 192.168.1.10:80 -r 8.8.8.8:80 -m -w 1
-a -t 192.168.1.10:80 -r 10.0.0.2:80 -m -w 1
-a -t 192.168.1.10:80 -r 10.0.0.11:80 -m -w 1
-a -t 192.168.1.10:80 -r 10.0.0.11:8080 -m -w 1
-a -t 192.168.1.10:80 -r 10.0.0.12:80 -m -w 1
"""
LONG_OPTIONS = """\
-A -t 192.168.1.10:80 -s rr
-a -t 192.168.1.10:80 -r 10.0.0.11:80 -m -w 3
"""
TWO_SERVICES = """\
-A -t 192.168.1.10:80 -s rr
-a -t 192.168.1.10:80 -r 10.0.0.11:80 -m -w 1
-A -t 192.168.1.11:80 -s lc
"""
HEAVY = """\
-A -t 192.168.1.10:80 -s rr
-a -t 192.168.1.10:80 -r 10.0.0.11:80 -m -w 1
-a -t 192.168.1.10:80 -r 10.0.0.12:80 -m -w 2147483647
-a -t 192.168.1.10:80 -r 10.0.0.14:80 -m -w 1
"""
PORT_ZERO = """\
-A -t 192.168.1.10:80 -s rr
-a -t 192.168.1.10:80 -r 10.0.0.99:0 -m -w 1
"""


@pytest.mark.parametrize("text", [SEED, FAR_APART, LONG_OPTIONS, TWO_SERVICES, HEAVY, PORT_ZERO])
def test_a_dump_of_the_real_tool_comes_out_byte_for_byte(text: str) -> None:
    assert dump(config.parse(text)) == text


def order_of(dumped: str, option: str) -> list[str]:
    """The values of -t and -u, or of -r, as far as a dump has them."""
    lines = [line.split() for line in dumped.splitlines() if line.startswith("-A") == (option != "-r")]
    return [line[2] if option != "-r" else line[4] for line in lines]


@pytest.mark.parametrize(
    ("added", "dumped"),
    [
        (
            "10.0.0.12:80 10.0.0.11:8080 10.0.0.11:80 10.0.0.2:80 192.168.7.1:80 172.16.0.9:80 8.8.8.8:80 "
            "203.0.113.5:80",
            "172.16.0.9:80 192.168.7.1:80 203.0.113.5:80 8.8.8.8:80 10.0.0.2:80 10.0.0.11:80 10.0.0.11:8080 "
            "10.0.0.12:80",
        ),
        (
            "10.0.0.11:80 10.0.0.21:80 10.0.0.22:80 10.0.0.23:80 240.0.0.1:80 127.0.0.1:80 10.0.0.1:80 203.0.113.9:80",
            "10.0.0.11:80 10.0.0.21:80 10.0.0.22:80 10.0.0.23:80 127.0.0.1:80 203.0.113.9:80 240.0.0.1:80 10.0.0.1:80",
        ),
        (
            "[fd00:1::11]:80 [fd00:1::2]:8080 [fd00:1::2]:80 [2001:db8::5]:80 [fd00:1:0:1::1]:80",
            "[fd00:1::2]:80 [fd00:1::2]:8080 [fd00:1::11]:80 [fd00:1:0:1::1]:80 [2001:db8::5]:80",
        ),
    ],
)
def test_real_servers_are_dumped_in_the_order_of_the_real_tool(added: str, dumped: str) -> None:
    service = "[fd00::10]:80" if "[" in added else "192.168.1.10:80"
    text = f"-A -t {service} -s rr\n" + "".join(f"-a -t {service} -r {dest} -m\n" for dest in added.split())
    assert order_of(dump(config.parse(text)), "-r") == dumped.split()


def test_real_servers_half_the_numbers_apart_are_dumped_newest_first() -> None:
    # each is before the other, so the merge keeps the kernel's order
    text = "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 1.0.0.1 -m\n-a -t 10.0.0.1:80 -r 129.0.0.1 -m"
    assert order_of(dump(config.parse(text)), "-r") == ["129.0.0.1:80", "1.0.0.1:80"]


@pytest.mark.parametrize(
    ("added", "dumped"),
    [
        (
            # as the real tool had them before it sorted
            "-u [fd00::1]:53 -u 192.168.1.1:53 -u 192.168.1.10:53 -t 192.168.10.1:80 -t 192.168.1.10:80 "
            "-t [fd00::9]:80 -t [fd00::10]:80 -t 192.168.1.10:443 -t 192.168.1.9:8080 -t [2001:db8::1]:80",
            "192.168.1.9:8080 192.168.1.10:80 192.168.1.10:443 192.168.10.1:80 192.168.1.1:53 "
            "192.168.1.10:53 [fd00::9]:80 [fd00::10]:80 [2001:db8::1]:80 [fd00::1]:53",
        ),
        (
            "-t 100.64.0.1:80 -t 203.0.113.1:80 -t 172.16.0.1:80 -t 10.0.0.1:80 -t 192.168.1.10:80",
            "100.64.0.1:80 172.16.0.1:80 192.168.1.10:80 203.0.113.1:80 10.0.0.1:80",
        ),
        ("-t 10.0.0.1:80 -t 192.168.1.10:80", "192.168.1.10:80 10.0.0.1:80"),
        (
            "-t 10.96.0.1:443 -t 172.17.0.2:30080 -t 127.0.0.1:30080",
            "10.96.0.1:443 127.0.0.1:30080 172.17.0.2:30080",
        ),
    ],
)
def test_services_are_dumped_in_the_order_of_the_real_tool(added: str, dumped: str) -> None:
    words = added.split()
    text = "".join(f"-A {option} {service} -s rr\n" for option, service in zip(words[::2], words[1::2], strict=True))
    assert order_of(dump(config.parse(text)), "-t") == dumped.split()


def test_an_empty_table_is_dumped_as_nothing() -> None:
    assert dump(DirectorConfig()) == ""


def test_a_saved_config_is_a_script() -> None:
    text = """\
iptables -t nat -F
iptables -P FORWARD ACCEPT
iptables -A FORWARD -i eth1 -s 10.0.0.0/24 -j ACCEPT
iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE
ipvsadm -A -t 192.168.1.10:80 -s sh -b sh-port
ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.12:80 -m -w 1
ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.11:8080 -m -w 0
"""
    assert config.save(config.parse(text)) == text


# What the kernel refuses


@pytest.mark.parametrize(
    ("text", "errno", "message"),
    [
        ("-A -t 192.168.1.10:80 -s rr", "EEXIST", "Service already exists"),
        ("-A -t 192.168.1.10:80 -s rr", "ENOENT", "Scheduler or persistence engine not found"),
        ("-E -t 192.168.1.10:80 -s rr", "ESRCH", "No such service"),
        ("-E -t 192.168.1.10:80 -s rr", "ENOENT", "Scheduler or persistence engine not found"),
        ("-D -t 192.168.1.10:80", "ESRCH", "No such service"),
        ("-a -t 192.168.1.10:80 -r 10.0.0.11 -m", "ESRCH", "Service not defined"),
        ("-a -t 192.168.1.10:80 -r 10.0.0.11 -m", "EEXIST", "Destination already exists"),
        ("-a -t 192.168.1.10:80 -r 10.0.0.11 -m", "ERANGE", "Numerical result out of range"),
        (
            "-a -t 192.168.1.10:80 -r 224.0.0.1 -m",
            "EINVAL",
            "Invalid operation.  Possibly wrong module version, address not unicast, ...",
        ),
        ("-e -t 192.168.1.10:80 -r 10.0.0.11 -m", "ESRCH", "Service not defined"),
        ("-e -t 192.168.1.10:80 -r 10.0.0.11 -m", "ENOENT", "No such destination"),
        ("-e -t 192.168.1.10:80 -r 10.0.0.11 -m", "ERANGE", "Numerical result out of range"),
        ("-d -t 192.168.1.10:80 -r 10.0.0.11", "ESRCH", "Service not defined"),
        ("-d -t 192.168.1.10:80 -r 10.0.0.11", "ENOENT", "No such destination"),
    ],
)
def test_a_refusal_of_the_kernel_is_told_as_ipvsadm_tells_it(text: str, errno: str, message: str) -> None:
    assert refusal(config.parse_command(text), errno) == (255, message)


def test_an_answer_that_the_kernel_never_gives_has_no_message() -> None:
    with pytest.raises(KeyError):
        refusal(Clear(), "EEXIST")


def test_messages_name_a_command_and_an_error_number() -> None:
    assert {errno for _, errno in KERNEL_MESSAGES} == {"EEXIST", "ENOENT", "ESRCH", "EINVAL", "ERANGE"}
