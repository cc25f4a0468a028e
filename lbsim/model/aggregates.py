"""What is kept of a run's packets when there are too many to keep them all: counts, made block by block.

Reports, figures and most expectations need no more than this; whole columns are for comparing packets one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lbsim.engine.numbers import IN
from lbsim.engine.reasons import TO_PROGRAM
from lbsim.model.verdict import REASONS, Verdict, reason_named

if TYPE_CHECKING:
    from lbsim.model.trace import IntColumn

__all__ = [
    "SINGLE_CLIENTS",
    "Aggregates",
    "Aggregator",
    "Bins",
    "Client",
    "Clients",
    "got_through",
    "made_connection",
    "reason_counts",
]

#: Up to this many client addresses are told apart; more of them are counted together.
SINGLE_CLIENTS = 12

MOST_BINS = 200  # of time
MOST_CELLS = 1_000_000  # time bins times destinations: with many destinations there are fewer bins
FINEST_BIN = 1_000_000  # ns

_CODES = max(reason.code for reason in REASONS) + 1
_MAKES_CONNECTION = np.zeros(_CODES, dtype=bool)
_MAKES_CONNECTION[[reason.code for reason in REASONS if reason.name in ("new", "rescheduled", "local_new")]] = True
_TO_PROGRAM = np.zeros(_CODES, dtype=bool)  # a destination on the director got the packet
_TO_PROGRAM[[*TO_PROGRAM, reason_named("seen_delivered").code]] = True


@dataclass(frozen=True, slots=True)
class Client:
    """An address that sent packets to the director as a client: packets from and to it, connections it opened."""

    address: str
    packets: int
    connections: int


@dataclass(frozen=True, slots=True)
class Clients:
    """All client addresses: how many, their packets in both directions, the connections that they opened.

    ``single`` are the clients one by one, in the order of their first packet, if there are at most SINGLE_CLIENTS.
    """

    addresses: int
    packets: int
    connections: int
    single: tuple[Client, ...]


@dataclass(frozen=True, slots=True)
class Bins:
    """What each destination got over time: one list per entry of Result.destinations, one number per bin.

    Bin i begins at ``i * width``. The width is a power of two of milliseconds, so that there are at most 200 bins.
    """

    width: int  # ns
    connections: tuple[tuple[int, ...], ...]  # new ones
    packets: tuple[tuple[int, ...], ...]  # that got to a destination, or back from it


@dataclass(frozen=True, slots=True)
class Aggregates:
    """What a run's packets add up to.

    Attributes
    ----------
    packets : all of them.
    reasons : reason code -> its number of packets, those that occurred.
    connections : packets that made a connection entry, per entry of Result.destinations.
    first_connections : service -> destinations (indices) of its first connections, in order.
    first : how many of them there are at most.
    """

    packets: int
    reasons: Mapping[int, int]
    connections: tuple[int, ...]
    first_connections: Mapping[str, tuple[int, ...]]
    first: int
    clients: Clients
    bins: Bins

    def to_document(self) -> dict[str, Any]:
        """The aggregates as plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Aggregates:
        """The reverse of :meth:`to_document`; KeyError, TypeError or ValueError if it is none."""
        clients, bins = document["clients"], document["bins"]
        return cls(
            packets=int(document["packets"]),
            reasons={int(code): int(count) for code, count in document["reasons"].items()},
            connections=tuple(document["connections"]),
            first_connections={name: tuple(row) for name, row in document["first_connections"].items()},
            first=int(document["first"]),
            clients=Clients(**{**clients, "single": tuple(Client(**row) for row in clients["single"])}),
            bins=Bins(bins["width"], *(tuple(tuple(row) for row in bins[name]) for name in ("connections", "packets"))),
        )


def reason_counts(reason: IntColumn) -> dict[int, int]:
    """Reason code -> its number of packets, those that occur."""
    counts = np.bincount(reason, minlength=_CODES)
    return {r.code: int(counts[r.code]) for r in REASONS if counts[r.code]}


def got_through(verdict: IntColumn, reason: IntColumn) -> IntColumn:
    """Which packets got to a destination, if only to a program on the director, or back from one : bool array."""
    through: IntColumn = (verdict == Verdict.FORWARD) | _TO_PROGRAM[reason]
    return through


def made_connection(reason: IntColumn) -> IntColumn:
    """Indices of the packets that got to a destination and made a connection entry, in order."""
    (indices,) = np.nonzero(_MAKES_CONNECTION[reason])
    return indices


class Aggregator:
    """Aggregates in the making. Where one block ends and the next begins does not show in them.

    Parameters
    ----------
    first : how many first connections of each service are noted.
    """

    def __init__(self, first: int) -> None:
        self._first = _FirstConnections(first)
        self._clients = _ClientCounts()
        self._bins = _BinCounts()
        self._packets = 0
        self._reasons = np.zeros(_CODES, dtype="i8")

    def add(self, columns: Mapping[str, IntColumn], services: Sequence[str]) -> None:
        """Count a block of a result's columns; ``services`` are those of the destinations so far."""
        made = made_connection(columns["reason"])
        self._packets += len(columns["time"])
        self._reasons += np.bincount(columns["reason"], minlength=_CODES)
        self._first.add(columns["dest"][made], services)
        self._clients.add(columns, made)
        self._bins.add(columns, made, len(services))

    def done(self, addresses: Sequence[object], destinations: int) -> Aggregates:
        """What was counted. ``addresses`` are what ``src`` and ``dst`` index; ``str()`` of one is its text."""
        return Aggregates(
            packets=self._packets,
            reasons={r.code: int(self._reasons[r.code]) for r in REASONS if self._reasons[r.code]},
            connections=tuple(self._bins.connections_of(destinations).tolist()),
            first_connections=self._first.done(),
            first=self._first.most,
            clients=self._clients.done(addresses),
            bins=self._bins.done(destinations),
        )


class _FirstConnections:
    """Which destinations got the first connections of each service."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._numbers: dict[str, int] = {}  # service -> its number here
        self._service_of = np.zeros(0, dtype="i8")  # destination -> number of its service
        self._noted = np.zeros(0, dtype="i8")  # per service
        self._service: list[IntColumn] = []
        self._dest: list[IntColumn] = []

    def add(self, dest: IntColumn, services: Sequence[str]) -> None:
        """Note the destinations of connections that were made one after another."""
        self._learn(services)
        dest = dest[dest >= 0]
        service = self._service_of[dest]
        missing = self._noted[service] < self.most
        dest, service = dest[missing], service[missing]
        if not len(dest):
            return
        order = np.argsort(service, kind="stable")
        dest, service = dest[order], service[order]
        rank = np.arange(len(service)) - np.searchsorted(service, service)
        wanted = self._noted[service] + rank < self.most
        self._dest.append(dest[wanted])
        self._service.append(service[wanted])
        self._noted += np.bincount(service[wanted], minlength=len(self._noted))

    def _learn(self, services: Sequence[str]) -> None:
        known = len(self._service_of)
        if len(services) == known:
            return
        new = [self._numbers.setdefault(name, len(self._numbers)) for name in services[known:]]
        self._service_of = np.append(self._service_of, new)
        self._noted = _longer(self._noted, len(self._numbers))

    def done(self) -> dict[str, tuple[int, ...]]:
        if not self._service:
            return {}
        service, dest = np.concatenate(self._service), np.concatenate(self._dest)
        order = np.argsort(service, kind="stable")
        parts = np.split(dest[order], np.cumsum(self._noted)[:-1])
        return {name: tuple(parts[n].tolist()) for name, n in self._numbers.items() if len(parts[n])}


class _ClientCounts:
    """Packets and connections per address."""

    def __init__(self) -> None:
        self._packets = np.zeros(0, dtype="i8")
        self._connections = np.zeros(0, dtype="i8")
        self._has_sent = np.zeros(0, dtype=bool)

    def add(self, columns: Mapping[str, IntColumn], made: IntColumn) -> None:
        inward = columns["direction"] == IN
        sent = columns["src"][inward]
        received = columns["dst"][~inward & (columns["verdict"] != Verdict.NONE)]
        size = 1 + max((int(column.max()) for column in (sent, received) if len(column)), default=-1)
        if size > len(self._packets):
            self._packets, self._connections, self._has_sent = (
                _longer(counts, size + size // 2) for counts in (self._packets, self._connections, self._has_sent)
            )
        np.add.at(self._packets, sent, 1)
        np.add.at(self._packets, received, 1)
        np.add.at(self._connections, columns["src"][made], 1)
        self._has_sent[sent] = True

    def done(self, addresses: Sequence[object]) -> Clients:
        (clients,) = np.nonzero(self._has_sent)
        packets, connections = self._packets[clients], self._connections[clients]
        rows = zip(clients.tolist(), packets.tolist(), connections.tolist(), strict=True)
        few = len(clients) <= SINGLE_CLIENTS
        single = tuple(Client(str(addresses[at]), sent, opened) for at, sent, opened in rows) if few else ()
        return Clients(len(clients), int(packets.sum()), int(connections.sum()), single)


class _BinCounts:
    """New connections, and packets that got through, per destination and time bin; a longer run has wider bins."""

    def __init__(self) -> None:
        self._width = FINEST_BIN
        self._end = 0  # time of the last packet
        self._connections = np.zeros((0, MOST_BINS), dtype="i8")
        self._packets = np.zeros((0, MOST_BINS), dtype="i8")

    def add(self, columns: Mapping[str, IntColumn], made: IntColumn, destinations: int) -> None:
        time, dest = columns["time"], columns["dest"]
        self._end = int(time[-1]) if len(time) else self._end
        self._make_room(destinations)
        through = got_through(columns["verdict"], columns["reason"])
        _count(self._packets, dest[through], time[through] // self._width)
        _count(self._connections, dest[made], time[made] // self._width)

    def _make_room(self, destinations: int) -> None:
        """So many rows, and no more bins than there may be of so many; all times so far fit."""
        most = max(2, min(MOST_BINS, MOST_CELLS // max(destinations, 1)) & ~1)
        while self._end // self._width >= most:
            self._width *= 2
            self._connections, self._packets = _pairs(self._connections), _pairs(self._packets)
        self._connections = _longer(self._connections[:, :most], destinations)
        self._packets = _longer(self._packets[:, :most], destinations)

    def connections_of(self, destinations: int) -> IntColumn:
        per_dest: IntColumn = _longer(self._connections, destinations).sum(axis=1)
        return per_dest

    def done(self, destinations: int) -> Bins:
        self._make_room(destinations)
        bins = self._end // self._width + 1
        rows = (tuple(map(tuple, counts[:, :bins].tolist())) for counts in (self._connections, self._packets))
        return Bins(self._width, *rows)


def _pairs(counts: Any) -> Any:
    """Each two bins as one; the upper half is empty then."""
    pairs = np.zeros_like(counts)
    pairs[:, : counts.shape[1] // 2] = counts[:, 0::2] + counts[:, 1::2]
    return pairs


def _count(cells: Any, dest: IntColumn, bins: IntColumn) -> None:
    """Add 1 to the cell (destination, bin) of each packet that has a destination."""
    has_dest = dest >= 0
    first = int(bins[0]) if len(bins) else 0
    span = int(bins[-1]) - first + 1 if len(bins) else 0  # bins never decrease: a block touches few of them
    at = dest[has_dest].astype("i8") * span + (bins[has_dest] - first)
    cells[:, first : first + span] += np.bincount(at, minlength=len(cells) * span).reshape(len(cells), span)


def _longer(rows: Any, length: int) -> Any:
    """The array with at least ``length`` rows, new ones 0."""
    if length <= len(rows):
        return rows
    longer = np.zeros((length, *rows.shape[1:]), dtype=rows.dtype)
    longer[: len(rows)] = rows
    return longer
