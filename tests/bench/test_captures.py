"""Captures: read, decided about, written anew, and the whole way to a report."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lbsim.engine.lanes import compiled_lane
from lbsim.model.result import ResultBlock
from lbsim.model.trace import Trace
from lbsim.packet.received import CaptureWriter
from lbsim.pipeline import run_loaded, trace_blocks_of, trace_of
from lbsim.scenario import load
from lbsim.simulate import simulate
from tests.bench.captures import scenario_of
from tests.bench.conftest import Measure

pytestmark = [pytest.mark.bench, pytest.mark.benchmark(timer=time.process_time)]

GROUP = "captures, in the page cache"
PACKETS, MANY = 1_000_000, 10_000_000


def made(measure: Measure, folder: Path, packets: int) -> tuple[Path, int]:
    """A scenario with a capture of so many packets, and how many they are at this scale."""
    packets = measure.sized(packets, 1000)
    return scenario_of(folder, packets), packets


def test_capture_to_columns(measure: Measure, tmp_path: Path) -> None:
    path, packets = made(measure, tmp_path, PACKETS)
    loaded = load(path)
    measure.packets(
        GROUP, "capture to columns", lambda: list(map(len, trace_blocks_of(loaded, compiled_lane()))), packets
    )
    assert sum(map(len, trace_blocks_of(loaded, compiled_lane()))) == packets


def test_capture_to_decisions(measure: Measure, tmp_path: Path) -> None:
    path, packets = made(measure, tmp_path, PACKETS)
    loaded = load(path)
    measure.packets(GROUP, "capture to decisions", lambda: run_loaded(loaded, lane="compiled"), packets, goal=4e6)


def test_capture_to_rewritten_capture(measure: Measure, tmp_path: Path) -> None:
    path, packets = made(measure, tmp_path, PACKETS)
    loaded = load(path)
    out = tmp_path / "out"

    def work() -> None:
        run_loaded(loaded, lane="compiled", pcap_out=out)

    measure.packets(GROUP, "capture to rewritten capture", work, packets, goal=2e6)
    # what came in less its link-layer headers went out
    came = path.with_name("web.pcap").stat().st_size - 24 - 14 * packets
    assert sum(file.stat().st_size - 24 for file in out.glob("*.pcap")) == came


class Kept(list[tuple[Trace, ResultBlock]]):
    """A sink that keeps everything."""

    def add(self, trace: Trace, answers: ResultBlock) -> None:
        self.append((trace, answers))


@pytest.mark.parametrize("target", ["folder", "all.pcap"])
@pytest.mark.parametrize("source", ["captured", "made-up"])
def test_decisions_to_rewritten_capture(measure: Measure, tmp_path: Path, source: str, target: str) -> None:
    path, packets = made(measure, tmp_path, PACKETS)
    loaded = load(path)
    trace = trace_of(loaded)
    if source == "made-up":
        trace = replace(trace, columns=dict(trace.columns) | {"raw_at": np.full(packets, -1)})
    kept = Kept()
    simulate(loaded.config, trace, columns=False, sinks=[kept], lane=compiled_lane())

    def work() -> None:
        with CaptureWriter(tmp_path / target) as captures:
            for block, answers in kept:
                captures.add(block, answers)

    name = {"folder": "a capture per destination", "all.pcap": "one capture"}[target]
    measure.packets(GROUP, f"decisions about {source} packets to {name}", work, packets, goal=5e6)


def test_large_capture_to_a_report(measure: Measure, tmp_path: Path) -> None:
    path, packets = made(measure, tmp_path, MANY)

    def work() -> None:
        words = ["run", str(path), "--out", str(tmp_path / "out"), "--quiet"]
        subprocess.run([sys.executable, "-m", "lbsim", *words], check=True, cwd=Path(__file__).parents[2])

    measure.seconds(GROUP, f"lbsim run, {packets:,} packets to a finished report", work, goal=10)
    assert (tmp_path / "out" / "web").is_dir()
    shutil.rmtree(tmp_path)


def test_columns_to_sums(measure: Measure, tmp_path: Path) -> None:
    path, packets = made(measure, tmp_path, PACKETS)
    loaded = load(path)
    trace = trace_of(loaded)
    measure.packets(
        GROUP,
        "columns to decisions and their sums",
        lambda: simulate(loaded.config, trace, columns=False, lane=compiled_lane()),
        packets,
    )
