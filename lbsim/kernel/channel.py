"""Follow an agent at work: its lines in, observations out, with a deadline and a clear end."""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lbsim.errors import KernelUnavailable
from lbsim.kernel.agent import decode
from lbsim.kernel.job import Job, Observation

__all__ = ["Progress", "follow", "started"]

#: Called with the number of jobs done, the number of all, and the name of the one at work.
Progress = Callable[[int, int, str], None]

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@contextmanager
def started(
    argv: Sequence[str], errors: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The process, which ends when this block or this program does, however that comes; stderr goes to a file."""
    parent = os.getpid()

    def die_with_parent() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    with errors.open("wb") as said:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, env=environment,
            start_new_session=True, preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, no locks
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def follow(
    process: subprocess.Popen[bytes],
    jobs: Sequence[Job],
    *,
    what: str,
    silence: float,
    why: Callable[[], str],
    progress: Progress | None = None,
) -> list[Observation]:
    """The observations of all jobs, in their order.

    Parameters
    ----------
    what : the kernel's name in messages.
    silence : seconds without a word after which the agent counts as hung.
    why : says why the process ended early, as far as that can be known.

    Raises
    ------
    KernelUnavailable : it ended early or hung; ``done`` holds the observations so far.
    """
    done: list[Observation] = []
    ready, at_work = "", ""

    def failed(step: str, remedy: str) -> KernelUnavailable:
        where = f"job {at_work!r} ({len(done)} of {len(jobs)} done)" if at_work else "its end" if ready else "the start"
        return KernelUnavailable(what, f"{step}, at {where}", remedy, done=tuple(done))

    for line in _lines(process, silence):
        if line is None:
            raise failed(f"not a word for {silence:g} s", "try fewer jobs at once or a longer limit")
        try:
            said = json.loads(decode(line))
        except ValueError:
            continue  # a torn line: the end that caused it is reported below
        if "ready" in said:
            ready = said["ready"]
        elif "start" in said:
            at_work = said["start"]
            if progress:
                progress(len(done), len(jobs), at_work)
        elif "end" in said:
            if said["end"] != len(jobs) or len(done) != len(jobs):
                raise failed("results are missing", "try again")
            return done
        else:
            done.append(Observation.from_json(decode(line)))
            at_work = ""
            if progress:
                progress(len(done), len(jobs), "")
    process.wait()
    raise failed(why(), "try again; if it stays so, another kernel: lbsim kernel fetch")


def _lines(process: subprocess.Popen[bytes], silence: float) -> Iterator[bytes | None]:
    """The process's lines as they come; ``None`` when it has been silent for too long."""
    assert process.stdout is not None
    source = process.stdout.fileno()
    parts: list[bytes] = []
    with selectors.DefaultSelector() as ready:
        ready.register(source, selectors.EVENT_READ)
        while True:
            deadline = time.monotonic() + silence
            while not ready.select(max(0.0, deadline - time.monotonic())):
                if time.monotonic() >= deadline:
                    yield None
                    return
            chunk = os.read(source, 1 << 20)
            if not chunk:
                return
            *lines, rest = chunk.split(b"\n")
            for line in lines:
                yield b"".join(parts) + line
                parts.clear()
            parts.append(rest)
