"""Datagrams that came in fragments, put together again: a side table of a trace.

The fragment that completes its datagram is a row of the trace that says what the whole says: ports, flags, length. Its
bytes in ``Trace.raw`` are those of the fragment, as captured; the whole stands here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # no numpy here: replays put fragments together in a guest that has none
    from lbsim.model.trace import IntColumn

__all__ = ["Datagram", "Datagrams"]


class Datagram(NamedTuple):
    """An IP packet as it was before it was cut, and what is known of the fragments that it came in.

    Attributes
    ----------
    largest : the length of the largest one.
    lengths : the bytes of payload of each, in the order of the payload.
    """

    data: bytes
    largest: int
    lengths: tuple[int, ...] = ()


class Datagrams:
    """The rows of a trace that complete a datagram, and these datagrams.

    Attributes
    ----------
    rows : numbers of packets of the trace, increasing.
    wholes : as many.

    >>> len(Datagrams()), Datagrams([3], [Datagram(b"E...", 1500)]).part(2, 5).rows
    (0, (1,))
    """

    __slots__ = ("rows", "wholes")

    def __init__(self, rows: Iterable[int] = (), wholes: Iterable[Datagram] = ()) -> None:
        self.rows = tuple(rows)
        self.wholes = tuple(wholes)
        assert len(self.rows) == len(self.wholes), f"{len(self.rows)} rows, {len(self.wholes)} datagrams"

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[int, Datagram]]:
        return zip(self.rows, self.wholes, strict=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Datagrams):
            return NotImplemented
        return (self.rows, self.wholes) == (other.rows, other.wholes)

    def of(self, row: int) -> Datagram | None:
        """The datagram that the row completes, if it does."""
        k = bisect_left(self.rows, row)
        return self.wholes[k] if k < len(self.rows) and self.rows[k] == row else None

    def part(self, begin: int, end: int) -> Datagrams:
        """Those of the rows from ``begin`` up to ``end`` of the trace, as rows of that part."""
        first, last = bisect_left(self.rows, begin), bisect_left(self.rows, end)
        return Datagrams((row - begin for row in self.rows[first:last]), self.wholes[first:last])

    def placed(self, places: IntColumn) -> Datagrams:
        """The same when row r of the trace has become row ``places[r]``."""
        moved = sorted((int(places[row]), whole) for row, whole in self)
        return Datagrams((row for row, _ in moved), (whole for _, whole in moved))

    @staticmethod
    def joined(parts: Sequence[Datagrams], lengths: Sequence[int]) -> Datagrams:
        """Those of traces of these lengths, one behind the other."""
        begins = accumulate(lengths, initial=0)
        pairs = [(begin + row, whole) for begin, part in zip(begins, parts, strict=False) for row, whole in part]
        return Datagrams((row for row, _ in pairs), (whole for _, whole in pairs))
