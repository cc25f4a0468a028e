"""The frames of a capture file: when each was captured, where its bytes lie, and where the IP packet in it begins.

Reads pcap (both byte orders, micro- and nanoseconds) and pcapng (any number of sections and interfaces). What a
frame says is left to ``lbsim.packet.headers``; what it means for a director to ``lbsim.traffic.pcap``.

A capture is often damaged at its end: the machine was switched off, the disk was full. All frames before the damage
are given, and :attr:`Capture.damage` says what it was. Packets are numbered from 1 there, like the frames in Wireshark.

Source: the Internet drafts draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng; the list of link types at tcpdump.org.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from struct import Struct
from typing import NamedTuple, TypeAlias

from lbsim.errors import TraceError

__all__ = ["ARP", "NOT_IP", "OTHER_LINK", "UNREADABLE", "Capture", "Frame", "open_capture"]

#: (bytes of the file, begin and end of a frame) -> where its IP packet begins, or one of the negative numbers below
FindIp: TypeAlias = Callable[[bytes, int, int], int]
#: (nanoseconds since 1970, begin and end of the frame in the file, how to find the IP packet in it)
Frame: TypeAlias = tuple[int, int, int, FindIp]

ARP = -1
NOT_IP = -2  # the link layer says that it carries something else
UNREADABLE = -3  # the frame ends before the link layer says what it carries
OTHER_LINK = -4  # a link type that is not supported, in a file that has others, too

_LONGEST_FRAME = 256 * 2**20
_END_OF_TIME = 1 << 62  # nanoseconds; the year 2116. Differences of such times still fit into 64 bits.
_SECOND = 1_000_000_000


class _Damaged(Exception):  # noqa: N818 - not an error to the caller: what was read before is good
    """The rest of the file cannot be read; the text says why."""


# --- link layers ------------------------------------------------------------------------------------------------

_IP_TYPES = frozenset({0x0800, 0x86DD})
_ARP_TYPE = 0x0806
_VLAN_TYPES = frozenset({0x8100, 0x88A8, 0x9100})  # 802.1Q, 802.1ad, and what QinQ used before 802.1ad
_IP_FAMILIES = frozenset({2, 10, 23, 24, 28, 30})  # AF_INET, and AF_INET6 of Linux, Windows and the BSDs


def _behind_ethertype(raw: bytes, at: int, end: int) -> int:
    """Where the IP packet begins if ``at`` is where the EtherType is, behind any number of VLAN tags."""
    while at + 2 <= end:
        ethertype = raw[at] << 8 | raw[at + 1]
        if ethertype in _IP_TYPES:
            return at + 2
        if ethertype not in _VLAN_TYPES:
            return ARP if ethertype == _ARP_TYPE else NOT_IP
        at += 4
    return UNREADABLE


def _ethernet(raw: bytes, at: int, end: int) -> int:
    return _behind_ethertype(raw, at + 12, end)


def _linux_cooked(raw: bytes, at: int, end: int) -> int:
    return _behind_ethertype(raw, at + 14, end)


def _linux_cooked_v2(raw: bytes, at: int, end: int) -> int:
    """The EtherType is the first field of 20 bytes; VLAN tags follow behind them."""
    if at + 20 > end:
        return UNREADABLE
    ethertype = raw[at] << 8 | raw[at + 1]
    if ethertype in _IP_TYPES:
        return at + 20
    if ethertype in _VLAN_TYPES:
        return _behind_ethertype(raw, at + 22, end)
    return ARP if ethertype == _ARP_TYPE else NOT_IP


def _bsd_loopback(raw: bytes, at: int, end: int) -> int:
    """Four bytes of address family, in the byte order of whichever machine captured."""
    if at + 4 > end:
        return UNREADABLE
    family = int.from_bytes(raw[at : at + 4], "little")
    if family > 0xFFFF:
        family = int.from_bytes(raw[at : at + 4], "big")
    return at + 4 if family in _IP_FAMILIES else NOT_IP


def _raw_ip(_raw: bytes, at: int, _end: int) -> int:
    return at


def _other_link(_raw: bytes, _at: int, _end: int) -> int:
    return OTHER_LINK


_LINK_TYPES: Mapping[int, FindIp] = {
    0: _bsd_loopback,
    1: _ethernet,
    12: _raw_ip,
    14: _raw_ip,
    101: _raw_ip,
    108: _bsd_loopback,
    113: _linux_cooked,
    228: _raw_ip,
    229: _raw_ip,
    276: _linux_cooked_v2,
}
_SUPPORTED = (
    "1 (Ethernet), 113 and 276 (Linux cooked), 12, 14, 101, 228 and 229 (raw IP), 0 and 108 (BSD loopback)"
)


# --- files ------------------------------------------------------------------------------------------------------

_PCAPNG = b"\x0a\x0d\x0d\x0a"
#: first four bytes of a pcap file -> byte order, nanoseconds per unit of a time stamp's fraction
_PCAP: Mapping[bytes, tuple[str, int]] = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}


def open_capture(path: Path) -> Capture:
    """The capture file of that path.

    Raises
    ------
    TraceError : the file cannot be read or is no capture, or the link type of a pcap file is not supported.
    """
    return Capture(_content(path), str(path))


def _content(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise TraceError("is a directory; expected a capture file (pcap, pcapng)", file=str(path))
        if not stat.S_ISREG(mode):  # a pipe or a device might never end
            raise TraceError("is no regular file; expected a capture file (pcap, pcapng)", file=str(path))
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise TraceError(f"cannot read the capture: {why}", file=str(path)) from None
    if not raw:
        raise TraceError("the file is empty; expected a capture (pcap, pcapng)", file=str(path))
    return raw


class Capture:
    """A capture file: iterate over :meth:`frames` once, then look at ``damage``.

    Attributes
    ----------
    raw : bytes of the whole file.
    damage : what was wrong with it, or None; known when :meth:`frames` has ended.
    """

    def __init__(self, raw: bytes, file: str) -> None:
        self.raw = raw
        self.damage: str | None = None
        self._file = file
        self._links: set[int] = set()
        self._frames = self._open()

    def frames(self) -> Iterator[Frame]:
        """The frames in the order of the file.

        Raises
        ------
        TraceError : a pcapng file has no interface of a supported link type.
        """
        try:
            yield from self._frames
        except _Damaged as damage:
            self.damage = str(damage)
        if self._links and self._links.isdisjoint(_LINK_TYPES):
            self._refuse_link(min(self._links))

    def _open(self) -> Iterator[Frame]:
        magic = self.raw[:4]
        if magic == _PCAPNG:
            if self.raw[8:12] not in _BYTE_ORDERS:
                raise TraceError(
                    f"the file begins like pcapng, but its byte-order magic is {self.raw[8:12].hex() or 'missing'}; "
                    "expected 4d3c2b1a or 1a2b3c4d",
                    file=self._file,
                )
            return _with_times(_pcapng_frames(self.raw, self._links))
        if magic not in _PCAP:
            hint = " (gzip: unpack it first)" if magic[:2] == b"\x1f\x8b" else ""
            raise TraceError(
                f"this is no capture: it begins with {magic.hex()}{hint}; expected pcap "
                f"({', '.join(known.hex() for known in _PCAP)}) or pcapng ({_PCAPNG.hex()})",
                file=self._file,
            )
        if len(self.raw) < 24:
            raise TraceError(f"the file header is cut: {len(self.raw)} bytes; expected 24", file=self._file)
        order, unit = _PCAP[magic]
        major, minor, link = Struct(order + "4xHH12xI").unpack_from(self.raw)
        if major != 2:
            raise TraceError(f"pcap version {major}.{minor} is not supported; expected 2.4", file=self._file)
        link &= 0x03FFFFFF  # the bits above it describe the frame check sequence
        if link not in _LINK_TYPES:
            self._refuse_link(link)
        return _pcap_frames(self.raw, order, unit, _LINK_TYPES[link])

    def _refuse_link(self, link: int) -> None:
        raise TraceError(f"link type {link} is not supported; expected one of {_SUPPORTED}", file=self._file)


def _pcap_frames(raw: bytes, order: str, unit: int, find_ip: FindIp) -> Iterator[Frame]:
    """The frames of a pcap file: records of a 16-byte header and the captured bytes."""
    header = Struct(order + "III4x").unpack_from
    size = len(raw)
    at = 24
    number = 0
    while at < size:
        number += 1
        if at + 16 > size:
            raise _Damaged(f"cut in packet {number} at byte {size}")
        seconds, fraction, captured = header(raw, at)
        end = at + 16 + captured
        if end > size:
            if captured > _LONGEST_FRAME:
                raise _Damaged(f"packet {number} at byte {at} claims {captured} bytes")
            raise _Damaged(f"cut in packet {number} at byte {size}")
        nanoseconds = fraction * unit
        if nanoseconds >= _SECOND:
            raise _Damaged(f"packet {number} at byte {at} has no time: its fraction of a second is {fraction}")
        yield seconds * _SECOND + nanoseconds, at + 16, end, find_ip
        at = end


# --- pcapng -----------------------------------------------------------------------------------------------------

_BYTE_ORDERS: Mapping[bytes, str] = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_SECTION_HEADER = 0x0A0D0D0A
_INTERFACE = 1
_OLD_PACKET = 2
_SIMPLE_PACKET = 3
_ENHANCED_PACKET = 6
_TIME_RESOLUTION = 9  # options of an interface
_TIME_OFFSET = 14


class _Words(NamedTuple):
    """What is read again and again, in one byte order."""

    block: Struct  # type, length
    number: Struct  # one 32-bit number
    interface: Struct  # link type, longest frame
    option: Struct  # code, length
    offset: Struct  # seconds
    packet: Struct  # interface, time (high, low), captured bytes
    old_packet: Struct  # likewise


_WORDS = {
    order: _Words(*(Struct(order + form) for form in ("II", "I", "H2xI", "HH", "q", "IIII", "H2xIII")))
    for order in "<>"
}


class _Interface(NamedTuple):
    """Where packets were captured. A time stamp t means t * multiplier // divisor + offset nanoseconds."""

    find_ip: FindIp
    longest: int  # captured bytes of a simple packet
    multiplier: int
    divisor: int
    offset: int


_Untimed: TypeAlias = tuple[int | None, int, int, FindIp]


def _pcapng_frames(raw: bytes, links: set[int]) -> Iterator[_Untimed]:
    """The frames of a pcapng file: simple packets have None for a time. ``links`` collects the link types."""
    words = _WORDS["<"]
    interfaces: list[_Interface] = []
    at = 0
    number = 0
    while at < len(raw):
        if raw[at : at + 4] == _PCAPNG:  # the same in both byte orders
            words = _WORDS[_byte_order(raw, at)]
            interfaces = []
        kind, end = _block(raw, at, words, number)
        body, tail = at + 8, end - 4
        if kind == _ENHANCED_PACKET or kind == _OLD_PACKET:  # noqa: PLR1714 - faster: once per packet
            number += 1
            yield _packet(raw, body, tail, words, kind == _OLD_PACKET, interfaces, number)
        elif kind == _SIMPLE_PACKET:
            number += 1
            yield _simple_packet(raw, body, tail, words, interfaces, number)
        elif kind == _INTERFACE:
            link, interface = _interface(raw, body, tail, words)
            interfaces.append(interface)
            links.add(link)
        at = end


def _byte_order(raw: bytes, at: int) -> str:
    order = _BYTE_ORDERS.get(raw[at + 8 : at + 12])
    if order is None:
        raise _Damaged(f"the section at byte {at} has no byte order")
    return order


def _block(raw: bytes, at: int, words: _Words, number: int) -> tuple[int, int]:
    """(type, end) of the block at ``at``, whose length stands at its beginning and at its end."""
    if at + 12 > len(raw):
        raise _Damaged(f"cut at byte {len(raw)}, after packet {number}")
    kind, length = words.block.unpack_from(raw, at)
    end = at + length
    if length < 12 or length % 4 or length > _LONGEST_FRAME:
        raise _Damaged(f"the block at byte {at}, after packet {number}, claims {length} bytes")
    if end > len(raw):
        raise _Damaged(f"cut at byte {len(raw)}, after packet {number}")
    (repeated,) = words.number.unpack_from(raw, end - 4)
    if repeated != length:
        raise _Damaged(
            f"the block at byte {at}, after packet {number}, claims {length} bytes at its beginning and {repeated} "
            "at its end"
        )
    return kind, end


def _packet(
    raw: bytes, body: int, tail: int, words: _Words, old: bool, interfaces: list[_Interface], number: int
) -> _Untimed:
    if body + 20 > tail:
        raise _Damaged(f"the block of packet {number} at byte {body - 8} is too short")
    which, high, low, captured = (words.old_packet if old else words.packet).unpack_from(raw, body)
    if which >= len(interfaces):
        raise _Damaged(f"packet {number} at byte {body - 8} names interface {which} of {len(interfaces)}")
    if body + 20 + captured > tail:
        raise _Damaged(f"packet {number} at byte {body - 8} claims {captured} bytes, more than its block has")
    interface = interfaces[which]
    time = (high << 32 | low) * interface.multiplier // interface.divisor + interface.offset
    if not 0 <= time < _END_OF_TIME:
        raise _Damaged(f"packet {number} at byte {body - 8} has no time between 1970 and 2116")
    return time, body + 20, body + 20 + captured, interface.find_ip


def _simple_packet(
    raw: bytes, body: int, tail: int, words: _Words, interfaces: list[_Interface], number: int
) -> _Untimed:
    """A packet of the first interface, whose block does not say how much was captured of it."""
    if body + 4 > tail:
        raise _Damaged(f"the block of packet {number} at byte {body - 8} is too short")
    if not interfaces:
        raise _Damaged(f"packet {number} at byte {body - 8} belongs to an interface that is not described")
    (length,) = words.number.unpack_from(raw, body)
    captured = min(length, interfaces[0].longest, tail - body - 4)
    return None, body + 4, body + 4 + captured, interfaces[0].find_ip


def _interface(raw: bytes, body: int, tail: int, words: _Words) -> tuple[int, _Interface]:
    """(link type, interface) of an interface description."""
    if body + 8 > tail:
        raise _Damaged(f"the interface at byte {body - 8} is cut")
    link, longest = words.interface.unpack_from(raw, body)
    options = _options(raw, body + 8, tail, words)
    resolution = options.get(_TIME_RESOLUTION, b"\x06")
    offset = options.get(_TIME_OFFSET, bytes(8))
    if len(resolution) != 1 or len(offset) != 8:
        raise _Damaged(f"the interface at byte {body - 8} has a time resolution or offset of a wrong size")
    exponent = resolution[0] & 0x7F
    per_second = 2**exponent if resolution[0] & 0x80 else 10**exponent
    (seconds,) = words.offset.unpack(offset)
    return link, _Interface(
        find_ip=_LINK_TYPES.get(link, _other_link),
        longest=longest or _LONGEST_FRAME,
        multiplier=_SECOND if _SECOND % per_second else _SECOND // per_second,
        divisor=per_second if _SECOND % per_second else 1,
        offset=seconds * _SECOND,
    )


def _options(raw: bytes, at: int, tail: int, words: _Words) -> dict[int, bytes]:
    """code -> value, each the first of its code."""
    options: dict[int, bytes] = {}
    while at + 4 <= tail:
        code, length = words.option.unpack_from(raw, at)
        if code == 0:
            break
        if at + 4 + length > tail:
            raise _Damaged(f"the option at byte {at} claims {length} bytes, more than its block has")
        options.setdefault(code, raw[at + 4 : at + 4 + length])
        at += 4 + (length + 3 & ~3)
    return options


def _with_times(frames: Iterator[_Untimed]) -> Iterator[Frame]:
    """The same, where a frame without a time has that of the frame before it; the first ones that of the first time."""
    waiting: list[_Untimed] = []
    last: int | None = None
    damage: _Damaged | None = None
    try:
        for time, at, end, find_ip in frames:
            if time is not None:
                last = time
                for _, *frame in waiting:
                    yield time, *frame
                waiting.clear()
            if last is None:
                waiting.append((time, at, end, find_ip))
            else:
                yield last, at, end, find_ip
    except _Damaged as found:
        damage = found
    for _, at, end, find_ip in waiting:  # not one time in the whole file
        yield 0, at, end, find_ip
    if damage is not None:
        raise damage
