"""Packets that the IP layer keeps from IPVS by their addresses: as 6.1.192 and 6.12.117 did with each of them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lbsim.config import parse
from lbsim.engine.lanes import Lane
from lbsim.engine.numbers import FRAGMENT, ICMP, ICMP_ERROR, IN, OUT, REPLY, SYN, TCP, UDP, WHOLE
from lbsim.engine.reasons import (
    DROP,
    FORWARD,
    FRAGMENT_KEPT,
    LOCAL,
    MARTIAN_SOURCE,
    MARTIAN_TARGET,
    NEW,
    NO_CONNECTION,
    NO_RESPONDER,
    NONE,
    NOT_LOCAL,
    NOT_UNICAST,
    ROUTE,
)
from lbsim.engine.records import Outcome, Packet
from lbsim.host import EngineHost

CLIENT, VIP, SERVER, FAR = "203.0.113.1", "192.168.1.10", "10.0.0.11", "198.51.100.9"
CLIENT_6, VIP_6, SERVER_6, FAR_6 = "2001:db8:a::1", "2001:db8:1::10", "fd00::11", "2001:db8:b::1"
CONFIG = f"""
-A -t {VIP}:80 -s rr
-a -t {VIP}:80 -r {SERVER}:8080 -m
-A -t [{VIP_6}]:80 -s rr
-a -t [{VIP_6}]:80 -r [{SERVER_6}]:8080 -m
"""


def asked(
    lane: Lane, src: str, dst: str, *, proto: int = TCP, shape: int = WHOLE, direction: int = IN, ttl: int = 64,
    accept_local: int = 0,
) -> tuple[int, int, int]:  # fmt: skip
    """Verdict, reason and number of entries."""
    host = EngineHost(lane=lane)
    host.own(ip_address("192.168.1.1"))
    for command in parse(CONFIG).commands:
        host.apply(command)
    host.tables.director[0].accept_local = accept_local
    packets, outcomes = lane.table(Packet, 1), lane.table(Outcome, 1)
    p = packets[0]
    p.src, p.sport, p.dst, p.dport = host.intern(ip_address(src)), 40001, host.intern(ip_address(dst)), 80
    p.proto, p.shape, p.direction, p.ttl, p.tcp_flags, p.length = proto, shape, direction, ttl, SYN, 40
    host.receive_block(packets, outcomes, 1)
    return int(outcomes[0].verdict), int(outcomes[0].reason), len(host.connections())


MARTIANS = ("0.0.0.0", "127.0.0.1", "127.9.9.9", "224.0.0.5", "239.1.2.3", "255.255.255.255", VIP, "192.168.1.1")
MARTIANS_6 = ("ff02::1", "ff0e::1", "::1")
TO_SERVICE = [*((source, VIP) for source in MARTIANS), *((source, VIP_6) for source in MARTIANS_6)]
TO_OTHERS = [*((source, FAR) for source in MARTIANS), *((source, FAR_6) for source in MARTIANS_6)]


@pytest.mark.parametrize(("source", "target"), [*TO_SERVICE, *TO_OTHERS])
def test_a_martian_neither_makes_an_entry_nor_is_routed(source: str, target: str, lane: Lane) -> None:
    assert asked(lane, source, target) == (DROP, MARTIAN_SOURCE, 0)
    assert asked(lane, source, target, proto=UDP, ttl=1) == (DROP, MARTIAN_SOURCE, 0)
    assert asked(lane, source, target, proto=ICMP, shape=ICMP_ERROR) == (DROP, MARTIAN_SOURCE, 0)


@pytest.mark.parametrize("source", [*MARTIANS, *MARTIANS_6])
def test_nor_does_one_from_the_real_servers_side(source: str, lane: Lane) -> None:
    client = CLIENT_6 if ":" in source else CLIENT
    assert asked(lane, source, client, direction=OUT) == (DROP, MARTIAN_SOURCE, 0)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        *((source, VIP) for source in ("0.1.2.3", "169.254.1.1", "240.0.0.5", "255.255.255.254")),
        *((source, VIP_6) for source in ("::", "::ffff:1.2.3.4", "fe80::9", VIP_6)),
    ],
)
def test_strange_addresses_that_are_none(source: str, target: str, lane: Lane) -> None:
    assert asked(lane, source, target) == (FORWARD, NEW, 1)


def test_with_accept_local_the_directors_own_addresses_are_none(lane: Lane) -> None:
    assert asked(lane, "192.168.1.1", VIP, accept_local=1) == (FORWARD, NEW, 1)
    assert asked(lane, "127.0.0.1", VIP, accept_local=1) == (DROP, MARTIAN_SOURCE, 0)


@pytest.mark.parametrize("target", ["0.0.0.0", "127.0.0.1", "127.9.9.9", "::1"])
def test_nothing_from_outside_goes_there(target: str, lane: Lane) -> None:
    client, server = (CLIENT_6, SERVER_6) if ":" in target else (CLIENT, SERVER)
    assert asked(lane, client, target) == (DROP, MARTIAN_TARGET, 0)
    assert asked(lane, client, target, proto=UDP, ttl=1) == (DROP, MARTIAN_TARGET, 0)
    assert asked(lane, server, target, direction=OUT) == (DROP, MARTIAN_TARGET, 0)


@pytest.mark.parametrize("target", ["255.255.255.255", "224.0.0.1", "239.1.2.3", "ff02::1", "ff05::2", "ff0e::77"])
def test_what_goes_to_many_is_not_routed(target: str, lane: Lane) -> None:
    client, server = (CLIENT_6, SERVER_6) if ":" in target else (CLIENT, SERVER)
    assert asked(lane, client, target) == (LOCAL, NOT_UNICAST, 0)
    assert asked(lane, client, target, proto=UDP, ttl=1) == (LOCAL, NOT_UNICAST, 0)
    assert asked(lane, client, target, shape=FRAGMENT) == (LOCAL, NOT_UNICAST, 0)
    assert asked(lane, server, target, direction=OUT) == (LOCAL, NOT_UNICAST, 0)


# Both kernels sent nothing on; that the source is no martian then is what DHCP needs.
def test_who_has_no_address_yet_may_ask_all(lane: Lane) -> None:
    assert asked(lane, "0.0.0.0", "255.255.255.255", proto=UDP) == (LOCAL, NOT_UNICAST, 0)
    assert asked(lane, "0.0.0.0", "224.0.0.1", proto=UDP) == (LOCAL, NOT_UNICAST, 0)
    assert asked(lane, "127.0.0.1", "224.0.0.1", proto=UDP) == (DROP, MARTIAN_SOURCE, 0)


@pytest.mark.parametrize("target", ["0.1.2.3", "169.254.1.1", "240.0.0.1", "255.255.255.254", "::", "::ffff:1.2.3.4"])
def test_strange_targets_that_are_routed(target: str, lane: Lane) -> None:
    client, server = (CLIENT_6, SERVER_6) if ":" in target else (CLIENT, SERVER)
    assert asked(lane, client, target) == (ROUTE, NOT_LOCAL, 0)
    assert asked(lane, server, target, direction=OUT) == (ROUTE, NO_CONNECTION, 0)


def test_a_fragment_of_a_martian_is_kept_until_the_whole_is_there(lane: Lane) -> None:
    assert asked(lane, "127.0.0.1", VIP, shape=FRAGMENT) == (LOCAL, FRAGMENT_KEPT, 0)


# A trace's answer has the virtual address as its source until it is known who sends it.
def test_an_answer_of_a_trace_is_no_martian(lane: Lane) -> None:
    assert asked(lane, VIP, CLIENT, direction=REPLY) == (NONE, NO_RESPONDER, 0)
