"""Bytes for packets that exist only as columns or as single values: IP, then TCP or UDP, then zeros."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from lbsim.engine.records import TCP, UDP
from lbsim.errors import TraceError
from lbsim.model.config import Address
from lbsim.model.trace import Trace
from lbsim.packet import checksum

__all__ = ["build", "build_packet", "ip_packet"]

_DONT_FRAGMENT = 0x4000
_WINDOW = 65535


def build(trace: Trace, index: int) -> bytes:
    """The IP packet of row ``index``: the captured bytes if there are any, else made from the columns.

    A made packet has the row's length and TTL, the IPv4 id ``index + 1`` (its low 16 bits) and correct
    checksums. A REPLY comes from its virtual address, since its sender is not known yet.

    Raises
    ------
    TraceError : a row whose columns make no packet; the error carries ``index``.
    """
    row = {name: int(column[index]) for name, column in trace.columns.items()}
    if row["raw_at"] >= 0:
        return trace.raw[row["raw_at"] : row["raw_at"] + row["raw_len"]]
    try:
        return build_packet(
            src=trace.addresses[row["src"]],
            dst=trace.addresses[row["dst"]],
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
    """An IPv4 or IPv6 packet with correct checksums: TCP (window 65535, no options), UDP or another protocol.

    Parameters
    ----------
    src, dst : addresses of one family, also as text.
    proto : IP protocol number; of other protocols than TCP and UDP, ``payload`` is all there is.
    flags, seq, ack : TCP only.
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
    try:
        segment = _transport_header(proto, sport, dport, flags=flags, seq=seq, ack=ack)
        segment += payload
        room = _room(source.version, len(segment), length)
        segment = segment[:room].ljust(room, b"\0")
        _finish(segment, proto, source.packed, target.packed)
        return ip_packet(source.packed, target.packed, proto, segment, ttl=ttl, identification=identification)
    except struct.error as error:
        raise TraceError(f"a value does not fit its header field: {error}") from None


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
    if len(src) == 16:
        return struct.pack("!IHBB", 6 << 28 | tos << 20, len(content), proto, ttl) + src + dst + content
    fragment = _DONT_FRAGMENT if dont_fragment else 0
    size = 20 + len(content)
    header = bytearray(struct.pack("!BBHHHBBH", 0x45, tos, size, identification, fragment, ttl, proto, 0))
    header += src + dst
    header[10:12] = checksum.full(header).to_bytes(2, "big")
    return bytes(header + content)


def _pair(src: Address | str, dst: Address | str) -> tuple[Address, Address]:
    try:
        source, target = ip_address(src), ip_address(dst)
    except ValueError as error:
        raise TraceError(f"{error}; expected an address such as 198.51.100.1 or 2001:db8::1") from None
    if source.version != target.version:
        raise TraceError(f"no packet leads from {source} to {target}; expected addresses of one family")
    return source, target


def _room(version: int, needed: int, length: int | None) -> int:
    """The bytes behind the IP header in a packet of that length; without one, as many as are needed."""
    least, most = (20, 65535) if version == 4 else (40, 40 + 65535)
    if length is None:
        length = least + needed
    if not least <= length <= most:
        raise TraceError(f"an IPv{version} packet of {length} bytes cannot be; expected {least} to {most}")
    return length - least


def _transport_header(proto: int, sport: int, dport: int, *, flags: int, seq: int, ack: int) -> bytearray:
    """A TCP or UDP header with length and checksum still 0; nothing for other protocols."""
    if proto == TCP:
        return bytearray(struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 5 << 4, flags, _WINDOW, 0, 0))
    if proto == UDP:
        return bytearray(struct.pack("!HHHH", sport, dport, 0, 0))
    return bytearray()


def _finish(segment: bytearray, proto: int, src: bytes, dst: bytes) -> None:
    """Write length and checksum into a TCP or UDP header, as far as it was not cut off."""
    if proto == UDP and len(segment) >= 8:
        segment[4:6] = len(segment).to_bytes(2, "big")
        check = checksum.transport(src, dst, UDP, segment) or 0xFFFF
        segment[6:8] = check.to_bytes(2, "big")
    elif proto == TCP and len(segment) >= 18:
        segment[16:18] = checksum.transport(src, dst, TCP, segment).to_bytes(2, "big")
