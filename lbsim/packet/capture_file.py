"""Captures on disk: packets in, a pcap file out that every tool opens, complete or absent."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from lbsim.errors import LbsimError

__all__ = ["PcapWriter"]

_NANOSECONDS = 0xA1B23C4D  # magic number: nanosecond times
_RAW_IP = 101  # link type: each record begins with its IPv4 or IPv6 header
_LONGEST = 262144


class PcapWriter:
    """A pcap file of raw IP packets with nanosecond times, written inside ``with``.

    The bytes go to ``NAME.part``, which takes the name ``path`` (and the place of an older file) at the end
    of the block. If the block ends with an exception, the part is removed and ``path`` is as it was before.

    >>> with PcapWriter(Path("out.pcap")) as capture:  # doctest: +SKIP
    ...     capture.write(1_000_000_000, packet)

    Raises
    ------
    LbsimError : the file cannot be written; the message says why.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._file: BinaryIO | None = None

    def __enter__(self) -> PcapWriter:
        try:
            self._file = self._part.open("wb")
            self._file.write(struct.pack("<IHHiIII", _NANOSECONDS, 2, 4, 0, 0, _LONGEST, _RAW_IP))
        except OSError as error:
            self._remove_part()
            raise self._failure(error) from error
        return self

    def write(self, time_ns: int, data: bytes, *, length: int | None = None) -> None:
        """Append one IP packet. ``length``: what it was on the wire, if ``data`` is only its beginning."""
        assert self._file is not None, "write() works inside the with block"
        seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
        head = struct.pack("<IIII", seconds, nanoseconds, len(data), max(length or 0, len(data)))
        try:
            self._file.write(head + data)
        except OSError as error:
            raise self._failure(error) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        file, self._file = self._file, None
        assert file is not None
        try:
            file.close()
            if kind is None:
                self._part.replace(self._path)
        except OSError as failure:
            if kind is None:
                raise self._failure(failure) from failure
        finally:
            self._remove_part()

    def _failure(self, error: OSError) -> LbsimError:
        return LbsimError(f"cannot write the capture: {error.strerror or error}", file=str(self._path))

    def _remove_part(self) -> None:
        """Nothing is left behind; a part that was renamed is not there any more."""
        with contextlib.suppress(OSError):  # the error that brought us here says more
            self._part.unlink(missing_ok=True)
