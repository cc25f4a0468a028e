"""Whose an ICMP error is: facts, packet-path.md section 14. How errors leave: tests/test_departures.py."""

from __future__ import annotations

from dataclasses import astuple
from ipaddress import ip_address

import pytest

from lbsim.config import parse_command
from lbsim.engine import icmp
from lbsim.engine.numbers import (
    AH,
    ESP,
    FRAGMENT,
    GRE,
    GUE,
    ICMP_ERROR,
    NO_PORTS,
    OUT,
    REPLY,
    SCTP,
    STRAIGHT,
    SYN,
    TCP,
    UDP,
    WHOLE,
)
from lbsim.engine.reasons import (
    FORWARD,
    ICMP_TO_CLIENT,
    ICMP_TO_DEST,
    NO_RESPONDER,
    NONE,
    STRAIGHT_REPLY,
)
from lbsim.engine.records import Outcome, Packet, Quote
from lbsim.host import EngineHost

CLIENT, VIP, SERVER, OTHER = (ip_address(a) for a in ("198.51.100.1", "192.0.2.1", "10.0.0.11", "10.0.0.50"))


class Rig:
    """A director with one service, whose destination has port 8080, and an open connection of the flow 0."""

    def __init__(self, way: str = "-m") -> None:
        self.host = EngineHost()
        for command in ("-A -t 192.0.2.1:80 -s rr", f"-a -t 192.0.2.1:80 -r 10.0.0.11:8080 {way}"):
            assert self.host.apply(parse_command(command)) == ""
        self.client, self.vip, self.server, self.other = map(self.host.intern, (CLIENT, VIP, SERVER, OTHER))
        first = Packet(
            src=self.client, sport=40001, dst=self.vip, dport=80, proto=TCP, tcp_flags=SYN, ttl=64, length=40
        )
        assert self.receive(first).verdict == FORWARD

    def receive(self, p: Packet) -> Outcome:
        outcomes = [Outcome()]
        self.host.receive_block([p], outcomes, 1)
        return outcomes[0]

    def quote(self, **fields: int) -> None:
        for name, value in fields.items():
            setattr(self.host.tables.quotes[1], name, value)

    def inward(self) -> Packet:
        """An error about an answer of the connection."""
        self.quote(proto=TCP, src=self.vip, sport=80, dst=self.client, dport=40001)
        return Packet(src=self.other, dst=self.vip, proto=1, shape=ICMP_ERROR, ttl=64, length=56, quote=1)

    def outward(self, direction: int = OUT) -> Packet:
        """An error about a packet of the client."""
        self.quote(proto=TCP, src=self.client, sport=40001, dst=self.server, dport=8080)
        return Packet(
            src=self.other, dst=self.client, proto=1, shape=ICMP_ERROR, ttl=64, length=56, quote=1, direction=direction
        )


def header(v: Outcome) -> tuple[int, int, int, int]:
    return v.new_src, v.new_sport, v.new_dst, v.new_dport


def test_ends_are_exchanged_and_exchanged_back() -> None:
    p = Packet(src=1, sport=2, dst=3, dport=4, proto=1)
    q = Quote(src=11, sport=12, dst=13, dport=14, proto=6)
    before = astuple(p), astuple(q)
    icmp.swap_ends(p, q)
    assert (p.src, p.sport, p.dst, p.dport, p.proto) == (13, 14, 11, 12, 6)
    icmp.swap_ends(p, q)
    assert (astuple(p), astuple(q)) == before


@pytest.mark.parametrize(
    ("proto", "shape", "about"),
    [
        (TCP, WHOLE, True), (UDP, WHOLE, True), (SCTP, WHOLE, True), (47, WHOLE, False), (TCP, NO_PORTS, False),
        (TCP, FRAGMENT, False), (ESP, WHOLE, True), (ESP, FRAGMENT, True), (AH, WHOLE, True), (AH, FRAGMENT, True),
    ],
)  # fmt: skip
def test_packets_with_ports_and_of_ipsec_have_a_connection(proto: int, shape: int, about: bool) -> None:
    host = EngineHost()
    quote = Quote(proto=proto, shape=shape, src=host.intern(CLIENT))
    assert icmp.about_connection(host.tables, quote) is about
    quote.src = host.intern(ip_address("2001:db8::1"))
    assert icmp.about_connection(host.tables, quote) is (about and proto != AH)


def test_an_error_about_an_answer_goes_to_the_destination() -> None:
    rig = Rig()
    v = rig.receive(rig.inward())
    assert (v.verdict, v.reason, v.dest) == (FORWARD, ICMP_TO_DEST, 1)
    assert header(v) == (rig.other, 0, rig.server, 8080)
    assert (rig.host.tables.dests[1].in_packets, rig.host.tables.dests[1].in_bytes) == (2, 96)


def test_an_error_about_a_request_goes_to_the_client() -> None:
    rig = Rig()
    v = rig.receive(rig.outward())
    assert (v.verdict, v.reason, v.dest) == (FORWARD, ICMP_TO_CLIENT, 1)
    assert header(v) == (rig.vip, 80, rig.client, 0)
    assert (rig.host.tables.dests[1].out_packets, rig.host.tables.dests[1].out_bytes) == (1, 56)


def test_neither_moves_the_entry() -> None:
    rig = Rig()
    before = astuple(rig.host.tables.conns[1])
    rig.receive(rig.inward())
    rig.receive(rig.outward())
    assert astuple(rig.host.tables.conns[1]) == before


def test_an_error_of_a_flow_comes_from_whoever_got_its_packets() -> None:
    rig = Rig()
    p = rig.outward(REPLY)
    rig.quote(dst=rig.vip, dport=80)  # what a trace has in the place of the unknown destination
    v = rig.receive(p)
    assert (v.reason, p.src, p.sport) == (ICMP_TO_CLIENT, rig.server, 0)


@pytest.mark.parametrize(("addr", "reason"), [(0, NO_RESPONDER), (STRAIGHT, STRAIGHT_REPLY)])
def test_an_error_of_a_flow_that_nobody_sends_or_the_director_never_has(addr: int, reason: int) -> None:
    rig = Rig()
    rig.host.tables.flows[0].addr = addr
    v = rig.receive(rig.outward(REPLY))
    assert (v.verdict, v.reason) == (NONE, reason)


def test_an_answer_of_a_destination_with_direct_routing_goes_past_the_director() -> None:
    rig = Rig("-g")
    v = rig.receive(Packet(direction=REPLY, dst=rig.client, dport=40001, proto=TCP, ttl=64, length=40))
    assert (v.verdict, v.reason) == (NONE, STRAIGHT_REPLY)


@pytest.mark.parametrize(
    ("addr", "kind", "port", "there"),
    [("10.0.0.11", GUE, 6080, True), ("10.0.0.50", GUE, 6080, False), ("10.0.0.11", GUE, 1, False),
     ("10.0.0.11", GRE, 6080, False)],
)  # fmt: skip
def test_a_tunnel_is_known_by_its_end_type_and_port(addr: str, kind: int, port: int, there: bool) -> None:
    host = Rig("-i --tun-type gue --tun-port 6080").host
    assert host.has_tunnel(ip_address(addr).packed, kind, port) is there
    host.apply(parse_command("-d -t 192.0.2.1:80 -r 10.0.0.11:80"))
    assert not host.has_tunnel(ip_address(addr).packed, kind, port)
