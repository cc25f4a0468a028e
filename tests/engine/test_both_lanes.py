"""Both lanes give the same result, to the last number of every column and table."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from lbsim import parse, simulate
from lbsim.config import parse_command
from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.model.config import TimedCommand
from lbsim.model.result import Result
from lbsim.pipeline import run_loaded
from lbsim.scenario import load
from tests.traces import EVERY_SHAPE, config_text, random_trace

SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios").rglob("*.lbsim.yaml"))
SECOND = 1_000_000_000


def digest(result: Result) -> str:
    """SHA-256 over everything a result holds but the lane's name."""
    found = hashlib.sha256()
    for name, column in sorted(result.columns.items()):
        found.update(name.encode() + str(column.dtype).encode() + column.tobytes())
    rest = (
        replace(result.provenance, lane=""),
        result.addresses,
        result.destinations,
        result.moments,
        result.final,
        result.series,
        result.findings,
    )
    found.update(repr(rest).encode())
    return found.hexdigest()


def run(lane: Lane, version: int, scheduler: str) -> Result:
    vip, server = ("192.0.2.1", "10.0.0.11") if version == 4 else ("[2001:db8::1]", "[fd00::11]")
    timeline = [
        TimedCommand(50 * SECOND, parse_command(f"-d -t {vip}:80 -r {server}:80")),
        TimedCommand(51 * SECOND, parse_command(f"-a -t {vip}:80 -r {server}:80 -m -w 300")),
        TimedCommand(150 * SECOND, parse_command(f"-d -t {vip}:80 -r {server}:80")),
        TimedCommand(200 * SECOND, parse_command(f"-D -u {vip}:53")),
    ]
    return simulate(
        parse(config_text(version, scheduler)),
        random_trace(11, 3000, version=version, shapes=EVERY_SHAPE),
        timeline=timeline,
        moments=[60 * SECOND, 300 * SECOND],
        until=3000 * SECOND,
        sysctls={"expire_nodest_conn": int(version == 6)},
        lane=lane,
    )


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("scheduler", ["rr", "lc", "sh", "sh -b sh-port", "sh -b sh-fallback,sh-port"])
def test_results_are_equal(scheduler: str, version: int) -> None:
    interpreted = run(interpreted_lane(), version, scheduler)
    compiled = run(compiled_lane(), version, scheduler)
    assert len(interpreted.reason_counts()) >= 12  # the trace is worth comparing
    assert interpreted.reason_counts() == compiled.reason_counts()
    assert digest(interpreted) == digest(compiled)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.name.partition(".")[0])
def test_scenarios_give_equal_results_and_equal_packets(path: Path, tmp_path: Path) -> None:
    found = {}
    for lane in ("interpreted", "compiled"):
        out = tmp_path / lane
        result = run_loaded(load(path), lane=lane, pcap_out=out).result
        assert result.provenance.lane == lane
        found[lane] = digest(result), {file.name: file.read_bytes() for file in out.iterdir()}
    assert found["interpreted"] == found["compiled"]
    assert len(found["compiled"][1]) >= 2  # captures of clients and destinations


def test_the_digest_notices_a_single_number() -> None:
    result = run(interpreted_lane(), 4, "rr")
    before = digest(result)
    result.columns["new_dport"][17] += 1
    assert digest(result) != before
