"""A packet socket's frames, read from memory that it shares with the kernel.

Under emulation every system call counts, and an exception counts twice as much: reading a socket until nothing is left
was a quarter of what a packet cost there.

Source: Documentation/networking/packet_mmap.rst (``TPACKET_V2``).
"""

from __future__ import annotations

import mmap
import socket
import struct
from collections.abc import Iterator

__all__ = ["FRAMES", "Ring"]

FRAMES = 64  # that may wait; an event has one or two, a datagram of 64 kB in fragments 45
_SIZE = 2048  # bytes of a frame with its header
_BLOCK = 1 << 15

_SOL_PACKET = 263
_PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION = 5, 6, 10
_TPACKET_V2 = 1
_RING = struct.Struct("=4I")  # bytes of a block, blocks, bytes of a frame, frames
_HEADER = struct.Struct("=3IH").unpack_from  # status, bytes of the frame, bytes that are here, where they begin
_COUNTS = struct.Struct("=2I")  # frames, frames dropped
_WORDS = _SIZE // 4


class Ring:
    """The frames that a packet socket receives, in their order.

    Parameters
    ----------
    wire : a packet socket that is not bound yet, so that no frame comes before the ring is there.

    Raises
    ------
    OSError : the kernel has no memory for it, or refuses.
    """

    def __init__(self, wire: socket.socket) -> None:
        wire.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V2)
        size = FRAMES * _SIZE
        wire.setsockopt(_SOL_PACKET, _PACKET_RX_RING, _RING.pack(_BLOCK, size // _BLOCK, _SIZE, FRAMES))
        self._wire = wire
        self._memory = mmap.mmap(wire.fileno(), size)
        self._status = memoryview(self._memory).cast("I")
        self._next = 0  # in words: where the next frame will be

    def frames(self) -> Iterator[bytes]:
        """The frames that have come since the last call.

        Raises
        ------
        OSError : one is longer than the ring's frames; it was on no wire of a bench.
        """
        while self._status[self._next]:
            at = self._next * 4
            _, length, here, begin = _HEADER(self._memory, at)
            if here < length:
                raise OSError(f"a frame of {length} bytes, {here} of which fit into the ring")
            frame = self._memory[at + begin : at + begin + here]
            self._status[self._next] = 0  # the kernel may use it again
            self._next = (self._next + _WORDS) % (FRAMES * _WORDS)
            yield frame

    def dropped(self) -> int:
        """How many frames found the ring full, since the last call."""
        counts = self._wire.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _COUNTS.size)
        return int(_COUNTS.unpack(counts)[1])

    def close(self) -> None:
        """Give back the memory, without which the socket's namespace stays; the socket itself is its owner's."""
        self._status.release()
        self._memory.close()
