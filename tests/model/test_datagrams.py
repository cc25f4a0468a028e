"""The side table of datagrams keeps to its rows, however a trace is cut, joined and sorted."""

from __future__ import annotations

import numpy as np
import pytest

from lbsim.model.datagrams import Datagram, Datagrams
from lbsim.model.trace import Trace


def datagrams(*rows: int) -> Datagrams:
    """Datagrams of these rows; each is told by its largest fragment."""
    return Datagrams(rows, [Datagram(b"", 100 + row) for row in rows])


def test_a_trace_has_none_unless_it_is_given_some() -> None:
    assert not Trace(Trace.empty_columns(3), [], []).datagrams
    assert list(datagrams(1, 5)) == [(1, Datagram(b"", 101)), (5, Datagram(b"", 105))]


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_parts_joined_are_the_whole(size: int) -> None:
    whole = datagrams(0, 2, 5, 8)
    begins = range(0, 9, size)
    parts = [whole.part(begin, begin + size) for begin in begins]
    assert Datagrams.joined(parts, [min(size, 9 - begin) for begin in begins]) == whole
    assert sum(map(len, parts)) == 4


def test_rows_that_moved_take_theirs_along() -> None:
    assert list(datagrams(0, 2).placed(np.array([3, 0, 1]))) == [(1, Datagram(b"", 102)), (3, Datagram(b"", 100))]


def test_they_are_equal_by_rows_and_bytes() -> None:
    assert datagrams(1) == datagrams(1) != datagrams(2)
    assert datagrams(1) != Datagrams([1], [Datagram(b"E", 101)])
    assert datagrams(1) != 1


def test_a_row_has_the_datagram_that_it_completes() -> None:
    first, second = Datagram(b"first", 1500), Datagram(b"second", 1280)
    datagrams = Datagrams([3, 7], [first, second])
    assert [datagrams.of(row) for row in (0, 3, 4, 7, 8)] == [None, first, None, second, None]
    assert Datagrams().of(0) is None
