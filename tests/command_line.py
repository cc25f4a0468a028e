"""``lbsim`` as a command, inside this process or in one of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from click.testing import CliRunner, Result

import lbsim
from lbsim.cli import main
from tests.scenario.texts import changed

ROOT = str(Path(lbsim.__file__).parents[1])
FAILING = changed("reasons: {new: 6}", "reasons: {new: 7}")


def cli(*words: str | Path) -> Result:
    """What a command line answers, inside this process."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def run(*words: str | Path) -> Result:
    """``lbsim run`` without figures, which take a second."""
    return cli("run", "--no-figures", *words)


def a_process(*words: str | Path, terminal: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """``lbsim`` in a process of its own, with the keyboard's signals as in a terminal."""
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # or a test run in the background passes on "ignore"
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "lbsim", *map(str, words)],
            stdout=terminal,
            stderr=terminal,
            text=True,
            env={**os.environ, "PYTHONPATH": ROOT, "TERM": "xterm", "NO_COLOR": ""},
        )
    finally:
        signal.signal(signal.SIGINT, before)


def interrupted_when(process: subprocess.Popen[str], now: Callable[[], bool]) -> tuple[str, str]:
    """What a process says that is interrupted as soon as something is the case."""
    deadline = time.monotonic() + 60
    try:
        while not now():
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        return process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()


def written(folder: Path) -> bool:
    """Whether a block of columns was written below a folder."""
    with suppress(FileNotFoundError):  # it was moved since it was found
        return any(part.is_file() and part.stat().st_size for part in folder.rglob("*"))
    return False
