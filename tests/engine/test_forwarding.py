"""What a packet looks like when it leaves: facts, packet-path.md sections 13.1 and 13.2."""

from __future__ import annotations

import pytest

from lbsim.engine.forwarding import decide, masquerade, unmasquerade
from lbsim.engine.numbers import CUT_HEADER
from lbsim.engine.reasons import DROP, FORWARD, HEADER_CUT, KNOWN, NO_DEST, REJECT, TRANSLATED, TTL_EXCEEDED
from lbsim.engine.records import Conn, Outcome, Packet
from tests.playbook import Playbook

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
    masquerade(Packet(src=1, sport=40001, dst=2, dport=80, ttl=2), ENTRY, KNOWN, v)
    assert (v.verdict, v.reason, v.dest, header(v)) == (FORWARD, KNOWN, 7, (1, 40001, 3, 8080))


def test_an_answer_goes_from_the_virtual_end_to_the_client() -> None:
    v = Outcome()
    unmasquerade(Packet(src=3, sport=8080, dst=1, dport=40001, ttl=64), ENTRY, v)
    assert (v.verdict, v.reason, v.dest, header(v)) == (FORWARD, TRANSLATED, 7, (2, 80, 1, 40001))


@pytest.mark.parametrize("ttl", [0, 1])
def test_a_ttl_that_is_used_up_ends_the_request(ttl: int) -> None:
    v = used()
    masquerade(Packet(ttl=ttl), ENTRY, KNOWN, v)
    assert (v.verdict, v.reason, v.dest, header(v)) == (REJECT, TTL_EXCEEDED, 7, NOTHING)


def test_a_cut_transport_header_cannot_be_rewritten() -> None:
    v = used()
    masquerade(Packet(ttl=64, shape=CUT_HEADER), ENTRY, KNOWN, v)
    assert (v.verdict, v.reason, v.dest, header(v)) == (DROP, HEADER_CUT, 7, NOTHING)


def test_the_ttl_is_looked_at_before_the_transport_header() -> None:
    v = used()
    masquerade(Packet(ttl=1, shape=CUT_HEADER), ENTRY, KNOWN, v)
    assert v.reason == TTL_EXCEEDED


def test_a_ttl_of_2_is_enough(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN", ttl=2).expect("FORWARD A new")
    play.reply("A c1 SYN+ACK", ttl=2).expect("FORWARD A translated")


def test_ports_are_translated_both_ways(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A:8080").send("c1 SYN").expect("FORWARD A new").table("c1 SYN_RECV A 60")
    play.reply("A c1 SYN+ACK").expect("FORWARD A translated")


def test_a_request_that_dies_of_its_ttl_has_moved_its_entry(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new")
    play.send("c1 ACK", ttl=1).expect("REJECT A ttl_exceeded").table("c1 ESTABLISHED A 900")
