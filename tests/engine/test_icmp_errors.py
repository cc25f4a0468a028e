"""ICMP errors that the director receives or sends: facts, packet-path.md sections 12 and 14."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lbsim.config import parse
from lbsim.engine import director
from lbsim.engine.lanes import Lane
from lbsim.engine.numbers import ICMP_ERROR, IN, OUT, TCP, WHOLE
from lbsim.engine.reasons import (
    FORWARD,
    ICMP_ROUTED,
    ICMP_TO_DEST,
    ICMP_UNRELATED,
    LOCAL,
    NO_CONNECTION,
    TTL_UNTOLD,
)
from lbsim.engine.records import Outcome, Packet
from lbsim.host import EngineHost
from tests.engine.test_icmp import Rig


@pytest.mark.parametrize("direction", [IN, OUT])
def test_an_error_whose_quote_cannot_be_read_is_no_ones(direction: int) -> None:
    rig = Rig()
    p = rig.inward() if direction == IN else rig.outward()
    p.quote = 0
    v = rig.receive(p)
    assert (v.reason, v.verdict == LOCAL) == ((ICMP_UNRELATED, True) if direction == IN else (NO_CONNECTION, False))


def test_an_error_to_a_virtual_address_that_only_a_mark_makes_local() -> None:
    rig = Rig()
    rig.host.tables.addresses[rig.vip].local = 2
    p = rig.inward()
    p.mark = 1
    assert rig.receive(p).reason == ICMP_TO_DEST


@pytest.mark.parametrize(
    ("ttl", "reason", "counted"), [(64, ICMP_ROUTED, 2), (3, ICMP_ROUTED, 2), (2, TTL_UNTOLD, 2), (1, TTL_UNTOLD, 1)]
)
@pytest.mark.parametrize("way", ["-m", "-g", "-i"])
def test_one_without_the_mark_is_forwarded_and_looked_at_on_the_way(
    ttl: int, reason: int, counted: int, way: str
) -> None:
    # as 6.1.192 and 6.12.117: with TTL 2 it is counted and gone, with 1 it does not come so far
    rig = Rig(way)
    rig.host.tables.addresses[rig.vip].local = 2
    p = rig.inward()
    p.ttl = ttl
    assert rig.receive(p).reason == reason
    assert p.ttl == ttl
    assert rig.host.tables.dests[1].in_packets == counted
    assert rig.host.tables.dests[1].out_packets == 0


@pytest.mark.parametrize(("shape", "verdict"), [(WHOLE, FORWARD), (ICMP_ERROR, FORWARD)])
def test_what_the_director_sends_itself_is_translated(shape: int, verdict: int) -> None:
    rig = Rig()
    p = rig.outward()
    if shape == WHOLE:
        p = Packet(direction=OUT, src=rig.server, sport=8080, dst=rig.client, dport=40001, proto=TCP, ttl=64, length=40)
    v = Outcome()
    director.send_itself(rig.host.tables, p, v)
    assert (v.verdict, v.new_src) == (verdict, rig.vip)


def test_an_error_that_the_director_sends_about_nothing_known_leaves_as_it_is() -> None:
    rig = Rig()
    p = rig.outward()
    rig.quote(dport=1)
    v = Outcome()
    director.send_itself(rig.host.tables, p, v)
    assert v.reason == NO_CONNECTION


# What 6.1.192 and 6.12.117 did with errors about packets to the clients
# 203.0.113.1 to .5, and then to other ports of theirs. By facts, schedulers.md section 3.10: the clients' buckets of dh
# are 50, 147, 245, 87 and 185, modulo 3 that is 2 (11) or 0 (13).
@pytest.mark.parametrize(
    ("scheduler", "servers"), [("dh", "11 13 11 13 11"), ("lblc", "13 12 11 13 12"), ("lblcr", "13 12 11 13 12")]
)
def test_schedulers_by_destination_see_the_client_of_an_error(scheduler: str, servers: str, lane: Lane) -> None:
    host = EngineHost(lane=lane, sysctls={"schedule_icmp": 1})
    dests = "".join(f"-a -t 192.168.1.10:80 -r 10.0.0.{n} -m\n" for n in (11, 12, 13))
    for command in parse(f"-A -t 192.168.1.10:80 -s {scheduler}\n{dests}").commands:
        assert host.apply(command) == ""
    vip, router = (host.intern(ip_address(text)) for text in ("192.168.1.10", "203.0.113.254"))
    q = host.tables.quotes[1]
    packets, outcomes = host.lane.table(Packet, 1), host.lane.table(Outcome, 1)
    got = []
    for port in (40001, 40002):
        for n in range(1, 6):
            q.proto, q.src, q.sport, q.dport, q.shape = TCP, vip, 80, port, WHOLE
            q.dst = host.intern(ip_address(f"203.0.113.{n}"))
            p = packets[0]
            p.direction, p.shape, p.proto, p.ttl, p.length = IN, ICMP_ERROR, 1, 64, 56
            p.tick, p.src, p.dst, p.quote = host.tick(0), router, vip, 1
            host.receive_block(packets, outcomes, 1)
            assert (outcomes[0].reason, p.dst, q.src) == (ICMP_TO_DEST, vip, vip)
            got.append(str(host.address(outcomes[0].new_dst)).rpartition(".")[2])
    assert got == servers.split() * 2
