"""What leaves the director: a packet's bytes after a verdict's header changes.

Kernel counterparts: ip_vs_xmit.c (addresses, TTL), ip_vs_proto_tcp.c, ip_vs_proto_udp.c, ip_vs_proto_sctp.c (ports,
checksums). ICMP errors: with the packet that they quote.

:func:`rewrite_in_place` does it, for one packet and for millions of them: it runs in both lanes.
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel
from lbsim.engine.numbers import FRAGMENT, ICMP_ERROR, IPV4, SCTP, TCP, UDP
from lbsim.errors import TraceError
from lbsim.model.address import Address
from lbsim.model.verdict import Rewrite
from lbsim.packet.checksum import check_after, check_of, crc32c, sum_of_addresses, sum_of_words
from lbsim.packet.headers import ICMPV6, Bytes, Fields, fields_of, read_headers, word
from lbsim.packet.octets import Words, put_address, put_double_word, put_word, words_of

__all__ = ["SAME", "checksum_place", "rewrite", "rewrite_in_place"]

ICMP_HEADER = 8
SAME = -1  # in place of an address or a port: it stays as it is


def rewrite(data: bytes, change: Rewrite) -> bytes:
    """The packet with new addresses, ports and TTL, and with its checksums as the kernel leaves them.

    * The IP header checksum is computed anew.
    * TCP and UDP checksums are updated: a wrong one stays wrong by the same amount.
    * The CRC of SCTP does not cover addresses: it is computed anew if a port changes, else left alone.
    * A UDP checksum of 0 is filled in, if an address or port is given. It stays 0 where it cannot be known:
      in a fragment, and in a packet that was captured only in part.
    * In an ICMP error a new port that is not 0, and its address, are those of the quoted packet's other end; its
      header checksum and the error's own are computed anew. The quoted transport checksum stays.
    * Bytes behind the packet's end (Ethernet padding) are cut off.

    Of a packet that was captured only in part, what is there changes; bytes that are no IP packet come back
    as they are. The TTL does not go below 0.

    Raises
    ------
    TraceError : an address of ``change`` is of the other family than the packet.

    Source: packet-path facts, section 13.2 (ip_vs_xmit.c, ip_vs_proto_tcp.c, ip_vs_proto_udp.c; 6.1, 6.12).
    """
    h = fields_of(data)
    for address in (change.src, change.dst):
        if address is not None and h.version not in (0, address.version):
            raise TraceError(f"an IPv{h.version} packet cannot be rewritten to {address}")
    packet = bytearray(data)
    words: list[int] = []
    end = rewrite_in_place(
        packet,
        0,
        len(packet),
        h,
        words,
        _noted(change.src, words),
        SAME if change.sport is None else change.sport,
        _noted(change.dst, words),
        SAME if change.dport is None else change.dport,
        change.ttl_down,
    )
    return bytes(packet[:end])


def _noted(address: Address | None, words: list[int]) -> int:
    """The number of the address in ``words``, to which it is added."""
    if address is None:
        return SAME
    words += words_of(address)
    return len(words) // 4 - 1


@kernel
def rewrite_in_place(
    packet: Bytes,
    begin: int,
    end: int,
    h: Fields,
    words: Words,
    src: int,
    sport: int,
    dst: int,
    dport: int,
    ttl_down: int,
) -> int:
    """Where the packet in ``packet[begin:end]`` ends, after it was changed as :func:`rewrite` does.

    Parameters
    ----------
    h : what ``read_headers`` says of the packet.
    src, dst : numbers of addresses of ``words``, of the packet's family, or SAME.
    sport, dport : 0 to 65535 or SAME.
    """
    if h.version == 0:
        return end
    end = min(end, begin + h.length)
    before = sum_of_addresses(packet, begin, h.version)
    size = 4 if h.version == IPV4 else 16
    at = begin + (12 if h.version == IPV4 else 8)
    if src != SAME:
        put_address(packet, at, h.version, words, src)
    if dst != SAME:
        put_address(packet, at + size, h.version, words, dst)
    after = sum_of_addresses(packet, begin, h.version)
    if h.shape == ICMP_ERROR and h.l4 != 0:
        if sport > 0 or dport > 0:
            _rewrite_quoted(packet, begin, end, h, before, words, src, sport, dst, dport)
    elif src != SAME or sport != SAME or dst != SAME or dport != SAME:
        _rewrite_transport(packet, begin, end, h, before, after, sport, dport)
    ttl = max(h.ttl - ttl_down, 0)
    if h.version == IPV4:
        _finish_ipv4(packet, begin, end, h, ttl, before, after)
    else:
        packet[begin + 7] = ttl
    return end


@kernel
def _rewrite_quoted(
    packet: Bytes, begin: int, end: int, h: Fields, ends: int, words: Words, src: int, sport: int, dst: int, dport: int
) -> None:
    """Give the packet that an ICMP error quotes the new end as well: where the error goes to, the other came from.

    The checksum of the quoted transport header stays as it was; of AH and ESP only addresses change. ``ends`` is the
    sum over the error's addresses before.
    """
    icmp = begin + h.l4
    inner = icmp + ICMP_HEADER
    q = read_headers(packet, inner, end)
    has_ports = q.proto == TCP or q.proto == UDP or q.proto == SCTP
    if q.version != h.version or (has_ports and q.l4 == 0):
        return
    before = sum_of_words(packet, icmp, end) + (0 if h.version == IPV4 else ends)
    size = 4 if h.version == IPV4 else 16
    at = inner + (12 if h.version == IPV4 else 8)
    ports = inner + q.l4
    if dport > 0:
        put_address(packet, at, h.version, words, dst)
        if has_ports and ports + 2 <= end:
            put_word(packet, ports, dport)
    if sport > 0:
        put_address(packet, at + size, h.version, words, src)
        if has_ports and ports + 4 <= end:
            put_word(packet, ports + 2, sport)
    behind = inner + (packet[inner] & 15) * 4  # the quoted header of IPv4
    if h.version == IPV4 and behind <= end:
        put_word(packet, inner + 10, 0)
        put_word(packet, inner + 10, check_of(sum_of_words(packet, inner, behind)))
    _finish_icmp(packet, begin, icmp, end, h, before)


@kernel
def _finish_icmp(packet: Bytes, begin: int, icmp: int, end: int, h: Fields, before: int) -> None:
    """Write the checksum of an ICMP message; ``before`` is the sum over what it covers until then."""
    old = word(packet, icmp + 2)
    put_word(packet, icmp + 2, 0)
    total = sum_of_words(packet, icmp, end) + (0 if h.version == IPV4 else sum_of_addresses(packet, begin, h.version))
    if end < begin + h.length:  # captured only in part: all that can be done is to follow the changes
        check = check_after(old, before - old, total)
    elif h.version == IPV4:
        check = check_of(total)
    else:
        check = check_of(total + ICMPV6 + (end - icmp)) or 0xFFFF
    put_word(packet, icmp + 2, check)


@kernel
def _finish_ipv4(packet: Bytes, begin: int, end: int, h: Fields, ttl: int, before: int, after: int) -> None:
    """Write TTL and header checksum; ``before`` and ``after`` are sums over the addresses."""
    size = (packet[begin] & 15) * 4
    put_word(packet, begin + 8, ttl << 8 | h.proto)
    if begin + size <= end:
        total = word(packet, begin) + word(packet, begin + 2) + word(packet, begin + 4) + word(packet, begin + 6)
        total += (ttl << 8 | h.proto) + after
        if size > 20:
            total += sum_of_words(packet, begin + 20, begin + size)
        check = check_of(total)
    else:  # options were not captured: all that can be done is to follow the changes
        check = check_after(word(packet, begin + 10), before + (h.ttl << 8), after + (ttl << 8))
    put_word(packet, begin + 10, check)


@kernel
def _rewrite_transport(
    packet: Bytes, begin: int, end: int, h: Fields, before: int, after: int, sport: int, dport: int
) -> None:
    """Write ports and checksum of TCP, UDP or SCTP; ``before`` and ``after`` are sums over the addresses."""
    if h.proto == SCTP:
        _rewrite_sctp(packet, begin, end, h, sport, dport)
        return
    place = checksum_place(h.proto)
    l4 = begin + h.l4
    if h.l4 == 0 or place == 0 or end < l4 + 4:
        return
    if sport == SAME:
        sport = h.sport
    if dport == SAME:
        dport = h.dport
    put_double_word(packet, l4, sport << 16 | dport)
    if end < l4 + place + 2:
        return
    check = word(packet, l4 + place)
    if check != 0 or h.proto == TCP:
        check = check_after(check, before + h.sport + h.dport, after + sport + dport)
    elif h.shape != FRAGMENT and end == begin + h.length:
        check = check_of(after + UDP + (end - l4) + sum_of_words(packet, l4, end))
    else:
        return
    if check == 0 and h.proto == UDP:
        check = 0xFFFF
    put_word(packet, l4 + place, check)


@kernel
def _rewrite_sctp(packet: Bytes, begin: int, end: int, h: Fields, sport: int, dport: int) -> None:
    """Write ports and CRC of SCTP; in a fragment or a packet that was captured only in part, the CRC stays."""
    l4 = begin + h.l4
    if h.l4 == 0 or end < l4 + 12 or (sport in (SAME, h.sport) and dport in (SAME, h.dport)):
        return
    put_double_word(packet, l4, (h.sport if sport == SAME else sport) << 16 | (h.dport if dport == SAME else dport))
    if h.shape == FRAGMENT or end < begin + h.length:
        return
    crc = crc32c(packet, l4, end, l4 + 8)
    put_word(packet, l4 + 8, (crc & 0xFF) << 8 | (crc >> 8 & 0xFF))
    put_word(packet, l4 + 10, (crc >> 16 & 0xFF) << 8 | crc >> 24)


@kernel
def checksum_place(proto: int) -> int:
    """Where the checksum stands in the transport header; 0 for other protocols than TCP and UDP."""
    if proto == TCP:
        return 16
    return 6 if proto == UDP else 0
