"""What reports show, before anyone formats it: rows in reading order, cut to a length that can be read."""

from __future__ import annotations

from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING, TypeVar

from lbsim.listing.table import METHODS, options_text
from lbsim.model.config import ServiceId
from lbsim.model.verdict import REASONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lbsim.model.result import ConnRow, Destination, Result, ServiceRow
    from lbsim.model.verdict import Reason

__all__ = [
    "SHOWN",
    "DestLine",
    "ServiceTable",
    "by_address",
    "connection_lines",
    "first_of",
    "listing_lines",
    "reason_rows",
    "service_tables",
]

#: How many rows of one kind a report shows; the others are counted.
SHOWN = 20

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class DestLine:
    """A line of a service's table: a destination, or the total of all of them."""

    dest: str
    state: str  # "", "quiesced" (weight 0) or "removed"
    connections: int
    packets: int
    bytes: int
    active: int
    inactive: int
    weight: int


@dataclass(frozen=True, slots=True)
class ServiceTable:
    """A service with its destinations: all of them by address, or the busiest if there are too many.

    ``hidden`` are not shown; ``total`` counts them too. ``scheduler`` is followed by its flags and the service's other
    options; it is empty if the service was deleted.
    """

    service: str
    scheduler: str
    lines: tuple[DestLine, ...]
    hidden: int
    total: DestLine


def service_tables(result: Result, shown: int = SHOWN) -> list[ServiceTable]:
    """One table per service that existed, in the order of protocol and address."""
    schedulers = {row.service: " ".join((row.scheduler, *row.flags)) + _options(row) for row in result.final.services}
    per_service: dict[str, list[Destination]] = {service: [] for service in schedulers}
    for row in result.destinations:
        per_service.setdefault(row.service, []).append(row)
    return [
        _service_table(service, schedulers.get(service, ""), per_service[service], shown)
        for service in sorted(per_service, key=by_address)
    ]


def _service_table(service: str, scheduler: str, rows: Sequence[Destination], shown: int) -> ServiceTable:
    lines = [_line(row) for row in sorted(rows, key=lambda row: by_address(row.dest))]
    if len(lines) > shown:
        lines = sorted(lines, key=lambda line: -line.connections)
    columns = ("connections", "packets", "bytes", "active", "inactive", "weight")
    sums = {name: sum(getattr(line, name) for line in lines) for name in columns}
    return ServiceTable(
        service, scheduler, tuple(lines[:shown]), max(len(lines) - shown, 0), DestLine("total", "", **sums)
    )


def _line(row: Destination) -> DestLine:
    quiesced = "" if row.weight else "quiesced"
    return DestLine(
        dest=row.dest,
        state=quiesced if row.present else "removed",
        connections=row.counters.connections,
        packets=row.counters.packets,
        bytes=row.counters.bytes,
        active=row.active,
        inactive=row.inactive,
        weight=row.weight,
    )


def by_address(name: str) -> tuple[str, int, bytes, int, str]:
    """A sort key for ``10.0.0.11:80``, ``tcp 10.0.0.1:80`` and ``fwm 1``: numbers as numbers, IPv4 before IPv6."""
    if name.startswith("fwm "):
        _, mark, *ipv6 = name.split()
        return "fwm", 6 if ipv6 else 4, b"", int(mark), name
    protocol, _, endpoint = name.rpartition(" ")
    host, _, port = endpoint.rpartition(":")
    version, family = (6, AF_INET6) if host.startswith("[") else (4, AF_INET)
    try:
        return protocol, version, inet_pton(family, host.strip("[]")), int(port), name
    except (OSError, ValueError):
        return protocol, 9, b"", 0, name


def first_of(rows: Sequence[_Row], shown: int = SHOWN) -> tuple[Sequence[_Row], int]:
    """The rows to show, and how many are left."""
    return rows[:shown], max(len(rows) - shown, 0)


def reason_rows(result: Result) -> list[tuple[Reason, int]]:
    """Reasons that occurred and their numbers of packets, most frequent first."""
    named = {reason.name: reason for reason in REASONS}
    return [(named[name], count) for name, count in result.reason_counts().items()]


def listing_lines(services: Iterable[ServiceRow], shown: int = SHOWN) -> tuple[list[str], int]:
    """Services and destinations in the columns of ``ipvsadm -L -n``, and how many lines are left out."""
    lines = ["Prot LocalAddress:Port Scheduler Flags"]
    lines.append("  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn")
    body = []
    for row in services:
        protocol, _, endpoint = row.service.replace(" ipv6", " IPv6").partition(" ")
        flags = f" ({','.join(row.flags)})" if row.flags else ""
        body.append(f"{protocol.upper():<4} {endpoint} {row.scheduler}{flags}{_options(row)}")
        for dest in sorted(row.dests, key=lambda dest: by_address(dest.dest)):
            numbers = f"{dest.weight:<6} {dest.active:<10} {dest.inactive}"
            body.append(f"  -> {dest.dest:<28} {METHODS[dest.method]:<7} {numbers}")
    return lines + body[:shown], max(len(body) - shown, 0)


def _options(row: ServiceRow) -> str:
    """What listings show behind scheduler and flags; nothing if that is not told."""
    if row.options is None:
        return ""
    return options_text(row.options, ServiceId.parse(row.service).address.version)


def connection_lines(rows: Sequence[ConnRow], shown: int = SHOWN) -> tuple[list[str], int]:
    """Connection entries in the columns of ``ipvsadm -L -n -c``, and how many are left out."""
    cells = [("pro", "expire", "state", "source", "virtual", "destination")]
    for row in rows[:shown]:
        left = f"{row.expires // 60:02d}:{row.expires % 60:02d}"
        cells.append((row.protocol, left, row.state, row.client, row.virtual, row.destination))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [" ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return lines, max(len(rows) - shown, 0)
