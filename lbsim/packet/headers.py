"""What the headers of an IP packet say: :func:`read_headers`, the only place where header bytes are taken apart.

:func:`parse` does the same for one packet, and gives its addresses. Whatever the bytes are, nothing raises.

The functions marked ``@kernel`` run in both lanes (``engine.lanes``). Numbers are put together of bytes by arithmetic,
not by shifts: to numba a shifted byte is unsigned, and unsigned with signed numbers makes floats. The interpreted lane
takes a header apart with one call of ``struct`` instead, which is five times as fast there.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Any, NamedTuple, TypeAlias

from lbsim.engine.lanes import COMPILED, kernel
from lbsim.engine.numbers import (
    BAD_OPTIONS,
    CUT_HEADER,
    FRAGMENT,
    ICMP_ERROR,
    NO_PORTS,
    SCTP,
    SOURCE_ROUTE,
    TCP,
    UDP,
    WHOLE,
)
from lbsim.engine.sctp_chunks import event_of
from lbsim.packet.options import ROUTED, fault_of_options

__all__ = [
    "FRAGMENT_HEADER",
    "ICMP",
    "ICMPV6",
    "NO_PACKET",
    "SCTP",
    "Bytes",
    "Fields",
    "FieldsAndEnds",
    "Headers",
    "double_word",
    "fields_of",
    "header_fields",
    "is_extension",
    "parse",
    "read_headers",
    "word",
]

#: ``bytes``, ``bytearray`` or ``memoryview``; in the compiled lane an array of uint8.
Bytes: TypeAlias = Any

ICMP = 1
ICMPV6 = 58
HOP_BY_HOP = 0
ROUTING = 43
FRAGMENT_HEADER = 44
DESTINATION_OPTIONS = 60


class Fields(NamedTuple):
    """The header fields of one packet that are numbers.

    Attributes
    ----------
    version : 4 or 6; 0: these bytes are no IP packet, and all else is 0.
    proto : IP protocol number of the transport header, behind the IPv6 extension headers.
    sport, dport : 0 if the protocol has none or they cannot be read.
    flags, seq, ack : of a complete TCP header (flags FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32), else 0; of SCTP
        ``flags`` is the number of the event that its chunks are (``engine.sctp_chunks.EVENTS``).
    length : bytes of the whole IP packet as its header gives them, however many were captured.
    ttl : TTL or hop limit.
    shape : ``engine.numbers``: WHOLE, CUT_HEADER, NO_PORTS, FRAGMENT, ICMP_ERROR, BAD_OPTIONS, SOURCE_ROUTE.
    l4 : where in the packet the transport header begins; 0 in a fragment that does not begin with one.
    """

    version: int
    proto: int
    sport: int
    dport: int
    flags: int
    seq: int
    ack: int
    length: int
    ttl: int
    shape: int
    l4: int


NO_PACKET = Fields(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


class Headers(NamedTuple):
    """The header fields of a packet: ``src`` and ``dst`` are 4 or 16 network bytes, the rest as in :class:`Fields`."""

    version: int
    src: bytes
    dst: bytes
    proto: int
    sport: int
    dport: int
    flags: int
    seq: int
    ack: int
    length: int
    ttl: int
    shape: int
    l4: int


def parse(data: bytes | bytearray | memoryview) -> Headers | None:
    """The headers of the IP packet that begins at ``data[0]``; None if it is not one.

    Bytes behind the packet's end (Ethernet padding) are not looked at; of a packet that was captured only in
    part, what is there decides the shape.
    """
    return _parsed(bytes(data))


def fields_of(data: bytes) -> Fields:
    """What :func:`read_headers` says of these bytes, out of what :func:`parse` found."""
    headers = parse(data)
    return NO_PACKET if headers is None else Fields(headers[0], *headers[3:])


@lru_cache(maxsize=256)  # on its way through the director a packet is looked at several times
def _parsed(data: bytes) -> Headers | None:
    version, proto, _, _, *others = header_fields(data, 0, len(data))
    if version == 0:
        return None
    src, dst = (data[12:16], data[16:20]) if version == 4 else (data[8:24], data[24:40])
    return Headers(version, src, dst, proto, *others)


@kernel
def read_headers(data: Bytes, begin: int, end: int) -> Fields:
    """The header fields of the IP packet in ``data[begin:end]``; :data:`NO_PACKET` if it is none."""
    version, proto, _, _, sport, dport, flags, seq, ack, length, ttl, shape, l4 = header_fields(data, begin, end)
    return Fields(version, proto, sport, dport, flags, seq, ack, length, ttl, shape, l4)


#: As :class:`Fields`, but behind ``proto`` the last 32 bits of source and destination.
FieldsAndEnds: TypeAlias = tuple[int, int, int, int, int, int, int, int, int, int, int, int, int]
NOTHING = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


@kernel
def header_fields(data: Bytes, begin: int, end: int) -> FieldsAndEnds:
    """The header fields of the IP packet in ``data[begin:end]``; zeros if it is none."""
    if begin < end:
        version = data[begin] // 16
        if version == 4:
            return _read_ipv4(data, begin, end)
        if version == 6:
            return _read_ipv6(data, begin, end)
    return NOTHING


@kernel
def _read_ipv4(data: Bytes, begin: int, end: int) -> FieldsAndEnds:
    if end - begin < 20:
        return NOTHING
    first, length, fragment, ttl, proto, src, dst = _ipv4_fields(data, begin)
    l4 = (first & 15) * 4
    if length == 0:  # cards that segment by themselves let hosts capture such packets: all the data belongs to them
        length = end - begin
    if l4 < 20 or length < l4:
        return NOTHING
    if fragment & 0x1FFF:  # not the first fragment: no transport header
        return 4, proto, src, dst, 0, 0, 0, 0, 0, length, ttl, FRAGMENT, 0
    at = begin + l4
    stop = begin + length
    if end < stop:
        stop = end
    if proto == TCP and stop - at >= 20:
        sport, dport, seq, ack, flags = _tcp_fields(data, at)
        shape = WHOLE
    else:
        sport, dport, flags, seq, ack, shape = _read_transport(data, 4, proto, at, stop)
    if fragment & 0x2000:  # more fragments follow
        shape = FRAGMENT
    elif l4 > 20 and at <= stop:
        shape = _shape_by_options(data, begin, at, shape)
    return 4, proto, src, dst, sport, dport, flags, seq, ack, length, ttl, shape, l4


@kernel
def _shape_by_options(data: Bytes, begin: int, end: int, shape: int) -> int:
    """The shape of a packet with the IPv4 header in ``data[begin:end]``, which would be ``shape`` without options."""
    fault = fault_of_options(data, begin, end)
    if fault == 0:
        return shape
    return SOURCE_ROUTE if fault == ROUTED else BAD_OPTIONS


@kernel
def _read_ipv6(data: Bytes, begin: int, end: int) -> FieldsAndEnds:
    if end - begin < 40:
        return NOTHING
    payload, proto, ttl, src, dst = _ipv6_fields(data, begin)
    # A payload of 0 bytes that holds a hop-by-hop header: a jumbogram, all the data belongs to it.
    length = end - begin if payload == 0 and proto == HOP_BY_HOP else 40 + payload
    stop = min(end, begin + length)
    at = begin + 40
    in_fragment = False
    while is_extension(proto) and at + 8 <= stop:
        step = 8
        if proto == FRAGMENT_HEADER:
            offset = word(data, at + 2)
            if offset & 0xFFF8:
                return 6, data[at] + 0, src, dst, 0, 0, 0, 0, 0, length, ttl, FRAGMENT, 0
            in_fragment = in_fragment or offset & 1 == 1  # neither offset nor "more": whole after all
        else:
            step = 8 + data[at + 1] * 8
        proto = data[at] + 0
        at += step
    if is_extension(proto):  # the chain is cut: what would follow is not known
        return 6, proto, src, dst, 0, 0, 0, 0, 0, length, ttl, FRAGMENT if in_fragment else NO_PORTS, at - begin
    sport, dport, flags, seq, ack, shape = _read_transport(data, 6, proto, at, stop)
    if in_fragment:
        shape = FRAGMENT
    return 6, proto, src, dst, sport, dport, flags, seq, ack, length, ttl, shape, at - begin


@kernel
def is_extension(proto: int) -> bool:
    """Whether it is an IPv6 extension header that lbsim steps over."""
    return proto in (HOP_BY_HOP, ROUTING, FRAGMENT_HEADER, DESTINATION_OPTIONS)


@kernel
def _read_transport(data: Bytes, version: int, proto: int, at: int, end: int) -> tuple[int, int, int, int, int, int]:
    """(sport, dport, flags, seq, ack, shape) of the transport header in ``data[at:end]``."""
    least = _least_header(proto)
    if least == 0:
        shape = ICMP_ERROR if at < end and _is_icmp_error(version, proto, data[at]) else WHOLE
        return 0, 0, 0, 0, 0, shape
    if end - at < 4:
        return 0, 0, 0, 0, 0, NO_PORTS
    if end - at >= least and proto == TCP:
        sport, dport, seq, ack, flags = _tcp_fields(data, at)
        return sport, dport, flags, seq, ack, WHOLE
    if end - at >= least and proto == SCTP:
        return word(data, at), word(data, at + 2), _sctp_event(data, at + least, end), 0, 0, WHOLE
    return word(data, at), word(data, at + 2), 0, 0, 0, CUT_HEADER if end - at < least else WHOLE


@kernel
def _sctp_event(data: Bytes, at: int, end: int) -> int:
    """The event that the chunks in ``data[at:end]`` are, see ``engine.sctp_chunks``."""
    if end - at < 4:
        return event_of(-1, -1)
    second = at + (word(data, at + 2) + 3) // 4 * 4
    return event_of(data[at] + 0, data[second] + 0 if second > at and end - second >= 4 else -1)


@kernel
def _least_header(proto: int) -> int:
    """Bytes of the fixed header of a protocol with ports; 0 for other protocols."""
    if proto == TCP:
        return 20
    if proto == UDP:
        return 8
    return 12 if proto == SCTP else 0


@kernel
def _is_icmp_error(version: int, proto: int, kind: int) -> bool:
    """Whether it is an error that IPVS looks into (IPv4: unreachable, source quench, time exceeded)."""
    if version == 4:
        return proto == ICMP and (kind == 3 or kind == 4 or kind == 11)
    return proto == ICMPV6 and kind < 128


_IPV4 = Struct("!BxH2xHBB2xII").unpack_from
_IPV6 = Struct("!4xHBB12xI12xI").unpack_from
_TCP = Struct("!HHIIxB").unpack_from


@kernel
def _ipv4_fields(data: Bytes, at: int) -> tuple[int, int, int, int, int, int, int]:
    """First byte, length, word of the fragment, TTL, protocol, source and destination of a header."""
    if not COMPILED:
        return _IPV4(data, at)
    return (
        data[at] + 0, word(data, at + 2), word(data, at + 6), data[at + 8] + 0, data[at + 9] + 0,
        double_word(data, at + 12), double_word(data, at + 16),
    )  # fmt: skip


@kernel
def _ipv6_fields(data: Bytes, at: int) -> tuple[int, int, int, int, int]:
    """Payload length, next header, hop limit and the last 32 bits of source and destination of a header."""
    if not COMPILED:
        return _IPV6(data, at)
    return (
        word(data, at + 4),
        data[at + 6] + 0,
        data[at + 7] + 0,
        double_word(data, at + 20),
        double_word(data, at + 36),
    )


@kernel
def _tcp_fields(data: Bytes, at: int) -> tuple[int, int, int, int, int]:
    """Ports, sequence number, acknowledgement number and flags of a header."""
    if not COMPILED:
        sport, dport, seq, ack, flags = _TCP(data, at)
        return sport, dport, seq, ack, flags & 0x3F
    return (
        word(data, at), word(data, at + 2), double_word(data, at + 4), double_word(data, at + 8), data[at + 13] % 64
    )  # fmt: skip


@kernel
def word(data: Bytes, at: int) -> int:
    """The two bytes from ``at`` on as a number."""
    value: int = data[at] * 0x100 + data[at + 1]
    return value


@kernel
def double_word(data: Bytes, at: int) -> int:
    """The four bytes from ``at`` on as a number."""
    value: int = data[at] * 0x1000000 + data[at + 1] * 0x10000 + data[at + 2] * 0x100 + data[at + 3]
    return value
