"""What the headers of an IP packet say: :func:`parse`, the only place where header bytes are taken apart.

Captures of a hundred thousand packets pass through here, so it is one struct call per header and no object
but the answer. Whatever the bytes are, nothing raises.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lbsim.engine.records import CUT_HEADER, FRAGMENT, ICMP_ERROR, NO_PORTS, TCP, UDP, WHOLE

__all__ = ["ICMP", "ICMPV6", "SCTP", "Headers", "parse"]

ICMP = 1
ICMPV6 = 58
SCTP = 132

_HOP_BY_HOP = 0
_FRAGMENT_HEADER = 44
_EXTENSIONS = frozenset({_HOP_BY_HOP, 43, _FRAGMENT_HEADER, 60})  # 43: routing, 60: destination options
_LEAST_HEADER = {TCP: 20, UDP: 8, SCTP: 12}  # protocols with ports -> bytes of their fixed header
_ICMP_ERRORS = frozenset({3, 4, 11})  # unreachable, source quench, time exceeded: those that IPVS looks into

_IPV4 = struct.Struct("!BxH2xHBB2x4s4s").unpack_from
_IPV6 = struct.Struct("!4xHBB16s16s").unpack_from
_PORTS = struct.Struct("!HH").unpack_from
_TCP = struct.Struct("!HHIIxB").unpack_from


@dataclass(slots=True)
class Headers:
    """The header fields of one packet; addresses as network bytes, numbers as Python ints.

    Attributes
    ----------
    version : 4 or 6.
    src, dst : 4 or 16 bytes.
    proto : IP protocol number of the transport header, behind the IPv6 extension headers.
    sport, dport : 0 if the protocol has none or they cannot be read.
    flags, seq, ack : of a complete TCP header (flags FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32), else 0.
    length : bytes of the whole IP packet as its header gives them, however many were captured.
    ttl : TTL or hop limit.
    shape : ``engine.records``: WHOLE, CUT_HEADER, NO_PORTS, FRAGMENT, ICMP_ERROR.
    l4 : where the transport header begins; 0 in a fragment that does not begin with one.
    """

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


def parse(data: bytes | memoryview) -> Headers | None:
    """The headers of the IP packet that begins at ``data[0]``; None if it is not one.

    Bytes behind the packet's end (Ethernet padding) are not looked at; of a packet that was captured only in
    part, what is there decides the shape.
    """
    if not data:
        return None
    version = data[0] >> 4
    if version == 4:
        return _parse_ipv4(data)
    if version == 6:
        return _parse_ipv6(data)
    return None


def _parse_ipv4(data: bytes | memoryview) -> Headers | None:
    if len(data) < 20:
        return None
    first, length, fragment, ttl, proto, src, dst = _IPV4(data)
    l4 = (first & 15) * 4
    # Cards that segment by themselves let hosts capture packets with length 0: all the data belongs to them.
    length = length or len(data)
    if l4 < 20 or length < l4:
        return None
    headers = Headers(4, src, dst, proto, 0, 0, 0, 0, 0, length, ttl, WHOLE, l4)
    if fragment & 0x1FFF:  # not the first fragment: no transport header
        headers.shape = FRAGMENT
        headers.l4 = 0
        return headers
    _read_transport(headers, data, min(length, len(data)))
    if fragment & 0x2000:  # more fragments follow
        headers.shape = FRAGMENT
    return headers


def _parse_ipv6(data: bytes | memoryview) -> Headers | None:
    if len(data) < 40:
        return None
    payload, proto, hop_limit, src, dst = _IPV6(data)
    # A payload of 0 bytes that holds a hop-by-hop header: a jumbogram, all the data belongs to it.
    length = len(data) if payload == 0 and proto == _HOP_BY_HOP else 40 + payload
    end = min(length, len(data))
    at = 40
    in_fragment = False
    while proto in _EXTENSIONS and at + 8 <= end:
        step = 8
        if proto == _FRAGMENT_HEADER:
            word = data[at + 2] << 8 | data[at + 3]
            in_fragment = in_fragment or word & 0xFFF9 != 0  # neither offset nor "more": whole after all
            if word & 0xFFF8:
                return Headers(6, src, dst, data[at], 0, 0, 0, 0, 0, length, hop_limit, FRAGMENT, 0)
        else:
            step = 8 + data[at + 1] * 8
        proto = data[at]
        at += step
    headers = Headers(6, src, dst, proto, 0, 0, 0, 0, 0, length, hop_limit, WHOLE, at)
    if proto in _EXTENSIONS:
        headers.shape = NO_PORTS  # the chain is cut: what would follow is not known
    else:
        _read_transport(headers, data, end)
    if in_fragment:
        headers.shape = FRAGMENT
    return headers


def _read_transport(headers: Headers, data: bytes | memoryview, end: int) -> None:
    """Fill in ports, TCP fields and shape from the bytes between ``headers.l4`` and ``end``."""
    proto, at = headers.proto, headers.l4
    least = _LEAST_HEADER.get(proto)
    if least is None:
        if at < end and _is_icmp_error(headers.version, proto, data[at]):
            headers.shape = ICMP_ERROR
    elif end - at < 4:
        headers.shape = NO_PORTS
    elif end - at < least:
        headers.sport, headers.dport = _PORTS(data, at)
        headers.shape = CUT_HEADER
    elif proto == TCP:
        headers.sport, headers.dport, headers.seq, headers.ack, flags = _TCP(data, at)
        headers.flags = flags & 0x3F
    else:
        headers.sport, headers.dport = _PORTS(data, at)


def _is_icmp_error(version: int, proto: int, kind: int) -> bool:
    if version == 4:
        return proto == ICMP and kind in _ICMP_ERRORS
    return proto == ICMPV6 and kind < 128
