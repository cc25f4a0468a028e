"""A folder that is complete or not there: written beside its place, then moved there."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lbsim.errors import LbsimError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OWN_FILES", "replaced"]

#: What a report writes. These are replaced with it; anything else in the folder is the user's and stays.
OWN_FILES = frozenset({"result.json", "summary.md", "share.png", "connections.png", "first.png", "topology.png"})


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """An empty folder to write into; it takes the place of ``folder`` when the block ends without an error.

    Raises
    ------
    LbsimError : it cannot be written, or ``folder`` is no earlier report.
    """
    target = Path(os.path.realpath(folder))
    try:
        _check(target, folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as beside:
            part = Path(beside) / "new"
            part.mkdir()  # a folder of its own: TemporaryDirectory's is for this user's eyes only
            yield part
            _move(part, target, old=Path(f"{beside}.old"))
    except OSError as error:
        raise LbsimError(f"cannot write the report: {error.strerror or error}", file=str(folder)) from None


def _check(target: Path, folder: Path) -> None:
    """Refuse what must not be replaced."""
    blocking = next((path for path in (target, *target.parents) if path.exists() and not path.is_dir()), None)
    if blocking:
        message = f"cannot write the report: {blocking} is a file, expected a folder"
        raise LbsimError(message, file=str(folder))
    if not target.exists():
        return
    names = {path.name for path in target.iterdir()}
    if names and not {"result.json", "summary.md"} <= names:
        found = sorted(names)[0]
        message = f"cannot write the report: the folder is no report of lbsim, it holds {found!r}"
        raise LbsimError(f"{message}; expected an empty folder, an earlier report or none", file=str(folder))


def _move(part: Path, target: Path, *, old: Path) -> None:
    """Put ``part`` in the place of ``target``, which is ``old`` meanwhile; the user's files move along."""
    if not target.exists():
        part.rename(target)
        return
    target.rename(old)
    try:
        part.rename(target)
    except OSError:
        old.rename(target)
        raise
    for path in list(old.iterdir()):
        if path.name not in OWN_FILES:
            path.rename(target / path.name)
    shutil.rmtree(old)
