"""What a guest is given to do: a file of the host's that the guest sees as the memory of a PCI card.

The card (QEMU's ``ivshmem-plain``) has no driver: the guest maps its memory as a file and reads. So jobs of any size
take no time to arrive, and a guest may have been booted long before there were any: while the card is empty, it waits.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["LEAST", "Parcel", "size_for", "write"]

LEAST = 64  # MB, of address space only: a file takes the room of what is in it

_MARK = b"lbsim-1\0"
_HEADER = struct.Struct("<8s32sQQ")  # mark, random bytes, length of the messages, length of the jobs
_DEVICES = Path("/sys/bus/pci/devices")
_CARD = ("0x1af4", "0x1110")
_MEMORY = "resource2"
_PAUSE = 0.01  # seconds between two looks at an empty card


def size_for(jobs: bytes, messages: bytes) -> int:
    """The card's megabytes: a power of two, as a PCI card's memory has to be."""
    size = LEAST
    while size << 20 < _HEADER.size + len(jobs) + len(messages):
        size *= 2
    return size


def write(path: Path, jobs: bytes, messages: bytes, megabytes: int) -> None:
    """The file of the host's; OSError if there is no room."""
    with path.open("wb") as out:
        out.write(_HEADER.pack(_MARK, os.urandom(32), len(messages), len(jobs)))
        out.write(messages)
        out.write(jobs)
        out.truncate(megabytes << 20)


class Parcel:
    """The card as the guest sees it; it waits until there is something in it."""

    def __init__(self, card: Path | None = None) -> None:
        path = card or next(device / _MEMORY for device in sorted(_DEVICES.iterdir()) if _is_the_card(device))
        with path.open("rb") as file:
            self._memory = mmap.mmap(file.fileno(), path.stat().st_size, prot=mmap.PROT_READ)

    @property
    def empty(self) -> bool:
        return self._memory[: len(_MARK)] != _MARK

    def wait(self) -> None:
        """Return when it is full."""
        while self.empty:
            time.sleep(_PAUSE)

    @property
    def seed(self) -> bytes:
        """32 random bytes, others in each run."""
        _, seed, _, _ = _HEADER.unpack_from(self._memory)
        return bytes(seed)

    @property
    def messages(self) -> bytes:
        """What the guest need not make itself, see :func:`lbsim.kernel.netlink.know`."""
        _, _, length, _ = _HEADER.unpack_from(self._memory)
        return self._memory[_HEADER.size : _HEADER.size + length]

    def jobs(self) -> Iterator[bytes]:
        """One job after the other, a line each."""
        _, _, before, length = _HEADER.unpack_from(self._memory)
        self._memory.seek(_HEADER.size + before)
        end = self._memory.tell() + length
        while self._memory.tell() < end:
            yield self._memory.readline()


def _is_the_card(device: Path) -> bool:
    return tuple((device / name).read_text(encoding="ascii").strip() for name in ("vendor", "device")) == _CARD
