"""Columns that functions of either lane fill in: lists in the interpreted lane, numpy arrays in the compiled one."""

from __future__ import annotations

from collections.abc import Mapping
from struct import pack_into
from typing import Any

import numpy as np

from lbsim.engine.lanes import Lane
from lbsim.model.trace import IntColumn

_CODES = {"i8": "q", "i4": "i", "i2": "h", "i1": "b"}

__all__ = ["columns", "given_columns", "read_columns", "readable", "zeros"]


def columns(lane: Lane, kind: Any, types: Mapping[str, str], rows: int) -> Any:
    """A named tuple of that kind, of columns with ``rows`` elements each, whatever is in them.

    Parameters
    ----------
    kind : what ``records.tuple_of_columns`` made of ``types``.
    """
    if lane.name == "interpreted":  # lists: a number of a numpy array costs three times as much there
        return kind(*([0] * rows for _ in types))
    return kind(*(np.empty(rows, dtype=numpy_type) for numpy_type in types.values()))


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


def zeros(lane: Lane, count: int) -> Any:
    """So many zeros, as a column."""
    return [0] * count if lane.name == "interpreted" else lane.heads(2 * count).view(np.int64)
