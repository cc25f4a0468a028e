"""Rows in the order of a file, put into the order of time: :class:`TimeOrder`.

Captures are nearly always in time order, and then nothing is done here. Where time runs backwards (several queues of a
network card, a clock that was set, files put together), rows wait until no earlier packet can follow. A *watermark*
says up to when that is certain; ``pcap`` knows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lbsim.model.datagrams import Datagrams
from lbsim.model.quotes import Quotes
from lbsim.model.trace import COLUMN_TYPES, FlowTable, IntColumn

__all__ = ["ALWAYS", "NEVER", "Run", "TimeOrder"]

#: Watermarks beyond all times. They are integers: a float does not tell the nanoseconds of this century apart.
ALWAYS, NEVER = 2**63 - 1, -(2**63)


@dataclass(slots=True)
class Run:
    """Rows that follow each other.

    Attributes
    ----------
    columns : as those of a trace; times are in ns since 1970.
    flows : the flows that begin here, as columns of a FlowTable, in the order of their numbers.
    raw : what ``raw_at`` points into.
    quotes, datagrams : as of a trace.
    in_order : the flows' numbers are in the order of their first rows, and each has one.
    """

    columns: dict[str, IntColumn]
    flows: dict[str, IntColumn]
    raw: bytes
    quotes: Quotes
    datagrams: Datagrams
    in_order: bool = True

    def __len__(self) -> int:
        return len(self.columns["time"])

    @property
    def first(self) -> int:
        """The time of the first row, which is the earliest one; there is a row."""
        return int(self.columns["time"][0])

    @property
    def last(self) -> int:
        """The time of the last row, which is the latest one; there is a row."""
        return int(self.columns["time"][-1])

    def cut(self, end: int) -> tuple[Run, Run]:
        """The first ``end`` rows, and those behind."""
        before = {name: column[:end] for name, column in self.columns.items()}
        behind = {name: column[end:] for name, column in self.columns.items()}
        return (
            Run(before, self.flows, self.raw, self.quotes.part(0, end), self.datagrams.part(0, end)),
            Run(behind, {}, self.raw, self.quotes.part(end, len(self)), self.datagrams.part(end, len(self))),
        )


class TimeOrder:
    """Takes runs in the order of the file and gives them back in the order of time.

    Attributes
    ----------
    flows : the flows of the rows that were given back, in the order of their first ones.
    given : the time of the latest row that was given back; NEVER before.
    """

    def __init__(self) -> None:
        self.flows = FlowTable()
        self.given = NEVER
        self._waiting: list[Run] = []
        self._numbers: _FlowNumbers | None = None  # None: all rows, and the flows' numbers, were in order so far

    def add(self, run: Run, *, backwards: bool) -> None:
        """Take the next run. ``backwards``: time ran backwards, in it or before it."""
        if (backwards or not run.in_order) and self._numbers is None:
            self._numbers = _FlowNumbers(self.flows, self._waiting)
        if self._numbers:
            self._numbers.add(run)
            run = _sorted([run])
        if len(run):
            self._waiting.append(run)

    def before_last(self) -> int:
        """The time of the latest row ahead of the run that was added last; NEVER without one."""
        return max((run.last for run in self._waiting[:-1]), default=NEVER)

    def until(self, watermark: int) -> list[Run]:
        """The rows up to that time, in order; of the last run those before it. The rest waits on.

        They count as given when :meth:`give` was called with them.
        """
        ready, self._waiting = self._apart(watermark)
        if self._numbers and any(a.last > b.first for a, b in pairwise(ready)):
            return [_sorted(ready)]
        return ready

    def give(self, run: Run) -> None:
        """Number the flows of rows that are ready."""
        if len(run):
            self.given = run.last
        if self._numbers:
            self._numbers.give(run)
        elif run.flows:
            self.flows.extend_columns(**run.flows)

    def _apart(self, watermark: int) -> tuple[list[Run], list[Run]]:
        ready: list[Run] = []
        waiting: list[Run] = []
        for run in self._waiting:
            at_watermark = run is not self._waiting[-1]  # whether a row of that very time is ready
            end = int(np.searchsorted(run.columns["time"], watermark + at_watermark if watermark < ALWAYS else ALWAYS))
            if end == len(run):
                ready.append(run)
            elif end == 0:
                waiting.append(run)
            else:
                before, behind = run.cut(end)
                ready.append(before)
                waiting.append(behind)
        return ready, waiting


class _FlowNumbers:
    """New numbers for the flows, in the order of their first rows, from when on they have others."""

    def __init__(self, given: FlowTable, waiting: list[Run]) -> None:
        self._given = given
        self._found = FlowTable()  # those behind the ones that were given before
        self._first = len(given)
        self._new = np.arange(self._first, dtype="i4")  # number in the file -> number in time
        for run in waiting:
            self.add(run)

    def add(self, run: Run) -> None:
        """Take the flows that begin in a run."""
        if run.flows:  # else it is the rest of a run whose flows were given with its beginning
            self._found.extend_columns(**run.flows)
        unknown = np.full(self._first + len(self._found) - len(self._new), -1, dtype="i4")
        self._new = np.concatenate([self._new, unknown])

    def give(self, run: Run) -> None:
        """Renumber a run whose time has come."""
        old = run.columns["flow"]
        unknown = old[self._new[old] < 0]
        distinct, first = np.unique(unknown, return_index=True)
        appearing = distinct[np.argsort(first)]
        self._new[appearing] = np.arange(len(self._given), len(self._given) + len(appearing))
        self._given.extend(self._found.take(appearing - self._first))
        run.columns = run.columns | {"flow": self._new[old]}


def _sorted(runs: list[Run]) -> Run:
    """One run of several, in time order; rows of one instant stay in their order."""
    raws = {id(run.raw): run.raw for run in runs}
    begins = dict(zip(raws, np.cumsum([0, *map(len, raws.values())]).tolist(), strict=False))
    columns = {
        name: np.concatenate([np.zeros(0, dtype=kind), *(run.columns[name] for run in runs)])
        for name, kind in COLUMN_TYPES.items()
    }
    columns["raw_at"] += np.repeat([begins[id(run.raw)] for run in runs], [len(run) for run in runs])
    order = np.argsort(columns["time"], kind="stable")
    places = np.empty(len(order), dtype="i8")
    places[order] = np.arange(len(order))
    lengths = [len(run) for run in runs]
    quotes = Quotes.joined([run.quotes for run in runs], lengths).placed(places)
    datagrams = Datagrams.joined([run.datagrams for run in runs], lengths).placed(places)
    raw = runs[0].raw if len(raws) == 1 else b"".join(raws.values())
    return Run({name: column[order] for name, column in columns.items()}, {}, raw, quotes, datagrams)
