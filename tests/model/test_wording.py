"""How numbers, times and parts read."""

from __future__ import annotations

import pytest

from lbsim.model.wording import and_more, counted, percent, seconds


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 packets"), (1, "1 packet"), (2, "2 packets"), (12345, "12,345 packets")]
)
def test_a_number_comes_with_its_noun(number, text):
    assert counted(number, "packet") == text


def test_an_irregular_plural_is_given():
    assert counted(2, "entry", "entries") == "2 entries"


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0s"), (1, "0.000000001s"), (1_500_000_000, "1.5s"), (900 * 10**9, "900s"), (10 * 10**9, "10s")],
)
def test_a_time_is_exact_seconds(nanoseconds, text):
    assert seconds(nanoseconds) == text


@pytest.mark.parametrize(
    ("part", "total", "text"),
    [
        (0, 0, "-"),
        (0, 5, "0.0%"),
        (1, 3, "33.3%"),
        (5, 5, "100.0%"),
        (1, 2000, "0.1%"),  # 0.05 %: the smallest that rounds to a tenth
        (1, 2500, "0.04%"),
        (1, 100_000, "0.001%"),
        (1, 1_000_000, "<0.001%"),
    ],
)
def test_a_part_never_reads_as_nothing_unless_it_is(part, total, text):
    assert percent(part, total) == text


def test_rows_that_are_not_shown_are_counted():
    assert and_more(99980, "destination") == "and 99,980 more destinations"
    assert and_more(1, "destination") == "and 1 more destination"
