"""Columns as an ``.npz`` file: what ``numpy.load`` opens, one array per column, and the names that they index.

``addresses``, ``services`` and ``destinations`` (both for ``dest``) end with an empty text, so that -1 ("none") finds
it; ``verdicts`` and ``reasons`` have one text per code. ``provenance`` is JSON.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np

from lbsim.engine.numbers import IPV6
from lbsim.model.address_text import address_texts
from lbsim.model.result import RESULT_COLUMNS
from lbsim.model.verdict import REASONS, Verdict

if TYPE_CHECKING:
    from lbsim.model.result import ResultBlock
    from lbsim.model.trace import AddressTable

__all__ = ["NpzWriter"]

_TEXTS_AT_ONCE = 1 << 16


class NpzWriter:
    """Each column grows in a file of its own, since an array begins with its length; then all are put together."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._packets = 0
        self._named: ResultBlock | None = None
        with ExitStack() as cleaning:
            folder = cleaning.enter_context(tempfile.TemporaryDirectory(prefix=f"{path.name}.", dir=path.parent))
            self._paths = {name: Path(folder, name) for name in RESULT_COLUMNS}
            self._files = {name: column.open("wb") for name, column in self._paths.items()}
            for file in self._files.values():
                cleaning.callback(_close, file)
            self._cleaning = cleaning.pop_all()

    def add(self, answers: ResultBlock) -> None:
        for name, file in self._files.items():
            file.write(np.ascontiguousarray(answers[name]).data)
        self._packets += len(answers)
        self._named = replace(answers, columns={})

    def close(self) -> None:
        with ZipFile(self._path, "w") as archive:
            for name, path in self._paths.items():
                self._files[name].close()
                with (
                    _member(archive, name, RESULT_COLUMNS[name], self._packets, ZIP_STORED) as member,
                    path.open("rb") as column,
                ):
                    shutil.copyfileobj(column, member, 1 << 20)
                path.unlink()  # there is never room for more than one column twice
            self._write_names(archive)

    def _write_names(self, archive: ZipFile) -> None:
        assert self._named is not None, "a run hands over at least one block"
        reasons = {reason.code: reason.name for reason in REASONS}
        lists = {
            "services": [*(service for service, _ in self._named.destinations), ""],
            "destinations": [*(dest for _, dest in self._named.destinations), ""],
            "verdicts": [verdict.name for verdict in Verdict],
            "reasons": [reasons.get(code, "") for code in range(max(reasons) + 1)],
            "provenance": [json.dumps(asdict(self._named.provenance))],
        }
        for name, texts in lists.items():
            _write_texts(archive, name, max(map(len, texts)), len(texts), [texts])
        addresses = self._named.addresses
        _write_texts(archive, "addresses", _width(addresses), len(addresses) + 1, chain(_pieces(addresses), [[""]]))

    def abandon(self) -> None:
        self._cleaning.close()


def _close(file: IO[bytes]) -> None:
    with suppress(OSError):  # of a full disk: its content is not wanted any more
        file.close()


@contextmanager
def _member(archive: ZipFile, name: str, kind: str, length: int, compression: int) -> Iterator[IO[bytes]]:
    """A one-dimensional array of the archive: its head is written, its elements are to follow."""
    info = ZipInfo(f"{name}.npy")  # without a date, so that equal columns are equal files
    info.compress_type = compression
    with archive.open(info, "w", force_zip64=True) as member:
        head = {"descr": np.lib.format.dtype_to_descr(np.dtype(kind)), "fortran_order": False, "shape": (length,)}
        np.lib.format.write_array_header_1_0(member, head)
        yield member


def _write_texts(archive: ZipFile, name: str, width: int, length: int, pieces: Iterable[Sequence[str]]) -> None:
    with _member(archive, name, f"<U{max(width, 1)}", length, ZIP_DEFLATED) as member:
        for texts in pieces:
            member.write(np.array(texts, dtype=f"<U{max(width, 1)}").tobytes())


def _width(addresses: AddressTable) -> int:
    """Letters that the longest address may need."""
    return 39 if (addresses.family == IPV6).any() else 15


def _pieces(addresses: AddressTable) -> Iterator[list[str]]:
    for begin in range(0, len(addresses), _TEXTS_AT_ONCE):
        yield address_texts(addresses[begin : begin + _TEXTS_AT_ONCE])
