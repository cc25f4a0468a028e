"""The user's cache folder: what is in it is complete or absent.

What is written goes into a temporary folder first and is renamed at its end, so an interruption leaves nothing that
looks whole. Whoever uses a temporary folder holds a lock in it, which the kernel takes back when that process ends,
however it ends; whoever comes later removes the folders that nobody holds. Process numbers (which the names carry,
for people) would not do: they are used again, and a container or another host that shares the folder has its own.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from lbsim.errors import KernelUnavailable

try:
    import fcntl
except ImportError:
    raise KernelUnavailable(
        "a real kernel", "this system cannot run a Linux kernel", "use Linux, or compare with recordings: --recorded"
    ) from None

__all__ = ["drop_older", "folder", "locked", "room", "scratch", "sweep", "temporary", "write"]

_PARTS, _RUNS = ".part-", "lbsim-run-"
_LOCK = ".lock"
_PAUSE = 0.2  # seconds between two looks at a lock
_IN_USE = 3600  # seconds for which something may be needed by whoever asked for it
_FULL = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
}
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


def folder(name: str) -> Path:
    """A folder of lbsim's in the user's cache folder (``$XDG_CACHE_HOME`` or ``~/.cache``), made if absent.

    What was left there by processes that were killed is removed.

    Raises
    ------
    KernelUnavailable : it cannot be made, or it is not known where the user's files are.
    """
    try:
        home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    except RuntimeError:
        step = "this user has no home folder"
        raise KernelUnavailable("the cache folder", step, "name a folder in XDG_CACHE_HOME") from None
    path = Path(home) / "lbsim" / name
    with room(path):
        path.mkdir(parents=True, exist_ok=True)
    sweep(path, _PARTS)
    return path


def write(target: Path, content: bytes) -> None:
    """``target`` with this content; KernelUnavailable if there is no room (and then nothing is left)."""
    with temporary(target.parent) as path, room(target.parent):
        part = path / target.name
        with part.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())  # else a power failure may keep the name and lose the content
        part.rename(target)


@contextlib.contextmanager
def temporary(parent: Path) -> Iterator[Path]:
    """A fresh folder in one of the cache's, gone afterwards; those of processes that were killed are removed first."""
    with _held(parent, _PARTS, "XDG_CACHE_HOME") as path:
        yield path


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A fresh folder among the system's temporary ones (``$TMPDIR``), for the files of one run; gone afterwards."""
    with _held(Path(tempfile.gettempdir()), _RUNS, "TMPDIR") as path:
        yield path


def drop_older(parent: Path, pattern: str, kept: int) -> None:
    """Of the files or folders whose names match, those stay that were used within the hour, and the latest ``kept``."""
    used = {path: path.stat().st_mtime for path in parent.glob(pattern)}
    for path in sorted(used, key=lambda path: used[path])[:-kept]:
        if used[path] < time.time() - _IN_USE:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(parent: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Nobody else is in here at the same time; a process that dies gives its lock back.

    ``waiting`` is called again and again as long as somebody else is.
    """
    with room(parent):
        lock = (parent / _LOCK).open("w")
    with lock:
        while not _taken(lock):
            waiting()
            time.sleep(_PAUSE)
        yield


def sweep(parent: Path, prefix: str) -> None:
    """Remove the temporary folders that nobody holds; what cannot be removed stays."""
    with contextlib.suppress(OSError):
        for path in list(parent.iterdir()):
            if path.name.startswith(prefix):
                with contextlib.suppress(OSError):
                    _remove_if_left(path)


@contextlib.contextmanager
def room(path: Path, variable: str = "XDG_CACHE_HOME") -> Iterator[None]:
    """What the system says when something cannot be written there, as KernelUnavailable with its remedy.

    ``variable`` : of the environment, names the folder.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL and error.errno not in _FORBIDDEN:
            raise
        what = "the cache folder" if variable == "XDG_CACHE_HOME" else "the folder for temporary files"
        remedy = f"{_FULL[error.errno]}, or name another folder" if error.errno in _FULL else "name a folder of yours"
        step = os.strerror(error.errno or 0)
        raise KernelUnavailable(f"{what} {path}", step, f"{remedy} in {variable}") from error


@contextlib.contextmanager
def _held(parent: Path, prefix: str, variable: str) -> Iterator[Path]:
    sweep(parent, prefix)
    with room(parent, variable):
        path, lock = _fresh(parent, prefix)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        lock.close()


def _fresh(parent: Path, prefix: str) -> tuple[Path, IO[str]]:
    """A new folder and the lock that is held in it; if a sweeper was faster than us, another one."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=parent))
        try:
            lock = (path / _LOCK).open("x")
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (path / _LOCK).exists():
                return path, lock
            lock.close()
        except FileNotFoundError:
            continue
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise


def _remove_if_left(path: Path) -> None:
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return  # anybody may put things among the system's temporary files
    try:
        lock = (path / _LOCK).open("r+")  # writable: a lock on a network file system needs that
    except FileNotFoundError:
        path.rmdir()  # empty: its owner is about to begin, and will begin again, or was killed there
        return
    with lock:
        if _taken(lock):
            shutil.rmtree(path, ignore_errors=True)


def _taken(lock: IO[str]) -> bool:
    """Whether the lock is ours now."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
