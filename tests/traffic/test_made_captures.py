"""Captures of scenarios that a script made are what it makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCENARIOS = Path(__file__).parents[2] / "scenarios"
FOUND_ELSEWHERE = {"capture/curl-nginx.pcap"}


def test_the_captures_beside_scenarios_are_those_of_the_script(tmp_path: Path) -> None:
    subprocess.run([sys.executable, SCENARIOS / "make-captures.py", tmp_path], check=True)
    made = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*.pcap")}
    kept = {str(path.relative_to(SCENARIOS)): path.read_bytes() for path in SCENARIOS.rglob("*.pcap")}
    assert made.keys() == kept.keys() - FOUND_ELSEWHERE
    assert {name for name in made if made[name] != kept[name]} == set()
