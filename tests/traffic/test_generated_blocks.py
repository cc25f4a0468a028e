"""Made-up traffic in blocks: whatever their size, together they are the same trace as ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbsim.traffic.synthetic import generate
from tests.traffic.generated import KINDS, fingerprint, spec_of

RECORDED = [
    line.split(maxsplit=2)
    for line in Path(__file__).with_name("fingerprints.txt").read_text().splitlines()
    if not line.startswith("#")
]


def test_there_is_a_fingerprint_of_every_kind():
    assert [kind for _, _, kind in RECORDED] == list(KINDS)


@pytest.mark.parametrize(("seed", "expected", "kind"), RECORDED, ids=[kind for _, _, kind in RECORDED])
def test_a_trace_is_bit_by_bit_what_it_was_when_all_packets_were_made_at_once(seed, expected, kind):
    assert fingerprint(generate(spec_of(kind), int(seed))) == expected
