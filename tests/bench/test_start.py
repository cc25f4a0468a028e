"""How long it takes until something happens: imports, commands, the compiled lane."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.conftest import Measure

pytestmark = pytest.mark.bench

GROUP = "start, by the clock"
ROOT = Path(__file__).parents[2]
WALKTHROUGH = str(ROOT / "scenarios" / "seed" / "walkthrough.lbsim.yaml")
COMMANDS = {
    "python -c 'pass'": ["-c", "pass"],
    "import lbsim": ["-c", "import lbsim"],
    "lbsim --help": ["-m", "lbsim", "--help"],
    "lbsim run walkthrough, without figures": ["-m", "lbsim", "run", WALKTHROUGH, "--no-figures"],
    "lbsim run walkthrough": ["-m", "lbsim", "run", WALKTHROUGH],
}
COMPILED = ["-m", "lbsim", "run", WALKTHROUGH, "--no-figures", "--lane", "compiled"]


def started(words: list[str], folder: Path, **environment: str) -> None:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # as users have it
    subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=kept | {"PYTHONPATH": str(ROOT)} | environment,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command(measure: Measure, name: str, tmp_path: Path) -> None:
    started(COMMANDS[name], tmp_path)
    measure.seconds(GROUP, name, lambda: started(COMMANDS[name], tmp_path))


def test_first_compile(measure: Measure, tmp_path: Path) -> None:
    def work() -> None:
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        started(COMPILED, tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"))

    measure.seconds(GROUP, "lbsim run --lane compiled, the first time", work, goal=40)


def test_start_from_the_cache(measure: Measure, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    started(COMPILED, tmp_path, XDG_CACHE_HOME=cache)
    measure.seconds(
        GROUP,
        "lbsim run --lane compiled, from the cache",
        lambda: started(COMPILED, tmp_path, XDG_CACHE_HOME=cache),
        goal=1.5,
    )
