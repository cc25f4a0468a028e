"""The engine alone, with a table of many connections that come and go: packets per second, bytes per connection.

As a program, ``python -m tests.bench.steady SCHEDULER LANE ENTRIES PACKETS ROUNDS`` prints what it found as JSON, so
that memory is that of a fresh process.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.engine.numbers import IN, SYN
from lbsim.engine.records import Outcome, Packet
from lbsim.host import EngineHost
from lbsim.model.trace import Trace
from tests.bench.traffic import config_of, steady, web

__all__ = ["Found", "found", "measured", "opened"]

BLOCK = 8192
_SAME = ("flow", "direction", "shape", "proto", "ttl", "sport", "dport", "length")
_TABLES_OF_CONNECTIONS = ("conns", "timers", "conn_heads", "flows")


@dataclass
class Found:
    """What was measured.

    Attributes
    ----------
    rates : packets per second of processor time, of each round.
    entries : of the connection table in the end.
    table_bytes : of all tables that grow with connections; 0 in the interpreted lane.
    peak_bytes : of the whole process, traffic included, until the table is full.
    """

    rates: list[float]
    entries: int
    table_bytes: int
    peak_bytes: int


class _Feeder:
    """A host with its config, and traces made into the engine's rows."""

    def __init__(self, scheduler: str, lane: Lane, dests: int = 8) -> None:
        self.host = EngineHost(lane=lane)
        for command in config_of(scheduler, dests).commands:
            error = self.host.apply(command)
            assert not error, error
        self.outcomes = lane.table(Outcome, BLOCK)
        self.ids = np.zeros(0, dtype="i4")

    def rows(self, trace: Trace) -> tuple[Any, int]:
        """The engine's packets, and how many."""
        self.host.room_for_flows(len(trace.flows))
        if len(trace.addresses) > len(self.ids):
            self.ids = np.append(self.ids, self.host.intern_all(trace.addresses[len(self.ids) :]))
        columns = {name: trace[name] for name in _SAME} | {"tcp_flags": trace["flags"]}
        columns |= {end: self.ids[trace[end]] for end in ("src", "dst")}
        columns |= {"tick": self.host.tick(trace["time"])}
        return self.host.lane.rows(Packet, columns), len(trace)

    def receive(self, rows: Iterable[tuple[Any, int]]) -> None:
        """Let the engine decide about the packets."""
        for packets, count in rows:
            self.host.receive_block(packets, self.outcomes, count)


def measured(scheduler: str, lane: Lane, entries: int, packets: int, rounds: int) -> Found:
    """The engine's speed, ``rounds`` times over at least ``packets``, at that many entries of its table."""
    feeder = _Feeder(scheduler, lane)
    blocks, begin = steady(entries, (rounds + 1) * (packets + BLOCK))
    pieces = (piece for block in blocks for piece in block.blocks(BLOCK))
    gc.disable()  # as in a simulation
    for piece in takewhile(lambda piece: piece["time"][0] < begin, pieces):
        feeder.receive([feeder.rows(piece)])
    peak = _peak()  # what comes is kept ready for its round, which no simulation does
    rates: list[float] = []
    for _ in range(rounds + 1):  # in the first one, code is compiled
        rows: list[tuple[Any, int]] = []
        while sum(count for _, count in rows) < packets:
            rows.append(feeder.rows(next(pieces)))
        start = time.process_time()
        feeder.receive(rows)
        rates.append(sum(count for _, count in rows) / (time.process_time() - start))
    gc.enable()
    tables = feeder.host.tables
    sizes = [getattr(getattr(tables, name), "nbytes", 0) for name in _TABLES_OF_CONNECTIONS]
    return Found(rates[1:], _entries(feeder.host), sum(sizes), peak)


def opened(scheduler: str, lane: Lane, connections: int, rounds: int, dests: int) -> list[float]:
    """New connections per second, ``rounds`` times over so many of as many clients: their SYNs, and nothing else."""
    feeder = _Feeder(scheduler, lane, dests)
    whole = Trace.joined(web(connections * (rounds + 1), connections, 1, clients=connections * (rounds + 1)))
    syns = np.flatnonzero((whole["direction"] == IN) & (whole["flags"] == SYN))
    trace = replace(whole, columns={name: column[syns] for name, column in whole.columns.items()})
    pieces = list(trace.blocks(BLOCK))
    each = connections // BLOCK
    rates = []
    for first in range(0, each * (rounds + 1), each):
        rows = [feeder.rows(piece) for piece in pieces[first : first + each]]
        start = time.process_time()
        feeder.receive(rows)
        rates.append(sum(count for _, count in rows) / (time.process_time() - start))
    assert _entries(feeder.host) >= sum(map(len, pieces[: each * (rounds + 1)]))
    return rates[1:]


def found(scheduler: str, lane: str, entries: int, packets: int, rounds: int) -> Found:
    """The same in a process of its own."""
    words = [scheduler, lane, entries, packets, rounds]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.steady", *map(str, words)],
        cwd=Path(__file__).parents[2],
        check=True,
        stdout=subprocess.PIPE,
    )
    return Found(**json.loads(done.stdout))


def _peak() -> int:
    """Bytes of memory that this process had at most: getrusage would count those of the one that started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _entries(host: EngineHost) -> int:
    """How many rows of the connection table are in use."""
    director = host.tables.director[0]
    rows = host.lane.read(host.tables.conns, ("serial",), int(director.conns_used) + 1)
    return int(np.count_nonzero(rows["serial"]))


if __name__ == "__main__":
    scheduler, lane, *numbers = sys.argv[1:]
    entries, packets, rounds = map(int, numbers)
    lanes = {"compiled": compiled_lane, "interpreted": interpreted_lane}
    print(json.dumps(asdict(measured(scheduler, lanes[lane](), entries, packets, rounds))))
