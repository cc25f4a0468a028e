"""A result from a config and a trace: the engine's side of the contract that a real kernel answers as well.

At equal times commands come before packets, and tables are shown after them.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from lbsim import __version__
from lbsim.config import refusal
from lbsim.engine.lanes import Lane
from lbsim.engine.records import IN, Outcome, Packet
from lbsim.host import EngineHost
from lbsim.model.config import AdminCommand, DirectorConfig, TimedCommand
from lbsim.model.finding import Finding
from lbsim.model.result import RESULT_COLUMNS, Moment, Provenance, Result, Series
from lbsim.model.trace import IntColumn, Trace

__all__ = ["simulate"]

BLOCK = 8192  # packets between two looks at room, progress and interrupts
MOST_SAMPLED_CELLS = 1_000_000  # samples times destinations: bounds what a figure may cost


def simulate(
    config: DirectorConfig,
    trace: Trace,
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
    progress: Callable[[int, int], None] | None = None,
    lane: Lane | None = None,
) -> Result:
    """What the kernel would do with the trace, packet by packet, and its tables at the asked moments.

    Parameters
    ----------
    timeline : commands in mid-run, each at its time (ns).
    moments : times (ns) at which the tables are wanted.
    until : when the run ends (ns); default: at the last packet, command or moment. Later packets are not sent.
    samples : how many times, evenly spread, the active and inactive connections are noted.
    progress : called with (packets done, packets in all) now and then.

    Returns
    -------
    Result : columns in the trace's order. Commands that the kernel refuses are findings; the run goes on.
    """
    run = _Run(config, trace, profile, sysctls, start_jiffies, lane)
    end = _end_of(trace, timeline, moments) if until is None else until
    shown: list[Moment] = []
    noted: list[tuple[int, list[tuple[int, int]]]] = []
    with _without_garbage_collection():
        for at, order, what in _events(timeline, moments, _sample_times(config, end, samples), end):
            run.feed(int(np.searchsorted(trace["time"], at, side="left" if order == 0 else "right")), progress)
            run.host.advance(at)
            if order == 0:
                run.command(what)
            elif order == 1:
                noted.append((at, run.host.activity()))
            else:
                shown.append(run.moment(at))
    return run.result(
        shown[:-1],
        shown[-1],
        noted,
        Provenance(
            lbsim=__version__,
            side="engine",
            lane=run.host.lane.name,
            kernel=profile,
            scenario=scenario,
            digest=digest,
            seed=seed,
            hz=run.host.profile.hz,
            start_jiffies=run.host.start_jiffies,
        ),
    )


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


def _end_of(trace: Trace, timeline: Sequence[TimedCommand], moments: Sequence[int]) -> int:
    return max([trace.duration, *(timed.at for timed in timeline), *moments])


def _sample_times(config: DirectorConfig, end: int, samples: int) -> list[int]:
    dests = max(1, sum(len(service.dests) for service in config.services()))
    wanted = min(samples, MOST_SAMPLED_CELLS // dests)
    return sorted({end * i // (wanted - 1) for i in range(wanted)}) if wanted > 1 else []


def _events(
    timeline: Sequence[TimedCommand], moments: Sequence[int], samples: Sequence[int], end: int
) -> list[tuple[int, int, Any]]:
    """(time, order, what): commands (0) before packets of their instant, samples (1) and moments (2) after them."""
    events: list[tuple[int, int, Any]] = [(timed.at, 0, timed.command) for timed in timeline if timed.at <= end]
    events += [(at, 1, None) for at in samples]
    events += [(at, 2, None) for at in sorted(set(moments)) if at <= end]
    return [*sorted(events, key=lambda event: event[:2]), (end, 2, None)]


class _Run:
    """A host, the trace that is fed to it, and what came out so far."""

    def __init__(
        self,
        config: DirectorConfig,
        trace: Trace,
        profile: str,
        sysctls: Mapping[str, int] | None,
        start_jiffies: int | None,
        lane: Lane | None,
    ) -> None:
        self.trace = trace
        self.findings: list[Finding] = []
        self.host = EngineHost(
            profile=profile,
            sysctls=sysctls,
            start_jiffies=start_jiffies,
            lane=lane,
            expected_rows=len(config.commands),
        )
        for command in config.commands:
            self.command(command)
        self.host.room_for_flows(len(trace.flows))
        ids = np.array([self.host.intern(address) for address in trace.addresses], dtype="i4")
        empty = np.zeros(0, dtype="i4")
        self.inputs: dict[str, IntColumn] = {
            "tick": self.host.start_jiffies + _ticks(trace["time"], self.host.profile.hz),
            "src": ids[trace["src"]] if len(trace) else empty,
            "dst": ids[trace["dst"]] if len(trace) else empty,
            "tcp_flags": trace["flags"],
        } | {name: trace[name] for name in _SAME_IN_BOTH}
        self.outputs = {name: np.zeros(len(trace), dtype="i4") for name in _READ_BACK}
        self.done = 0
        self.outcomes = self.host.lane.table(Outcome, BLOCK)

    def command(self, command: AdminCommand) -> None:
        """Apply a command; a refusal is a finding with the tool's own text."""
        error = self.host.apply(command)
        if error:
            status, message = refusal(command, error)
            text = f"{command.text or command}: {message} (exit {status})"
            self.findings.append(Finding("error", str(command.place), text, f"the kernel refuses: {error}"))

    def feed(self, stop: int, progress: Callable[[int, int], None] | None) -> None:
        """Let the director receive the packets up to number ``stop``."""
        lane = self.host.lane
        while self.done < stop:
            count = min(BLOCK, stop - self.done)
            part = slice(self.done, self.done + count)
            packets = lane.rows(Packet, {name: column[part] for name, column in self.inputs.items()})
            self.host.receive_block(packets, self.outcomes, count)
            for table, names in ((packets, _SENDER), (self.outcomes, _OUTCOME)):
                for name, values in lane.read(table, names, count).items():
                    self.outputs[name][part] = values
            self.done += count
            if progress:
                progress(self.done, len(self.trace))

    def moment(self, at: int) -> Moment:
        """The tables as they are."""
        return Moment(at, self.host.services(), self.host.connections())

    def result(
        self,
        shown: Sequence[Moment],
        final: Moment,
        noted: Sequence[tuple[int, list[tuple[int, int]]]],
        provenance: Provenance,
    ) -> Result:
        """Everything that came out. Packets after the end of the run are not in it."""
        trace, out, n = self.trace, self.outputs, self.done
        destinations, index = self.host.destinations()
        columns = {name: trace[name][:n] for name in ("time", "flow", "proto", "length", "dport")}
        columns |= {name: out[name][:n] for name in ("sport", "verdict", "reason", "new_sport", "new_dport")}
        columns |= {"src": out["src"][:n] - 1, "dst": self.inputs["dst"][:n] - 1}
        columns |= {"new_src": out["new_src"][:n] - 1, "new_dst": out["new_dst"][:n] - 1}
        columns |= {
            "direction": (trace["direction"][:n] != IN),
            "dest": np.array(index, dtype="i4")[out["dest"][:n]],
        }
        return Result(
            provenance=provenance,
            addresses=tuple(str(address) for address in self.host.addresses[1:]),
            destinations=destinations,
            columns={name: columns[name].astype(kind) for name, kind in RESULT_COLUMNS.items()},
            moments=tuple(shown),
            final=final,
            series=_series(noted, index, len(destinations)),
            findings=tuple(self.findings),
            left_out=dict(trace.left_out),
            damage=trace.damage,
        )


_SAME_IN_BOTH = ("flow", "direction", "shape", "proto", "ttl", "sport", "dport", "length")
_SENDER = ("src", "sport")
_OUTCOME = ("verdict", "reason", "dest", "new_src", "new_sport", "new_dst", "new_dport")
_READ_BACK = (*_SENDER, *_OUTCOME)


def _ticks(time: IntColumn, hz: int) -> IntColumn:
    """Ticks since time 0 of times in ns; split so that no product leaves 64 bits."""
    second = 1_000_000_000
    ticks: IntColumn = time // second * hz + time % second * hz // second
    return ticks


def _series(noted: Sequence[tuple[int, list[tuple[int, int]]]], index: list[int], destinations: int) -> Series:
    """Samples per row of the engine's table, turned into one list per destination."""
    active = [[0] * len(noted) for _ in range(destinations)]
    inactive = [[0] * len(noted) for _ in range(destinations)]
    for k, (_, rows) in enumerate(noted):
        for d, (is_active, is_inactive) in enumerate(rows, start=1):
            active[index[d]][k] += is_active
            inactive[index[d]][k] += is_inactive
    return Series(tuple(at for at, _ in noted), tuple(map(tuple, active)), tuple(map(tuple, inactive)))
