"""Fragments in a capture, put together as the director puts them together.

The fragment that completes a datagram becomes the row of the whole; those before it keep their rows, and have the
datagram's ports if its first fragment came ahead of them.

Fragments are rare, so this runs in Python, one after the other, in the order of the file. What a datagram says is read
by the functions that read frames: it is given to them as a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from struct import Struct

from lbsim.engine.lanes import Lane
from lbsim.engine.numbers import FRAGMENT, SCTP, TCP, UDP
from lbsim.model.datagrams import Datagram, Datagrams
from lbsim.packet.fragments import Fragments, piece_of
from lbsim.traffic.frames import NO_TIME, Interface, Place, Scan
from lbsim.traffic.lane_columns import readable
from lbsim.traffic.links import RAW
from lbsim.traffic.numbering import Columns

__all__ = ["Reassembly"]

_RECORD = Struct("<IIII")  # the header of a frame in a pcap file
_OF_THE_FRAGMENT = ("time", "raw_at", "raw_len")  # what a row keeps when it becomes that of the datagram
_TALK = ("flow", "direction", "src", "sport", "dst", "dport")
#: Bytes of the transport header on which something depends; of SCTP with the head of a chunk.
_DECISIVE = {TCP: 20, UDP: 8, SCTP: 16}
_MOST_DECISIVE = max(_DECISIVE.values())


class Reassembly:
    """The fragments of a capture, block after block.

    Attributes
    ----------
    gone : rows of the block that are none any more: what they complete is left out.
    changed : whether rows of the block were made anew, so that their flows are not numbered in order.
    """

    def __init__(self, lane: Lane) -> None:
        self.gone: list[int] = []
        self.changed = False
        self._lane = lane
        self._fragments = Fragments()
        self._found: dict[int, Datagram] = {}
        self._scans: list[Scan] = lane.table(Scan, 1)
        self._interfaces: list[Interface] = lane.table(Interface, 1)

    def begin_block(self) -> None:
        """Nothing is known of this block's rows yet."""
        self.gone, self.changed = [], False
        self._found = {}

    @property
    def datagrams(self) -> Datagrams:
        """Those that the block's rows complete; the rows that are gone still count."""
        return Datagrams(self._found, self._found.values())

    def add(
        self, data: bytes | bytearray, columns: Columns, rows: Sequence[int], read: Callable[[Place, int], int]
    ) -> None:
        """Take some more rows, those of fragments among the block's ``columns``.

        Parameters
        ----------
        data : what the column ``raw_at`` points into.
        read : makes a row of the frame at a place; gives 0 if it is none, and then leaves the row alone.
        """
        for row in rows:
            packet = _whole_fragment(data, columns, row)
            piece = piece_of(packet) if packet else None
            if packet is None or piece is None:
                continue
            datagram = self._fragments.add(packet, int(columns.time[row]))
            waiting = self._fragments.waiting(piece.key)
            if datagram is not None:
                self._complete(datagram, columns, row, read)
            elif waiting is not None and piece.begin == 0:
                waiting.first = {name: int(getattr(columns, name)[row]) for name in _TALK}
            elif waiting is not None and waiting.first is not None:
                self._put(columns, row, waiting.first)

    def _complete(self, datagram: Datagram, columns: Columns, row: int, read: Callable[[Place, int], int]) -> None:
        """Let the row be that of the datagram."""
        kept = {name: int(getattr(columns, name)[row]) for name in _OF_THE_FRAGMENT}
        self.changed = True
        if read(self._place(datagram.data), row) == 0:
            self.gone.append(row)
            return
        self._put(columns, row, kept)
        if columns.shape[row] != FRAGMENT:  # in a datagram of IPv6 there may be yet another fragment
            self._found[row] = datagram

    def _put(self, columns: Columns, row: int, values: Mapping[str, int]) -> None:
        self.changed = True
        for name, value in values.items():
            getattr(columns, name)[row] = value

    def _place(self, packet: bytes) -> Place:
        """The packet as the only frame of a window."""
        content = _RECORD.pack(0, 0, len(packet), len(packet)) + packet
        scan = self._scans[0]
        scan.at = scan.number = scan.big = 0
        scan.first = scan.last = NO_TIME
        scan.unit = 1
        scan.link = RAW
        return Place(readable(self._lane, content), len(content), self._scans, self._interfaces, False)


def _whole_fragment(data: bytes | bytearray, columns: Columns, row: int) -> bytes | None:
    """The IP packet of a fragment. Zeros stand for bytes that were not captured, unless these decide about something:
    then None.
    """
    at, size, length = int(columns.raw_at[row]), int(columns.raw_len[row]), int(columns.length[row])
    packet = bytes(data[at : at + size]).ljust(length, b"\0")
    piece = piece_of(packet) if size < length else None
    if piece is not None:
        captured = max(size - len(packet) + piece.begin + len(piece.payload), piece.begin)
        if captured < _DECISIVE.get(int(columns.proto[row]), _MOST_DECISIVE):
            return None
    return packet
