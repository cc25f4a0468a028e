"""A capture file, window by window: :class:`Capture`.

Reads pcap (both byte orders, micro- and nanoseconds) and pcapng (any number of sections and interfaces). What a packet
says is left to ``lbsim.packet.headers``, what it means for a director to ``lbsim.traffic.pcap``.

A capture is often damaged at its end: the machine was switched off, the disk was full. All frames before the damage are
given, and :attr:`Capture.damage` says what it was. It numbers packets from 1, like Wireshark.

Source: the Internet drafts draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any

from lbsim.engine.lanes import Lane
from lbsim.errors import TraceError
from lbsim.traffic import frames as stops
from lbsim.traffic.capture_bytes import CaptureBytes, Window
from lbsim.traffic.frames import LONGEST, Interface, Place, Scan
from lbsim.traffic.lane_columns import readable
from lbsim.traffic.links import LINK_TYPES

__all__ = ["Capture"]

_PCAPNG = b"\x0a\x0d\x0d\x0a"  # the type of a section header, the same in both byte orders
_BYTE_ORDERS = (b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d")
_PCAP_HEADER = 24  # bytes
_BYTES_PER_FRAME = 64  # with its header, at a guess

#: First four bytes of a pcap file -> byte order, nanoseconds per unit of a time stamp's fraction.
_PCAP: Mapping[bytes, tuple[str, int]] = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}

#: How a packed file begins -> what it is packed with. gzip and zstd never come here.
_PACKED = {b"\xfd7zX": "xz", b"BZh": "bzip2", b"\x04\x22\x4d\x18": "lz4", b"PK\x03\x04": "zip"}

_TIME_RESOLUTION = 9  # options of an interface
_TIME_OFFSET = 14
_MOST_OFFSET = 2**61  # seconds; any such time is far from those that can be


class _DamagedError(Exception):
    """An interface that cannot be read; the text says why."""


class Capture:
    """An open capture: each :meth:`advance` lets somebody look at some more frames, until ``ended``.

    Attributes
    ----------
    window : the piece of the file that is in memory; ``raw`` are its bytes as functions of the lane read them.
    scans : a table of one row: how far the reading got, and how time went.
    interfaces : table of :class:`Interface`: those of the current section.
    is_pcapng : which of the functions of ``frames`` find its frames.
    most : frames of one advance.
    ended : there are no more frames.
    damage : what was wrong with the file, or None; known when it has ended.
    """

    def __init__(self, source: CaptureBytes, lane: Lane, most: int, file: str) -> None:
        """Look at the file's header. ``most``: as the attribute; it becomes less for a small file.

        Raises
        ------
        TraceError : this is no capture, or one of a link type that is not supported.
        """
        self.damage: str | None = None
        self.ended = False
        self.scans: list[Scan] = lane.table(Scan, 1)
        self.scans[0].first = self.scans[0].last = stops.NO_TIME
        self.interfaces: Any = lane.table(Interface, 4)
        self._source = source
        self._lane = lane
        self._file = file
        self._links: set[int] = set()
        self._show(source.window(0, _PCAP_HEADER))
        self.is_pcapng = self._read_header()
        self.most = _most_frames(most, self.window)

    @property
    def number(self) -> int:
        """How many packets were read, with those left out."""
        return int(self.scans[0].number)

    @property
    def place(self) -> Place:
        """Where the next frames are looked for."""
        return Place(self.raw, self.window.size, self.scans, self.interfaces, self.is_pcapng)

    def advance(self, look: Callable[[int], None], *, one_window: bool) -> None:
        """Let ``look`` find frames: it gets how many at most, and says in ``scans`` how far it got.

        Parameters
        ----------
        one_window : the frames must all lie in the window that is there afterwards.

        Raises
        ------
        TraceError : the file cannot be read any more; or a pcapng file has interfaces, none of a supported link type.
        """
        scan = self.scans[0]
        before = self.number
        while not self.ended and (wanted := self.most - (self.number - before)) > 0:
            look(wanted)
            if scan.stopped == stops.INTERFACE:
                self._add_interface()
            elif scan.stopped >= stops.FAULT_LENGTH:
                self._end(self._fault())
            elif scan.stopped == stops.SHORT and self.window.is_last:
                self._end(self._cut())
            elif scan.stopped == stops.SHORT:
                if one_window and self.number > before:
                    return
                self._show(self._source.window(self._place(), int(scan.wanted)))

    def _show(self, window: Window) -> None:
        self.window = window
        self.raw = readable(self._lane, window.data)
        self.scans[0].at = 0

    def _place(self) -> int:
        """In the file: where the next record or block begins."""
        return self.window.begin + int(self.scans[0].at)

    def _end(self, damage: str | None) -> None:
        self.ended = True
        self.damage = "; ".join(text for text in (damage, self._source.damage) if text) or None
        if self._links and self._links.isdisjoint(LINK_TYPES):
            raise self._unsupported(min(self._links))

    # Headers

    def _read_header(self) -> bool:
        """Read the header of a pcap file; whether it is pcapng instead."""
        head = bytes(self.window.data[: min(_PCAP_HEADER, self.window.size)])
        if head[:4] == _PCAPNG:
            if head[8:12] not in _BYTE_ORDERS:
                raise self._error(
                    f"this begins like pcapng, but its byte-order magic is {head[8:12].hex() or 'missing'}; expected "
                    f"{_listed(_BYTE_ORDERS)}"
                )
            return True
        if head[:4] not in _PCAP:
            raise self._error(
                f"this is no capture, it begins with {head[:4].hex()}{_how_packed(head)}; expected {_listed(_PCAP)} "
                f"(pcap) or {_PCAPNG.hex()} (pcapng)"
            )
        if len(head) < _PCAP_HEADER:
            raise self._error(f"the file header is cut after {len(head)} bytes; expected {_PCAP_HEADER}")
        self._read_pcap_header(head)
        return False

    def _read_pcap_header(self, head: bytes) -> None:
        order, unit = _PCAP[head[:4]]
        major, minor, link = Struct(order + "4xHH12xI").unpack(head)
        if major != 2:
            raise self._error(f"pcap version {major}.{minor} is not supported; expected 2.4")
        link &= 0x03FFFFFF  # the bits above describe the frame check sequence
        if link not in LINK_TYPES:
            raise self._unsupported(link)
        scan = self.scans[0]
        scan.big = int(order == ">")
        scan.unit = unit
        scan.link = link
        scan.at = _PCAP_HEADER

    def _add_interface(self) -> None:
        """Read the block at ``scan.at``, which is whole and describes an interface of the current section."""
        scan = self.scans[0]
        at, row = int(scan.at), int(scan.interfaces)
        order = ">" if scan.big else "<"
        (length,) = Struct(order + "I").unpack_from(self.window.data, at + 4)
        self.interfaces = self._lane.grown(self.interfaces, _room_for(row, len(self.interfaces)))
        try:
            link = _read_interface(bytes(self.window.data[at : at + length - 4]), order, self.interfaces[row])
        except _DamagedError as damage:
            self._end(self._at_block(str(damage)))
            return
        self._links.add(link)
        scan.interfaces = row + 1
        scan.at = at + length

    # Damage

    def _cut(self) -> str | None:
        """What is wrong with a file that ends here: nothing, if a record or block ends here, too."""
        end = self.window.begin + self.window.size
        if self._place() == end:
            return None
        if self.is_pcapng:
            return f"cut at byte {end}, after packet {self.number}"
        return f"cut in packet {self.number + 1} at byte {end}"

    def _fault(self) -> str:
        scan = self.scans[0]
        if self.is_pcapng:
            return self._at_block(_BLOCK_FAULTS[int(scan.stopped)].format(scan.value, scan.other))
        what = _RECORD_FAULTS[int(scan.stopped)].format(scan.value)
        return f"packet {self.number + 1} at byte {self._place()} {what}"

    def _at_block(self, what: str) -> str:
        return f"the block at byte {self._place()}, after packet {self.number}, {what}"

    def _unsupported(self, link: int) -> TraceError:
        return self._error(
            f"link type {link} is not supported; expected 1 (Ethernet), 113 or 276 (Linux cooked), "
            "12, 14, 101, 228 or 229 (raw IP), 0 or 108 (BSD loopback)"
        )

    def _error(self, message: str) -> TraceError:
        return TraceError(message, file=self._file)


_RECORD_FAULTS = {
    stops.FAULT_LENGTH: "claims {} bytes",
    stops.FAULT_FRACTION: "has no time, its fraction of a second is {}",
}
_BLOCK_FAULTS = {
    stops.FAULT_LENGTH: "claims {} bytes",
    stops.FAULT_BYTE_ORDER: "begins a section, but has no byte order",
    stops.FAULT_TRAILER: "claims {} bytes where it begins and {} where it ends",
    stops.FAULT_TOO_SHORT: "is too short for a packet",
    stops.FAULT_INTERFACE: "names interface {} of {}",
    stops.FAULT_CAPTURED: "claims a packet of {} bytes, more than it has",
    stops.FAULT_TIME: "has no time between 1970 and 2116",
}


def _most_frames(most: int, window: Window) -> int:
    """Tables of small captures are small: they are made anew for each."""
    return min(most, 16 + window.size // _BYTES_PER_FRAME) if window.is_last else most


def _listed(magics: Mapping[bytes, object] | tuple[bytes, ...]) -> str:
    return ", ".join(magic.hex() for magic in magics)


def _how_packed(head: bytes) -> str:
    return next((f" ({name}: unpack it first)" for magic, name in _PACKED.items() if head.startswith(magic)), "")


def _room_for(row: int, rows: int) -> int:
    return rows if row < rows else 2 * rows


def _read_interface(block: bytes, order: str, interface: Interface) -> int:
    """The link type of an interface; its row is filled in.

    Parameters
    ----------
    block : the block without the length at its end.
    """
    if len(block) < 16:
        raise _DamagedError("is too short for an interface")
    link: int
    link, longest = Struct(order + "H2xI").unpack_from(block, 8)
    options = _options(block, order)
    resolution = options.get(_TIME_RESOLUTION, b"\x06")
    offset = options.get(_TIME_OFFSET, bytes(8))
    if len(resolution) != 1 or len(offset) != 8:
        raise _DamagedError("has a time resolution or a time offset of a wrong size")
    (seconds,) = Struct(order + "q").unpack(offset)
    interface.link = link
    interface.longest = longest or LONGEST
    interface.unit, interface.per = _time_unit(resolution[0])
    interface.offset = min(max(seconds, -_MOST_OFFSET), _MOST_OFFSET)
    return link


def _time_unit(resolution: int) -> tuple[int, int]:
    """(unit, per) of an interface, see ``frames.Interface``."""
    exponent = resolution & 0x7F
    if resolution & 0x80:
        return stops.BINARY, exponent
    if exponent <= 9:
        return stops.DECIMAL, 10**exponent
    if exponent <= 9 + 18:
        return stops.FINER, 10 ** (exponent - 9)
    return stops.BINARY, 127  # so fine that no stamp of 64 bits reaches a nanosecond; 2 ** -127 s does the same


def _options(block: bytes, order: str) -> dict[int, bytes]:
    """Code -> value of an interface's options, each the first of its code."""
    head = Struct(order + "HH")
    options: dict[int, bytes] = {}
    at = 16
    while at + 4 <= len(block):
        code, length = head.unpack_from(block, at)
        value = at + 4
        if code == 0:
            break
        if value + length > len(block):
            raise _DamagedError(f"claims an option of {length} bytes, more than it has")
        options.setdefault(code, block[value : value + length])
        at = value + (length + 3 & ~3)
    return options
