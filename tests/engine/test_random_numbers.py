"""Lots: the same in both lanes, and fair."""

from __future__ import annotations

from collections import Counter

import pytest

from lbsim.engine.lanes import Lane
from lbsim.engine.random_numbers import draw
from lbsim.host import EngineHost
from tests.oracles.picks import lots


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**40 + 1])
@pytest.mark.parametrize("count", [1, 2, 7, 65536, 2**32])
def test_the_numbers_are_those_of_the_restatement(seed: int, count: int, lane: Lane) -> None:
    tables, expected = EngineHost(lane=lane, seed=seed).tables, lots(seed % 2**32)
    for _ in range(20):
        assert lane.function(draw)(tables, count) == next(expected) * count >> 31


def test_every_number_is_drawn_equally_often() -> None:
    tables = EngineHost(seed=3).tables
    drawn = Counter(draw(tables, 10) for _ in range(20_000))
    # chi-square with 9 degrees of freedom: above 44.8 once in a million
    assert sum((drawn[n] - 2000) ** 2 / 2000 for n in range(10)) < 44.8
