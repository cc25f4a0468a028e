"""Many capture files at once, filled through one buffer: bounded memory, and no file open while nothing is written.

Each receiver has a part of the buffer. What ``bulk.put_records`` puts there goes to the receiver's file when the part
is full. The more receivers, the smaller the parts; a record that fits into none is written by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lbsim.engine.lanes import Lane
from lbsim.packet.bulk import (
    FIRST,
    PIECES,
    RECORD_HEADER,
    UNBUILT,
    UNKNOWN,
    Block,
    Desk,
    Receiver,
    add_receiver,
    find_receiver,
    most_bytes,
    put_record_header,
    put_records,
)
from lbsim.packet.capture_file import CaptureFile

__all__ = ["Dispatch"]

BUFFER = 2**25  # bytes, unless there are more than BUFFER / LEAST_PART receivers
LEAST_PART = 2**12
MOST_PART = 2**20
FEWEST = 16  # rows of the table of receivers


class Dispatch:
    """Receivers with a capture file each; the first one is FIRST.

    Attributes
    ----------
    files : in the order of the receivers, so that the first one's is ``files[0]``.
    """

    def __init__(self, lane: Lane) -> None:
        self.files: list[CaptureFile] = []
        self._lane = lane
        self._put = lane.function(put_records)
        self._part = 0  # bytes of a receiver's part
        self._desk = self._laid_out(lane.table(Receiver, FEWEST))

    def add(self, path: Path, addr: int = 0, port: int = 0) -> None:
        """Make one more receiver, found by this address and port; the first one is not looked for."""
        r = len(self.files) + 1
        if r == len(self._desk.receivers):
            self.flush()
            self._desk = self._laid_out(self._lane.grown(self._desk.receivers, 4 * r))
        self.files.append(CaptureFile(path))
        if r != FIRST:
            self._lane.function(add_receiver)(self._desk, r, addr, port)

    def write(
        self,
        block: Block,
        count: int,
        meet: Callable[[int], None],
        refuse: Callable[[int], None],
        cut: Callable[[int], None],
    ) -> None:
        """Write the block's first ``count`` packets.

        Parameters
        ----------
        meet : called with the number of a packet whose receiver is not known: :meth:`add` it.
        refuse : called with the number of a packet that cannot be made: raise what is wrong with it.
        cut : called with the number of a packet that leaves in pieces: :meth:`append` them.
        """
        i = 0
        while i < count:
            i, r = self._put(self._desk, block, i, count)
            if i == count:
                break
            if r == UNKNOWN:
                meet(i)
            elif r == UNBUILT:
                refuse(i)
            elif r == PIECES:
                cut(i)
                i += 1
            elif most_bytes(block, i) <= self._part:
                self._flush(r)
            else:
                self._flush(r)
                self._write_alone(block, i, r)
                i += 1

    def receiver(self, addr: int, port: int) -> int:
        """The number of the receiver with this address and port, or UNKNOWN."""
        return int(self._lane.function(find_receiver)(self._desk.receivers, self._desk.heads, addr, port))

    def append(self, r: int, time: int, packet: bytes) -> None:
        """Write a packet as it is, sent at ``time`` (ns), behind what receiver ``r`` has so far."""
        record = bytearray(RECORD_HEADER)
        put_record_header(record, 0, time, len(packet), len(packet))
        self._flush(r)
        self.files[r - 1].append(bytes(record) + packet)

    def flush(self) -> None:
        """Bring everything to the files."""
        for r in range(FIRST, len(self.files) + 1):
            self._flush(r)

    def _flush(self, r: int) -> None:
        receiver = self._desk.receivers[r]
        begin, waiting = int(receiver.begin), int(receiver.waiting)
        if waiting:
            self.files[r - 1].append(memoryview(self._desk.buffer)[begin : begin + waiting])
            receiver.waiting = 0

    def _write_alone(self, block: Block, i: int, r: int) -> None:
        """Write a packet that is too large for the receiver's part, through a buffer of its own."""
        receiver = self._desk.receivers[r]
        part = int(receiver.begin), int(receiver.room)
        size = int(most_bytes(block, i))
        receiver.begin, receiver.room = 0, size
        buffer = self._buffer(size)
        self._put(self._desk._replace(buffer=buffer), block, i, i + 1)
        self.files[r - 1].append(memoryview(buffer)[: int(receiver.waiting)])
        receiver.begin, receiver.room = part
        receiver.waiting = 0

    def _laid_out(self, receivers: Any) -> Desk:
        """A desk with equal parts for all rows of the table."""
        count = len(receivers)
        self._part = part = min(max(BUFFER // count, LEAST_PART), MOST_PART)
        desk = Desk(buffer=self._buffer(count * part), receivers=receivers, heads=self._lane.heads(2 * count))
        for r in range(FIRST, count):
            receiver = receivers[r]
            receiver.begin, receiver.room = r * part, part
            if FIRST < r <= len(self.files):
                self._lane.function(add_receiver)(desk, r, int(receiver.addr), int(receiver.port))
        return desk

    def _buffer(self, size: int) -> Any:
        array = np.zeros(size, dtype=np.uint8)
        return array if self._lane.name == "compiled" else memoryview(array.data)
