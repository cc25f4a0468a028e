"""Columns that functions of either lane fill in: lists in the interpreted lane, numpy arrays in the compiled one."""

from __future__ import annotations

from collections.abc import Mapping
from struct import pack_into
from typing import Any

import numpy as np

from lbsim.engine.lanes import Lane
from lbsim.model.trace import IntColumn

_CODES = {"i8": "q", "i4": "i", "i2": "h", "i1": "b"}

__all__ = ["columns", "given_columns", "longer", "read_columns", "readable", "rows_with", "zeros"]


def columns(lane: Lane, kind: Any, types: Mapping[str, str], rows: int) -> Any:
    """A named tuple of that kind, of columns with ``rows`` elements each, whatever is in them.

    Parameters
    ----------
    kind : what ``records.tuple_of_columns`` made of ``types``.
    """
    if lane.name == "interpreted":  # lists: a number of a numpy array costs three times as much there
        return kind(*([0] * rows for _ in types))
    return kind(*(np.empty(rows, dtype=numpy_type) for numpy_type in types.values()))


def longer(filled: Any, rows: int) -> Any:
    """What :func:`columns` made, of at least so many rows; twice as many as before if there were fewer."""
    if len(filled[0]) >= rows:
        return filled
    if isinstance(filled[0], list):
        return type(filled)(*(column + [0] * max(len(column), rows) for column in filled))
    return type(filled)(*(np.resize(column, max(2 * len(column), rows)) for column in filled))


def given_columns(filled: Any, types: Mapping[str, str], rows: int) -> dict[str, IntColumn]:
    """The first rows of what :func:`columns` made, which nobody may fill in any more."""
    return {name: _array(column, types[name], rows) for name, column in zip(types, filled, strict=True)}


def read_columns(filled: Any, types: Mapping[str, str], rows: int) -> dict[str, IntColumn]:
    """A copy of the first rows of what :func:`columns` made."""
    return {name: np.array(column[:rows], dtype=types[name]) for name, column in zip(types, filled, strict=True)}


def _array(column: Any, kind: str, rows: int) -> IntColumn:
    if isinstance(column, np.ndarray):
        return column[:rows]
    packed = bytearray(rows * int(kind[1:]))
    pack_into(f"={rows}{_CODES[kind]}", packed, 0, *column[:rows])  # four times as fast as numpy
    return np.frombuffer(packed, dtype=kind)


def readable(lane: Lane, data: bytes | bytearray) -> Any:
    """A buffer as functions of that lane read it. The compiled lane never writes into it."""
    if lane.name == "interpreted":
        return data
    return np.frombuffer(memoryview(data).toreadonly(), dtype=np.uint8)


def rows_with(column: Any, begin: int, end: int, value: int) -> list[int]:
    """Which of the rows from ``begin`` up to ``end`` have this value. There are few, and often none."""
    part = column[begin:end]
    if isinstance(part, np.ndarray):
        if part.itemsize == 1 and value not in part.tobytes():  # forty times as fast as to compare each
            return []
        rows: list[int] = (np.flatnonzero(part == value) + begin).tolist()
        return rows
    return [row for row, one in enumerate(part, begin) if one == value] if value in part else []


def zeros(lane: Lane, count: int) -> Any:
    """So many zeros, as a column."""
    return [0] * count if lane.name == "interpreted" else lane.heads(2 * count).view(np.int64)
