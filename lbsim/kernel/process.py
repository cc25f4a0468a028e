"""Other programs: they end when this one does, however it ends, and so does what they have started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lbsim.errors import KernelUnavailable

__all__ = ["PACKAGES", "finished", "search_path", "started", "which"]

#: The tools that a director may need, and the Debian packages that bring them.
PACKAGES = {"ipvsadm": "ipvsadm", "ip": "iproute2", "iptables": "iptables", "ip6tables": "iptables"}

_SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin", "/usr/local/bin")

_PR_SET_PDEATHSIG = 1
_LOOK_EVERY = 0.5  # seconds

# Our two stand-ins start without site-packages, but with the PYTHONHOME that a computer may need (python -SP, not -I).
#
# Between us and a program that starts programs of its own: when we are gone the kernel tells this one, which then
# ends the whole group. The kernel itself would tell nobody but our own child.
_GUARD = f"""
import ctypes, os, signal, subprocess, sys
def end(*_):
    os.killpg(0, signal.SIGKILL)
signal.signal(signal.SIGTERM, end)
ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    end()
sys.exit(subprocess.run(sys.argv[2:]).returncode & 255)
"""

# What asks the kernel to end it when we are gone, and then becomes another program; it tells why it cannot.
_BECOMES = f"""
import ctypes, os, signal, sys
parent, tell = map(int, sys.argv[1:3])
ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, signal.SIGKILL)
if os.getppid() != parent:
    sys.exit(1)
os.set_inheritable(tell, False)
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
try:
    os.execvp(sys.argv[3], sys.argv[3:])
except OSError as error:
    os.write(tell, b"%d" % error.errno)
"""


@contextlib.contextmanager
def started(
    argv: Sequence[str],
    errors: Path,
    environment: dict[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """The process, which ends when this block or this program does, however that comes; stderr goes to a file.

    ``pass_fds`` : open files that it inherits.

    Raises
    ------
    KernelUnavailable : it cannot be started.
    """
    told, tell = os.pipe()
    try:
        with errors.open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-SPc", _BECOMES, str(os.getpid()), str(tell), *argv],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, env=environment,
                start_new_session=True, pass_fds=(tell, *pass_fds),
            )  # fmt: skip
    except OSError as error:
        os.close(told)
        raise _not_started(argv, error.errno) from error
    finally:
        os.close(tell)
    try:
        with os.fdopen(told, "rb") as answer:
            number = answer.read()  # nothing, and the end, when it has become the program
        if number:
            raise _not_started(argv, int(number))
        yield process
    finally:
        _end(process)


def _not_started(argv: Sequence[str], number: int | None) -> KernelUnavailable:
    step = f"cannot be started: {os.strerror(number or 0)}"
    return KernelUnavailable(argv[0], step, "install it anew, or look at your limits (ulimit -a)")


def finished(
    argv: Sequence[str], folder: Path, *, patience: float, waiting: Callable[[], object] = lambda: None
) -> subprocess.CompletedProcess[str]:
    """What a program said (in English) and its exit status, once it has ended.

    Parameters
    ----------
    folder : where it works.
    patience : seconds after which it is ended if nothing in ``folder`` has grown in that time.
    waiting : called now and then.

    Raises
    ------
    TimeoutError : it was ended.
    """
    process = subprocess.Popen(
        [sys.executable, "-SPc", _GUARD, str(os.getpid()), *argv],
        cwd=folder, env=os.environ | {"LC_ALL": "C.UTF-8", "LANGUAGE": ""}, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, encoding="utf-8", errors="replace",
    )  # fmt: skip
    try:
        size, since = -1, time.monotonic()
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                said, complained = process.communicate(timeout=_LOOK_EVERY)
                return subprocess.CompletedProcess(argv, process.returncode, said, complained)
            waiting()
            before, size = size, _size(folder)
            if size != before:
                since = time.monotonic()
            elif time.monotonic() - since > patience:
                raise TimeoutError
    finally:
        _end(process)


def search_path() -> str:
    """``PATH`` and the folders of system programs, which a user's often does not name."""
    return os.pathsep.join([os.environ.get("PATH", ""), *_SBIN])


def which(name: str) -> Path | None:
    """The program's file in :func:`search_path`."""
    found = shutil.which(name, path=search_path())
    return Path(found).resolve() if found else None


def _end(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """End the process and its group, unless it has been waited for: then its number may be another's by now."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()


def _size(folder: Path) -> int:
    """Bytes in all files below a folder that somebody else is writing to."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_size
    return total
