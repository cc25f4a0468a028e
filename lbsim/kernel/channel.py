"""Follow an agent at work: its lines in, observations out, with a deadline and a clear end."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence

from lbsim.errors import KernelFailed
from lbsim.kernel.agent import WAITING, decode
from lbsim.kernel.job import Job, Observation

__all__ = ["Progress", "follow", "waits"]

#: Called with the number of jobs done, the number of all, and the name of the one at work.
Progress = Callable[[int, int, str], None]


def follow(
    process: subprocess.Popen[bytes],
    jobs: Sequence[Job],
    *,
    what: str,
    silence: float,
    why: Callable[[], tuple[str, str]],
    progress: Progress | None = None,
) -> list[Observation]:
    """The observations of all jobs, in their order.

    Parameters
    ----------
    what : the kernel's name in messages.
    silence : seconds without a word after which the agent counts as hung.
    why : says why the process ended early, as far as that can be known, and what helps.

    Raises
    ------
    KernelFailed : it ended early, hung or said something else; ``done`` holds the observations so far.
    """
    done: list[Observation] = []
    ready = False

    def failed(step: str, remedy: str) -> KernelFailed:
        where = (
            f"job {jobs[len(done)].name!r} ({len(done)} of {len(jobs)} done)" if len(done) < len(jobs) else "its end"
        )
        return KernelFailed(what, f"{step}, at {where if ready else 'the start'}", remedy, done=tuple(done))

    for line in _lines(process, silence):
        if line is None:
            raise failed(f"not a word for {silence:g} s", "try again when this computer has less to do")
        said = _said(line)
        name = ""
        match said:
            case Observation():
                done.append(said)
            case {"ready": _}:
                ready = True
                continue
            case {"start": at_work}:
                name = str(at_work)
            case {"end": _}:
                if [seen.name for seen in done] != [job.name for job in jobs]:
                    raise failed("results are missing", "try again")
                return done
            case _:
                continue  # a torn line: the end that caused it is reported below
        if progress:
            progress(len(done), len(jobs), name)
    process.wait()
    raise failed(*why())


def waits(process: subprocess.Popen[bytes], silence: float) -> bool:
    """Whether an agent that was given no jobs says that it waits for them, before it ends or is silent for too long."""
    return any(line is not None and line.strip() == WAITING for line in _lines(process, silence))


def _said(line: bytes) -> Observation | dict[str, object] | None:
    """What a line of the agent's says: an observation, words on how far it is, or nothing that makes sense."""
    try:
        text = decode(line)
        words: dict[str, object] = json.loads(text)
        return words if words.keys() & {"ready", "start", "end"} else Observation.from_json(text)
    except (ValueError, TypeError, LookupError, AttributeError):
        return None


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
