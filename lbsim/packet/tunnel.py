"""Tunnels: the headers that are put in front of a packet on its way to a destination.

Left to chance by the kernel, and here 0 or of lbsim's own making: the IPv4 id of a packet that may be fragmented, and
the source port of GUE, which tells flows apart.

Kernel counterpart: ip_vs_xmit.c ip_vs_tunnel_xmit(), ip_vs_tunnel_xmit_v6(), ip_vs_gue_encap(), ip_vs_gre_encap().
"""

from __future__ import annotations

from typing import NamedTuple

from lbsim.engine.lanes import kernel
from lbsim.engine.numbers import FRAGMENT, GRE, GUE, IPV4, TUN_CSUM, UDP
from lbsim.model.address import Address
from lbsim.packet.build import DONT_FRAGMENT, header_size, put_ip_header
from lbsim.packet.checksum import check_after, check_of, sum_of_addresses, sum_of_words
from lbsim.packet.fragments import piece_of
from lbsim.packet.headers import Bytes, Headers, parse, read_headers, word
from lbsim.packet.octets import Words, put_double_word, put_word, words_of

__all__ = ["MOST_OVERHEAD", "Wrapping", "overhead", "put_tunnel", "unwrap", "without_chance", "wrap"]

MOST_OVERHEAD = 40 + 12
IPIP_PROTO = 4
IPV6_PROTO = 41
GRE_PROTO = 47
IPV4_IN_GRE = 0x0800
IPV6_IN_GRE = 0x86DD
FIRST_PORT = 32768  # of those that the kernel takes for sources
PORTS = 28232


class Wrapping(NamedTuple):
    """How packets for a destination are wrapped: type, port and flags of its tunnel as in ``engine.numbers``.

    ``keep_df`` is the sysctl pmtu_disc.
    """

    version: int  # of the outer header
    kind: int
    port: int
    flags: int
    keep_df: int


def wrap(data: bytes, w: Wrapping, src: Address, dst: Address) -> bytes:
    """The packet inside the headers of a tunnel from ``src`` to ``dst``; it is as it leaves, its TTL lowered.

    Source: packet-path facts, section 13.4 (ip_vs_xmit.c ip_vs_tunnel_xmit(), 6.1 and 6.12).
    """
    inner = overhead(w.version, w.kind, w.flags)
    packet = bytearray(inner) + data
    put_tunnel(packet, 0, inner, len(packet), w, words_of(src) + words_of(dst), 0, 1)
    return bytes(packet)


def unwrap(data: bytes) -> bytes | None:
    """The packet inside a tunnel's packet, as whoever is at its end takes it out; None: this is no tunnel's packet.

    It is told by the bytes alone: what is inside has to be an IP packet that ends where the tunnel's does.
    """
    headers = parse(data)
    return _inside(data, headers) if headers else None


def _inside(data: bytes, headers: Headers) -> bytes | None:
    at = _inner_at(data, headers) if headers.length == len(data) else 0
    inside = parse(data[at:]) if at else None
    return data[at:] if inside is not None and inside.length == len(data) - at else None


def without_chance(data: bytes, whole: bytes = b"") -> bytes:
    """A packet without what the kernel leaves to chance: 0 is the id of IPv6 fragments, and of a tunnel's packet the
    IPv4 id and the source port of GUE.

    Its checksums are right by as much as they were before. Any other packet stays as it is.

    Parameters
    ----------
    whole : of a fragment, what it is a part of: that says whether it is a tunnel's.
    """
    headers = parse(data)
    if headers is None:
        return data
    inside = unwrap(whole) if whole else _inside(data, headers)
    piece = piece_of(data) if headers.shape == FRAGMENT and headers.version != IPV4 else None
    if inside is None and piece is None:
        return data
    changed = bytearray(data)
    if piece is not None:
        put_double_word(changed, len(piece.headers) + 4, 0)
    if inside is None:
        return bytes(changed)
    if headers.version == IPV4:
        _zero(changed, 4, 10)
    if headers.proto == UDP and headers.l4:
        _zero(changed, headers.l4, headers.l4 + 6 if word(data, headers.l4 + 6) else 0)
    return bytes(changed)


def _zero(packet: bytearray, at: int, check: int) -> None:
    """Make a word 0, and a checksum that covers it fit; a checksum at 0 is none."""
    before = word(packet, at)
    put_word(packet, at, 0)
    if check:
        put_word(packet, check, check_after(word(packet, check), before, 0))


def _inner_at(data: bytes, h: Headers) -> int:
    """Where the packet inside begins, if there is one; 0: this cannot be a tunnel's packet."""
    at = h.l4
    if at and h.proto in (IPIP_PROTO, IPV6_PROTO):
        return at
    if at and h.proto == UDP and len(data) >= at + 12:
        plain = data[at + 8] & 0xE0 == 0 and data[at + 9] in (IPIP_PROTO, IPV6_PROTO)  # version 0, data
        return at + 12 + (data[at + 8] & 0x1F) * 4 if plain else 0
    if at and h.proto == GRE_PROTO and len(data) >= at + 4:
        plain = word(data, at) & 0x7FFF == 0 and word(data, at + 2) in (IPV4_IN_GRE, IPV6_IN_GRE)
        return at + (8 if data[at] & 0x80 else 4) if plain else 0
    return 0


@kernel
def overhead(version: int, kind: int, flags: int) -> int:
    """Bytes that a tunnel puts in front of a packet."""
    if kind == GUE:
        return header_size(version) + 12
    if kind == GRE:
        return header_size(version) + (8 if flags & TUN_CSUM else 4)
    return header_size(version)


@kernel
def put_tunnel(buffer: Bytes, begin: int, inner: int, end: int, w: Wrapping, words: Words, src: int, dst: int) -> None:
    """Write the headers of a tunnel into ``buffer[begin:inner]``, in front of the packet in ``buffer[inner:end]``.

    Parameters
    ----------
    src, dst : numbers of addresses of ``words``.
    """
    h = read_headers(buffer, inner, end)
    l4 = begin + header_size(w.version)
    if h.version == IPV4:
        tos = buffer[inner + 1] + 0
        fragment = word(buffer, inner + 6) & DONT_FRAGMENT if w.keep_df else 0
        proto = IPIP_PROTO
    else:
        tos = word(buffer, inner) // 16 % 256
        fragment = 0
        proto = IPV6_PROTO
    if tos % 4 == 3:  # "congestion experienced" stays inside
        tos -= 1
    outer = UDP if w.kind == GUE else GRE_PROTO if w.kind == GRE else proto
    put_ip_header(buffer, begin, w.version, words, src, dst, outer, end - l4, h.ttl, tos, 0, fragment)
    if w.kind == GUE:
        _put_gue(buffer, begin, l4, end, w, proto, _flow_port(buffer, inner, h.version, h.sport, h.dport))
    elif w.kind == GRE:
        _put_gre(buffer, l4, end, w, proto)


@kernel
def _flow_port(buffer: Bytes, inner: int, version: int, sport: int, dport: int) -> int:
    """A source port that all packets of a flow have."""
    return FIRST_PORT + (sum_of_addresses(buffer, inner, version) + sport + dport) % PORTS


@kernel
def _put_gue(buffer: Bytes, begin: int, l4: int, end: int, w: Wrapping, proto: int, sport: int) -> None:
    """Write UDP and GUE headers."""
    put_word(buffer, l4, sport)
    put_word(buffer, l4 + 2, w.port)
    put_word(buffer, l4 + 4, end - l4)
    put_word(buffer, l4 + 6, 0)
    put_word(buffer, l4 + 8, proto)
    put_word(buffer, l4 + 10, 0)
    if w.flags != 0:
        total = sum_of_addresses(buffer, begin, w.version) + UDP + (end - l4) + sum_of_words(buffer, l4, end)
        put_word(buffer, l4 + 6, check_of(total) or 0xFFFF)


@kernel
def _put_gre(buffer: Bytes, l4: int, end: int, w: Wrapping, proto: int) -> None:
    """Write a GRE header."""
    put_word(buffer, l4, 0x8000 if w.flags & TUN_CSUM else 0)
    put_word(buffer, l4 + 2, IPV4_IN_GRE if proto == IPIP_PROTO else IPV6_IN_GRE)
    if w.flags & TUN_CSUM:
        put_word(buffer, l4 + 4, 0)
        put_word(buffer, l4 + 6, 0)
        put_word(buffer, l4 + 4, check_of(sum_of_words(buffer, l4, end)))
