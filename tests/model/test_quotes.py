"""The side table of quoted packets keeps to its rows, however a trace is cut, joined, sorted and merged."""

from __future__ import annotations

from ipaddress import ip_address

import numpy as np
import pytest

from lbsim.model.quotes import QUOTE_TYPES, Quotes
from lbsim.model.trace import Flow, Trace


def quotes(*rows: int) -> Quotes:
    """Quotes of these rows; each quoted packet has its row's number as sport."""
    columns = {name: np.zeros(len(rows), dtype=kind) for name, kind in QUOTE_TYPES.items()}
    columns["row"][:] = columns["sport"][:] = rows
    return Quotes(columns)


def trace(times: list[int], *quoting: int) -> Trace:
    """Packets at these times, of which some quote; ``sport`` of a packet is its number."""
    columns = Trace.empty_columns(len(times))
    columns["time"][:] = times
    columns["sport"][:] = range(len(times))
    return Trace(columns, [ip_address("192.0.2.1")], [Flow(6, 0, 1, 0, 2)], quotes=quotes(*quoting))


def assert_kept(found: Trace) -> None:
    """Each quote is still its packet's."""
    table = found.quotes
    assert found["sport"][table["row"]].tolist() == table["sport"].tolist()
    assert table["row"].tolist() == sorted(table["row"].tolist())


def test_a_trace_has_no_quotes_unless_it_is_given_some():
    assert len(Trace(Trace.empty_columns(3), [], [])) == 3
    assert len(Trace(Trace.empty_columns(3), [], []).quotes) == 0


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_blocks_have_the_quotes_of_their_packets_and_joined_they_are_the_whole(size):
    whole = trace(list(range(9)), 0, 2, 2, 5, 8)
    blocks = list(whole.blocks(size))
    for block in blocks:
        assert_kept(block)
    assert sum(len(block.quotes) for block in blocks) == 5
    assert Trace.joined(blocks).quotes == whole.quotes


def test_quotes_of_merged_traces_are_at_their_packets():
    first = trace([1, 5, 9], 0, 2)
    second = trace([2, 3, 10], 1, 1, 2)
    merged = Trace.merge([first, second])
    assert merged["time"].tolist() == [1, 2, 3, 5, 9, 10]
    assert merged.quotes["row"].tolist() == [0, 2, 2, 4, 5]
    assert_kept(merged)


def test_a_part_has_the_quotes_between_its_ends():
    assert quotes(0, 3, 4, 4, 7).part(3, 7)["row"].tolist() == [0, 1, 1]


def test_quotes_behind_more_rows_are_moved():
    assert quotes(0, 3).moved(5)["row"].tolist() == [5, 8]


def test_quotes_follow_rows_to_other_places():
    # rows 0, 1, 2, 3 are now at 3, 2, 0, 1
    assert quotes(0, 1, 3).placed(np.array([3, 2, 0, 1]))["sport"].tolist() == [3, 1, 0]


def test_equal_are_quotes_with_equal_rows():
    assert quotes(1, 2) == quotes(1, 2)
    assert quotes(1, 2) != quotes(1, 3)
    assert quotes() != 7


def test_nothing_joined_is_no_quote():
    assert Quotes.joined([], []) == Quotes()
