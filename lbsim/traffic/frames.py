"""Where the frames of a capture lie and when they were captured: the records of pcap, the blocks of pcapng.

The functions here run in both lanes. They look at a *window*, a piece of the file in memory, and stop where its bytes
do not suffice, where something needs a closer look (an interface of pcapng, see ``capture_reader``) or where the file
is damaged. No number in the file is trusted: what it claims is compared with what the window has before it is used.

Source: the Internet drafts draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Any, NamedTuple, TypeAlias

from lbsim.engine.lanes import COMPILED, kernel, prefetch
from lbsim.engine.records import i1, i2, i4, i8, tuple_of_columns
from lbsim.packet.headers import Bytes

__all__ = ["FRAME_COLUMNS", "LONGEST", "NO_TIME", "FrameColumns", "Interface", "Place", "Scan", "find_frames"]

LONGEST = 256 * 2**20  # bytes of a frame or a block
AHEAD = 1024  # bytes; what lies there is fetched while a frame is looked at
END_OF_TIME = 1 << 62  # nanoseconds, the year 2116: differences of such times still fit into 64 bits
NO_TIME = -1  # pcapng has packets without a time: they are of the time of the packet before
SECOND = 1_000_000_000

#: What is known of each frame: time in ns since 1970 (NO_TIME before the first packet with one), where its bytes begin
#: and end in the window, link type.
FRAME_COLUMNS = {"time": "i8", "begin": "i8", "end": "i8", "link": "i4"}
FrameColumns = tuple_of_columns("FrameColumns", FRAME_COLUMNS, __name__)
Frames: TypeAlias = Any  # such columns

# Why the reading of frames stopped
FULL = 0  # the table of frames is full
SHORT = 1  # the window ends: ``wanted`` bytes from ``at`` on are needed
INTERFACE = 2  # pcapng: an interface is described at ``at``
FAULT_LENGTH = 3  # this and the following: the file is damaged at ``at``; ``value`` and ``other`` say how
FAULT_FRACTION = 4
FAULT_BYTE_ORDER = 5
FAULT_TRAILER = 6
FAULT_TOO_SHORT = 7
FAULT_INTERFACE = 8
FAULT_CAPTURED = 9
FAULT_TIME = 10

# pcapng
SECTION = 0x0A0D0D0A  # types of blocks; this one reads the same in both byte orders
INTERFACE_BLOCK = 1
OLD_PACKET = 2
SIMPLE_PACKET = 3
ENHANCED_PACKET = 6
BYTE_ORDER = 0x1A2B3C4D
DECIMAL = 0  # units of time: fractions of a second with up to nine decimals
FINER = 1  # fractions of a nanosecond
BINARY = 2  # negative powers of two

LOW_32 = 0xFFFFFFFF

#: A place in a window masked with this is the same place, and to the compiler no negative number any more. To numba, a
#: negative index counts from the end: without the mask each byte costs a comparison, and four never become one load.
ANYWHERE = (1 << 40) - 1


@dataclass(slots=True, eq=False)
class Scan:
    """How far the reading has got, and how time went so far."""

    at: i8 = 0  # in the window: where the next record or block begins
    number: i8 = 0  # of the packet that was read last, from 1
    big: i1 = 0  # highest byte first
    unit: i8 = 0  # pcap: nanoseconds per unit of a time's fraction
    link: i4 = 0  # pcap: the link type of all frames
    interfaces: i4 = 0  # pcapng: of the current section
    stopped: i2 = 0  # FULL, SHORT, ...
    wanted: i8 = 0
    value: i8 = 0
    other: i8 = 0
    last: i8 = 0  # time of the packet before, or NO_TIME
    first: i8 = 0  # the earliest time, or NO_TIME
    backwards: i8 = 0  # the first packet whose time is before that of the packet before it; 0: none
    backwards_by: i8 = 0  # nanoseconds


@dataclass(slots=True, eq=False)
class Interface:
    """Where packets of a pcapng file were captured."""

    link: i4 = 0
    longest: i8 = 0  # captured bytes of a simple packet
    unit: i1 = 0  # DECIMAL: 1 / ``per`` s; FINER: 1 / ``per`` ns; BINARY: 2 ** -``per`` s
    per: i8 = 0
    offset: i8 = 0  # seconds to add, -2 ** 61 .. 2 ** 61


class Place(NamedTuple):
    """Where frames are looked for.

    Attributes
    ----------
    size : bytes of the window; nothing of ``raw`` behind them is read.
    scans : one row; the reading begins at its ``at`` and says there how far it got.
    interfaces : those of the current section, as far as they were read.
    """

    raw: Bytes
    size: int
    scans: list[Scan]
    interfaces: list[Interface]
    is_pcapng: bool


@kernel
def find_frames(place: Place, frames: Frames, most: int) -> int:
    """How many frames were found, at most ``most``: they are the first rows of ``frames``."""
    if place.is_pcapng:
        return _pcapng_frames(place.raw, place.size, place.scans[0], place.interfaces, frames, most)
    return _pcap_frames(place.raw, place.size, place.scans[0], frames, most)


@kernel
def _pcap_frames(raw: Bytes, size: int, scan: Scan, frames: Frames, most: int) -> int:
    times, begins, ends, links = frames
    at = scan.at
    last = scan.last
    big = scan.big
    unit = scan.unit
    link = scan.link
    row = 0
    scan.stopped = FULL
    while row < most:
        if at + 16 > size:
            _stop(scan, SHORT, 16, 0)
            break
        if COMPILED:
            prefetch(raw, at + AHEAD)
        seconds, fraction, captured = _record_head(raw, at, big)
        fraction *= unit
        if captured > LONGEST:
            _stop(scan, FAULT_LENGTH, captured, 0)
            break
        if at + 16 + captured > size:
            _stop(scan, SHORT, 16 + captured, 0)
            break
        if fraction >= SECOND:
            _stop(scan, FAULT_FRACTION, fraction // unit, 0)
            break
        time = seconds * SECOND + fraction
        if time < last or last < 0:
            _note_time(scan, time, last, scan.number + row + 1)
        last = time
        times[row] = time
        begins[row] = at + 16
        at += 16 + captured
        ends[row] = at
        links[row] = link
        row += 1
    scan.at = at
    scan.last = last
    scan.number += row
    return row


_LITTLE_RECORD = Struct("<III").unpack_from
_BIG_RECORD = Struct(">III").unpack_from


@kernel
def _record_head(raw: Bytes, at: int, big: int) -> tuple[int, int, int]:
    """Seconds, fraction and captured bytes of a record."""
    if not COMPILED:
        return _BIG_RECORD(raw, at) if big else _LITTLE_RECORD(raw, at)
    at = at & ANYWHERE
    return u32(raw, at, big), u32(raw, at + 4, big), u32(raw, at + 8, big)


@kernel
def _stop(scan: Scan, why: int, value: int, other: int) -> None:
    scan.stopped = why
    scan.wanted = value
    scan.value = value
    scan.other = other


@kernel
def _note_time(scan: Scan, time: int, last: int, number: int) -> None:
    """Note a time that is the first one or earlier than the one before it."""
    if scan.first < 0 or time < scan.first:
        scan.first = time
    if time < last and scan.backwards == 0:
        scan.backwards = number
        scan.backwards_by = last - time


@kernel
def _pcapng_frames(raw: Bytes, size: int, scan: Scan, interfaces: list[Interface], frames: Frames, most: int) -> int:
    row = 0
    scan.stopped = FULL
    while row < most and _next_block(raw, size, scan):
        at = scan.at
        if COMPILED:
            prefetch(raw, at + AHEAD)
        kind = u32(raw, at, scan.big)
        end = at + u32(raw, at + 4, scan.big)
        if kind == INTERFACE_BLOCK:
            scan.stopped = INTERFACE
            break
        if kind in (ENHANCED_PACKET, OLD_PACKET, SIMPLE_PACKET):
            if not _packet(raw, end - 4, scan, interfaces, kind, frames, row):
                break
            row += 1
        scan.at = end
    return row


@kernel
def _next_block(raw: Bytes, size: int, scan: Scan) -> bool:
    """Whether the block at ``scan.at`` is whole and sound; one that begins a section sets the byte order."""
    at = scan.at
    if at + 12 > size:
        _stop(scan, SHORT, 12, 0)
        return False
    if u32(raw, at, 0) == SECTION:
        if u32(raw, at + 8, 0) == BYTE_ORDER:
            scan.big = 0
        elif u32(raw, at + 8, 1) == BYTE_ORDER:
            scan.big = 1
        else:
            _stop(scan, FAULT_BYTE_ORDER, 0, 0)
            return False
        scan.interfaces = 0
    length = u32(raw, at + 4, scan.big)
    if length < 12 or length % 4 != 0 or length > LONGEST:
        _stop(scan, FAULT_LENGTH, length, 0)
        return False
    if at + length > size:
        _stop(scan, SHORT, length, 0)
        return False
    again = u32(raw, at + length - 4, scan.big)
    if again != length:
        _stop(scan, FAULT_TRAILER, length, again)
        return False
    return True


@kernel
def _packet(
    raw: Bytes, tail: int, scan: Scan, interfaces: list[Interface], kind: int, frames: Frames, row: int
) -> bool:
    """Whether the block at ``scan.at``, whose body ends at ``tail``, is a sound packet; if so it becomes a row."""
    at = scan.at
    big = scan.big
    begin = at + 28
    which = 0
    if kind == SIMPLE_PACKET:
        begin = at + 12
    elif kind == OLD_PACKET:
        which = u16(raw, at + 8, big)
    else:
        which = u32(raw, at + 8, big)
    if begin > tail:
        _stop(scan, FAULT_TOO_SHORT, 0, 0)
        return False
    if which >= scan.interfaces:
        _stop(scan, FAULT_INTERFACE, which, scan.interfaces)
        return False
    interface = interfaces[which]
    time = scan.last
    if kind == SIMPLE_PACKET:  # the block says neither its time nor how much was captured
        captured = min(u32(raw, at + 8, big), interface.longest, tail - begin)
    else:
        captured = u32(raw, at + 20, big)
        if begin + captured > tail:
            _stop(scan, FAULT_CAPTURED, captured, 0)
            return False
        time = nanoseconds(u32(raw, at + 12, big), u32(raw, at + 16, big), interface)
        if time < 0:
            _stop(scan, FAULT_TIME, 0, 0)
            return False
        if time < scan.last or scan.last < 0:
            _note_time(scan, time, scan.last, scan.number + 1)
        scan.last = time
    scan.number += 1
    times, begins, ends, links = frames
    times[row] = time
    begins[row] = begin
    ends[row] = begin + captured
    links[row] = interface.link
    return True


@kernel
def nanoseconds(high: int, low: int, interface: Interface) -> int:
    """The time that the halves of a time stamp say, in ns since 1970; -1 if it is not between 1970 and 2116.

    The stamp has 64 bits without a sign, a product of it more; so it is taken apart such that all numbers stay below
    2 ** 63, because compiled code has no larger ones.
    """
    per = interface.per
    if interface.unit == DECIMAL:
        rest = high % per << 32 | low
        return _time_of(high // per, rest // per, rest % per * (SECOND // per), interface.offset)
    if interface.unit == FINER:
        whole, rest = _divided(high, low, per)
        return _time_of(0, whole // SECOND, whole % SECOND, interface.offset)
    if per < 32:
        part = low & ((1 << per) - 1)
        return _time_of(high >> per, (high << 32 - per | low >> per) & LOW_32, part * SECOND >> per, interface.offset)
    # (high * 2**32 + low) * 10**9 / 2**per; what is below 2**32 there does not reach the quotient
    upper = high * SECOND + (low * SECOND >> 32)
    whole = upper >> min(per - 32, 62)
    return _time_of(0, whole // SECOND, whole % SECOND, interface.offset)


@kernel
def _divided(high: int, low: int, divisor: int) -> tuple[int, int]:
    """Quotient and remainder of the 64-bit number of these halves; ``divisor`` is below 2 ** 62."""
    half = high << 31 | low >> 1
    quotient = half // divisor * 2
    remainder = half % divisor * 2 + (low & 1)
    if remainder >= divisor:
        return quotient + 1, remainder - divisor
    return quotient, remainder


@kernel
def _time_of(upper: int, seconds: int, fraction: int, offset: int) -> int:
    """Nanoseconds of ``upper * 2**32 + seconds + offset`` seconds and a fraction, or -1."""
    if upper >= 1 << 29:
        return -1
    total = (upper << 32) + seconds + offset
    if total < 0 or total > END_OF_TIME // SECOND:
        return -1
    time = total * SECOND + fraction
    return time if time < END_OF_TIME else -1


@kernel
def u16(raw: Bytes, at: int, big: int) -> int:
    """The two bytes from ``at`` on as a number."""
    if big:
        value: int = raw[at] * 0x100 + raw[at + 1]
    else:
        value = raw[at] + raw[at + 1] * 0x100
    return value


@kernel
def u32(raw: Bytes, at: int, big: int) -> int:
    """The four bytes from ``at`` on as a number.

    Put together by arithmetic, not by shifts: to numba a shifted byte is unsigned, and unsigned with signed numbers
    makes floats.
    """
    if big:
        value: int = raw[at] * 0x1000000 + raw[at + 1] * 0x10000 + raw[at + 2] * 0x100 + raw[at + 3]
    else:
        value = raw[at] + raw[at + 1] * 0x100 + raw[at + 2] * 0x10000 + raw[at + 3] * 0x1000000
    return value
