"""How things are measured, and what becomes of the rows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.bench import history, table
from tests.bench.history import Row

ROUNDS = 5
ROWS = pytest.StashKey[list[Row]]()
LOAD = pytest.StashKey[float]()
PAGES = {"README.md": True, "docs/speed.md": False}  # where the table is, and whether it is brief there


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []
    config.stash[LOAD] = os.getloadavg()[0]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what was measured; keep it if that is wanted."""
    rows = tuple(config.stash[ROWS])
    if not rows:
        return
    entry = history.now(rows, config.stash[LOAD])
    terminalreporter.write_line("")
    terminalreporter.write_line(table.markdown(entry, history.last_like(history.read(), entry)))
    if config.getoption("--bench-keep"):
        history.append(entry)
        for name, brief in PAGES.items():
            page = Path(__file__).parents[2] / name
            text = table.into(page.read_text(encoding="utf-8"), table.markdown(entry, brief=brief))
            page.write_text(text, encoding="utf-8")


class Measure:
    """Makes rows. Each method belongs to a group, a table of its own."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._rows = request.config.stash[ROWS]
        self.scale: float = request.config.getoption("--bench-scale")

    def sized(self, full: int, least: int = 1) -> int:
        """A number of things, made smaller with all others."""
        return max(least, int(full * self.scale))

    def packets(
        self,
        group: str,
        name: str,
        work: Callable[..., object],
        count: int,
        *,
        setup: Callable[[], tuple[Any, ...]] = lambda: (),
        rounds: int = ROUNDS,
        goal: float | None = None,
        note: str = "",
    ) -> None:
        """A row of packets per second of processor time: ``work(*setup())`` takes ``count`` packets in each round."""
        benchmark = self._request.getfixturevalue("benchmark")
        benchmark.group, benchmark.name = group, name
        benchmark.pedantic(work, setup=lambda: (setup(), {}), rounds=rounds, warmup_rounds=1)
        self.add(Row(group, name, "packets/s", tuple(count / took for took in benchmark.stats.stats.data), goal, note))

    def seconds(
        self, group: str, name: str, work: Callable[[], object], *, rounds: int = ROUNDS, goal: float | None = None
    ) -> None:
        """A row of seconds by the clock."""
        took = []
        for _ in range(rounds):
            begin = time.perf_counter()
            work()
            took.append(time.perf_counter() - begin)
        self.add(Row(group, name, "s", tuple(took), goal))

    def add(self, row: Row) -> None:
        """A row that was measured elsewhere. What is wanted is wanted at full size."""
        self._rows.append(row if self.scale == 1 else replace(row, goal=None))

    def not_measured(self, group: str, name: str, why: str) -> NoReturn:
        """A row that says why there is none."""
        self.add(Row(group, name, note=why))
        pytest.skip(why)


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Measure:
    """What measurements are made with."""
    return Measure(request)
