"""What a packet looks like when it leaves: facts, packet-path.md sections 13.1 and 13.2."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lbsim.engine.forwarding import can_tell, decide, masquerade, reject, unmasquerade
from lbsim.engine.numbers import BY_ROUTING, CUT_HEADER, ICMP_ERROR, WHOLE
from lbsim.engine.reasons import (
    DROP,
    FORWARD,
    HEADER_CUT,
    KNOWN,
    MTU_EXCEEDED,
    MTU_UNTOLD,
    NO_DEST,
    NO_ROUTE,
    NO_ROUTE_UNTOLD,
    REJECT,
    TRANSLATED,
    TTL_EXCEEDED,
    TTL_UNTOLD,
)
from lbsim.engine.records import Conn, Outcome, Packet
from lbsim.host import EngineHost
from tests.playbook import Playbook

HOST = EngineHost()
TABLES = HOST.tables
OTHER, RULED, RULED_6 = (HOST.intern(ip_address(text)) for text in ("192.0.2.1", "192.0.2.2", "2001:db8::2"))
for number in (RULED, RULED_6):
    TABLES.addresses[number].local = BY_ROUTING
ENTRY = Conn(caddr=1, cport=40001, vaddr=2, vport=80, daddr=3, dport=8080, dest=7)
NOTHING = (0, 0, 0, 0)


def header(v: Outcome) -> tuple[int, int, int, int]:
    return v.new_src, v.new_sport, v.new_dst, v.new_dport


def used() -> Outcome:
    """A row that an earlier packet of the block left behind."""
    return Outcome(verdict=1, reason=1, dest=9, new_src=1, new_sport=2, new_dst=3, new_dport=4)


def test_a_verdict_without_forwarding_has_no_new_header() -> None:
    v = used()
    decide(v, REJECT, NO_DEST, 0)
    assert (v.verdict, v.reason, v.dest, header(v)) == (REJECT, NO_DEST, 0, NOTHING)


def test_a_request_goes_from_the_client_to_the_destination_end() -> None:
    v = Outcome()
    masquerade(TABLES, Packet(src=1, sport=40001, dst=2, dport=80, ttl=2), ENTRY, KNOWN, v)
    assert (v.verdict, v.reason, v.dest, header(v)) == (FORWARD, KNOWN, 7, (1, 40001, 3, 8080))


def test_an_answer_goes_from_the_virtual_end_to_the_client() -> None:
    v = Outcome()
    unmasquerade(Packet(src=3, sport=8080, dst=1, dport=40001, ttl=64), ENTRY, v)
    assert (v.verdict, v.reason, v.dest, header(v)) == (FORWARD, TRANSLATED, 7, (2, 80, 1, 40001))


@pytest.mark.parametrize("ttl", [0, 1])
def test_a_ttl_that_is_used_up_ends_the_request(ttl: int) -> None:
    v = used()
    masquerade(TABLES, Packet(ttl=ttl), ENTRY, KNOWN, v)
    assert (v.verdict, v.reason, v.dest, header(v)) == (REJECT, TTL_EXCEEDED, 7, NOTHING)


def test_a_cut_transport_header_cannot_be_rewritten() -> None:
    v = used()
    masquerade(TABLES, Packet(ttl=64, shape=CUT_HEADER), ENTRY, KNOWN, v)
    assert (v.verdict, v.reason, v.dest, header(v)) == (DROP, HEADER_CUT, 7, NOTHING)


def test_the_ttl_is_looked_at_before_the_transport_header() -> None:
    v = used()
    masquerade(TABLES, Packet(ttl=1, shape=CUT_HEADER), ENTRY, KNOWN, v)
    assert v.reason == TTL_EXCEEDED


@pytest.mark.parametrize(
    ("dst", "mark", "shape", "told"),
    [
        (OTHER, 0, WHOLE, True),
        (OTHER, 1, WHOLE, True),
        (OTHER, 0, ICMP_ERROR, False),
        (RULED, 1, WHOLE, False),
        (RULED, 0, WHOLE, True),  # it is only routed
        (RULED_6, 1, WHOLE, True),
        (RULED_6, 1, ICMP_ERROR, False),
    ],
)
@pytest.mark.parametrize(
    ("reason", "untold"), [(TTL_EXCEEDED, TTL_UNTOLD), (NO_ROUTE, NO_ROUTE_UNTOLD), (MTU_EXCEEDED, MTU_UNTOLD)]
)
def test_who_can_be_told(dst: int, mark: int, shape: int, told: bool, reason: int, untold: int) -> None:
    p = Packet(dst=dst, mark=mark, shape=shape)
    assert can_tell(TABLES, p) is told
    v = used()
    reject(TABLES, p, reason, 7, v)
    assert (v.verdict, v.reason, v.dest, header(v)) == (
        (REJECT, reason, 7, NOTHING) if told else (DROP, untold, 7, NOTHING)
    )


def test_a_ttl_of_2_is_enough(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN", ttl=2).expect("FORWARD A new")
    play.reply("A c1 SYN+ACK", ttl=2).expect("FORWARD A translated")


def test_ports_are_translated_both_ways(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A:8080").send("c1 SYN").expect("FORWARD A new").table("c1 SYN_RECV A 60")
    play.reply("A c1 SYN+ACK").expect("FORWARD A translated")


def test_a_request_that_dies_of_its_ttl_has_moved_its_entry(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new")
    play.send("c1 ACK", ttl=1).expect("REJECT A ttl_exceeded").table("c1 ESTABLISHED A 900")
