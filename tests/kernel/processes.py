"""lbsim as a process of its own, that can be interrupted and killed; programs that play others; a disk that is full."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

__all__ = ["ENDS", "REPOSITORY", "Running", "gone", "lbsim", "on_a_small_disk", "program", "running", "until"]

REPOSITORY = Path(__file__).parents[2]
# Looked up before a test changes PATH.
ENV, SETSID = (shutil.which(name) or name for name in ("env", "setsid"))

#: Ways to end a running lbsim, and the exit status that each must have.
ENDS = {"SIGINT": 130, "Ctrl-C": 130, "SIGTERM": -signal.SIGTERM, "SIGKILL": -signal.SIGKILL}


def program(folder: Path, name: str, text: str) -> None:
    """A shell script that plays a program."""
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def until(what: str, condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


def gone(pid: int, seconds: float = 10) -> bool:
    """Whether a process ends within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def lbsim(*words: str | Path) -> list[str]:
    """A command line of this repository's lbsim."""
    return [sys.executable, "-m", "lbsim", *map(str, words)]


class Running:
    """A started program: what it has said so far, and ways to end it."""

    def __init__(self, process: subprocess.Popen[bytes], said: int, terminal: int | None) -> None:
        self.process = process
        self._terminal = terminal
        self._said = bytearray()
        self._reader = threading.Thread(target=self._read, args=(said,))
        self._reader.start()

    @property
    def said(self) -> str:
        return self._said.decode(errors="replace")

    def end(self, how: str) -> int:
        """End it in one of the :data:`ENDS`; its exit status."""
        if how == "Ctrl-C":
            assert self._terminal is not None, "it has no terminal"
            os.write(self._terminal, b"\x03")
        else:
            self.process.send_signal(getattr(signal, how))
        return self.wait()

    def wait(self) -> int:
        status = self.process.wait(60)
        self._reader.join(10)
        return status

    def _read(self, source: int) -> None:
        with contextlib.suppress(OSError):  # a terminal that nobody has open any more
            while chunk := os.read(source, 4096):
                self._said += chunk


@contextlib.contextmanager
def running(argv: Sequence[str], *, terminal: bool = False, **environment: str) -> Iterator[Running]:
    """A program in a session of its own; with ``terminal`` in the foreground of one, whose Ctrl-C it gets."""
    mine, its = pty.openpty() if terminal else os.pipe()

    in_front = [ENV, "--default-signal=INT", SETSID, *(["--ctty"] if terminal else [])]  # INT: also of tests behind "&"
    process = subprocess.Popen(
        [*in_front, *argv], stdin=its if terminal else subprocess.DEVNULL, stdout=its, stderr=its,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "LBSIM_PROGRESS_AFTER": "2"} | environment,
    )  # fmt: skip
    os.close(its)
    started = Running(process, mine, mine if terminal else None)
    try:
        yield started
    finally:
        process.kill()
        started.wait()
        os.close(mine)


def on_a_small_disk(folder: Path, argv: Sequence[str], options: str) -> subprocess.CompletedProcess[str]:
    """What lbsim says that has ``folder`` on a file system of its own, then what it left there; without its progress.

    ``options`` : of mount for tmpfs, for example ``size=1m``.
    """
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    left = folder.with_name(f"{folder.name}.left")
    script = (
        'mount -t tmpfs -o "$1" none "$2" && : >"$3" || exit; folder=$2; left=$3; shift 3\n'
        '"$@"; status=$?\n'
        'find "$folder" -mindepth 1 >"$left"; exit $status'
    )
    left.unlink(missing_ok=True)
    done = subprocess.run(
        ["unshare", *user, "--mount", "sh", "-c", script, "sh", options, str(folder), str(left), *argv],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    if not left.exists():  # lbsim has not been started
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    done.stdout += left.read_text()
    done.stderr = re.sub(r"^(fetch|verify): .*\n", "", done.stderr, flags=re.MULTILINE)
    return done
