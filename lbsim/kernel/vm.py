"""Let a guest under QEMU do jobs: no root, no KVM, no disk, no network card.

A guest is woken up (:mod:`lbsim.kernel.frozen`) or, where that is not possible, booted.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from lbsim.errors import KernelUnavailable
from lbsim.kernel import cache, channel, frozen, initramfs, parcel, process
from lbsim.kernel.computer import Computer
from lbsim.kernel.images import Image
from lbsim.kernel.job import ROUTING, Job, Observation, Packet
from lbsim.kernel.wiring import messages_for

__all__ = ["QEMU", "run"]

QEMU = "qemu-system-x86_64"

_MEMORY = 512  # MB; the file system in memory takes a tenth, 250,000 connections as much again
_USUAL = 1024  # MB of a guest that is kept for others; what it never writes to costs nothing
_MEMORY_PER_JOBS = 20  # a byte of a job becomes so many while it is read, done and told
_SILENCE = 120.0  # seconds; an agent that only waits says so every minute
_PANIC = re.compile(r"Kernel panic - not syncing: (.*)")
_NO_MEMORY = re.compile(r"Out of memory|deadlocked on memory|Initramfs unpacking failed|MemoryError")


def run(
    image: Image,
    jobs: Sequence[Job],
    *,
    real_time: bool = False,
    as_host: bool = False,
    silence: float = _SILENCE,
    progress: channel.Progress | None = None,
) -> list[Observation]:
    """What the kernel did with each job, in their order: one boot, each job in fresh namespaces.

    Parameters
    ----------
    as_host : the guest does the jobs as a host does them that has ``ip_vs`` (the way ``netns``).
    silence : seconds without news after which the guest counts as hung.

    Raises
    ------
    KernelUnavailable : no guest could be started: no QEMU, no tools for the guest, no room.
    KernelFailed : the guest panicked, hung or ended early; ``done`` holds what was seen until then.
    """
    qemu = shutil.which(QEMU)
    what = f"the kernel {image.release} under QEMU"
    if qemu is None:
        raise KernelUnavailable(what, f"no {QEMU} on PATH", "apt install qemu-system-x86")
    archive = initramfs.base(
        image, programs={argv[0] for job in jobs for argv in job.commands() if argv[:2] not in ROUTING}
    )
    lines = b"".join(job.to_json().encode() + b"\n" for job in jobs)
    messages = json.dumps(messages_for(jobs)).encode()
    card = parcel.size_for(lines, messages)
    needed = _megabytes(jobs, len(lines))
    usual = needed <= _USUAL and card == parcel.LEAST and not (real_time or as_host)
    switches = (*(() if real_time else ("LBSIM_ALIGNED=1",)), *(("LBSIM_NETNS=1",) if as_host else ()))
    memory = _USUAL if usual else needed
    computer = Computer(qemu, image.vmlinuz, archive, memory, card, switches, real_time)
    kept = frozen.kept(computer, image.release, silence) if usual else None
    with cache.scratch() as scratch:
        console, errors = scratch / "console", scratch / "errors"
        with cache.room(scratch.parent, "TMPDIR"):
            parcel.write(scratch / "parcel", lines, messages, card)
        with _guest(computer, kept, scratch) as guest:
            return channel.follow(
                guest, jobs, what=what, silence=silence, progress=progress,
                why=lambda: _why(guest.returncode, _text(console), _text(errors)),
            )  # fmt: skip


@contextlib.contextmanager
def _guest(computer: Computer, kept: Path | None, scratch: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The guest that was kept, awake; if there is none, or it does not wake up, one that boots."""
    console, errors, brought = scratch / "console", scratch / "errors", scratch / "parcel"
    if kept:
        with frozen.thawed(computer, kept, console, brought, errors) as guest:
            if guest:
                yield guest
                return
    with process.started(computer.argv(console, brought), errors) as guest:
        yield guest


def _megabytes(jobs: Sequence[Job], told: int) -> int:
    """The memory of a guest that is given these jobs in so many bytes."""
    packets = sum(len(event.content) for job in jobs for event in job.events if isinstance(event, Packet))
    return _MEMORY + (_MEMORY_PER_JOBS * (told + packets) >> 20)


def _why(status: int, console: str, complaints: str) -> tuple[str, str]:
    """Why a guest ended that was not told to, and what helps."""
    again = "try again; if it stays so, take another kernel: lbsim kernel status names those that work"
    if _NO_MEMORY.search(console) or _NO_MEMORY.search(complaints):
        again = "ask for less at once: fewer packets, fewer scenarios"
    if panic := _PANIC.search(console):
        before = [line for line in console[: panic.start()].splitlines() if line.strip() and line[0] != "["]
        return f"the guest panicked: {panic[1].strip()}" + (f" ({before[-1].strip()})" if before else ""), again
    if status < 0:
        return f"QEMU was killed by {signal.Signals(-status).name}", "see who did it: is memory short?"
    last = [line for line in (*complaints.splitlines(), *console.splitlines()) if line.strip()]
    return "the guest ended early" + (f": {last[-1].strip()}" if last else ""), again


def _text(path: Path) -> str:
    """What is in a file that may not be there, without what would move a cursor."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)
