"""A run's packets for other programs: whole columns in a file, written block by block.

* ``npz``    numpy's own format, needs nothing else
* ``tables`` Arrow and Parquet, through pyarrow
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lbsim.errors import LbsimError

if TYPE_CHECKING:
    from lbsim.model.result import ResultBlock, Sink
    from lbsim.model.trace import Trace

__all__ = ["ENDINGS", "check_target", "columns_file"]


class Writer(Protocol):
    """Writes one file, which is only useful when it was closed."""

    def add(self, answers: ResultBlock) -> None:
        """Write the packets of a block."""

    def close(self) -> None:
        """Write what belongs at the end."""

    def abandon(self) -> None:
        """Leave nothing open, and nothing beside the file."""


def _npz(path: Path) -> Writer:
    from lbsim.export.npz import NpzWriter

    return NpzWriter(path)


def _arrow(path: Path) -> Writer:
    from lbsim.export.tables import ArrowWriter

    return ArrowWriter(path)


def _parquet(path: Path) -> Writer:
    from lbsim.export.tables import ParquetWriter

    return ParquetWriter(path)


_WRITERS: dict[str, Callable[[Path], Writer]] = {".arrow": _arrow, ".npz": _npz, ".parquet": _parquet}

#: What the name of a file with columns may end in; it says what is written.
ENDINGS = tuple(_WRITERS)


def check_target(path: Path) -> None:
    """Do nothing if columns can be written to a file of that name.

    Raises
    ------
    LbsimError : its ending is not known, what it takes to write it is not installed, or it is a folder.
    """
    if path.suffix not in _WRITERS:
        found = f"ending {path.suffix!r}" if path.suffix else "no ending"
        raise LbsimError(f"{found}; expected one of: {', '.join(ENDINGS)}", file=str(path))
    if path.is_dir():
        raise LbsimError("cannot write the columns: it is a folder, expected a file", file=str(path))
    if path.suffix != ".npz":
        from lbsim.model.arrow import pyarrow

        try:
            pyarrow()
        except LbsimError as error:
            raise LbsimError(f"{error.message}, or a file that ends in .npz", file=str(path)) from None


@contextmanager
def columns_file(path: Path) -> Iterator[Sink]:
    """A sink that writes what it gets to a file of that name, which is complete after the block or was never there.

    An older file is replaced at the end, not before.

    Raises
    ------
    LbsimError : the file cannot be written, or its ending is not known (see :func:`check_target`).
    """
    check_target(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    sink = _ColumnsFile(path, part)
    try:
        yield sink
        with _explained(path):
            sink.writer.close()
            part.replace(path)
    finally:
        sink.writer.abandon()
        with suppress(OSError):  # the error that brought us here says more
            part.unlink(missing_ok=True)


class _ColumnsFile:
    def __init__(self, path: Path, part: Path) -> None:
        self.path = path
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.writer = _WRITERS[path.suffix](part)

    def add(self, _trace: Trace, answers: ResultBlock) -> None:
        """Write the answers."""
        with _explained(self.path):
            self.writer.add(answers)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What the system says about writing, as an LbsimError."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise LbsimError(f"cannot write the columns: {reason}", file=str(path)) from None
