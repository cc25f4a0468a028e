"""What a run answered: per-packet columns, tables at asked moments, counters, provenance.

The engine and a real kernel return the same type, so whoever compares two results does not know which side was
real. A kernel does not tell everything: why a packet got its verdict (its reasons are those of
``model.verdict.SEEN``), counters in mid-run and those of a destination that is gone (:data:`UNTOLD`), thresholds
(None). What reads a result must not count what was not told.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO, get_args

import numpy as np

from lbsim.errors import LbsimError
from lbsim.model.aggregates import Aggregates, Aggregator, made_connection, reason_counts
from lbsim.model.config import Method, Persistence, ServiceId
from lbsim.model.finding import Finding
from lbsim.model.verdict import REASONS, Verdict, reason_of
from lbsim.model.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lbsim.model.trace import AddressTable, IntColumn, Trace

__all__ = [
    "FIRST_CONNECTIONS",
    "RESULT_COLUMNS",
    "UNTOLD",
    "ConnRow",
    "Counters",
    "DestRow",
    "Destination",
    "Moment",
    "Provenance",
    "Result",
    "ResultBlock",
    "Series",
    "ServiceOptions",
    "ServiceRow",
    "Sink",
    "Ways",
]

FORMAT = "lbsim-result/1"

#: Column name -> numpy type; one element per packet of the trace, in its order.
RESULT_COLUMNS: Mapping[str, str] = {
    "time": "i8",  # ns since time 0
    "flow": "i4",  # conversation number
    "direction": "i1",  # 0 in (client to service), 1 out (real server to client)
    "proto": "i2",  # IP protocol number
    "length": "i4",  # bytes of the IP packet
    "src": "i4",  # before the director; index into Result.addresses
    "sport": "i4",
    "dst": "i4",
    "dport": "i4",
    "verdict": "i1",  # model.verdict.Verdict
    "reason": "i2",  # model.verdict.Reason.code
    "dest": "i4",  # index into Result.destinations, or -1
    "new_src": "i4",  # after the director, if the verdict is FORWARD (or LOCAL for local_dest); else -1;
    #                   with direct routing and inside a tunnel as before
    "new_sport": "i4",
    "new_dst": "i4",
    "new_dport": "i4",
}


_ADDRESS_COLUMNS = ("src", "dst", "new_src", "new_dst")

#: Longer connection tables are not written to the file of a result whose columns were left out.
FILED_ENTRIES = 100_000

#: How many first connections of each service are known even if the columns are left out.
FIRST_CONNECTIONS = 100


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a result comes from; travels with every file."""

    lbsim: str  # version
    side: str  # "engine" or "kernel"
    lane: str  # "interpreted", "compiled"; "" for a kernel
    kernel: str  # the profile's name, or the release of the kernel that ran
    scenario: str  # its name
    digest: str  # SHA-256 over what the scenario means (not over its comments)
    seed: int
    hz: int
    start_jiffies: int  # the tick at the trace's time 0


@dataclass(frozen=True, slots=True)
class Counters:
    """The kernel's five counters. Bytes are those of IP packets; in before, out after rewriting."""

    connections: int = 0
    in_packets: int = 0
    out_packets: int = 0
    in_bytes: int = 0
    out_bytes: int = 0

    @property
    def told(self) -> bool:
        """False of :data:`UNTOLD`: these are no counts."""
        return self.connections >= 0

    @property
    def packets(self) -> int:
        return self.in_packets + self.out_packets

    @property
    def bytes(self) -> int:
        return self.in_bytes + self.out_bytes


#: The counters that a kernel does not tell: those of mid-run, and those of a destination that was removed.
UNTOLD = Counters(-1, -1, -1, -1, -1)


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination that existed at some time of the run, with its counters at the end.

    ``present`` is False if it was removed; a destination removed and added again is one row. With counters that
    are not told, ``active`` and ``inactive`` are -1 if it was removed, else those of the table at the end.
    """

    service: str  # "tcp 192.168.1.10:80"
    dest: str  # "10.0.0.11:80"
    present: bool
    weight: int
    active: int
    inactive: int
    counters: Counters


@dataclass(frozen=True, slots=True)
class DestRow:
    """One destination in a listing. ``upper`` and ``lower`` are its thresholds in connections (``-x``, ``-y``), 0 for
    none; None: not told.
    """

    dest: str
    weight: int
    active: int
    inactive: int
    counters: Counters
    method: Method = "masq"
    upper: int | None = 0
    lower: int | None = 0


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """What a service has beside its scheduler, as listings show it: a persistence engine only with persistence."""

    persistence: Persistence | None = None
    engine: str = ""
    one_packet: bool = False


_NO_OPTIONS = ServiceOptions()


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One service in a listing; destinations in the kernel's order (newest first). ``options`` of None: not told."""

    service: str
    scheduler: str
    flags: tuple[str, ...]
    counters: Counters
    dests: tuple[DestRow, ...]
    options: ServiceOptions | None = _NO_OPTIONS


@dataclass(frozen=True, slots=True)
class ConnRow:
    """One connection entry, ends as ``address:port``, ``expires`` in whole seconds left (cut, as the kernel
    lists it).
    """

    protocol: str  # "TCP", "UDP"
    client: str
    virtual: str
    destination: str
    state: str
    expires: int


@dataclass(frozen=True, slots=True)
class Moment:
    """The tables at one moment. Services in order of address, entries sorted by their ends.

    A real kernel goes on while its tables are read: they are as they were at some time between ``at`` and
    ``at + took``.
    """

    at: int  # ns
    services: tuple[ServiceRow, ...]
    connections: Sequence[ConnRow]
    left_out: int = 0  # entries that are not in ``connections``, because a file would have become too long
    took: int = 0  # ns


@dataclass(frozen=True, slots=True)
class Series:
    """Active and inactive connections per destination over time, one list per entry of Result.destinations."""

    times: tuple[int, ...] = ()  # ns
    active: tuple[tuple[int, ...], ...] = ()
    inactive: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Ways:
    """How a block's packets left, of a run in which not all go over NAT.

    Attributes
    ----------
    method : of each packet, as ``engine.numbers`` numbers them.
    addr, port, tun_type, tun_port, tun_flags, keep_df : of each destination that ``dest`` indexes: where it is, and how
        packets for it are wrapped. ``addr`` indexes the block's addresses.
    """

    method: IntColumn
    addr: IntColumn
    port: IntColumn
    tun_type: IntColumn
    tun_port: IntColumn
    tun_flags: IntColumn
    keep_df: int


@dataclass(frozen=True, slots=True)
class ResultBlock:
    """What a run answered to one block of its trace, while it goes on.

    Attributes
    ----------
    columns : those of :data:`RESULT_COLUMNS`, one element per packet of the block.
    addresses : what ``src``, ``dst``, ``new_src`` and ``new_dst`` index. It grows from block to block; rows that
        are there never change. Likewise:
    destinations : (service, destination) names that ``dest`` indexes.
    provenance : that of the result.
    ways : None if all packets of the block went over NAT.
    limits : of each address the MTU of the route to it; None if routes have none.
    """

    columns: Mapping[str, IntColumn]
    addresses: AddressTable
    destinations: Sequence[tuple[str, str]]
    provenance: Provenance
    ways: Ways | None = None
    limits: IntColumn | None = None

    def __len__(self) -> int:
        return len(self.columns["time"])

    def __getitem__(self, name: str) -> IntColumn:
        return self.columns[name]


class Sink(Protocol):
    """Takes a run's packets block by block, in their order, so that nobody has to keep them.

    Every run hands over at least one block, if need be an empty one.
    """

    def add(self, trace: Trace, answers: ResultBlock) -> None:
        """Take a block of the trace and what became of its packets; both are equally long."""


@dataclass(frozen=True)
class Result:
    """What a director did with a trace.

    Of a run with very many packets the columns are left out: then ``columns`` and ``addresses`` are empty, and
    ``summed`` holds what the packets add up to. Questions that can be answered from that (``len()``,
    :attr:`aggregates`, :meth:`reason_counts`, :meth:`first_connections`, :meth:`made_connections`) do not depend on it;
    whatever needs columns raises an LbsimError that says so.
    """

    provenance: Provenance
    addresses: Sequence[str]
    destinations: tuple[Destination, ...]
    columns: Mapping[str, IntColumn]
    moments: tuple[Moment, ...]  # the asked ones, in time order
    final: Moment  # after the last packet and command
    series: Series = Series()
    findings: tuple[Finding, ...] = ()
    left_out: Mapping[str, int] | None = None  # packets of the source that are not in the columns, by reason
    damage: str | None = None  # what was wrong with the source, if it could be read only in part
    summed: Aggregates | None = None  # in place of the columns, if those were left out

    def __len__(self) -> int:
        return len(self.columns["time"]) if self.summed is None else self.summed.packets

    def __getitem__(self, name: str) -> IntColumn:
        """A column; LbsimError if the columns were left out."""
        self.need_columns()
        return self.columns[name]

    def need_columns(self) -> None:
        """Do nothing if the columns are there.

        Raises
        ------
        LbsimError : they were left out; run again and keep them.
        """
        if self.summed is not None:
            name = self.provenance.scenario or "the result"
            raise LbsimError(
                f"{name} has no per-packet columns, they were left out of a run with {counted(len(self), 'packet')}; "
                "expected one with --keep-columns (in Python: simulate(..., columns=True))"
            )

    @cached_property
    def aggregates(self) -> Aggregates:
        """What the packets add up to."""
        if self.summed is not None:
            return self.summed
        aggregator = Aggregator(FIRST_CONNECTIONS)
        aggregator.add(self.columns, [row.service for row in self.destinations])
        return aggregator.done(self.addresses, len(self.destinations))

    def reason_counts(self) -> dict[str, int]:
        """Reason name -> number of packets, those that occurred, most frequent first."""
        counts = reason_counts(self["reason"]) if self.summed is None else self.summed.reasons
        return {reason_of(code).name: count for code, count in sorted(counts.items(), key=lambda row: -row[1])}

    def connection_packets(self) -> IntColumn:
        """Indices of the packets that got to a destination and made a connection entry, in order.

        One that makes an entry and then dies of its TTL is not among them.
        """
        return made_connection(self["reason"])

    def first_connections(self, service: str, count: int) -> list[int]:
        """Destinations (indices) of a service's first connections, in the order in which they began.

        Raises
        ------
        LbsimError : the columns were left out, and not so many first connections were noted.
        """
        if self.summed is not None and count <= self.summed.first:
            return list(self.summed.first_connections.get(service, ())[:count])
        made = self["dest"][self.connection_packets()]
        own = np.array([row.service == service for row in self.destinations] + [False])  # the last one for -1
        found: list[int] = made[own[made]][:count].tolist()
        return found

    def made_connections(self, service: str) -> int:
        """How many packets of a service made a connection entry."""
        made = self.aggregates.connections
        return sum(count for row, count in zip(self.destinations, made, strict=True) if row.service == service)

    def endpoint(self, address: int, port: int) -> str:
        """``10.0.0.11:80`` or ``[fd00::11]:80``."""
        text = self.addresses[address]
        return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The packets as Arrow columns (see ``model.arrow``): ``pyarrow.table(result)``, ``polars.DataFrame(result)``.

        Raises
        ------
        LbsimError : the columns were left out, or pyarrow is not installed.
        """
        from lbsim.model.arrow import result_batches

        return result_batches(self).__arrow_c_stream__(requested_schema)

    def to_json(self, path: Path) -> None:
        """Write the whole result; the file is complete or not there at all."""
        document = {
            "format": FORMAT,
            "provenance": asdict(self.provenance),
            "verdicts": {v.value: v.name for v in Verdict},
            "reasons": {r.code: r.name for r in REASONS},
            "addresses": list(self.addresses),
            "destinations": [asdict(d) for d in self.destinations],
            "moments": [self._moment_document(m) for m in self.moments],
            "final": self._moment_document(self.final),
            "series": asdict(self.series),
            "findings": [asdict(f) for f in self.findings],
            "left_out": dict(self.left_out or {}),
            "damage": self.damage,
        }
        if self.summed is not None:
            document |= {"columns": None, "aggregates": self.summed.to_document()}
        part = path.with_name(path.name + ".part")
        try:
            with part.open("w", encoding="utf-8") as out:
                # In pieces: dump() would not use the fast encoder, dumps() of all would need the text in memory.
                out.write(json.dumps(document, separators=(",", ":"))[:-1])
                if self.summed is None:
                    self._write_columns(out)
                out.write("}\n")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _moment_document(self, moment: Moment) -> dict[str, Any]:
        """A moment as plain values; if the columns are left out, so are very many connection entries."""
        services = [asdict(row) for row in moment.services]
        document: dict[str, Any] = {"at": moment.at, "took": moment.took, "services": services}
        left_out = moment.left_out
        if self.summed is not None and len(moment.connections) > FILED_ENTRIES:
            left_out += len(moment.connections)
            return document | {"connections": [], "left_out": left_out}
        document["connections"] = [asdict(row) for row in moment.connections]
        return document | ({"left_out": left_out} if left_out else {})

    def _write_columns(self, out: TextIO) -> None:
        for name, before in zip(RESULT_COLUMNS, [',"columns":{', *[","] * len(RESULT_COLUMNS)], strict=False):
            out.write(f'{before}"{name}":{json.dumps(self.columns[name].tolist(), separators=(",", ":"))}')
        out.write("}")

    @classmethod
    def from_json(cls, path: Path) -> Result:
        """The result that :meth:`to_json` wrote.

        Raises
        ------
        LbsimError : the file cannot be read or is no result.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise LbsimError(f"cannot read: {error.strerror}", file=str(path)) from None
        except (ValueError, RecursionError):
            raise LbsimError("not JSON; expected a result.json that lbsim run wrote", file=str(path)) from None
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise LbsimError(f"not a result; expected the format {FORMAT!r} of lbsim run", file=str(path))
        try:
            return cls._from_document(document)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise LbsimError(f"damaged result: {error!r}", file=str(path)) from None

    @classmethod
    def _from_document(cls, document: dict[str, Any]) -> Result:
        left_out = document["columns"] is None
        columns = {} if left_out else _columns_of(document)
        summed = Aggregates.from_document(document["aggregates"]) if left_out else None
        if summed is not None and len(summed.connections) != len(document["destinations"]):
            raise ValueError("aggregates of other destinations")
        series = document["series"]
        return cls(
            provenance=Provenance(**document["provenance"]),
            addresses=tuple(document["addresses"]),
            destinations=tuple(
                Destination(**{**row, "counters": Counters(**row["counters"])}) for row in document["destinations"]
            ),
            columns=columns,
            moments=tuple(_moment(row) for row in document["moments"]),
            final=_moment(document["final"]),
            series=Series(
                tuple(series["times"]),
                tuple(tuple(row) for row in series["active"]),
                tuple(tuple(row) for row in series["inactive"]),
            ),
            findings=tuple(Finding(**row) for row in document["findings"]),
            left_out=document["left_out"],
            damage=document["damage"],
            summed=summed,
        )


def _columns_of(document: dict[str, Any]) -> dict[str, IntColumn]:
    """The columns of a document; ValueError if they do not fit together."""
    columns = {name: np.array(document["columns"][name], dtype=kind) for name, kind in RESULT_COLUMNS.items()}
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError("columns of different lengths")
    for names, size in ((_ADDRESS_COLUMNS, len(document["addresses"])), (["dest"], len(document["destinations"]))):
        for name in names:
            if len(columns[name]) and not -1 <= columns[name].min() <= columns[name].max() < size:
                raise ValueError(f"column {name} names rows that do not exist")
    return columns


def _moment(row: dict[str, Any]) -> Moment:
    services = tuple(
        ServiceRow(
            service=s["service"],
            scheduler=s["scheduler"],
            flags=tuple(s["flags"]),
            counters=Counters(**s["counters"]),
            dests=tuple(_dest_row(d) for d in s["dests"]),
            options=_options(s),
        )
        for s in row["services"]
    )
    connections = tuple(ConnRow(**c) for c in row["connections"])
    return Moment(row["at"], services, connections, left_out=row.get("left_out", 0), took=row.get("took", 0))


def _dest_row(row: dict[str, Any]) -> DestRow:
    """A destination's row; older documents do not tell thresholds. ValueError if there is no such method."""
    made = DestRow(**{"upper": None, "lower": None, **row, "counters": Counters(**row["counters"])})
    if made.method not in get_args(Method):
        raise ValueError(f"method {made.method}")
    return made


def _options(row: dict[str, Any]) -> ServiceOptions | None:
    """A service's options, which older documents do not tell; ValueError if no service can have them."""
    options = row.get("options")
    if options is None:
        return None
    kept = None if options["persistence"] is None else Persistence(**options["persistence"])
    version = ServiceId.parse(row["service"]).address.version
    if kept is not None and not 0 <= kept.mask(version) <= Persistence().mask(version):
        raise ValueError(f"netmask {kept.netmask}")
    return ServiceOptions(**{**options, "persistence": kept})
