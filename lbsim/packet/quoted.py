"""What an ICMP error quotes: the beginning of the packet that it is about, if need be of the one inside a tunnel's."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from lbsim.engine.lanes import kernel
from lbsim.engine.numbers import GRE, GUE, IPV4, UDP
from lbsim.packet.checksum import check_of, sum_of_addresses, sum_of_words
from lbsim.packet.headers import ICMPV6, Bytes, Headers, double_word, parse, word

__all__ = ["HasTunnel", "Quoted", "quoted", "wrong_icmp"]

ICMP_HEADER = 8
UDP_HEADER = 8
IPIP_PROTO = 4
GRE_PROTO = 47
IPV4_IN_GRE = 0x0800
DONT_FRAGMENT = 0x4000

#: Whether packets of this tunnel type (``engine.numbers``) go to this address and port (GRE: 0).
HasTunnel: TypeAlias = Callable[[bytes, int, int], bool]


class Quoted(NamedTuple):
    """The quoted packet, or of a tunnel's packet the one inside.

    Attributes
    ----------
    kind, code : of the ICMP message.
    at : where the packet begins in the message's IP packet.
    outer : of a tunnel's packet to whom it went, else empty.
    wrong : the checksum of the ICMP message is wrong.
    limit : the MTU that the error tells, IPv4's 3/4; else 0.
    may_split : it is IPv4 and may be fragmented.
    length : bytes that are there of it.
    """

    kind: int
    code: int
    packet: Headers
    at: int
    outer: bytes
    wrong: bool
    limit: int
    may_split: bool
    length: int


def quoted(data: bytes, h: Headers, has_tunnel: HasTunnel) -> Quoted | None:
    """The packet that the ICMP error ``data`` (its headers are ``h``) quotes; None if it cannot be read.

    Source: packet-path facts, section 14 (ip_vs_core.c ip_vs_in_icmp(), 6.1 and 6.12).
    """
    message = data[h.l4 : h.length]
    at = h.l4 + ICMP_HEADER
    packet = parse(data[at : h.length])
    if packet is None or packet.version != h.version:
        return None
    outer = b""
    inside = _inside(data[at : h.length], packet, has_tunnel) if h.version == 4 else 0
    if inside:
        outer = packet.dst
        at += inside
        packet = parse(data[at : h.length])
        if packet is None or packet.version != h.version:
            return None
    kind, code = message[0], message[1]
    wrong = wrong_icmp(data, 0, h.l4, min(h.length, len(data)), h.version)
    if h.version == 4:
        limit = double_word(message, 4) & 0xFFFF if (kind, code) == (3, 4) else 0
        may_split = not word(data, at + 6) & DONT_FRAGMENT
    else:
        limit, may_split = 0, False
    return Quoted(kind, code, packet, at, outer, wrong, limit, may_split, h.length - at)


@kernel
def wrong_icmp(raw: Bytes, begin: int, at: int, end: int, family: int) -> bool:
    """Whether the checksum of the ICMP message in ``raw[at:end]``, of the packet at ``begin``, is wrong."""
    total = sum_of_words(raw, at, end)
    if family != IPV4:
        total += sum_of_addresses(raw, begin, family) + ICMPV6 + (end - at)
    return check_of(total) != 0


def _inside(packet: bytes, h: Headers, has_tunnel: HasTunnel) -> int:
    """Where an IPv4 packet begins inside a tunnel's packet; 0 if it is none."""
    if h.l4 == 0:
        return 0
    begin = h.l4
    if h.proto == IPIP_PROTO:
        return begin
    if h.proto == UDP and len(packet) >= begin + UDP_HEADER + 4 and has_tunnel(h.dst, GUE, h.dport):
        begin += UDP_HEADER
        plain = packet[begin] & 0xE0 == 0 and packet[begin + 1] == IPIP_PROTO  # version 0, data
        return begin + 4 + (packet[begin] & 0x1F) * 4 if plain else 0
    if h.proto == GRE_PROTO and len(packet) >= begin + 4 and has_tunnel(h.dst, GRE, 0):
        flags, inner = word(packet, begin), word(packet, begin + 2)
        plain = flags & 0x7FFF == 0 and inner == IPV4_IN_GRE
        return begin + (8 if flags & 0x8000 else 4) if plain else 0
    return 0
