"""A result from a config and a trace: the engine's side of the contract that a real kernel answers as well.

At equal times commands come before packets, and tables are shown after them.

A trace may come in blocks (see ``model.trace``). Then no more than one block of it is held at a time, and of its result
as much as is asked for.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from heapq import merge
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from lbsim import __version__
from lbsim.address_book import Network
from lbsim.block_columns import Room, answered, given_columns, listed, may_split
from lbsim.config import refusal
from lbsim.config.marks import Marks
from lbsim.engine.blocks import FOUND_TYPES, ROWS, Found, make_packets, tell_outcomes
from lbsim.engine.lanes import Lane, interpreted_lane
from lbsim.engine.records import Outcome, Packet
from lbsim.engine_words import PROTOCOL_NAMES, STATES
from lbsim.host import EngineHost
from lbsim.model.address_text import AddressTexts
from lbsim.model.aggregates import Aggregates, Aggregator
from lbsim.model.config import (
    AddDest,
    AdminCommand,
    Clear,
    DeleteService,
    DirectorConfig,
    EditDest,
    SetSysctl,
    TimedCommand,
    Zero,
)
from lbsim.model.conn_table import CONN_COLUMNS, ConnTable
from lbsim.model.finding import Finding
from lbsim.model.joined import JoinedColumns
from lbsim.model.result import (
    FIRST_CONNECTIONS,
    RESULT_COLUMNS,
    Moment,
    Provenance,
    Result,
    ResultBlock,
    Sink,
    Ways,
)
from lbsim.model.trace import AddressTable, FlowTable, IntColumn, Trace
from lbsim.own_schedulers import load_schedulers
from lbsim.samples import Sample, samples_of, series_of
from lbsim.traffic.marked import Marker

__all__ = ["KEPT_PACKETS", "MANY_ENTRIES", "Watch", "simulate"]

#: Up to so many packets, a result keeps its per-packet columns unless it is told what to do.
KEPT_PACKETS = 2_000_000

NO_MARKS = Marks()
WAY = ("addr", "port", "tun_type", "tun_port", "tun_flags")  # columns of Ways, one row per destination
BLOCK = 8192  # packets between two looks at room, progress and interrupts
ENTRIES_AT_ONCE = 2048  # rows of the connection table: they are read once, and stay in the cache for all columns
TRACE_BLOCK = 16 * BLOCK  # packets of a whole trace that are dealt with as one block
MANY_ENTRIES = 10_000  # longer connection tables are kept as columns

_Event: TypeAlias = "tuple[int, int, AdminCommand | None]"
_COMMAND, _SAMPLE, _MOMENT = 0, 1, 2  # the order of events of one instant; packets come after its commands


def simulate(
    config: DirectorConfig,
    trace: Trace | Iterable[Trace],
    *,
    timeline: Sequence[TimedCommand] = (),
    moments: Sequence[int] = (),
    until: int | None = None,
    profile: str = "linux-6.1.192",
    sysctls: Mapping[str, int] | None = None,
    start_jiffies: int | None = None,
    scenario: str = "",
    digest: str = "",
    seed: int = 0,
    samples: int = 200,
    columns: bool | None = None,
    first: int = FIRST_CONNECTIONS,
    sinks: Sequence[Sink] = (),
    many_entries: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    lane: Lane | None = None,
    schedulers: Sequence[str | Path] = (),
    marks: Marks = NO_MARKS,
    straight_replies: Sequence[Network] = (),
    mtu: Mapping[Network, int] | None = None,
    watch: Watch | None = None,
) -> Result:
    """What the kernel would do with the trace, packet by packet, and its tables at the asked moments.

    Parameters
    ----------
    trace : a whole one; a list of its blocks in time order; or an iterator over them, each of which is forgotten
        before the next one is taken.
    timeline : commands in mid-run, each at its time (ns).
    moments : times (ns) at which the tables are wanted.
    until : when the run ends (ns); default: at the last packet, command or moment. Later packets are not sent.
    samples : how many times, evenly spread, the active and inactive connections are noted; at most so many, and at
        least half, if blocks are iterated over and ``until`` is not given.
    columns : keep the per-packet columns; default: if there are no more than KEPT_PACKETS packets.
    first : how many first connections of each service the result knows if the columns are not kept.
    sinks : each gets every block and what became of it.
    many_entries : connection tables with more rows are kept as columns (ConnTable); default: MANY_ENTRIES.
    progress : called with (packets done, packets in all; 0 if nobody knows) now and then.
    seed : of the traffic, for the result's provenance; also of the random numbers that the scheduler twos draws.
    schedulers : Python files or installed entry points with schedulers of one's own, see ``own_schedulers``.
    marks : rules that give packets firewall marks; the single addresses that they name are the director's.
    straight_replies : real servers whose answers, and clients to whom answers, do not pass the director.
    mtu : of the director's routes to networks, and 1500 of all others. If none is given, packets of every length get
        through.
    watch : looks on while the director receives single packets; from the first of them on the run is interpreted.

    Returns
    -------
    Result : columns in the trace's order. Commands that the kernel refuses are findings; the run goes on.
    """
    load_schedulers(schedulers)
    host = EngineHost(
        profile=profile,
        sysctls=sysctls,
        start_jiffies=start_jiffies,
        lane=lane,
        expected_rows=len(config.commands),
        seed=seed,
        estimator=any(isinstance(timed.command, Zero | DeleteService | Clear) for timed in timeline),
    )
    provenance = Provenance(
        lbsim=__version__,
        side="engine",
        lane=host.lane.name,
        kernel=profile,
        scenario=scenario,
        digest=digest,
        seed=seed,
        hz=host.profile.hz,
        start_jiffies=host.start_jiffies,
    )
    run = _Run(host, _Traffic(trace), _Taken(columns, first, sinks), provenance, progress)
    run.many_entries = MANY_ENTRIES if many_entries is None else many_entries
    run.give_marks(marks)
    host.let_straight(straight_replies)
    run.limit(mtu or {})
    run.watch = watch
    run.tunnelled = _has_tunnels([*config.commands, *(timed.command for timed in timeline)])
    run.begin(config)
    agenda = _agenda(timeline, moments, until)
    known_end = max(run.traffic.duration, _last(agenda)) if run.traffic.duration is not None else None
    sampler = samples_of(config, samples, known_end if until is None else until)
    looks = ((at, _SAMPLE, None) for at in sampler.times())
    shown: list[Moment] = []
    with _without_garbage_collection():
        for at, order, command in merge(agenda, looks, key=lambda event: event[:2]):
            run.feed(at, before=order == _COMMAND)
            if until is None and order == _SAMPLE and at > max(run.horizon, _last(agenda)):
                break
            host.advance(at)
            if command is not None:
                run.command(command)
            elif order == _SAMPLE:
                sampler.note(at, host.activity())
            else:
                shown.append(run.moment(at))
        run.feed(until)
        end = max(run.horizon, _last(agenda)) if until is None else until
        host.advance(end)
        sampler.finish(end, host.activity())
        return run.result(shown, run.moment(end), sampler.noted)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Millions of records without cycles are made and kept: looking for garbage among them is a quarter of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _has_tunnels(commands: Sequence[AdminCommand]) -> bool:
    return any(isinstance(command, AddDest | EditDest) and command.method == "tunnel" for command in commands)


# What happens besides packets


def _agenda(timeline: Sequence[TimedCommand], moments: Sequence[int], until: int | None) -> list[_Event]:
    """Commands and asked moments up to the end, in their order."""
    events: list[_Event] = [(timed.at, _COMMAND, timed.command) for timed in timeline]
    events += [(at, _MOMENT, None) for at in set(moments)]
    return sorted((event for event in events if until is None or event[0] <= until), key=lambda event: event[:2])


def _last(agenda: Sequence[_Event]) -> int:
    return agenda[-1][0] if agenda else 0


# Where packets come from, and where their outcomes go


class _Traffic:
    """A trace's blocks, and what is known of all of it before it has come.

    Attributes
    ----------
    packets, duration : of the whole; 0 and None if nobody knows.
    """

    def __init__(self, trace: Trace | Iterable[Trace]) -> None:
        self.packets = 0
        self.duration: int | None = None
        self.left_out: dict[str, int] = {}
        self._damage: list[str] = []
        whole = [trace] if isinstance(trace, Trace) else trace
        if isinstance(whole, list):
            self.packets, self.duration = sum(map(len, whole)), max((part.duration for part in whole), default=0)
            for part in whole:
                self._note(part)
        self._blocks = trace.blocks(TRACE_BLOCK) if isinstance(trace, Trace) else iter(trace)
        self._begun = False

    def next_block(self) -> Trace | None:
        """The next block; None if there are no more. Of no blocks at all, the first is empty."""
        block = next(self._blocks, None)
        if block is None and not self._begun:
            block = Trace(Trace.empty_columns(0), AddressTable(), FlowTable())
        self._begun = True
        if block is not None and self.duration is None:
            self._note(block)
        return block

    def _note(self, trace: Trace) -> None:
        for reason, count in trace.left_out.items():
            self.left_out[reason] = self.left_out.get(reason, 0) + count
        if trace.damage:
            self._damage.append(trace.damage)

    @property
    def damage(self) -> str | None:
        return "; ".join(self._damage) or None


class _Taken:
    """What is taken of the answers: whole columns as long as they are wanted, else sums. Sinks get all of them."""

    def __init__(self, columns: bool | None, first: int, sinks: Sequence[Sink]) -> None:
        self._most = {None: KEPT_PACKETS, True: None, False: -1}[columns]
        self.sinks = sinks
        self._kept: list[ResultBlock] = []
        self._packets = 0
        self._aggregator: Aggregator | None = None
        self._first = first

    def add(self, trace: Trace, answers: ResultBlock) -> None:
        for sink in self.sinks:
            sink.add(trace, answers)
        self._packets += len(answers)
        self._kept.append(answers)
        if self._most is not None and self._packets > self._most:
            self._sum_up()

    def _sum_up(self) -> None:
        """What was kept so far is counted and forgotten, and the same will happen to what comes."""
        self._aggregator = self._aggregator or Aggregator(self._first)
        for answers in self._kept:
            self._aggregator.add(answers.columns, [service for service, _ in answers.destinations])
        self._kept.clear()

    def columns(self) -> Mapping[str, IntColumn]:
        """The whole columns; none if they were left out."""
        return {} if self._aggregator else JoinedColumns([answers.columns for answers in self._kept], RESULT_COLUMNS)

    def aggregates(self, addresses: Sequence[object], destinations: int) -> Aggregates | None:
        """What the packets add up to, if the columns were left out."""
        return self._aggregator.done(addresses, destinations) if self._aggregator else None


class Watch(Protocol):
    """Looks on while a director receives packets that are received one by one for it; all others come in blocks."""

    def next_packet(self, number: int) -> int | None:
        """The first packet from this number on that it wants to see; None: none of those that are known so far."""

    def commanded(self, command: AdminCommand, error: str) -> None:
        """A command was given; the kernel's error, or ``""``."""

    def receive(self, host: EngineHost, number: int, time: int, packets: list[Packet], outcomes: list[Outcome]) -> None:
        """Let the host receive the first of these packets, which is number ``number`` at ``time`` (ns)."""


class _Run:
    """A host, the packets that are fed to it, and what came out so far.

    Attributes
    ----------
    horizon : time (ns) of the last packet that is known to come.
    many_entries : longer connection tables are kept as columns.
    """

    def __init__(
        self,
        host: EngineHost,
        traffic: _Traffic,
        taken: _Taken,
        provenance: Provenance,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.host = host
        self.traffic = traffic
        self.taken = taken
        self.provenance = provenance
        self.progress = progress
        self.many_entries = MANY_ENTRIES
        self.watch: Watch | None = None
        self.findings: list[Finding] = []
        self.horizon = traffic.duration or 0
        self.limited = False  # routes have MTUs
        self.tunnelled = False  # there are tunnels at some time
        self.fed = 0  # packets of earlier blocks
        self.block: Trace | None = None  # the one that is being worked on
        self.done = 0  # packets of it
        self.marker = Marker(NO_MARKS)
        self.ids = np.zeros(0, dtype="i4")  # address of the trace -> id
        rows = min(traffic.packets or ROWS, ROWS)
        self.rows = host.lane.table(Packet, rows), host.lane.table(Outcome, rows)
        self.room = Room()
        self.addresses = AddressTable()
        self.destinations: Sequence[tuple[str, str]] = ()
        self.dest_index = np.array([-1], dtype="i4")  # row of the engine's table -> destination of the result

    def give_marks(self, marks: Marks) -> None:
        """Let packets have firewall marks."""
        self.marker = Marker(marks)
        for address in marks.hosts:
            self.host.own(address)
        for network in marks.local:
            self.host.own_network(network)

    def limit(self, mtu: Mapping[Network, int]) -> None:
        """Let routes have MTUs."""
        self.limited = bool(mtu)
        if mtu:
            self.host.route(mtu)

    def begin(self, config: DirectorConfig) -> None:
        """Configure the director and take the first block of the traffic."""
        self.host.be_router(config.router)
        for command in config.commands:
            self.command(command)
        self._take_block()

    def command(self, command: AdminCommand) -> None:
        """Apply a command; a refusal is a finding with the tool's own text."""
        if self.tunnelled and isinstance(command, AddDest | EditDest | SetSysctl):
            self._cut()
        error = self.host.apply(command)
        if self.watch:
            self.watch.commanded(command, error)
        if error:
            status, message = refusal(command, error)
            text = f"{command.text or command}: {message} (exit {status})"
            self.findings.append(Finding("error", str(command.place), text, f"the kernel refuses: {error}"))

    # Packets in

    def feed(self, at: int | None, *, before: bool = False) -> None:
        """Let the director receive the packets up to a moment, or before it; None: all there are."""
        while self.block is not None:
            stop = len(self.block)
            if at is not None:
                stop = int(self.block["time"].searchsorted(at, side="left" if before else "right"))
            self._receive(stop)
            if stop < len(self.block):
                return
            self._hand_over()
            self._take_block()

    def _take_block(self) -> None:
        """Make the next block of the traffic ready for the engine."""
        self._take(self.traffic.next_block())

    def _take(self, block: Trace | None) -> None:
        """Make a block ready for the engine."""
        self.block = block
        self.done = 0  # packets of this block
        if block is None:
            return
        self.horizon = max(self.horizon, block.duration)
        self.host.room_for_flows(len(block.flows))
        if len(block.addresses) > len(self.ids):
            self.ids = np.append(self.ids, self.host.intern_all(block.addresses[len(self.ids) :]))
        more = {"quote": self._quotes(block)} if len(block.quotes) else {}
        if self.marker.marks.rules:
            more["mark"] = self._marks(block)
        if self.limited:
            more["may_split"] = may_split(block)
        self.given = given_columns(block, self.host.profile.hz, self.host.start_jiffies, more)
        self.found = Found(**self.room.columns(FOUND_TYPES, len(block)))

    def _marks(self, block: Trace) -> IntColumn:
        marks = self.marker.column(block)
        for number in self.marker.brought(block, marks):
            self.host.deliver(int(self.ids[number]))
        return marks

    def _quotes(self, block: Trace) -> IntColumn:
        """For each packet the engine's row of what it quotes, or 0."""
        numbers = np.zeros(len(block), dtype="i4")
        numbers[block.quotes["row"]] = np.arange(1, len(block.quotes) + 1)
        self.host.note_quotes(block.quotes)
        return numbers

    def _receive(self, stop: int) -> None:
        """Let the director receive the packets of this block up to number ``stop``."""
        while self.done < stop:
            number = self.fed + self.done
            wanted = self.watch.next_packet(number) if self.watch else None
            count = min(BLOCK, stop - self.done, BLOCK if wanted is None else max(wanted - number, 1))
            if self.watch and wanted == number:
                self._show(number)
            else:
                part = slice(self.done, self.done + count)
                self.host.receive_columns(self.given, self.ids, self.found, self.rows, part)
            self.done += count
            if self.progress:
                self.progress(self.fed + self.done, self.traffic.packets)

    def _show(self, number: int) -> None:
        """Let somebody look on while the director receives the next packet: the interpreted lane goes on from here."""
        assert self.watch is not None
        assert self.block is not None
        lane = interpreted_lane()
        if self.host.lane is not lane:
            self.host.move_to(lane)
            self.rows = lane.table(Packet, ROWS), lane.table(Outcome, ROWS)
        make_packets(self.given, self.ids, self.done, 1, self.rows[0])
        self.watch.receive(self.host, number, int(self.block["time"][self.done]), *self.rows)
        tell_outcomes(self.given, self.ids, self.done, 1, *self.rows, self.found)

    # Answers out

    def _hand_over(self) -> None:
        """Give away what became of this block's packets; of a run that has ended, only of those that were sent."""
        assert self.block is not None
        sent = self.block if self.done == len(self.block) else self.block.part(0, self.done)
        if self.done or not self.fed:
            self.taken.add(sent, self._answers(sent))
        self.fed += self.done

    def _cut(self) -> None:
        """Give away what became of the packets so far: what their tunnels were is read then, and may change now."""
        if self.taken.sinks and self.block is not None and self.done:
            rest = self.block.part(self.done, len(self.block))
            self._hand_over()
            self._take(rest)

    def _answers(self, trace: Trace) -> ResultBlock:
        self._learn_names()
        return ResultBlock(
            columns=answered(trace, self.found, self.dest_index, self.room),
            addresses=self.addresses,
            destinations=self.destinations,
            provenance=self.provenance,
            ways=self._ways(self.found.method[: len(trace)]),
            limits=self.host.limits() if self.limited else None,
        )

    def _ways(self, method: IntColumn) -> Ways | None:
        if not method.any():
            return None
        numbers = np.zeros((max(len(self.destinations), 1), len(WAY)), dtype="i4")
        for d, number in enumerate(self.dest_index.tolist()[1:], start=1):
            row = self.host.tables.dests[d]
            numbers[number] = [row.addr - 1, row.port, row.tun_type, row.tun_port, row.tun_flags]
        keep_df = int(self.host.tables.director[0].pmtu_disc)
        return Ways(method=method, **dict(zip(WAY, numbers.T, strict=True)), keep_df=keep_df)

    def _learn_names(self) -> None:
        """Learn addresses and destinations that were added; ids and rows of the engine's tables keep their meaning."""
        self.addresses = self.host.addresses
        if self.host.tables.director[0].dests_used >= len(self.dest_index):
            destinations, index = self.host.destinations()
            self.destinations = [(row.service, row.dest) for row in destinations]
            self.dest_index = np.array(index, dtype="i4")

    def moment(self, at: int) -> Moment:
        """The tables as they are; long ones as columns."""
        many = self.host.tables.director[0].conns_used > self.many_entries
        return Moment(at, self.host.services(), self._conn_table() if many else self.host.connections())

    def _conn_table(self) -> ConnTable:
        """The connection table, as :meth:`EngineHost.connections` lists it."""
        t, lane = self.host.tables, self.host.lane
        rows = int(t.director[0].conns_used) + 1
        read = lane.read(t.conns, (*CONN_COLUMNS, "marks"), rows)
        entries = {name: np.asarray(column) for name, column in read.items()}
        columns = self.room.columns(CONN_COLUMNS, rows)
        used = 0
        for begin in range(1, rows, ENTRIES_AT_ONCE):
            some = {name: column[begin : begin + ENTRIES_AT_ONCE] for name, column in entries.items()}
            part = listed(some, int(t.director[0].now), self.host.profile.hz)
            for name, column in columns.items():
                column[used : used + len(part[name])] = part[name]
            used += len(part["serial"])
        self._learn_names()
        return ConnTable(
            columns={name: column[:used] for name, column in columns.items()},
            addresses=self.addresses,
            protocols=PROTOCOL_NAMES,
            states=STATES,
        )

    def result(self, shown: Sequence[Moment], final: Moment, noted: Sequence[Sample]) -> Result:
        """Everything that came out. Packets after the end of the run are not in it."""
        if self.block is not None:
            self._hand_over()
        destinations, index = self.host.destinations()
        self._learn_names()
        summed = self.taken.aggregates(self.addresses, len(destinations))
        return Result(
            provenance=self.provenance,
            addresses=AddressTexts(self.addresses) if summed is None else (),
            destinations=destinations,
            columns=self.taken.columns(),
            moments=tuple(shown),
            final=final,
            series=series_of(noted, index, len(destinations)),
            findings=tuple(self.findings),
            left_out=self.traffic.left_out,
            damage=self.traffic.damage,
            summed=summed,
        )
