"""Packets as columns: what is fed to a director, whoever made it (generator, script, capture).

A trace is not a list of objects. Each column is a numpy array with one element per packet, in time order;
addresses and flows are indices into :attr:`Trace.addresses` and :attr:`Trace.flows`, which are tables of columns
themselves.

**Blocks.** Traffic that is too long for memory is an iterator of traces (:data:`Blocks`), consecutive pieces in time
order:

* no packet of a block is earlier than one of the block before; a block may be empty;
* all blocks share one :class:`AddressTable` and one :class:`FlowTable`, the same objects. The source appends to them
  while it makes the next block, so an index in a later block may be larger than any before; rows that are there
  never change. Whoever keeps something per address or flow takes the new rows, ``table.words[seen:]``, at
  each block;
* ``raw_at`` points into the block's own ``raw``; blocks may share that too;
* ``left_out`` and ``damage`` of a block say what became known while it was made: over all blocks the counts add up;
* a block's columns are its own: whoever got it may keep or change them, and the source never looks at them again.

:meth:`Trace.blocks` cuts a trace into blocks, :meth:`Trace.joined` is the opposite.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import islice
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, TypeVar, overload

import numpy as np

from lbsim.engine.numbers import IN, OUT, OWN, REPLY
from lbsim.model.config import Address
from lbsim.model.datagrams import Datagrams
from lbsim.model.quotes import Quotes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "COLUMN_TYPES",
    "AddressTable",
    "Blocks",
    "BoolColumn",
    "Flow",
    "FlowTable",
    "IntColumn",
    "Trace",
    "Words",
]

IntColumn: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.signedinteger]]"
BoolColumn: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.bool_]]"
Words: TypeAlias = "np.ndarray[tuple[int, int], np.dtype[np.uint32]]"
Blocks: TypeAlias = "Iterator[Trace]"

Row = TypeVar("Row")

DIRECTION_NAMES = {IN: "in", OUT: "out", REPLY: "out", OWN: "in"}
_IS_ANSWER = np.array([DIRECTION_NAMES[direction] == "out" for direction in sorted(DIRECTION_NAMES)])

#: Column name -> numpy type. Times in nanoseconds since the trace's time 0, lengths in bytes.
COLUMN_TYPES: Mapping[str, str] = {
    "time": "i8",  # ns since time 0, never decreasing
    "flow": "i4",  # index into Trace.flows
    "direction": "i1",  # IN from a client; REPLY from whichever destination got the flow's last IN packet;
    #                     OUT from the real server written in src and sport; OWN from a program on the director
    "src": "i4",  # index into Trace.addresses; of a REPLY the virtual address (the sender is not known yet)
    "sport": "i4",
    "dst": "i4",
    "dport": "i4",
    "proto": "i2",  # IP protocol number of the transport header
    "flags": "i2",  # TCP flags: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32
    "length": "i4",  # bytes of the whole IP packet
    "ttl": "i2",  # TTL or hop limit
    "shape": "i1",  # engine.numbers: WHOLE, CUT_HEADER, NO_PORTS, FRAGMENT, ICMP_ERROR, BAD_OPTIONS, SOURCE_ROUTE
    "seq": "i8",  # TCP sequence number, or 0
    "ack": "i8",  # TCP acknowledgement number, or 0
    "raw_at": "i8",  # captures: where the IP packet begins in Trace.raw; else -1
    "raw_len": "i4",  # captures: how many of its bytes were captured; else 0
}


_ROWS_AT_ONCE = 4096  # of a table, made into objects
_ROWS_SHOWN = 8  # of a table, in its repr


@dataclass(frozen=True, slots=True)
class Flow:
    """A conversation as the client sees it: protocol, client end and the end it talks to.

    ``client`` and ``server`` are indices into :attr:`Trace.addresses`.
    """

    proto: int
    client: int
    client_port: int
    server: int
    server_port: int


class _Table(Sequence[Row]):
    """Rows of a kind, kept as columns: to its readers a sequence of objects, to bulk code numpy arrays.

    A table only grows. What a view or a slice shows never changes, and neither gets longer with its table.
    Equal are tables and sequences with equal rows.

    Invariants
    ----------
    The arrays of ``_columns`` are equally long, at least ``_length``, and replaced by twice as long ones when full:
    n rows cost O(n), however few are appended at a time.
    """

    __slots__ = ("_columns", "_length")

    TYPES: ClassVar[Mapping[str, str]]  # column name -> numpy type

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._columns: dict[str, np.ndarray[Any, Any]] = {n: np.empty(0, dtype=kind) for n, kind in self.TYPES.items()}
        self._length = 0
        self.extend(rows)

    @staticmethod
    @abstractmethod
    def _columns_of(rows: Sequence[Any]) -> dict[str, ArrayLike]:
        """The columns that say the same as ``rows``."""

    @abstractmethod
    def _rows(self, begin: int, end: int) -> Iterable[Row]:
        """The rows from ``begin`` up to ``end``, as objects."""

    # Reading

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> Self: ...
    def __getitem__(self, at: int | slice) -> Row | Self:
        """One row as an object, or some rows as a table (which shares memory with this one)."""
        if isinstance(at, slice):
            return self._with({name: column[: self._length][at] for name, column in self._columns.items()})
        row = range(self._length)[index(at)]
        return next(iter(self._rows(row, row + 1)))

    def __iter__(self) -> Iterator[Row]:
        for begin in range(0, self._length, _ROWS_AT_ONCE):
            yield from self._rows(begin, min(begin + _ROWS_AT_ONCE, self._length))

    def __eq__(self, other: object) -> bool:
        if type(other) is type(self):
            return all(np.array_equal(self.column(name), other.column(name)) for name in self.TYPES)
        if isinstance(other, Sequence):
            return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))
        return NotImplemented

    def __repr__(self) -> str:
        shown = [repr(row) for row in islice(self, _ROWS_SHOWN)]
        more = [f"... {self._length:,} in all"] if self._length > _ROWS_SHOWN else []
        return f"{type(self).__name__}([{', '.join(shown + more)}])"

    def take(self, rows: IntColumn) -> Self:
        """A table of the rows with these numbers, in this order."""
        return self._with({name: self.column(name)[rows] for name in self.TYPES})

    def _with(self, columns: dict[str, np.ndarray[Any, Any]]) -> Self:
        table = type(self)()
        table._columns, table._length = columns, len(next(iter(columns.values())))
        return table

    def column(self, name: str) -> np.ndarray[Any, Any]:
        """One of the columns of ``TYPES`` : read-only."""
        view = self._columns[name][: self._length]
        view.flags.writeable = False
        return view

    # Growing

    def append(self, row: Row) -> None:
        """Add one row."""
        self.extend((row,))

    def extend(self, rows: Iterable[Row]) -> None:
        """Add the rows of a table (fast), or objects."""
        if isinstance(rows, type(self)):
            self._append_columns(len(rows), {name: rows.column(name) for name in self.TYPES})
        else:
            made = list(rows)
            self._append_columns(len(made), self._columns_of(made))

    def _append_columns(self, count: int, columns: Mapping[str, ArrayLike]) -> None:
        """Add ``count`` rows; a single value stands for all of them."""
        end = self._length + count
        self._make_room(end)
        for name, values in columns.items():
            self._columns[name][self._length : end] = values
        self._length = end

    def _make_room(self, rows: int) -> None:
        room = len(next(iter(self._columns.values())))
        if rows <= room:
            return
        for name, kind in self.TYPES.items():
            longer = np.empty(max(rows, 2 * room), dtype=kind)
            longer[: self._length] = self._columns[name][: self._length]
            self._columns[name] = longer


class AddressTable(_Table[Address]):
    """Addresses: a sequence of ``ipaddress`` objects, and the columns ``family`` and ``words``.

    An IPv6 zone (``%eth0``) is not kept: no packet has one.
    """

    __slots__ = ()

    TYPES: ClassVar = {"family": "i1", "words": "4u4"}

    @property
    def family(self) -> IntColumn:
        """4 or 6 : int8[n], read-only."""
        return self.column("family")

    @property
    def words(self) -> Words:
        """The addresses as numbers of 32 bits, highest first : uint32[n, 4], read-only; IPv4 is the last one alone."""
        return self.column("words")

    def inside(self, network: IPv4Network | IPv6Network) -> BoolColumn:
        """Which of the addresses are in the network : bool[n]."""
        inside: BoolColumn = self.family == network.version
        first, mask = int(network.network_address), int(network.netmask)
        for at, shift in enumerate((96, 64, 32, 0)):
            inside &= (self.words[:, at] & (mask >> shift & 0xFFFFFFFF)) == (first >> shift & 0xFFFFFFFF)
        return inside

    def extend_columns(self, *, family: ArrayLike, words: ArrayLike) -> None:
        """Add ``words``, integers[k, 4], that are all of one ``family`` or of integers[k]."""
        table = np.asarray(words)
        assert table.ndim == 2, f"words in {table.ndim} dimensions"
        self._append_columns(len(table), {"family": family, "words": table})

    @staticmethod
    def _columns_of(rows: Sequence[Address]) -> dict[str, ArrayLike]:
        packed = b"".join(row.packed.rjust(16, b"\0") for row in rows)
        return {"family": [row.version for row in rows], "words": np.frombuffer(packed, dtype=">u4").reshape(-1, 4)}

    def _rows(self, begin: int, end: int) -> Iterator[Address]:
        families, words = self._columns["family"][begin:end].tolist(), self._columns["words"][begin:end].tolist()
        for family, (a, b, c, d) in zip(families, words, strict=True):
            yield IPv4Address(d) if family == 4 else IPv6Address(a << 96 | b << 64 | c << 32 | d)


class FlowTable(_Table[Flow]):
    """Flows: a sequence of :class:`Flow`, and one column for each of its fields."""

    __slots__ = ()

    TYPES: ClassVar = {"proto": "i2", "client": "i4", "client_port": "i4", "server": "i4", "server_port": "i4"}

    @property
    def proto(self) -> IntColumn:
        """IP protocol number : int16[n], read-only."""
        return self.column("proto")

    @property
    def client(self) -> IntColumn:
        """Index into the addresses : int32[n], read-only."""
        return self.column("client")

    @property
    def client_port(self) -> IntColumn:
        """Port : int32[n], read-only."""
        return self.column("client_port")

    @property
    def server(self) -> IntColumn:
        """Index into the addresses : int32[n], read-only."""
        return self.column("server")

    @property
    def server_port(self) -> IntColumn:
        """Port : int32[n], read-only."""
        return self.column("server_port")

    def extend_columns(
        self, *, proto: ArrayLike, client: ArrayLike, client_port: ArrayLike, server: ArrayLike, server_port: ArrayLike
    ) -> None:
        """Add the rows of integers[k]; a single integer stands for k equal ones."""
        values = (proto, client, client_port, server, server_port)
        self._append_columns(np.broadcast(*values).size, dict(zip(self.TYPES, values, strict=True)))

    @staticmethod
    def _columns_of(rows: Sequence[Flow]) -> dict[str, ArrayLike]:
        return {name: np.array([getattr(row, name) for row in rows], kind) for name, kind in FlowTable.TYPES.items()}

    def _rows(self, begin: int, end: int) -> Iterator[Flow]:
        return map(Flow, *(self._columns[name][begin:end].tolist() for name in self.TYPES))


@dataclass(frozen=True)
class Trace:
    """Packets in time order, as columns.

    Attributes
    ----------
    columns : one int array per name of :data:`COLUMN_TYPES`, all of the same length.
    addresses : the addresses that ``src`` and ``dst`` index, each once. Made from any sequence of addresses.
    flows : the conversations that ``flow`` indexes, in order of their first packet. Made from any sequence of flows.
    raw : bytes of the capture that ``raw_at`` points into; empty for made-up traffic.
    left_out : reason -> number of packets of the source that are not in the columns because lbsim has nothing to
        say about them (ARP, no service, ...).
    damage : what was wrong with the source, if it could be read only in part.
    quotes : the packets that ICMP errors of the trace quote, as far as they are known.
    datagrams : what fragments of the trace were before they were cut, if their bytes are known.
    """

    columns: Mapping[str, IntColumn]
    addresses: AddressTable
    flows: FlowTable
    raw: bytes = b""
    left_out: Mapping[str, int] = field(default_factory=dict)
    damage: str | None = None
    quotes: Quotes = field(default_factory=Quotes)
    datagrams: Datagrams = field(default_factory=Datagrams)

    def __post_init__(self) -> None:
        sizes = {name: len(column) for name, column in self.columns.items()}
        assert set(sizes) == set(COLUMN_TYPES), f"columns: {sorted(set(COLUMN_TYPES) ^ set(sizes))}"
        assert len(set(sizes.values())) <= 1, f"columns of different lengths: {sizes}"
        if not isinstance(self.addresses, AddressTable):
            object.__setattr__(self, "addresses", AddressTable(self.addresses))
        if not isinstance(self.flows, FlowTable):
            object.__setattr__(self, "flows", FlowTable(self.flows))

    def __len__(self) -> int:
        return len(self.columns["time"])

    @property
    def answers(self) -> BoolColumn:
        """Which packets are not a client's : bool[n]."""
        answers: BoolColumn = _IS_ANSWER.take(self.columns["direction"])
        return answers

    def __getitem__(self, name: str) -> IntColumn:
        return self.columns[name]

    @property
    def duration(self) -> int:
        """Nanoseconds from time 0 to the last packet."""
        return int(self["time"][-1]) if len(self) else 0

    @staticmethod
    def empty_columns(n: int) -> dict[str, IntColumn]:
        """Columns of ``n`` zeros, with ``raw_at`` at -1 and ``ttl`` at 64."""
        columns = {name: np.zeros(n, dtype=kind) for name, kind in COLUMN_TYPES.items()}
        columns["raw_at"][:] = -1
        columns["ttl"][:] = 64
        return columns

    @staticmethod
    def merge(traces: list[Trace]) -> Trace:
        """One trace of several, in time order; packets of the same instant keep the order of ``traces``.

        Equal flows of different traces become one flow. Addresses and flows are numbered as they are in the first
        trace, then those that the second adds, and so on.
        """
        from lbsim.model.merging import merge

        return traces[0] if len(traces) == 1 else merge(traces)

    def part(self, begin: int, end: int) -> Trace:
        """The packets from number ``begin`` up to ``end``, with nothing said of what was left out."""
        columns = {name: column[begin:end] for name, column in self.columns.items()}
        quotes, datagrams = self.quotes.part(begin, end), self.datagrams.part(begin, end)
        return Trace(columns, self.addresses, self.flows, self.raw, quotes=quotes, datagrams=datagrams)

    def blocks(self, packets: int) -> Blocks:
        """The trace in blocks of so many packets, at least one; what was left out is said by the last."""
        for begin in range(0, max(len(self), 1), packets):
            block = self.part(begin, begin + packets)
            is_last = begin + packets >= len(self)
            yield replace(block, left_out=self.left_out, damage=self.damage) if is_last else block

    @staticmethod
    def joined(blocks: Iterable[Trace]) -> Trace:
        """One trace of all blocks of a source; no block makes an empty trace, and a single one is that trace."""
        traces = list(blocks)
        if len(traces) == 1:
            return traces[0]
        raw, raw_at = _joined_raw(traces)
        lengths = [len(trace) for trace in traces]
        parts = [
            dict(trace.columns) | {"raw_at": _moved(trace["raw_at"], begin)}
            for trace, begin in zip(traces, raw_at, strict=True)
        ]
        return Trace(
            columns=_joined_columns(parts),
            addresses=traces[0].addresses if traces else AddressTable(),
            flows=traces[0].flows if traces else FlowTable(),
            raw=raw,
            left_out=_added_up(traces),
            damage=_all_damage(traces),
            quotes=Quotes.joined([trace.quotes for trace in traces], lengths),
            datagrams=Datagrams.joined([trace.datagrams for trace in traces], lengths),
        )


def _joined_raw(traces: Sequence[Trace]) -> tuple[bytes, list[int]]:
    """The captured bytes of all traces, shared ones once; and where those of each trace begin."""
    distinct = {id(trace.raw): trace.raw for trace in traces if len(trace.raw)}
    sizes = np.cumsum([0, *map(len, distinct.values())]).tolist()
    begins = dict(zip(distinct, sizes, strict=False))
    raw = next(iter(distinct.values())) if len(distinct) == 1 else b"".join(distinct.values())
    return raw, [begins.get(id(trace.raw), 0) for trace in traces]


def _moved(raw_at: IntColumn, begin: int) -> IntColumn:
    return np.where(raw_at >= 0, raw_at + begin, raw_at) if begin else raw_at


def _joined_columns(parts: Sequence[Mapping[str, IntColumn]]) -> dict[str, IntColumn]:
    return {
        name: np.concatenate([np.zeros(0, dtype=kind), *(part[name] for part in parts)])
        for name, kind in COLUMN_TYPES.items()
    }


def _added_up(traces: Sequence[Trace]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for trace in traces:
        total.update(trace.left_out)
    return dict(total)


def _all_damage(traces: Sequence[Trace]) -> str | None:
    return "; ".join(trace.damage for trace in traces if trace.damage) or None
