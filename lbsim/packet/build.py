"""Bytes for packets that exist only as columns or as single values: IP, then TCP, UDP or SCTP, then zeros.

The functions marked ``@kernel`` run in both lanes; they make one packet as they make millions (``packet.bulk``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from lbsim.engine.lanes import kernel
from lbsim.engine.numbers import IPV4, SCTP, TCP, UDP
from lbsim.engine.sctp_chunks import ABORT, COOKIE_ABORT, NO_CHUNK, chunk_of
from lbsim.errors import TraceError
from lbsim.model.address import Address
from lbsim.packet.checksum import check_of, crc32c, sum_of_addresses, sum_of_words
from lbsim.packet.headers import Bytes
from lbsim.packet.octets import Words, put_address, put_double_word, put_word, words_of

if TYPE_CHECKING:  # no numpy here: replays build and rewrite packets in a guest that has none
    from lbsim.model.trace import Trace

__all__ = [
    "DONT_FRAGMENT",
    "Segment",
    "build",
    "build_all",
    "build_packet",
    "fits",
    "header_size",
    "ip_packet",
    "length_fits",
    "put_ip_header",
    "put_transport",
    "transport_size",
]

DONT_FRAGMENT = 0x4000
WINDOW = 65535
COMMON = 12  # bytes of the header that all SCTP packets have


class Segment(NamedTuple):
    """What a transport header is made of; of other protocols than TCP, UDP and SCTP none is.

    ``flags`` is of SCTP the number of the event that its chunk is (``engine.sctp_chunks.EVENTS``).
    """

    proto: int
    sport: int
    dport: int
    flags: int
    seq: int
    ack: int


def build(trace: Trace, index: int) -> bytes:
    """The IP packet of row ``index``: the captured bytes if there are any, else made from the columns.

    A made packet has the row's length and TTL, the IPv4 id ``index + 1`` (its low 16 bits) and correct
    checksums. A REPLY comes from its virtual address, since its sender is not known yet.

    Raises
    ------
    TraceError : a row whose columns make no packet; the error carries ``index``.
    """
    row = {name: int(column[index]) for name, column in trace.columns.items()}
    return _built(row, index, trace.raw, trace.addresses)


def build_all(trace: Trace) -> Iterator[bytes]:
    """What :func:`build` makes of every row, one after the other."""
    columns = {name: column.tolist() for name, column in trace.columns.items()}
    addresses = list(trace.addresses)
    for index, values in enumerate(zip(*columns.values(), strict=True)):
        yield _built(dict(zip(columns, values, strict=True)), index, trace.raw, addresses)


def _built(row: Mapping[str, int], index: int, raw: bytes, addresses: Sequence[Address]) -> bytes:
    """The packet of one row of a trace, with what else is needed of that."""
    if row["raw_at"] >= 0:
        return bytes(raw[row["raw_at"] : row["raw_at"] + row["raw_len"]])
    try:
        return build_packet(
            src=addresses[row["src"]],
            dst=addresses[row["dst"]],
            identification=(index + 1) & 0xFFFF,
            proto=row["proto"],
            sport=row["sport"],
            dport=row["dport"],
            flags=row["flags"],
            seq=row["seq"],
            ack=row["ack"],
            length=row["length"],
            ttl=row["ttl"],
        )
    except TraceError as error:
        raise TraceError(error.message, packet=index) from None


def build_packet(
    *,
    src: Address | str,
    dst: Address | str,
    proto: int = TCP,
    sport: int = 0,
    dport: int = 0,
    flags: int = 0,
    seq: int = 0,
    ack: int = 0,
    payload: bytes = b"",
    length: int | None = None,
    ttl: int = 64,
    identification: int = 0,
) -> bytes:
    """An IPv4 or IPv6 packet with correct checksums: TCP (window 65535, no options), UDP, SCTP or another
    protocol.

    Parameters
    ----------
    src, dst : addresses of one family, also as text.
    proto : IP protocol number; of other protocols than TCP, UDP and SCTP, ``payload`` is all there is.
    flags : TCP; SCTP: which event its one chunk is (``engine.sctp_chunks.EVENTS``), of a verification tag of 0.
    seq, ack : TCP only.
    payload : what follows the transport header.
    length : bytes of the whole packet; zeros are added behind the payload up to it. One that is too small for
        headers and payload cuts the packet off, also within the transport header. None: as long as needed.
    ttl : TTL or hop limit.
    identification : IPv4 only; "don't fragment" is always set.

    Raises
    ------
    TraceError : the addresses make no pair, the length fits no IP packet, or a value not its field.
    """
    source, target = _pair(src, dst)
    version = source.version
    fields = Segment(proto, sport, dport, flags, seq, ack)
    if not fits(fields, ttl):
        raise TraceError(f"a value does not fit its header field: {_listed(fields)}, ttl {ttl}")
    l4 = header_size(version)
    begin = l4 + transport_size(proto)  # of the payload
    if length is None:
        length = begin + len(payload)
    if not length_fits(version, length):
        raise TraceError(f"an IPv{version} packet of {length} bytes cannot be; expected {l4} to {longest(version)}")
    packet = bytearray(max(length, begin))
    packet[begin:length] = payload[: max(length - begin, 0)].ljust(length - begin, b"\0")
    words = words_of(source) + words_of(target)
    put_ip_header(packet, 0, version, words, 0, 1, proto, length - l4, ttl, 0, identification, DONT_FRAGMENT)
    put_transport(packet, 0, l4, length, begin + len(payload), version, fields)
    return bytes(packet[:length])


def ip_packet(
    src: bytes,
    dst: bytes,
    proto: int,
    content: bytes | bytearray,
    *,
    ttl: int = 64,
    tos: int = 0,
    identification: int = 0,
    dont_fragment: bool = True,
) -> bytes:
    """``content`` behind an IP header without options; 4-byte addresses make it IPv4, 16-byte ones IPv6.

    ``tos`` is IPv6's traffic class, too; ``identification`` and ``dont_fragment`` are IPv4 only. The flow
    label is 0.
    """
    source, target = ip_address(src), ip_address(dst)
    version = source.version
    header = bytearray(header_size(version))
    words = words_of(source) + words_of(target)
    fragment = DONT_FRAGMENT if dont_fragment else 0
    put_ip_header(header, 0, version, words, 0, 1, proto, len(content), ttl, tos, identification, fragment)
    return bytes(header + content)


def _listed(fields: Segment) -> str:
    return ", ".join(f"{name} {value}" for name, value in fields._asdict().items())


def _pair(src: Address | str, dst: Address | str) -> tuple[Address, Address]:
    try:
        source, target = (ip_address(end) if isinstance(end, str) else end for end in (src, dst))
    except ValueError as error:
        raise TraceError(f"{error}; expected an address such as 198.51.100.1 or 2001:db8::1") from None
    if source.version != target.version:
        raise TraceError(f"no packet leads from {source} to {target}; expected addresses of one family")
    return source, target


@kernel
def header_size(version: int) -> int:
    """Bytes of an IP header without options."""
    return 20 if version == IPV4 else 40


@kernel
def transport_size(proto: int) -> int:
    """Bytes of the transport header that is made, of SCTP with that of a chunk; 0 for protocols of which none is."""
    if proto == TCP:
        return 20
    if proto == SCTP:
        return COMMON + 4
    return 8 if proto == UDP else 0


@kernel
def longest(version: int) -> int:
    """Bytes of the longest IP packet."""
    return 65535 if version == IPV4 else 40 + 65535


@kernel
def length_fits(version: int, length: int) -> bool:
    """Whether there are IP packets of that many bytes with the header that is made."""
    return header_size(version) <= length <= longest(version)


@kernel
def fits(s: Segment, ttl: int) -> bool:
    """Whether every value fits its header field; what the protocol has no field for may be anything."""
    if not (0 <= s.proto <= 0xFF and 0 <= ttl <= 0xFF):
        return False
    if s.proto == TCP and not (0 <= s.flags <= 0xFF and 0 <= s.seq <= 0xFFFFFFFF and 0 <= s.ack <= 0xFFFFFFFF):
        return False
    return transport_size(s.proto) == 0 or (0 <= s.sport <= 0xFFFF and 0 <= s.dport <= 0xFFFF)


@kernel
def put_ip_header(
    packet: Bytes,
    at: int,
    version: int,
    words: Words,
    src: int,
    dst: int,
    proto: int,
    content: int,
    ttl: int,
    tos: int,
    identification: int,
    fragment: int,
) -> None:
    """Write an IP header without options in front of ``content`` bytes.

    Parameters
    ----------
    src, dst : numbers of addresses of ``words``.
    tos : IPv6: the traffic class.
    identification, fragment : IPv4 only.
    """
    if version == IPV4:
        put_word(packet, at, 0x4500 | tos)
        put_word(packet, at + 2, 20 + content)
        put_word(packet, at + 4, identification)
        put_word(packet, at + 6, fragment)
        put_word(packet, at + 8, ttl << 8 | proto)
        put_word(packet, at + 10, 0)
        put_address(packet, at + 12, version, words, src)
        put_address(packet, at + 16, version, words, dst)
        put_word(packet, at + 10, check_of(sum_of_words(packet, at, at + 20)))
    else:
        put_double_word(packet, at, 6 << 28 | tos << 20)
        put_word(packet, at + 4, content)
        put_word(packet, at + 6, proto << 8 | ttl)
        put_address(packet, at + 8, version, words, src)
        put_address(packet, at + 24, version, words, dst)


@kernel
def put_transport(packet: Bytes, begin: int, l4: int, end: int, filled: int, version: int, s: Segment) -> None:
    """Write a TCP, UDP or SCTP header at ``l4`` into the packet from ``begin`` to ``end``.

    IP header and payload are there: the checksum covers them. The whole header is written even where the packet ends
    within it. A length or checksum that would be cut is 0.

    Parameters
    ----------
    filled : where the payload's zeros begin; nothing behind is looked at.
    """
    total = sum_of_addresses(packet, begin, version) + s.proto + (end - l4) + s.sport + s.dport
    if s.proto == TCP:
        put_double_word(packet, l4, s.sport << 16 | s.dport)
        put_double_word(packet, l4 + 4, s.seq)
        put_double_word(packet, l4 + 8, s.ack)
        put_double_word(packet, l4 + 12, 5 << 28 | s.flags << 16 | WINDOW)
        put_double_word(packet, l4 + 16, 0)
        if end >= l4 + 18:
            put_word(packet, l4 + 16, check_of(total + sum_of_words(packet, l4 + 4, min(end, filled))))
    elif s.proto == UDP:
        put_double_word(packet, l4, s.sport << 16 | s.dport)
        put_double_word(packet, l4 + 4, 0)
        if end >= l4 + 8:
            put_word(packet, l4 + 4, end - l4)
            put_word(packet, l4 + 6, check_of(total + sum_of_words(packet, l4 + 4, min(end, filled))) or 0xFFFF)
    elif s.proto == SCTP:
        _put_sctp(packet, l4, end, s)


@kernel
def _put_sctp(packet: Bytes, l4: int, end: int, s: Segment) -> None:
    """Write SCTP's common header and that of one chunk, which has all that follows.

    The event "ABORT behind a cookie" has a chunk of four bytes more in front, if there is room.
    """
    put_double_word(packet, l4, s.sport << 16 | s.dport)
    put_double_word(packet, l4 + 4, 0)
    put_double_word(packet, l4 + 8, 0)
    at = l4 + COMMON
    put_double_word(packet, at, 0)
    if s.flags != NO_CHUNK and end >= at + 4:
        put_word(packet, at, chunk_of(s.flags) << 8)
        put_word(packet, at + 2, end - at)
        if s.flags == COOKIE_ABORT and end >= at + 8:
            put_word(packet, at + 2, 4)
            put_word(packet, at + 4, chunk_of(ABORT) << 8)
            put_word(packet, at + 6, end - at - 4)
    if end >= at:
        crc = crc32c(packet, l4, end, l4 + 8)
        put_word(packet, l4 + 8, (crc & 0xFF) << 8 | (crc >> 8 & 0xFF))
        put_word(packet, l4 + 10, (crc >> 16 & 0xFF) << 8 | crc >> 24)
