"""Capture files in the making: pcap of raw IP packets, complete or absent."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

from lbsim.errors import LbsimError

__all__ = ["CaptureFile", "PartFile"]

_NANOSECONDS = 0xA1B23C4D  # magic number: nanosecond times
_RAW_IP = 101  # link type: each record begins with its IPv4 or IPv6 header
_LONGEST = 262144


class PartFile:
    """A file that has its name only when it is complete.

    The bytes go to ``NAME.part``, which takes the name ``path`` (and the place of an older file) with :meth:`keep`. It
    is open only while something is written, so that there can be thousands of them.

    Attributes
    ----------
    path : the file's name in the end.
    size : bytes written.

    Raises
    ------
    LbsimError : the file cannot be written; the message says why. All methods but :meth:`discard`.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        self.path = path
        self.size = 0
        self._part = path.with_name(path.name + ".part")
        self._write("wb", content)

    def append(self, content: bytes | memoryview) -> None:
        """Write more."""
        self._write("ab", content)

    def keep(self) -> None:
        """Give the file its name."""
        try:
            self._part.replace(self.path)
        except OSError as error:
            raise self._failure(error) from error

    def discard(self) -> None:
        """Leave nothing of a file that was not kept."""
        with suppress(OSError):  # the error that brought us here says more
            self._part.unlink(missing_ok=True)

    def _write(self, mode: str, content: bytes | memoryview) -> None:
        try:
            with self._part.open(mode) as file:
                file.write(content)
        except OSError as error:
            self.discard()
            raise self._failure(error) from error
        self.size += len(content)

    def _failure(self, error: OSError) -> LbsimError:
        return LbsimError(f"cannot write the capture: {error.strerror or error}", file=str(self.path))


class CaptureFile(PartFile):
    """A pcap file of raw IP packets with nanosecond times; records are appended."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, struct.pack("<IHHiIII", _NANOSECONDS, 2, 4, 0, 0, _LONGEST, _RAW_IP))
