"""ICMP errors that the director receives or sends: facts, packet-path.md sections 12 and 14."""

from __future__ import annotations

import pytest

from lbsim.engine import director
from lbsim.engine.numbers import ICMP_ERROR, IN, OUT, TCP, WHOLE
from lbsim.engine.reasons import (
    FORWARD,
    ICMP_TO_DEST,
    ICMP_UNRELATED,
    LOCAL,
    NO_CONNECTION,
)
from lbsim.engine.records import Outcome, Packet
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
    q = rig.inward()  # forwarded like any other, and looked at on the way
    assert rig.receive(q).reason == ICMP_TO_DEST


@pytest.mark.parametrize(("shape", "verdict"), [(WHOLE, FORWARD), (ICMP_ERROR, FORWARD)])
def test_what_the_director_sends_itself_is_translated(shape: int, verdict: int) -> None:
    rig = Rig()
    p = rig.outward()
    if shape == WHOLE:
        p = Packet(direction=OUT, src=rig.server, sport=8080, dst=rig.client, dport=40001, proto=TCP, ttl=64, length=40)
    v = Outcome()
    director.answer_itself(rig.host.tables, p, v)
    assert (v.verdict, v.new_src) == (verdict, rig.vip)


def test_an_error_that_the_director_sends_about_nothing_known_leaves_as_it_is() -> None:
    rig = Rig()
    p = rig.outward()
    rig.quote(dport=1)
    v = Outcome()
    director.answer_itself(rig.host.tables, p, v)
    assert v.reason == NO_CONNECTION
