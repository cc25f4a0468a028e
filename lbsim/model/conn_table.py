"""The connection table of a large run: rows as columns, made into objects when somebody looks at them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np

from lbsim.model.address_text import address_texts
from lbsim.model.result import ConnRow

if TYPE_CHECKING:
    from lbsim.model.trace import AddressTable, IntColumn

__all__ = ["CONN_COLUMNS", "ConnTable"]

#: Column name -> numpy type. Addresses are indices into ConnTable.addresses, ``expires`` whole seconds left.
CONN_COLUMNS: Mapping[str, str] = {
    "proto": "i2",
    "caddr": "i4",
    "cport": "i4",
    "vaddr": "i4",
    "vport": "i4",
    "daddr": "i4",
    "dport": "i4",
    "state": "i2",
    "expires": "i4",
    "serial": "i8",  # later entries have larger ones
}

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class ConnTable(Sequence[ConnRow]):
    """Connection entries, sorted by protocol, ends and age; to its readers a sequence of ConnRow.

    Equal are tables and sequences with equal rows.

    Attributes
    ----------
    columns : int arrays of equal length by the names of :data:`CONN_COLUMNS`, in any order.
    addresses : what the address columns index.
    protocols, states : protocol number -> its name, and the names of its states.
    """

    columns: Mapping[str, IntColumn]
    addresses: AddressTable
    protocols: Mapping[int, str]
    states: Mapping[int, Sequence[str]]

    @staticmethod
    def joined(tables: Sequence[ConnTable]) -> ConnTable:
        """One table of the rows of several, which share their addresses; rows of equal ends are all in one of them."""
        columns = {name: np.concatenate([table.columns[name] for table in tables]) for name in CONN_COLUMNS}
        return replace(tables[0], columns=columns)

    def __len__(self) -> int:
        return len(self.columns["proto"])

    @overload
    def __getitem__(self, at: int) -> ConnRow: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[ConnRow, ...]: ...
    def __getitem__(self, at: int | slice) -> ConnRow | tuple[ConnRow, ...]:
        if isinstance(at, slice):
            return tuple(self._rows(self._order[at]))
        return next(self._rows(self._order[[at]]))

    def __iter__(self) -> Iterator[ConnRow]:
        for begin in range(0, len(self), _ROWS_AT_ONCE):
            yield from self._rows(self._order[begin : begin + _ROWS_AT_ONCE])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    @cached_property
    def _order(self) -> IntColumn:
        """The rows in their order: int64[n]."""
        columns, rank = self.columns, _ranks(self.addresses)
        ends = [rank[columns[f"{end}addr"]] << 16 | columns[f"{end}port"] for end in ("c", "v", "d")]
        client, virtual, destination = ends
        order: IntColumn = np.lexsort((columns["serial"], destination, virtual, client, columns["proto"]))
        return order

    def _rows(self, rows: IntColumn) -> Iterator[ConnRow]:
        part = {name: self.columns[name][rows].tolist() for name in ("proto", "state", "expires")}
        protocols = [self.protocols[proto].upper() for proto in part["proto"]]
        states = [self.states[proto][state] for proto, state in zip(part["proto"], part["state"], strict=True)]
        client, virtual, destination = (self._ends(rows, end) for end in ("c", "v", "d"))
        return map(ConnRow, protocols, client, virtual, destination, states, part["expires"])

    def _ends(self, rows: IntColumn, end: str) -> Iterator[str]:
        """``10.0.0.11:80`` or ``[fd00::11]:80`` for each row."""
        texts = address_texts(self.addresses.take(self.columns[f"{end}addr"][rows]))
        for text, port in zip(texts, self.columns[f"{end}port"][rows].tolist(), strict=True):
            yield f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def _ranks(addresses: AddressTable) -> IntColumn:
    """For each address how many smaller numbers there are among them: int64[n]; equal numbers have equal ranks."""
    words = addresses.words
    order = np.lexsort(words.T[::-1])
    differs = np.zeros(len(order), dtype="i8")
    differs[1:] = (words[order[1:]] != words[order[:-1]]).any(axis=1)
    ranks = np.empty(len(order), dtype="i8")
    ranks[order] = np.cumsum(differs)
    return ranks
