"""Whole texts: what may stand in them, round trips, and that nothing but ConfigError ever comes out."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsim import config
from lbsim.errors import ConfigError
from lbsim.model.config import (
    AddDest,
    Address,
    AddService,
    AdminCommand,
    Clear,
    DeleteDest,
    DeleteService,
    DestId,
    DirectorConfig,
    EditDest,
    EditService,
    ForwardRule,
    Method,
    Persistence,
    Place,
    RouterSettings,
    Service,
    ServiceId,
    SetSysctl,
    SetTimeouts,
    Tunnel,
    Zero,
)

SCRIPT = """\
#!/bin/sh
# a director as it is set up by hand
echo 1 > /proc/sys/net/ipv4/ip_forward
iptables -F
iptables -t nat -F
iptables -P FORWARD ACCEPT
iptables -A FORWARD -i eth1 -s 10.0.0.0/255.255.255.0 -j ACCEPT
iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE

ipvsadm -C
sudo ipvsadm -A -t 192.168.1.10:80 -s rr   # the web
  /sbin/ipvsadm -a -t 192.168.1.10:80 \\
                -r 10.0.0.11 -m
-a -t "192.168.1.10:80" -r '10.0.0.12' -m -w 2
"""


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, file="director.sh")
    return caught.value


# Texts


def test_a_script_is_read_line_by_line() -> None:
    read = config.parse(SCRIPT)
    service = ServiceId.parse("tcp 192.168.1.10:80")
    assert read == DirectorConfig(
        commands=(
            Clear(),
            AddService(service, "rr"),
            AddDest(service, DestId.parse("10.0.0.11:80")),
            AddDest(service, DestId.parse("10.0.0.12:80"), weight=2),
        ),
        router=RouterSettings(
            policies=(("FORWARD", "ACCEPT"),),
            forward=(ForwardRule("eth1", "10.0.0.0/24"),),
            masquerade=("eth0",),
            flushed=("filter", "nat"),
        ),
    )


def test_a_script_with_line_ends_of_windows_is_the_same() -> None:
    assert config.parse(SCRIPT.replace("\n", "\r\n")) == config.parse(SCRIPT)


def test_commands_know_their_places_and_texts() -> None:
    commands = config.parse(SCRIPT, file="director.sh", first_line=101).commands
    assert [(command.place, command.text) for command in commands] == [
        (Place("director.sh", 110, 1), "ipvsadm -C"),
        (Place("director.sh", 111, 1), "sudo ipvsadm -A -t 192.168.1.10:80 -s rr"),
        (Place("director.sh", 112, 3), "/sbin/ipvsadm -a -t 192.168.1.10:80                 -r 10.0.0.11 -m"),
        (Place("director.sh", 114, 1), "-a -t \"192.168.1.10:80\" -r '10.0.0.12' -m -w 2"),
    ]


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "  \r\n"])
def test_a_text_without_lines_is_an_empty_config(text: str) -> None:
    assert config.parse(text) == DirectorConfig()


@pytest.mark.parametrize(
    "line",
    [
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        "  echo 1 >/proc/sys/net/ipv4/ip_forward  # route",
        "sysctl -w net.ipv4.ip_forward=1",
        "sudo /sbin/sysctl -w net.ipv4.ip_forward=1",
    ],
)
def test_switching_forwarding_on_changes_nothing(line: str) -> None:
    assert config.parse(line) == DirectorConfig()


@pytest.mark.parametrize(
    "line",
    [
        "echo 1 >> /proc/sys/net/ipv4/ip_forward",
        "echo 1 '>' /proc/sys/net/ipv4/ip_forward",
        "echo 1 > /proc/sys/net/ipv4/ip_forward; reboot",
        "sysctl net.ipv4.ip_forward=1",
        "modprobe ip_vs",
        "ip6tables -F",
        "sudo reboot",
        "$ ipvsadm -C".replace("$", "%"),
    ],
)
def test_another_program_is_refused_with_the_known_ones(line: str) -> None:
    assert refused(line).message.endswith(
        "expected one of: echo 1 > /proc/sys/net/ipv4/ip_forward, iptables, ipvsadm, sysctl -w net.ipv4.ip_forward=1, "
        "sysctl -w net.ipv4.vs.NAME=VALUE"
    )


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            "ipvsadm -C && ipvsadm -C",
            "director.sh:1:12: '&&' is not read: expected one command per line, no pipes,",
        ),
        (
            "ipvsadm -Ln | grep rr",
            "director.sh:1:13: '|' is not read: expected one command per line, no pipes,",
        ),
        (
            "-C > table",
            "director.sh:1:4: '>' is not read: expected one command per line, no pipes, no redirections",
        ),
        (
            "iptables -F; iptables -t nat -F",
            "director.sh:1:12: ';' is not read: expected one command per line,",
        ),
        (
            "ipvsadm -A -t $VIP:80 -s rr",
            "director.sh:1:15: variables and command substitutions are not read,",
        ),
        (
            "VIP=192.168.1.10",
            "director.sh:1:1: variables are not read: expected every value where it is used",
        ),
        ("sudo", "director.sh:1:1: sudo without a command: expected sudo ipvsadm"),
        ("echo 0 > /proc/sys/net/ipv4/ip_forward", "director.sh:1:1: a director that does not forward is not modelled"),
        ("sysctl -w net.ipv4.ip_forward=0", "director.sh:1:1: a director that does not forward is not modelled"),
        (
            "IP Virtual Server version 1.2.1 (size=4096)",
            "director.sh:1:1: this is a listing: expected what ipvsadm -S -n",
        ),
        ("TCP  192.168.1.10:80 rr", "director.sh:1:1: this is a listing: expected what ipvsadm -S -n prints"),
        ("sudo -A -t 192.168.1.10:80 -s rr", "director.sh:1:6: unknown command '-A'; expected one of: "),
        (
            "ipvsadn -C",
            "director.sh:1:1: unknown command 'ipvsadn', did you mean 'ipvsadm'? expected one of: ",
        ),
        (
            "ipvsadm -C\n-A -t 192.168.1.10:80 -s rx",
            "director.sh:2:26: unknown scheduler 'rx', did you mean 'rr'? expected one of: ",
        ),
        (
            "ipvsadm -A -t 192.168.1.10:80 \\\n   -s rx",
            "director.sh:2:7: unknown scheduler 'rx', did you mean 'rr'? expected one of: ",
        ),
    ],
)
def test_an_error_is_one_line_with_its_place(line: str, shown: str) -> None:
    error = refused(line)
    assert str(error).startswith(shown)
    assert "\n" not in str(error)


# One command

ONE = "expected one command of ipvsadm, or sysctl -w net.ipv4.vs.NAME=VALUE"


def test_one_command_may_be_alone_in_several_lines() -> None:
    assert config.parse_command("\n# all of it\nipvsadm -C\n") == Clear()


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("", f"no command: {ONE}", 4),
        ("# nothing", f"no command: {ONE}", 4),
        ("-C\n-C", f"a second command: {ONE}", 5),
        ("iptables -F", f"'iptables -F': {ONE}", 4),
        ("sysctl -w a=1  # b", f"'sysctl -w a=1': {ONE}", 4),
    ],
)
def test_what_is_not_one_command_is_refused(text: str, message: str, line: int) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse_command(text, place=Place("s.yaml", 4, 9))
    assert (caught.value.message, caught.value.file, caught.value.line) == (message, "s.yaml", line)


# Round trips

PORTS = st.integers(1, 65535)
IPV4 = st.integers(0, 2**32 - 1).map(IPv4Address)
IPV6 = (st.integers(0, 2**128 - 1) | st.integers(0xFFFE00000000, 0x1000000000000)).map(IPv6Address)
PROTOCOLS = st.sampled_from(["tcp", "udp", "sctp"])
MARKED = st.builds(ServiceId.marked, st.integers(1, 2**32 - 1), st.sampled_from([4, 6]))
SCHEDULED = st.one_of(
    st.tuples(st.sampled_from(["rr", "lc", "sh"]), st.just(())),
    st.tuples(st.just("rr"), st.sampled_from([("flag-1",), ("flag-2", "flag-3")])),
    st.tuples(st.just("sh"), st.sampled_from([("sh-port",), ("sh-fallback",), ("sh-fallback", "sh-port")])),
)
TUNNELS = st.one_of(
    st.just(Tunnel()),
    st.builds(Tunnel, st.just("gue"), st.integers(1, 65535), st.sampled_from(["nocsum", "csum", "remcsum"])),
    st.builds(Tunnel, st.just("gre"), st.just(0), st.sampled_from(["nocsum", "csum"])),
)


@st.composite
def changes_of_services(
    draw: st.DrawFn, change: type[AddService | EditService], services: st.SearchStrategy[ServiceId]
) -> AdminCommand:
    """A service with any options."""
    service = draw(services)
    masks = st.integers(0, 2**32 - 2) if service.address.version == 4 else st.integers(1, 127)
    return change(
        service,
        *draw(SCHEDULED),
        persistence=draw(st.none() | st.builds(Persistence, st.integers(1, 2678400), st.none() | masks)),
        one_packet=service.protocol in ("udp", "fwm") and draw(st.booleans()),
        engine=draw(st.sampled_from(["", "sip"])),
    )


@st.composite
def changes_of_dests(
    draw: st.DrawFn,
    change: type[AddDest | EditDest],
    services: st.SearchStrategy[ServiceId],
    dests: st.SearchStrategy[DestId],
) -> AdminCommand:
    """A destination with any options: only tunnels mix families, and only with NAT the port may be another one."""
    service, dest = draw(services), draw(dests)
    same_family = service.address.version == dest.address.version
    method: Method = draw(st.sampled_from(["masq", "droute", "tunnel"])) if same_family else "tunnel"
    if method != "masq" and service.protocol != "fwm":
        dest = DestId(dest.address, service.port)
    upper, lower = draw(st.integers(0, 2**31 - 1)), draw(st.integers(0, 2**31 - 1))
    tunnel = draw(TUNNELS) if method == "tunnel" else Tunnel()
    return change(service, dest, method, draw(st.integers(0, 2**31 - 1)), upper, lower, tunnel)


@st.composite
def histories(draw: st.DrawFn) -> tuple[AdminCommand, ...]:
    """Commands over few services and destinations, so that many meet; some the kernel would refuse."""
    addresses: st.SearchStrategy[Address] = draw(st.sampled_from([IPV4, IPV6]))
    some = st.lists(st.builds(DestId, addresses, st.integers(0, 65535)), min_size=1, max_size=8)
    dests = st.sampled_from(draw(some))
    known = draw(st.lists(st.builds(ServiceId, PROTOCOLS, addresses, PORTS) | MARKED, min_size=1, max_size=4))
    services = st.sampled_from(known)
    command = st.one_of(
        changes_of_services(AddService, services),
        changes_of_services(EditService, services),
        changes_of_dests(AddDest, services, dests),
        changes_of_dests(EditDest, services, dests),
        st.builds(DeleteDest, services, dests),
        st.builds(DeleteService, services),
        st.builds(Zero, st.none() | services),
        st.builds(SetTimeouts, *[st.integers(0, 2678400)] * 3),
        st.builds(SetSysctl, st.just("am_droprate"), st.integers(-(2**31), 2**31 - 1)),
        st.builds(Clear),
    )
    filled = [draw(changes_of_services(AddService, st.just(service))) for service in known]
    return (*filled, *draw(st.lists(command, max_size=30)))


INTERFACES = st.sampled_from(["eth0", "eth1.7", "br-lan", "wg0"])
NETWORKS = st.sampled_from(["10.0.0.0/24", "0.0.0.0/0", "192.168.7.9/32"])
ROUTERS = st.builds(
    RouterSettings,
    policies=st.lists(st.sampled_from(["INPUT", "FORWARD", "OUTPUT"]), unique=True).map(
        lambda chains: tuple((chain, "ACCEPT") for chain in chains)
    ),
    forward=st.lists(st.builds(ForwardRule, INTERFACES, NETWORKS), max_size=3).map(tuple),
    masquerade=st.lists(INTERFACES, max_size=3).map(tuple),
    flushed=st.lists(st.sampled_from(["filter", "nat"]), unique=True).map(tuple),
)
CONFIGS = st.builds(DirectorConfig, histories(), ROUTERS)


def unordered(services: tuple[Service, ...]) -> set[tuple[object, ...]]:
    """What a dump tells: no thresholds, and marks only up to 31 bits."""
    return {
        (replace(service, dests=()), frozenset(replace(dest, upper=0, lower=0) for dest in service.dests))
        for service in services
        if service.id.fwmark < 2**31
    }


@given(CONFIGS)
def test_a_saved_config_reads_back_as_the_same_table_in_the_same_order(given_config: DirectorConfig) -> None:
    assert config.parse(config.save(given_config)).services() == given_config.services()


@given(CONFIGS)
def test_a_saved_config_reads_back_with_the_same_router_settings(given_config: DirectorConfig) -> None:
    assert config.parse(config.save(given_config)).router == given_config.router


@given(CONFIGS)
def test_a_dump_reads_back_as_the_same_table_up_to_order(given_config: DirectorConfig) -> None:
    lines = [line for line in config.dump(given_config).splitlines() if " -f -" not in line]
    assert unordered(config.parse("\n".join(lines)).services()) == unordered(given_config.services())


@given(histories())
def test_a_written_command_reads_back_as_itself(commands: tuple[AdminCommand, ...]) -> None:
    assert tuple(config.parse_command(config.format_command(command)) for command in commands) == commands


# Nothing but ConfigError

WORDS = """
ipvsadm sudo iptables echo 1 > -A -E -a -e -d -D -C -Z -L -S --set
-t -u -f -6 -r -s -b -p -M -o -m -g -w -x -F -P -i -o -j -- - -= -t= -At -mw5
192.168.1.10:80 [fd00::1]:80 fd00::1 10.0.0.11 rr sh wlc sh-port FORWARD ACCEPT nat eth0 5 ' " \\ --weight=5
--table=nat # ; $x
"""
PIECES = st.sampled_from([*WORDS.split(), " ", "\t", "\n", "\r\n", "\\\n"])


def complaint_about(text: str) -> str:
    """What the parser says about a text that it refuses; empty if it takes it. Any other exception is a bug."""
    try:
        config.parse(text)
    except ConfigError as error:
        return error.message
    return ""


@given(st.one_of(st.text(), st.lists(PIECES).map("".join), st.lists(PIECES).map(" ".join)))
def test_any_text_is_read_or_refused_with_what_was_expected(text: str) -> None:
    complaint = complaint_about(text)
    assert complaint == "" or "expected" in complaint


@st.composite
def mutated_lines(draw: st.DrawFn) -> str:
    """A line of the script with some characters taken out, doubled, or replaced."""
    line = draw(st.sampled_from(SCRIPT.splitlines()))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(line)))
        replacement = draw(st.sampled_from(["", line[at : at + 1] * 2]) | st.characters())
        line = line[:at] + replacement + line[at + 1 :]
    return line


@given(mutated_lines())
def test_any_mutated_line_is_refused_with_what_was_expected_or_saved_and_read_back(line: str) -> None:
    complaint = complaint_about(line)
    if complaint:
        assert "expected" in complaint
    else:
        read = config.parse(line)
        again = config.parse(config.save(read))
        assert (again.services(), again.router) == (read.services(), read.router)


def test_a_large_text_is_read_whole() -> None:
    lines = [f"-a -t 10.0.0.1:80 -r 10.{at >> 8}.{at & 255}.1 -m\n" for at in range(5000)]
    read = config.parse("-A -t 10.0.0.1:80 -s rr\n" + "".join(lines))
    assert len(read.services()[0].dests) == 5000
