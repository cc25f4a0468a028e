"""The kernel's steps against the engine's: identical, or the first divergence with what led to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from ipaddress import ip_address
from typing import Any

from lbsim.engine.numbers import SCTP
from lbsim.engine.sctp_chunks import EVENTS
from lbsim.kernel.job import CLIENT, Command, Event, Job, Observation, Packet, Show
from lbsim.kernel.lots import Lots
from lbsim.kernel.rehearsal import rehearse
from lbsim.kernel.seen import Listing, Step, steps_of
from lbsim.model.result import ConnRow, Counters
from lbsim.model.wording import seconds
from lbsim.packet.headers import parse

__all__ = [
    "IN_LOTS",
    "IN_SETUP",
    "Divergence",
    "Verification",
    "compare_steps",
    "setup_differences",
    "transcript_line",
    "truncated",
    "with_lots",
    "with_tables",
]

LOOK_AFTER = 1_000_000  # ns
SHOWN_ROWS = 40
CONTEXT = 8  # events shown before the first divergence
# Events of a divergence that is in none
IN_SETUP = -1  # in the commands before time 0
IN_LOTS = -2  # in how often lots fell where


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first event in which kernel and engine differ.

    ``differences`` name the field and both sides' value; ``transcript`` is what happened before.
    """

    event: int
    at: int
    differences: tuple[str, ...]
    transcript: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verification:
    """What was compared, and the first divergence if there is one.

    ``lots``: picks of twos, which were those of the kernel. ``results``: the folder with both sides' results, if they
    were written.
    """

    scenario: str
    kernel: str
    packets: int
    connections: int
    counters: int
    divergence: Divergence | None = None
    results: str | None = None
    lots: int = 0

    @property
    def identical(self) -> bool:
        return self.divergence is None

    def lines(self) -> list[str]:
        """What to print: one line if identical, one more if results were written."""
        written = [f"  results: {self.results}"] if self.results else []
        if self.divergence is None:
            lots = f", {self.lots:,} lots as likely as they should be" if self.lots else ""
            return [
                f"{self.scenario}: identical: {self.packets:,} packets, {self.connections:,} connection rows, "
                f"{self.counters:,} counters{lots} on {self.kernel}",
                *written,
            ]
        places = {IN_SETUP: "first in the set-up", IN_LOTS: "in its lots only"}
        event = f"first at event {self.divergence.event} ({seconds(self.divergence.at)})"
        return [
            f"{self.scenario}: DIFFERENT on {self.kernel}, {places.get(self.divergence.event, event)}",
            *(f"    {line}" for line in self.divergence.transcript),
            *(f"  ! {line}" for line in self.divergence.differences),
            *written,
        ]

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return {"identical": self.identical} | asdict(self)


def setup_differences(job: Job, seen: Observation, engine: Sequence[tuple[int, str]]) -> list[str]:
    """The commands before time 0 that the kernel answered in another way than the engine (``Rehearsal.setup``)."""
    answers = [(one.status, " ".join(one.output.split())) for one in seen.setup]
    return [
        f"set-up: {' '.join(argv)}: kernel {real}, engine {ours}"
        for argv, real, ours in zip(job.setup, answers, engine, strict=True)
        if real != ours
    ]


def compare_steps(
    job: Job, kernel: Sequence[Step], engine: Iterable[Step], *, release: str, setup: Sequence[str] = ()
) -> Verification:
    """Both sides event by event, up to the first divergence; ``setup``: those of :func:`setup_differences`."""
    packets = connections = counters = 0
    if setup:
        return Verification(job.name, release, 0, 0, 0, Divergence(IN_SETUP, 0, tuple(setup), ()))
    divergence = None
    for number, (event, real, ours) in enumerate(zip(job.events, kernel, engine, strict=True)):
        differences = _differences(real, ours)
        if differences:
            before = range(max(0, number - CONTEXT), number + 1)
            transcript = tuple(transcript_line(job.events[i], kernel[i]) for i in before)
            divergence = Divergence(number, real.at, tuple(differences), transcript)
            break
        packets += isinstance(event, Packet)
        if real.listing:
            connections += len(real.listing.conns)
            counters += 3 * len(real.listing.dests) + 5 * len(real.listing.counters or ())
    return Verification(job.name, release, packets, connections, counters, divergence)


def with_lots(found: Verification, lots: Lots) -> Verification:
    """The verification with what became of the lots, once all else is known to be identical."""
    if found.divergence is not None:
        return found
    strange = tuple(lots.differences())
    return replace(found, lots=lots.drawn, divergence=Divergence(IN_LOTS, 0, strange, ()) if strange else None)


def _differences(real: Step, ours: Step) -> list[str]:
    found = []
    if real.arrivals != ours.arrivals:
        found += _of_arrivals(real.arrivals, ours.arrivals)
    if real.answer != ours.answer:
        found.append(f"answer: kernel {real.answer}, engine {ours.answer}")
    if real.listing and ours.listing:
        found += _of_listings(real.listing, ours.listing, ours)
    return found


def _of_arrivals(real: Sequence[tuple[str, bytes]], ours: Sequence[tuple[str, bytes]]) -> list[str]:
    if len(real) != len(ours):
        return [f"packets that left: kernel {_told(real)}, engine {_told(ours)}"]
    found = []
    for (where, data), (our_where, our_data) in zip(real, ours, strict=True):
        if where != our_where:
            found.append(f"sent to: kernel {where}, engine {our_where}")
        if data != our_data:
            at = next(
                (i for i, (a, b) in enumerate(zip(data, our_data, strict=False)) if a != b),
                min(len(data), len(our_data)),
            )
            found.append(f"bytes from {at} on: kernel {data.hex()}, engine {our_data.hex()}")
    return found


def _of_listings(real: Listing, ours: Listing, step: Step) -> list[str]:
    found = []
    near = step.near
    for what in ("services", "dests", "options", "counters"):
        theirs, our_rows = getattr(real, what) or {}, getattr(ours, what) or {}
        for key in dict.fromkeys([*theirs, *our_rows]):
            value, expected = theirs.get(key), our_rows.get(key)
            known = value in (expected, *((getattr(one, what) or {}).get(key) for one in near))
            if not known and not (key in step.leftovers and _between(value, expected, step.leftovers[key])):
                found.append(f"{what} {key}: kernel {value}, engine {expected}")
    for service in real.services:
        order, our_order = (_order(listing, service) for listing in (real, ours))
        if order != our_order and set(order) == set(our_order):
            found.append(f"order of {service}: kernel {', '.join(order)}; engine {', '.join(our_order)}")
    return found + _of_connections(real.conns, [ours.conns, *(one.conns for one in near)])


def _between(value: object, expected: object, leftover: Counters) -> bool:
    """Whether counters are at least the expected ones, and above them by no more than what may be left over."""
    if not isinstance(value, Counters) or not isinstance(expected, Counters):
        return False
    return all(b <= a <= b + c for a, b, c in zip(astuple(value), astuple(expected), astuple(leftover), strict=True))


def _order(listing: Listing, service: str) -> list[str]:
    return [dest for of, dest in listing.dests if of == service]


def _of_connections(real: Sequence[ConnRow], ours: Sequence[Sequence[ConnRow]]) -> list[str]:
    """Entries that only one side has. ``ours``: the engine's table now, and at the ticks around.

    A real entry must be there, with its seconds, at one of these ticks; and there must be as many with its ends.
    """
    possible = {row for rows in ours for row in rows}
    found = [f"connection: kernel only {_row(row)}" for row in real if row not in possible]
    counts = [Counter(map(_ends, rows)) for rows in ours]
    seen = Counter(map(_ends, real))
    for row in ours[0]:
        if seen[_ends(row)] not in [count[_ends(row)] for count in counts]:
            found.append(f"connection: engine only {_row(row)}")
    return found


def _ends(row: ConnRow) -> tuple[str, ...]:
    return row.protocol, row.client, row.virtual, row.destination


def _row(row: ConnRow) -> str:
    return f"{row.protocol} {row.client} {row.virtual} {row.destination} {row.state} {row.expires} s"


def truncated(job: Job, event: int) -> Job:
    """The job up to and including an event, with a look at the tables behind it."""
    shown = Show(job.events[event].at + LOOK_AFTER)
    return job._replace(events=(*job.events[: event + 1], shown))


def with_tables(found: Verification, shorter: Job, seen: Observation, *, profile: str) -> Verification:
    """The verification with both sides' connection tables right behind the divergence, field by field."""
    if found.divergence is None or seen.error or not seen.events:  # tables are a help, no result
        return found
    steps = steps_of(seen)
    real = steps[-1]
    *_, ours = rehearse(shorter, seen, profile=profile, kernel=steps)
    lines = ["connections behind it, kernel and engine:"]
    rows = list(dict.fromkeys([*_conns(real), *_conns(ours)]))
    for row in sorted(rows, key=lambda row: row in _conns(real) and row in _conns(ours))[:SHOWN_ROWS]:
        sides = (
            "both  " if row in _conns(real) and row in _conns(ours) else "kernel" if row in _conns(real) else "engine"
        )
        lines.append(f"  {sides} {_row(row)}")
    lines += [f"  and {len(rows) - SHOWN_ROWS} more"] if len(rows) > SHOWN_ROWS else []
    return replace(found, divergence=replace(found.divergence, differences=(*found.divergence.differences, *lines)))


def _conns(step: Step) -> tuple[ConnRow, ...]:
    return step.listing.conns if step.listing else ()


def transcript_line(event: Event, step: Step) -> str:
    """An event and what the kernel made of it."""
    match event:
        case Packet(side=side, content=content):
            sender = "clients" if side == CLIENT else side
            return f"{seconds(step.at)} {sender}: {_packet(content)} -> {_told(step.arrivals)}"
        case Command(argv=argv):
            return f"{seconds(step.at)} {' '.join(argv)} -> {step.answer}"
        case Show():
            return f"{seconds(step.at)} look at the tables"


def _told(arrivals: Sequence[tuple[str, bytes]]) -> str:
    return "; ".join(f"{where}: {_packet(data)}" for where, data in arrivals) or "nothing"


def _packet(data: bytes) -> str:
    headers = parse(data)
    if headers is None:
        return data.hex()
    protocol = {6: "tcp", 17: "udp", 132: "sctp", 1: "icmp", 58: "icmpv6"}.get(headers.proto, str(headers.proto))
    flags = "".join(letter for bit, letter in enumerate("FSRPAU") if headers.flags >> bit & 1)
    if headers.proto == SCTP:
        flags = EVENTS[headers.flags]
    ends = f"{ip_address(headers.src)}:{headers.sport} > {ip_address(headers.dst)}:{headers.dport}"
    return f"{ends} {protocol} {flags} length {headers.length}".replace("  ", " ")
