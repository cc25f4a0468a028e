"""Room for columns."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from lbsim.block_columns import Room

TYPES = {"time": "i8", "dest": "i4", "verdict": "i1", "port": "u2"}


def extent(column: np.ndarray[tuple[int], np.dtype[np.signedinteger]]) -> tuple[int, int]:
    """Where it begins and ends in memory."""
    begin = int(column.ctypes.data)
    return begin, begin + column.nbytes


@pytest.mark.parametrize("rows", [0, 1, 7, 4096, 65_536, 131_072, 2_000_000])
def test_columns_lie_apart_and_not_at_the_same_place_of_a_page(rows: int) -> None:
    room = Room()
    columns = [column for _ in range(3) for column in room.columns(TYPES, rows).values()]
    assert [column.dtype.str[1:] for column in columns] == 3 * list(TYPES.values())
    assert {len(column) for column in columns} == {rows}
    extents = sorted(extent(column) for column in columns if rows)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(extents))
    for at in range(0, len(columns), len(TYPES)):
        places = [extent(column)[0] % 4096 for column in columns[at : at + len(TYPES)] if rows]
        assert len(set(places)) == len(places)


def test_columns_of_several_blocks_share_a_piece_if_they_are_large() -> None:
    room = Room()
    first, second = room.columns(TYPES, 65_536), room.columns(TYPES, 65_536)
    assert 0 < extent(second["time"])[0] - extent(first["port"])[1] < 4096


def test_what_was_written_stays_whatever_comes_after_it() -> None:
    room = Room()
    kept = []
    for block in range(40):  # more than one piece
        columns = room.columns(TYPES, 65_536)
        for column in columns.values():
            column[:] = block
        kept.append(columns)
    assert all((column == block).all() for block, columns in enumerate(kept) for column in columns.values())
