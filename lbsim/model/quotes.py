"""What ICMP errors quote: the beginning of the packet that an error is about, as a side table of a trace.

Errors are rare, so a trace's rows do not have columns for this. A quoted packet may go in the direction opposite to the
error's: a server's answer that found no way to the client is quoted to the service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["QUOTE_TYPES", "Quotes"]

#: Column name -> numpy type.
QUOTE_TYPES: Mapping[str, str] = {
    "row": "i8",  # the packet of the trace that quotes, never decreasing
    "kind": "i2",  # type of the ICMP message
    "code": "i2",
    "family": "i1",  # 4 or 6
    "proto": "i2",  # of the quoted packet, as in the columns of a trace; likewise below
    "src": "4u4",  # addresses as in an AddressTable
    "sport": "i4",
    "dst": "4u4",
    "dport": "i4",
    "shape": "i1",
    "wrong": "i1",  # 1: the checksum of the ICMP message is wrong, as far as all of it was captured
}

Column = np.ndarray[Any, Any]


_NO_QUOTES = {name: np.zeros(0, dtype=kind) for name, kind in QUOTE_TYPES.items()}


class Quotes:
    """A table of quoted packets, one column for each of :data:`QUOTE_TYPES`.

    >>> len(Quotes()), Quotes()["dport"]
    (0, array([], dtype=int32))
    """

    __slots__ = ("columns",)

    def __init__(self, columns: Mapping[str, Column] | None = None) -> None:
        self.columns: Mapping[str, Column] = _NO_QUOTES if columns is None else columns

    def __len__(self) -> int:
        return len(self.columns["row"])

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Quotes):
            return NotImplemented
        return all(np.array_equal(self[name], other[name]) for name in QUOTE_TYPES)

    def part(self, begin: int, end: int) -> Quotes:
        """Those of the rows from ``begin`` up to ``end`` of the trace, as rows of that part."""
        first, last = np.searchsorted(self["row"], [begin, end])
        return Quotes({name: column[first:last] for name, column in self.columns.items()}).moved(-begin)

    def moved(self, by: int) -> Quotes:
        """The same behind ``by`` more rows."""
        return Quotes({**self.columns, "row": self["row"] + by}) if by and len(self) else self

    def placed(self, places: Column) -> Quotes:
        """The same when row r of the trace has become row ``places[r]``."""
        if not len(self):
            return self
        rows = places[self["row"]]
        order = np.argsort(rows)
        return Quotes({name: column[order] for name, column in {**self.columns, "row": rows}.items()})

    @staticmethod
    def joined(parts: Sequence[Quotes], lengths: Sequence[int]) -> Quotes:
        """Those of traces of these lengths, one behind the other."""
        begins = np.cumsum([0, *lengths]).tolist()
        moved = [part.moved(begin) for part, begin in zip(parts, begins, strict=False) if len(part)]
        return Quotes({name: np.concatenate([part[name] for part in (Quotes(), *moved)]) for name in QUOTE_TYPES})
