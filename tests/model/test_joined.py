"""Columns that are joined when somebody looks."""

from __future__ import annotations

import numpy as np

from lbsim.model.joined import JoinedColumns

TYPES = {"a": "i8", "b": "i1"}


def block(first: int, count: int) -> dict[str, np.ndarray]:
    return {"a": np.arange(first, first + count), "b": np.full(count, first % 128, dtype="i1")}


def test_columns_stand_one_behind_the_other() -> None:
    joined = JoinedColumns([block(0, 2), block(2, 0), block(2, 3)], TYPES)
    assert list(joined) == ["a", "b"]
    assert len(joined) == 2
    assert joined["a"].tolist() == [0, 1, 2, 3, 4]
    assert joined["a"] is joined["a"]
    assert joined["b"].tolist() == [0, 0, 2, 2, 2]


def test_of_no_blocks_columns_are_empty_and_of_their_type() -> None:
    joined = JoinedColumns([], TYPES)
    assert (joined["b"].dtype, len(joined["b"])) == (np.dtype("i1"), 0)


def test_the_column_of_a_single_block_is_not_copied() -> None:
    only = block(0, 2)
    assert JoinedColumns([only], TYPES)["a"] is only["a"]
