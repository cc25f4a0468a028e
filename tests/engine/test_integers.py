"""Arithmetic as C does it."""

from __future__ import annotations

import math

import pytest

from lbsim.engine.integers import gcd, signed32
from lbsim.engine.lanes import Lane


@pytest.mark.parametrize(
    ("a", "b"), [(0, 0), (0, 7), (7, 0), (12, 18), (18, 12), (65535, 1), (2**31 - 1, 2**30), (5, 5)]
)
def test_the_greatest_common_divisor(a: int, b: int, lane: Lane) -> None:
    assert lane.function(gcd)(a, b) == math.gcd(a, b)


@pytest.mark.parametrize("value", [0, 1, -1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, -(2**31), -(2**31) - 1, 2**62])
def test_an_int_wraps_at_31_bits(value: int, lane: Lane) -> None:
    expected = int.from_bytes((value % 2**32).to_bytes(4, "big"), "big", signed=True)
    assert lane.function(signed32)(value) == expected
