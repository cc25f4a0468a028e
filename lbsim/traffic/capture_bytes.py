"""The bytes of a capture file, in windows: pieces that fit into memory, whatever the file is packed in.

A window is read, not mapped. A map would save copying each byte once, but a file that becomes shorter under a map ends
the process (SIGBUS) where reading sees it and can say so.

gzip is read by isal if it is installed (extra ``fast``: 2.5 times as fast), else by the standard library, with the same
outcome; zstd by the standard library from Python 3.14 on, before that by backports.zstd (extra ``zstd``).
"""

from __future__ import annotations

import os
import stat
import sys
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

from lbsim.errors import TraceError

__all__ = ["CaptureBytes", "Window", "open_bytes"]

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPED = b"\x2a\x4d\x18"  # behind a byte 50 to 5f: a frame without content; pzstd begins with one
_READ_AT_ONCE = 2**30  # bytes; systems read 2 GiB at most
_UNPACKED_AT_ONCE = 2**20
_PACKED_AT_ONCE = 2**14


class Window(NamedTuple):
    """A piece of the file.

    Attributes
    ----------
    data : at least ``size`` bytes; those behind belong to nobody.
    begin : where it begins in the file (of a packed file: in what was packed).
    size : how many bytes.
    is_last : the file ends with it.
    """

    data: bytes | bytearray
    begin: int
    size: int
    is_last: bool


def open_bytes(path: Path, *, window: int | None, keep: bool) -> CaptureBytes:
    """The bytes of the file of that path, unpacked if it is packed with gzip or zstd.

    Parameters
    ----------
    window : bytes of a window; it is larger where a single record is. None: all in one.
    keep : whether the data of a window must stay as it is when the next one is read.

    Raises
    ------
    TraceError : the file cannot be read, is empty, or packed in a way that cannot be unpacked here.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise TraceError("is a directory; expected a capture file (pcap, pcapng)", file=str(path))
        if not stat.S_ISREG(mode):  # a pipe or a device might never end
            raise TraceError("is no regular file; expected a capture file (pcap, pcapng)", file=str(path))
        file = path.open("rb", buffering=0)
    except (OSError, ValueError) as error:
        raise _unreadable(error, path) from None
    try:
        return _as_packed(file, path, window, keep)
    except BaseException:
        file.close()
        raise


def _as_packed(file: Any, path: Path, window: int | None, keep: bool) -> CaptureBytes:
    try:
        size = os.fstat(file.fileno()).st_size
        magic = file.read(4)
        file.seek(0)
    except OSError as error:
        raise _unreadable(error, path) from None
    if not magic:
        raise TraceError("the file is empty; expected a capture (pcap, pcapng)", file=str(path))
    if magic[:2] == _GZIP:
        return _Unpacked(file, path, size, _gzip(file), "gzip", window)
    if magic == _ZSTD or (magic[1:] == _ZSTD_SKIPPED and magic[0] >> 4 == 5):
        return _Unpacked(file, path, size, _zstd(file, path), "zstd", window)
    return _Plain(file, path, size, window, keep)


def _unreadable(error: Exception, path: Path) -> TraceError:
    why = getattr(error, "strerror", None) or str(error)
    return TraceError(f"cannot read the capture: {why}", file=str(path))


def _gzip(file: BinaryIO) -> Any:
    try:
        return _FastGzip(file, import_module("isal.igzip").IGzipFile)
    except ImportError:
        return _Gzip(file)


def _zstd(file: BinaryIO, path: Path) -> Any:
    for module in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(module).ZstdFile(file)
        except ImportError:
            continue
    raise TraceError(
        "is packed with zstd, which needs Python 3.14 or the package backports.zstd (pip install 'lbsim[zstd]')",
        file=str(path),
    )


class CaptureBytes(ABC):
    """An open capture file: :meth:`window` after window.

    Attributes
    ----------
    damage : what was wrong with the packing, or None; known when the last window was read.
    size : bytes of the file, packed as it is.
    done : how many of them were read.
    """

    def __init__(self, file: Any, path: Path, size: int, window: int | None) -> None:
        self.damage: str | None = None
        self.size = size
        self.done = 0
        self._file = file
        self._path = path
        self._window = window

    @abstractmethod
    def window(self, begin: int, least: int) -> Window:
        """The window that begins at ``begin``, not before the one before it, with ``least`` bytes if there are so many.

        Raises
        ------
        TraceError : the file cannot be read any more, or is shorter than when it was opened.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class _Plain(CaptureBytes):
    """A file as it is. What is appended to it after it was opened is not read."""

    def __init__(self, file: Any, path: Path, size: int, window: int | None, keep: bool) -> None:
        super().__init__(file, path, size, window)
        self._reused = None if keep or window is None else bytearray(min(window, size))

    def window(self, begin: int, least: int) -> Window:
        left = self.size - begin
        wanted = left if self._window is None else min(left, max(least, self._window))
        try:
            self._file.seek(begin)
            data = self._read(begin, wanted)
        except OSError as error:
            raise _unreadable(error, self._path) from None
        self.done = begin + wanted
        return Window(data, begin, wanted, wanted == left)

    def _read(self, begin: int, wanted: int) -> bytes | bytearray:
        if self._reused is not None and wanted <= len(self._reused):
            self._fill(memoryview(self._reused)[:wanted], begin)
            return self._reused
        parts: list[bytes] = []
        while wanted > 0:
            part = self._file.read(min(wanted, _READ_AT_ONCE))
            if not part:
                raise self._shorter(begin)
            parts.append(part)
            begin += len(part)
            wanted -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _fill(self, part: memoryview, begin: int) -> None:
        while part:
            count = self._file.readinto(part)
            if not count:
                raise self._shorter(begin)
            begin += count
            part = part[count:]

    def _shorter(self, size: int) -> TraceError:
        was = self.size
        return TraceError(
            f"the file became shorter while it was read: {size} bytes, {was} before", file=str(self._path)
        )


class _Unpacked(CaptureBytes):
    """A packed file. Of one that is damaged, everything before the damage is read."""

    def __init__(self, file: Any, path: Path, size: int, unpacking: Any, name: str, window: int | None) -> None:
        super().__init__(file, path, size, window)
        self._unpacking = unpacking
        self._name = name
        self._kept = b""  # the window before
        self._begin = 0
        self._end = 0  # of what was unpacked so far
        self._is_last = False

    def window(self, begin: int, least: int) -> Window:
        tail = self._kept[begin - self._begin :]
        self._kept = b"".join([tail, *self._unpack(max(least, self._window or sys.maxsize) - len(tail))])
        self._begin = begin
        self.done = self._file.tell()
        if not self._end:
            why = self.damage or f"there is nothing in this {self._name} file; expected a capture (pcap, pcapng)"
            raise TraceError(why, file=str(self._path))
        return Window(self._kept, begin, len(self._kept), self._is_last)

    def _unpack(self, wanted: int) -> Iterator[bytes]:
        """The next bytes, so many of them or up to the end."""
        while wanted > 0 and not self._is_last:
            part = self._next(min(wanted, _UNPACKED_AT_ONCE))
            self._end += len(part)
            wanted -= len(part)
            self._is_last = not part
            yield part

    def _next(self, most: int) -> bytes:
        """Some bytes; none at the end, or where the file is damaged."""
        try:
            part: bytes = self._unpacking.read1(most)
            return part
        except EOFError:
            self.damage = f"the {self._name} data is cut after {self._end} unpacked bytes"
        except Exception as error:  # each library has errors of its own
            if getattr(error, "errno", None) is not None:
                raise _unreadable(error, self._path) from None
            self.damage = f"the {self._name} data is damaged after {self._end} unpacked bytes: {error}"
        return b""


class _Gzip:
    """gzip unpacked by the standard library; of damaged data, all that can be unpacked."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._waiting = b""  # packed bytes that were read
        self._member: Any = None  # unpacks the current one of the gzip files that are put one behind the other
        self._damage: zlib.error | None = None

    def read1(self, most: int) -> bytes:
        """Some bytes, about so many at most; none at the end.

        Raises
        ------
        EOFError : the data is cut.
        zlib.error : it is damaged.
        """
        while True:
            if self._damage:
                raise self._damage
            self._waiting = self._waiting or self._file.read(_PACKED_AT_ONCE)
            if not self._waiting and self._member:
                raise EOFError
            if not self._waiting:
                return b""
            if not self._member:
                self._waiting = self._waiting.lstrip(b"\0")  # what some tools fill a file up with
                self._member = zlib.decompressobj(wbits=31) if self._waiting else None
            elif part := self._unpack(most):
                return part

    def _unpack(self, most: int) -> bytes:
        before = self._member.copy()
        try:
            part: bytes = self._member.decompress(self._waiting, most)
        except zlib.error as error:
            self._damage = error
            return b"".join(_up_to_damage(before, self._waiting))
        self._waiting = self._member.unconsumed_tail
        if self._member.eof:
            self._waiting = self._member.unused_data
            self._member = None
        return part


def _up_to_damage(member: Any, packed: bytes) -> Iterator[bytes]:
    with suppress(zlib.error):
        for at in range(len(packed)):
            yield member.decompress(packed[at : at + 1])


class _FastGzip:
    """gzip unpacked by isal, which keeps back some of what stands before damage: there :class:`_Gzip` goes on."""

    def __init__(self, file: BinaryIO, kind: Any) -> None:
        self._file = file
        self._unpacking = kind(fileobj=file, mode="rb")
        self._given = 0

    def read1(self, most: int) -> bytes:
        """As of :class:`_Gzip`."""
        try:
            part: bytes = self._unpacking.read1(most)
        except Exception as error:  # it has several kinds
            if getattr(error, "errno", None) is not None:
                raise
            part = self._start_again().read1(most)
        self._given += len(part)
        return part

    def _start_again(self) -> _Gzip:
        self._file.seek(0)
        slow = self._unpacking = _Gzip(self._file)
        skipped = 0
        while skipped < self._given:
            skipped += len(slow.read1(self._given - skipped))
        return slow
