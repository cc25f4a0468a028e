"""The user's cache folder: files in it are complete or absent.

What is written goes under a temporary name first and is renamed at its end, so an interruption leaves nothing that
looks whole. Temporary names carry the writer's process id; whoever comes later removes those of dead processes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lbsim.errors import KernelUnavailable

__all__ = ["alive", "folder", "locked", "sweep", "temporary", "write"]

_OWNED = re.compile(r"(?:\.part|lbsim-run)-(\d+)-")


def folder(name: str) -> Path:
    """A folder of lbsim's in the user's cache folder (``$XDG_CACHE_HOME`` or ``~/.cache``), made if absent."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(home) / "lbsim" / name
    with _room(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def write(target: Path, content: bytes) -> None:
    """``target`` with this content; KernelUnavailable if there is no room (and then nothing is left)."""
    part = target.parent / f".part-{os.getpid()}-{target.name}"
    sweep(target.parent)
    try:
        with _room(target.parent):
            part.write_bytes(content)
            part.rename(target)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary(parent: Path, prefix: str = ".part") -> Iterator[Path]:
    """A fresh folder that is gone afterwards; those of processes that were killed are removed first."""
    sweep(parent)
    with _room(parent):
        path = Path(tempfile.mkdtemp(prefix=f"{prefix}-{os.getpid()}-", dir=parent))
    try:
        with _room(parent):
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def locked(parent: Path) -> Iterator[None]:
    """Nobody else is in here at the same time; a process that dies gives its lock back."""
    with _room(parent), (parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sweep(parent: Path) -> None:
    """Remove temporary files and folders whose process is gone."""
    for path in parent.iterdir():
        owner = _OWNED.match(path.name)
        if owner and not alive(int(owner[1])):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def alive(pid: int) -> bool:
    """Whether a process of this number exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _room(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOTDIR):
            raise
        raise KernelUnavailable(
            f"the cache folder {path}", os.strerror(error.errno),
            "make room there, or name another folder in XDG_CACHE_HOME",
        ) from error  # fmt: skip
