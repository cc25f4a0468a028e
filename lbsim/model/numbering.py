"""Numbers for rows by their content, a block of rows at a time: equal rows get one number, new ones the next.

What a dictionary would do, ``numbers.setdefault(row, len(numbers))`` for one row after the other, but with columns:
a hash table whose searches all go on at once, a step for every row in each round.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np

from lbsim.model.trace import AddressTable, FlowTable, IntColumn

__all__ = ["Numbering"]

Columns: TypeAlias = "Mapping[str, np.ndarray[Any, Any]]"
Flags: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"
Hashes: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.uint64]]"
Table = TypeVar("Table", AddressTable, FlowTable)

_FEWEST_SLOTS = 1024
_ROWS_AT_ONCE = 2**18
_FULL = 0.6  # of the slots taken: more, and searches become long
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio, odd


class Numbering(Generic[Table]):
    """The number of a row in a table is its place there; rows that are new are appended.

    Parameters
    ----------
    table : has each of its rows once. Nobody else may append to it.

    Invariants
    ----------
    A slot is 0 or the number of a row, plus one. Each row is in the first slot at or after that of its hash which was
    not taken when it came.
    """

    def __init__(self, table: Table) -> None:
        self.table: Table = table
        self._slots = np.zeros(_FEWEST_SLOTS, dtype="i4")
        self._make_room(len(table))
        self._enter()

    def of(self, **columns: np.ndarray[Any, Any]) -> IntColumn:
        """The rows' numbers : int32[n]. New rows are numbered in order of their first appearance.

        Parameters
        ----------
        columns : integers[n] for each column of the table, for one with words integers[n, words].
        """
        hashes = _hashed(columns)
        self._make_room(len(self.table) + len(hashes))
        numbers, slots = self._searched(hashes, columns)
        firsts = np.flatnonzero(numbers == -1 - np.arange(len(numbers)))
        given = np.empty(len(numbers), dtype="i4")
        given[firsts] = np.arange(len(self.table), len(self.table) + len(firsts))
        self._slots[slots[firsts]] = given[firsts] + 1
        self.table.extend_columns(**{name: column[firsts] for name, column in columns.items()})
        is_new = numbers < 0
        numbers[is_new] = given[-1 - numbers[is_new]]
        return numbers

    def _searched(self, hashes: Hashes, columns: Columns) -> tuple[IntColumn, IntColumn]:
        """Each row's number, or -1 - k if it is new and first appears as row k; and the slot where its search ended.

        The slots of new rows hold their -1 - k.
        """
        slots, last = self._slots, np.uint64(len(self._slots) - 1)
        place = (hashes & last).astype("i8")
        numbers = np.empty(len(place), dtype="i4")
        searching = np.arange(len(place), dtype="i4")
        while len(searching):
            here = place[searching]
            held = slots[here]
            # whoever finds a slot empty writes himself into it; of many the first one stays, as he writes last
            newcomers = np.flatnonzero(held == 0)[::-1]
            slots[here[newcomers]] = -1 - searching[newcomers]
            held[newcomers] = slots[here[newcomers]]
            is_met = self._equal(columns, searching, held)
            numbers[searching[is_met]] = np.where(held > 0, held - 1, held)[is_met]
            searching = searching[~is_met]
            place[searching] = (place[searching] + 1) & (len(slots) - 1)
        return numbers, place

    def _equal(self, columns: Columns, rows: IntColumn, held: IntColumn) -> Flags:
        """Which of the rows are equal to what their slots hold: a row of the table, or one of ``columns``."""
        is_equal: Flags = held == -1 - rows  # itself
        for at, others, number in (
            (np.flatnonzero(held > 0), {name: self.table.column(name) for name in columns}, held - 1),
            (np.flatnonzero((held < 0) & ~is_equal), columns, -1 - held),
        ):
            equal = np.ones(len(at), dtype=bool)
            for name, column in columns.items():
                equal &= _same(column.take(rows[at], axis=0), others[name].take(number[at], axis=0))
            is_equal[at] = equal
        return is_equal

    def _make_room(self, rows: int) -> None:
        """Slots for so many rows."""
        slots = len(self._slots)
        while rows > _FULL * slots:
            slots *= 2
        if slots > len(self._slots):
            self._slots = np.zeros(slots, dtype="i4")
            self._enter()

    def _enter(self) -> None:
        """Put the table's rows into the empty slots, some at a time."""
        for begin in range(0, len(self.table), _ROWS_AT_ONCE):
            rows = slice(begin, begin + _ROWS_AT_ONCE)
            columns = {name: self.table.column(name)[rows] for name in self.table.TYPES}
            numbers, slots = self._searched(_hashed(columns), columns)
            self._slots[slots] = begin - numbers  # row k has got -1 - k


def _hashed(columns: Columns) -> Hashes:
    """A number for each row, uint64[n], in whose lowest bits all bits of the row have a say."""
    parts = [part for column in columns.values() for part in (column.T if column.ndim > 1 else [column])]
    hashes = np.zeros(len(parts[0]), dtype=np.uint64)
    for part in parts:
        hashes ^= part.astype(np.uint64)
        hashes *= _SPREAD
        hashes ^= hashes >> np.uint64(32)
    return hashes


def _same(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> Flags:
    """Which rows are the same in both."""
    same: Flags = one == other
    return same if same.ndim == 1 else np.logical_and.reduce(same, axis=1)
