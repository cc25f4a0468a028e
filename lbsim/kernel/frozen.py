"""Guests that were booted once, and then kept: the next one wakes up where the first began to wait for jobs.

Booting takes most of the time of a small run. So the first guest on a kernel is stopped when it is ready, and its
memory and the state of its computer go into the user's cache folder. The next start maps that memory, each page
copied when it is written to, and goes on: a tenth of a second instead of several. What is kept is good for one state
of all that was booted, of QEMU and of its command line. It cannot be told from a fresh guest but by its clock, and by
its random numbers, which it is given anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lbsim.errors import KernelUnavailable
from lbsim.kernel import cache, channel, process
from lbsim.kernel.computer import Computer

__all__ = ["kept", "thawed"]

_FORMAT = 1  # counts changes of this file
_FOLDER = "frozen"
_MEMORY, _STATE = "memory", "state"
_NEEDED = 300 << 20  # bytes of a disk; the memory that a guest has written to is half of it
_PATIENCE = 30.0  # seconds for an answer of QEMU's, at most
_KEPT = 2  # guests of one kernel
# What is in files of its own stays there.
_NO_COPY: dict[str, object] = {"capabilities": [{"capability": "x-ignore-shared", "state": True}]}


class _NotFrozen(Exception):
    """A guest could not be stopped or woken up; it is booted instead."""


def kept(computer: Computer, name: str, silence: float) -> Path | None:
    """The folder with a guest of this computer's that waits for jobs, made if absent; None if that is not possible.

    Parameters
    ----------
    name : the kernel's.
    silence : seconds without a word after which a guest that boots counts as hung.
    """
    try:
        folder = cache.folder(_FOLDER)
        target = folder / f"{name}-{_digest(computer)}"
        if target.exists():
            with contextlib.suppress(OSError):  # somebody else's cache
                os.utime(target)
            return target
        if shutil.disk_usage(folder).free < _NEEDED:
            return None
        with cache.temporary(folder) as part:
            _freeze(computer, part / "guest", silence)
            with contextlib.suppress(OSError):  # another process was faster
                (part / "guest").rename(target)
        cache.drop_older(folder, f"{name}-*", _KEPT)
    except (KernelUnavailable, _NotFrozen, OSError, subprocess.TimeoutExpired):
        return None
    return target if target.exists() else None


@contextlib.contextmanager
def thawed(
    computer: Computer, folder: Path, console: Path, parcel: Path, errors: Path
) -> Iterator[subprocess.Popen[bytes] | None]:
    """The guest, awake, which ends when this block does; None, and nothing is kept of it, if it does not wake up."""
    with contextlib.ExitStack() as stack:
        try:
            argv = computer.argv(console, parcel, "-incoming", "defer", memory=folder / _MEMORY)
            guest, monitor = stack.enter_context(_monitored(argv, errors))
            with (folder / _STATE).open("rb") as state:
                monitor.move("migrate-incoming", state)
            monitor.ask("cont")
        except (_NotFrozen, OSError):
            stack.close()
            shutil.rmtree(folder, ignore_errors=True)
            yield None
        else:
            yield guest


def _freeze(computer: Computer, target: Path, silence: float) -> None:
    """Boot a guest without jobs and keep it as it is when it waits for them."""
    target.mkdir()
    console, parcel, errors = (target.parent / name for name in ("console", "parcel", "errors"))
    for path, megabytes in ((target / _MEMORY, computer.megabytes), (parcel, computer.card)):
        path.touch()
        os.truncate(path, megabytes << 20)
    argv = computer.argv(console, parcel, memory=target / _MEMORY, shared=True)
    with _monitored(argv, errors) as (guest, monitor):
        if not channel.waits(guest, silence):
            raise _NotFrozen
        monitor.ask("stop")
        with (target / _STATE).open("wb") as state:
            monitor.move("migrate", state)
        monitor.ask("quit")
        guest.wait(_PATIENCE)
    for path in (target / _MEMORY, target / _STATE):
        with path.open("rb") as file:
            os.fsync(file.fileno())  # else a power failure may keep the name and lose the content


@contextlib.contextmanager
def _monitored(argv: list[str], errors: Path) -> Iterator[tuple[subprocess.Popen[bytes], _Monitor]]:
    ours, its = socket.socketpair()
    with ours, its:
        more = ("-chardev", f"socket,id=monitor,fd={its.fileno()}", "-mon", "chardev=monitor,mode=control")
        with process.started([*argv, *more], errors, pass_fds=(its.fileno(),)) as guest:
            its.close()
            with contextlib.closing(_Monitor(ours)) as monitor:
                yield guest, monitor


class _Monitor:
    """QEMU's monitor, as far as it is needed here (QEMU Machine Protocol: a line of JSON each)."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(_PATIENCE)
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._line()  # its greeting
        self.ask("qmp_capabilities")

    def close(self) -> None:
        self._lines.close()

    def ask(self, command: str, arguments: dict[str, object] | None = None) -> dict[str, object]:
        """What it answers; _NotFrozen if it refuses or is gone."""
        return self._ask(command, arguments or {}, ())

    def move(self, how: str, state: IO[bytes]) -> None:
        """Let the state of the computer go into a file (``migrate``) or come from one (``migrate-incoming``)."""
        self._ask("getfd", {"fdname": "state"}, (state.fileno(),))
        self.ask("migrate-set-capabilities", _NO_COPY)
        self.ask(how, {"uri": "fd:state"})
        deadline = time.monotonic() + _PATIENCE
        while (status := self.ask("query-migrate").get("status")) != "completed":
            if status in ("failed", "cancelled") or time.monotonic() > deadline:
                raise _NotFrozen
            time.sleep(0.002)

    def _ask(self, command: str, arguments: dict[str, object], files: tuple[int, ...]) -> dict[str, object]:
        words = json.dumps({"execute": command, "arguments": arguments}).encode()
        socket.send_fds(self._connection, [words], files)
        while True:
            said = self._line()
            if "error" in said:
                raise _NotFrozen
            if isinstance(answer := said.get("return"), dict):
                return answer  # what else it says are events

    def _line(self) -> dict[str, object]:
        try:
            said: dict[str, object] = json.loads(self._lines.readline())
        except ValueError as error:  # nothing: it has ended
            raise _NotFrozen from error
        return said


def _digest(computer: Computer) -> str:
    status = os.stat(computer.qemu)
    words = (_FORMAT, computer.argv(Path("console"), Path("parcel")), status.st_size, status.st_mtime_ns)
    return hashlib.sha256(repr(words).encode()).hexdigest()[:16]
