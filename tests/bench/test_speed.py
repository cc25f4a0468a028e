"""How fast, and how much memory: a million packets of 200,000 connections, and the installed command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lbsim.engine.lanes import compiled_lane, interpreted_lane
from lbsim.model.trace import Trace
from lbsim.simulate import _Run, _without_garbage_collection
from tests.bench.traffic import config_of, trace_of

pytestmark = pytest.mark.bench

CONNECTIONS = 200_000
COMMAND = Path(sys.executable).with_name("lbsim")
WALKTHROUGH = Path(__file__).parents[2] / "scenarios" / "seed" / "walkthrough.lbsim.yaml"


@pytest.fixture(scope="module")
def trace() -> Trace:
    return trace_of(CONNECTIONS)


def through_the_engine(run: _Run) -> None:
    """From columns to verdicts, without the listings of a result."""
    with _without_garbage_collection():
        run.feed(len(run.trace), None)


@pytest.mark.parametrize("scheduler", ["rr", "lc", "sh"])
@pytest.mark.parametrize("lane", [interpreted_lane, compiled_lane], ids=["interpreted", "compiled"])
def test_packets_per_second(benchmark: Any, lane: Any, scheduler: str, trace: Trace) -> None:
    def fresh() -> tuple[tuple[_Run], dict[str, Any]]:
        return (_Run(config_of(scheduler), trace, "linux-6.1.192", None, None, lane()),), {}

    rounds = 3
    benchmark.pedantic(through_the_engine, setup=fresh, rounds=rounds, warmup_rounds=int(lane is compiled_lane))
    best = len(trace) / benchmark.stats.stats.min
    benchmark.extra_info["packets_per_second"] = round(best)
    print(f"\n{scheduler}, {lane().name}: {best / 1e6:.3f} million packets/s (best of {rounds})")


@pytest.mark.parametrize(
    "words",
    [["--help"], ["run", str(WALKTHROUGH), "--no-figures"]],
    ids=["lbsim --help", "lbsim run walkthrough"],
)
def test_wall_time_of_the_command(benchmark: Any, words: list[str], tmp_path: Path) -> None:
    benchmark.pedantic(
        subprocess.run,
        args=([str(COMMAND), *words],),
        kwargs={"cwd": tmp_path, "check": True, "capture_output": True},
        rounds=5,
        warmup_rounds=1,
    )
    print(f"\nlbsim {' '.join(words)}: {benchmark.stats.stats.min:.2f} s (best of 5)")


MEMORY = f"""
import resource
from lbsim.simulate import simulate
from tests.bench.traffic import config_of, trace_of
trace = trace_of({CONNECTIONS})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
result = simulate(config_of("rr"), trace)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(before, after, len(result), len(result.final.connections))
"""


def test_peak_memory(benchmark: Any) -> None:
    done = benchmark.pedantic(
        subprocess.run,
        args=([sys.executable, "-c", MEMORY],),
        kwargs={"check": True, "capture_output": True, "text": True, "cwd": Path(__file__).parents[2]},
        rounds=1,
    )
    before, after, packets, entries = map(int, done.stdout.split())
    benchmark.extra_info |= {"peak_mib": after // 1024, "before_mib": before // 1024}
    print(f"\n{packets:,} packets, {entries:,} entries left: peak {after // 1024} MiB, {before // 1024} before the run")
