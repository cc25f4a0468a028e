"""The engine alone: per scheduler and lane, and per size of the connection table."""

from __future__ import annotations

import pytest

from tests.bench.conftest import ROUNDS, Measure
from tests.bench.history import Row
from tests.bench.steady import found

pytestmark = pytest.mark.bench

ENTRIES = 250_000
SIZES = {10_000: None, 100_000: None, 1_000_000: None, 5_000_000: 3e6, 10_000_000: None}
MOST_BYTES = {1_000_000: 128, 5_000_000: 128, 10_000_000: 128}  # of tables, per entry
MOST_MEMORY = {10_000_000: 2.5e9}  # of the process, traffic included


@pytest.mark.parametrize("scheduler", ["rr", "lc", "sh"])
@pytest.mark.parametrize("lane", ["compiled", "interpreted"])
def test_each_scheduler_in_each_lane(measure: Measure, lane: str, scheduler: str) -> None:
    packets = measure.sized(1_000_000 if lane == "compiled" else 100_000, 100)
    seen = found(scheduler, lane, measure.sized(ENTRIES, 100), packets, ROUNDS)
    goal = 6e6 if lane == "compiled" else None
    measure.add(Row(f"engine, {ENTRIES:,} entries", f"{scheduler}, {lane}", "packets/s", tuple(seen.rates), goal))


@pytest.mark.parametrize("size", SIZES)
def test_each_size_of_the_connection_table(measure: Measure, size: int) -> None:
    seen = found("rr", "compiled", measure.sized(size, 100), measure.sized(1_000_000, 100), ROUNDS)
    group, name = "engine, size of the table, rr, compiled", f"{size:,} entries"
    each = seen.table_bytes / seen.entries
    measure.add(Row(group, name, "packets/s", tuple(seen.rates), SIZES[size]))
    measure.add(Row(group, f"{name}: of tables, per entry", "bytes", (each,), MOST_BYTES.get(size)))
    measure.add(Row(group, f"{name}: of the process", "bytes", (seen.peak_bytes,), MOST_MEMORY.get(size)))
