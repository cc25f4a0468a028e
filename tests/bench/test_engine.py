"""The engine alone: per scheduler and lane, and per size of the connection table."""

from __future__ import annotations

import pytest

from lbsim.engine.lanes import interpreted_lane
from lbsim.engine.schedulers import NUMBERS
from tests.bench.conftest import ROUNDS, Measure
from tests.bench.history import Row
from tests.bench.steady import BLOCK, found, opened

pytestmark = pytest.mark.bench

ENTRIES = 250_000
# Packets per second wanted of the compiled lane with 250,000 entries; and with 5 million.
COMPILED = {"rr": 6e6, "lc": 6e6, "sh": 6e6, "wlc": 5e6, "mh": 2e6, "rr -p 300": 2e6}
LARGE = {"wlc": 2.5e6, "sh": 2.5e6}
INTERPRETED = {"rr": 150e3, "lc": None, "sh": None}
NEW, DESTINATIONS = 2 * BLOCK, 16
SIZES = {10_000: None, 100_000: None, 1_000_000: None, 5_000_000: 3e6, 10_000_000: None}
MOST_BYTES = {1_000_000: 128, 5_000_000: 128, 10_000_000: 128}  # of tables, per entry
MOST_MEMORY = {10_000_000: 2.5e9}  # of the process, traffic included


@pytest.mark.parametrize("scheduler", COMPILED)
def test_each_scheduler_compiled(measure: Measure, scheduler: str) -> None:
    seen = found(scheduler, "compiled", measure.sized(ENTRIES, 100), measure.sized(1_000_000, 100), ROUNDS)
    name = f"{scheduler}, compiled"
    measure.add(Row(f"engine, {ENTRIES:,} entries", name, "packets/s", tuple(seen.rates), COMPILED[scheduler]))


@pytest.mark.parametrize("scheduler", INTERPRETED)
def test_each_scheduler_interpreted(measure: Measure, scheduler: str) -> None:
    seen = found(scheduler, "interpreted", measure.sized(ENTRIES, 100), measure.sized(100_000, 100), ROUNDS)
    name = f"{scheduler}, interpreted"
    measure.add(Row(f"engine, {ENTRIES:,} entries", name, "packets/s", tuple(seen.rates), INTERPRETED[scheduler]))


@pytest.mark.parametrize("scheduler", LARGE)
def test_a_large_table(measure: Measure, scheduler: str) -> None:
    seen = found(scheduler, "compiled", measure.sized(5_000_000, 100), measure.sized(1_000_000, 100), ROUNDS)
    measure.add(
        Row("engine, 5,000,000 entries", f"{scheduler}, compiled", "packets/s", tuple(seen.rates), LARGE[scheduler])
    )


@pytest.mark.parametrize("scheduler", [name for name in NUMBERS if name != "none"])
def test_new_connections(measure: Measure, scheduler: str) -> None:
    rates = opened(scheduler, interpreted_lane(), NEW, ROUNDS, DESTINATIONS)
    group = f"engine, SYNs of new connections, {DESTINATIONS} destinations"
    measure.add(Row(group, f"{scheduler}, interpreted", "packets/s", tuple(rates), 20e3))


@pytest.mark.parametrize("size", SIZES)
def test_each_size_of_the_connection_table(measure: Measure, size: int) -> None:
    seen = found("rr", "compiled", measure.sized(size, 100), measure.sized(1_000_000, 100), ROUNDS)
    group, name = "engine, size of the table, rr, compiled", f"{size:,} entries"
    each = seen.table_bytes / seen.entries
    measure.add(Row(group, name, "packets/s", tuple(seen.rates), SIZES[size]))
    measure.add(Row(group, f"{name}: of tables, per entry", "bytes", (each,), MOST_BYTES.get(size)))
    measure.add(Row(group, f"{name}: of the process", "bytes", (seen.peak_bytes,), MOST_MEMORY.get(size)))
