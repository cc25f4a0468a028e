"""Boot a kernel under QEMU and let it do jobs: no root, no KVM, no disk, no network card.

Everything is in memory and the guest's clock is made of executed instructions (``-icount shift=0,sleep=off``): one
instruction is one nanosecond, and when the guest is idle the clock jumps to its next timer. So 15 minutes of waiting
take seconds, and the same jobs give the same times. With ``real_time`` the guest's clock is the host's.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

from lbsim.errors import KernelUnavailable
from lbsim.kernel import cache, channel, initramfs, process
from lbsim.kernel.images import Image
from lbsim.kernel.job import ROUTING, Job, Observation, Packet
from lbsim.kernel.wiring import messages_for

__all__ = ["QEMU", "run"]

QEMU = "qemu-system-x86_64"

_MEMORY = 512  # MB; the file system in memory takes a tenth, 250,000 connections as much again
_MEMORY_PER_JOBS = 20  # a byte of a job becomes so many while it is read, done and told
_SILENCE = 120.0  # seconds; an agent that only waits says so every minute
_PROCESSOR = "Nehalem,+rdrand"  # wide vector registers are a fifth slower, emulated; Python wants random numbers
_TIME_TRAVEL = ("-icount", "shift=0,sleep=off")
# What an emulated computer does not need costs seconds: all of ACPI but the table that tells of the local timer (else
# the guest cannot sleep longer than 27 ms), self-tests of ciphers. Programs that always lie at the same addresses start
# six times as fast: QEMU translates their code once.
_COMMAND_LINE = (
    "console=ttyS0 quiet panic=-1 acpi=noirq tsc=reliable mitigations=off nokaslr norandmaps cryptomgr.notests "
    "audit=0 PYTHONHOME=/ LD_LIBRARY_PATH=/lib PATH=/bin XTABLES_LIBDIR=/lib/xtables PYTHONDONTWRITEBYTECODE=1"
)
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
    with cache.scratch() as scratch:
        console, errors, initrd = scratch / "console", scratch / "errors", scratch / "initrd"
        with cache.room(scratch.parent, "TMPDIR"):
            initramfs.with_jobs(archive, lines, messages, initrd)
        argv = [
            qemu, "-accel", "tcg", "-cpu", _PROCESSOR, "-smp", "1", "-m", str(_megabytes(jobs, len(lines))),
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none",
            *(() if real_time else _TIME_TRAVEL),
            "-serial", f"file:{console}", "-chardev", "stdio,id=results,signal=off", "-serial", "chardev:results",
            "-kernel", str(image.vmlinuz), "-initrd", str(initrd),
            "-append", " ".join([_COMMAND_LINE, *_switches(real_time, as_host)]),
        ]  # fmt: skip
        with process.started(argv, errors) as guest:
            return channel.follow(
                guest, jobs, what=what, silence=silence, progress=progress,
                why=lambda: _why(guest.returncode, _text(console), _text(errors)),
            )  # fmt: skip


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


def _switches(real_time: bool, as_host: bool) -> list[str]:
    """What the guest's agent finds in its environment."""
    return [*([] if real_time else ["LBSIM_ALIGNED=1"]), *(["LBSIM_NETNS=1"] if as_host else [])]
