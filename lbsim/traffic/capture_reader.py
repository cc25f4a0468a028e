"""The frames of a capture file: when each was captured, where its bytes lie, where its IP packet begins.

Reads pcap (both byte orders, micro- and nanoseconds) and pcapng (any number of sections and interfaces). What
a packet says is left to ``lbsim.packet.headers``, what it means for a director to ``lbsim.traffic.pcap``.

A capture is often damaged at its end: the machine was switched off, the disk was full. All frames before the
damage are given, and :attr:`Capture.damage` says what it was. It numbers packets from 1, like Wireshark.

Source: the Internet drafts draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng; the link types at
tcpdump.org.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from struct import Struct
from typing import NamedTuple, TypeAlias

from lbsim.errors import TraceError

__all__ = ["ARP", "NOT_IP", "NO_TIME", "OTHER_LINK", "UNREADABLE", "Capture", "Frame", "open_capture"]

#: (bytes of the file, begin and end of a frame) -> where its IP packet begins, or ARP, NOT_IP, ...
FindIp: TypeAlias = Callable[[bytes, int, int], int]
#: (nanoseconds since 1970 or NO_TIME, begin and end of the frame in the file, how to find its IP packet)
Frame: TypeAlias = tuple[int, int, int, FindIp]

ARP = -1
NOT_IP = -2  # the link layer says that it carries something else
UNREADABLE = -3  # the frame ends before the link layer says what it carries
OTHER_LINK = -4  # a link type that is not supported, in a file that has others, too

NO_TIME = -1  # pcapng has packets without a time

_LONGEST = 256 * 2**20  # bytes of a frame
_END_OF_TIME = 1 << 62  # nanoseconds, the year 2116: differences of such times still fit into 64 bits
_SECOND = 1_000_000_000


class _Damage(Exception):  # noqa: N818 - not an error to the caller: what was read before is good
    """The rest of the file cannot be read; the text says why."""


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
        self._frames = self._pcapng() if raw[:4] == _PCAPNG else self._pcap()

    def frames(self) -> Iterator[Frame]:
        """The frames in the order of the file.

        Raises
        ------
        TraceError : a pcapng file has interfaces, but none of a supported link type.
        """
        try:
            yield from self._frames
        except _Damage as damage:
            self.damage = str(damage)
        if self._links and self._links.isdisjoint(_LINK_TYPES):
            raise self._unsupported(min(self._links))

    def _pcapng(self) -> Iterator[Frame]:
        magic = self.raw[8:12]
        if magic not in _BYTE_ORDERS:
            raise self._error(
                f"this begins like pcapng, but its byte-order magic is {magic.hex() or 'missing'}; expected "
                f"{_listed(_BYTE_ORDERS)}"
            )
        return _PcapngFile(self.raw, self._links).frames()

    def _pcap(self) -> Iterator[Frame]:
        magic = self.raw[:4]
        if magic not in _PCAP:
            hint = " (gzip: unpack it first)" if magic[:2] == b"\x1f\x8b" else ""
            raise self._error(
                f"this is no capture, it begins with {magic.hex()}{hint}; expected {_listed(_PCAP)} "
                f"(pcap) or {_PCAPNG.hex()} (pcapng)"
            )
        if len(self.raw) < 24:
            raise self._error(f"the file header is cut after {len(self.raw)} bytes; expected 24")
        order, unit = _PCAP[magic]
        major, minor, link = Struct(order + "4xHH12xI").unpack_from(self.raw)
        if major != 2:
            raise self._error(f"pcap version {major}.{minor} is not supported; expected 2.4")
        link &= 0x03FFFFFF  # the bits above describe the frame check sequence
        if link not in _LINK_TYPES:
            raise self._unsupported(link)
        return _pcap_frames(self.raw, order, unit, _LINK_TYPES[link])

    def _unsupported(self, link: int) -> TraceError:
        return self._error(
            f"link type {link} is not supported; expected 1 (Ethernet), 113 or 276 (Linux cooked), "
            "12, 14, 101, 228 or 229 (raw IP), 0 or 108 (BSD loopback)"
        )

    def _error(self, message: str) -> TraceError:
        return TraceError(message, file=self._file)


def _listed(magics: Mapping[bytes, object]) -> str:
    return ", ".join(magic.hex() for magic in magics)


#: First four bytes of a pcap file -> byte order, nanoseconds per unit of a time stamp's fraction.
_PCAP: Mapping[bytes, tuple[str, int]] = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}


def _pcap_frames(raw: bytes, order: str, unit: int, find_ip: FindIp) -> Iterator[Frame]:
    """The frames of a pcap file: records of a 16-byte header and the captured bytes."""
    header = Struct(order + "III4x").unpack_from
    size = len(raw)
    at = 24
    number = 0
    while at < size:
        number += 1
        if at + 16 > size:
            raise _Damage(f"cut in packet {number} at byte {size}")
        seconds, fraction, captured = header(raw, at)
        end = at + 16 + captured
        if end > size:
            if captured > _LONGEST:
                raise _Damage(f"packet {number} at byte {at} claims {captured} bytes")
            raise _Damage(f"cut in packet {number} at byte {size}")
        nanoseconds = fraction * unit
        if nanoseconds >= _SECOND:
            raise _Damage(f"packet {number} at byte {at} has no time, its fraction of a second is {fraction}")
        yield seconds * _SECOND + nanoseconds, at + 16, end, find_ip
        at = end


_PCAPNG = b"\x0a\x0d\x0d\x0a"  # the type of a section header, the same in both byte orders
_BYTE_ORDERS: Mapping[bytes, str] = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_INTERFACE = 1  # types of blocks
_OLD_PACKET = 2
_SIMPLE_PACKET = 3
_ENHANCED_PACKET = 6
_TIME_RESOLUTION = 9  # options of an interface
_TIME_OFFSET = 14


class _Words(NamedTuple):
    """How to read what stands in a pcapng file, in one byte order."""

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


class _PcapngFile:
    """A pcapng file: blocks of a type, a length, a body and the length again; unknown types are skipped."""

    def __init__(self, raw: bytes, links: set[int]) -> None:
        self._raw = raw
        self._links = links  # collects the link types of all interfaces
        self._words = _WORDS["<"]
        self._interfaces: list[_Interface] = []  # of the current section
        self._number = 0  # of the packet that was read last

    def frames(self) -> Iterator[Frame]:
        """The frames in the order of the file."""
        raw = self._raw
        size = len(raw)
        at = 0
        while at < size:
            if raw[at : at + 4] == _PCAPNG:
                self._begin_section(at)
            kind, end = self._block(at)
            if kind in (_ENHANCED_PACKET, _OLD_PACKET):
                yield self._packet(at, end - 4, self._words.packet if kind > 2 else self._words.old_packet)
            elif kind == _SIMPLE_PACKET:
                yield self._simple_packet(at, end - 4)
            elif kind == _INTERFACE:
                self._interfaces.append(self._interface(at, end - 4))
            at = end

    def _begin_section(self, at: int) -> None:
        order = _BYTE_ORDERS.get(self._raw[at + 8 : at + 12])
        if order is None:
            raise self._damage(at, "begins a section, but has no byte order")
        self._words = _WORDS[order]
        self._interfaces = []

    def _block(self, at: int) -> tuple[int, int]:
        """(type, end) of the block at ``at``."""
        size = len(self._raw)
        if at + 12 > size:
            raise _Damage(f"cut at byte {size}, after packet {self._number}")
        kind, length = self._words.block.unpack_from(self._raw, at)
        end: int = at + length
        if length < 12 or length % 4 or length > _LONGEST:
            raise self._damage(at, f"claims {length} bytes")
        if end > size:
            raise _Damage(f"cut at byte {size}, after packet {self._number}")
        (again,) = self._words.number.unpack_from(self._raw, end - 4)
        if again != length:
            raise self._damage(at, f"claims {length} bytes where it begins and {again} where it ends")
        return kind, end

    def _packet(self, at: int, tail: int, words: Struct) -> Frame:
        """A packet with interface, time and captured length; its body ends at ``tail``."""
        begin = at + 28
        if begin > tail:
            raise self._damage(at, "is too short for a packet")
        which, high, low, captured = words.unpack_from(self._raw, at + 8)
        if which >= len(self._interfaces):
            raise self._damage(at, f"names interface {which} of {len(self._interfaces)}")
        if begin + captured > tail:
            raise self._damage(at, f"claims a packet of {captured} bytes, more than it has")
        interface = self._interfaces[which]
        time = (high << 32 | low) * interface.multiplier // interface.divisor + interface.offset
        if not 0 <= time < _END_OF_TIME:
            raise self._damage(at, "has no time between 1970 and 2116")
        self._number += 1
        return time, begin, begin + captured, interface.find_ip

    def _simple_packet(self, at: int, tail: int) -> Frame:
        """A packet of the first interface; the block says neither its time nor how much was captured."""
        begin = at + 12
        if begin > tail:
            raise self._damage(at, "is too short for a packet")
        if not self._interfaces:
            raise self._damage(at, "names interface 0 of 0")
        interface = self._interfaces[0]
        (length,) = self._words.number.unpack_from(self._raw, at + 8)
        self._number += 1
        return NO_TIME, begin, begin + min(length, interface.longest, tail - begin), interface.find_ip

    def _interface(self, at: int, tail: int) -> _Interface:
        if at + 16 > tail:
            raise self._damage(at, "is too short for an interface")
        link, longest = self._words.interface.unpack_from(self._raw, at + 8)
        options = self._options(at, tail)
        resolution = options.get(_TIME_RESOLUTION, b"\x06")
        offset = options.get(_TIME_OFFSET, bytes(8))
        if len(resolution) != 1 or len(offset) != 8:
            raise self._damage(at, "has a time resolution or a time offset of a wrong size")
        exponent = resolution[0] & 0x7F
        per_second = 2**exponent if resolution[0] & 0x80 else 10**exponent
        whole = _SECOND % per_second == 0
        self._links.add(link)
        return _Interface(
            find_ip=_LINK_TYPES.get(link, _other_link),
            longest=longest or _LONGEST,
            multiplier=_SECOND // per_second if whole else _SECOND,
            divisor=1 if whole else per_second,
            offset=self._words.offset.unpack(offset)[0] * _SECOND,
        )

    def _options(self, at: int, tail: int) -> dict[int, bytes]:
        """Code -> value of an interface's options, each the first of its code."""
        options: dict[int, bytes] = {}
        option = at + 16
        while option + 4 <= tail:
            code, length = self._words.option.unpack_from(self._raw, option)
            value = option + 4
            if code == 0:
                break
            if value + length > tail:
                raise self._damage(at, f"claims an option of {length} bytes, more than it has")
            options.setdefault(code, self._raw[value : value + length])
            option = value + (length + 3 & ~3)
        return options

    def _damage(self, at: int, what: str) -> _Damage:
        return _Damage(f"the block at byte {at}, after packet {self._number}, {what}")


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
