"""Columns as an Arrow or a Parquet file; see ``model.arrow`` for what is in them."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lbsim.model.arrow import block_batch, pyarrow, schema

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

    from lbsim.model.result import ResultBlock

__all__ = ["ArrowWriter", "ParquetWriter"]


class _TableWriter(ABC):
    """A file of batches, which begins with the first block: that knows where the result comes from."""

    dictionaries: bool

    def __init__(self, path: Path) -> None:
        self._file = _Revocable(path)
        self._schema: Any = None
        self._batches: Any = None

    def add(self, answers: ResultBlock) -> None:
        if self._batches is None:
            self._schema = schema(answers.provenance, dictionaries=self.dictionaries)
            self._batches = self._writer()
        self._batches.write_batch(block_batch(answers, self._schema))

    def close(self) -> None:
        self._batches.close()
        self._file.close()

    def abandon(self) -> None:
        self._file.revoke()
        if self._batches is not None:
            self._batches.close()  # or it would write an end when it is collected

    @abstractmethod
    def _writer(self) -> Any:
        """pyarrow's writer into the file."""


class _Revocable(io.RawIOBase):
    """A file for writing, that can be made to swallow all that its writer still has to say."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO | None = path.open("wb")

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        return self._file.write(data) if self._file else memoryview(data).nbytes

    def close(self) -> None:
        if self._file:
            self._file.close()
        super().close()

    def revoke(self) -> None:
        file, self._file = self._file, None
        if file:
            with suppress(OSError):  # of a full disk: what is left is not wanted
                file.close()


class ArrowWriter(_TableWriter):
    """Arrow's IPC file, also known as Feather version 2."""

    dictionaries = False

    def _writer(self) -> Any:
        ipc = pyarrow().ipc
        return ipc.new_file(self._file, self._schema, options=ipc.IpcWriteOptions(compression="lz4"))


class ParquetWriter(_TableWriter):
    """A row group per block."""

    dictionaries = True

    def _writer(self) -> Any:
        import pyarrow.parquet

        return pyarrow.parquet.ParquetWriter(self._file, self._schema, compression="zstd")
