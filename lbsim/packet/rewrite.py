"""What leaves the director: a packet's bytes after a verdict's header changes.

Kernel counterparts: ip_vs_xmit.c (addresses, TTL), ip_vs_proto_tcp.c, ip_vs_proto_udp.c (ports, checksums).
Not here: SCTP (its CRC covers the ports), and ICMP errors, whose quoted packet would have to change too; of
both only the addresses change.
"""

from __future__ import annotations

from lbsim.engine.records import FRAGMENT, TCP, UDP
from lbsim.errors import TraceError
from lbsim.model.config import Address
from lbsim.model.verdict import Rewrite
from lbsim.packet import checksum
from lbsim.packet.headers import Headers, parse

__all__ = ["rewrite"]

_CHECKSUM_AT = {TCP: 16, UDP: 6}  # offset of the checksum in the transport header


def rewrite(data: bytes, change: Rewrite) -> bytes:
    """The packet with new addresses, ports and TTL, and with its checksums as the kernel leaves them.

    * The IP header checksum is computed anew.
    * TCP and UDP checksums are updated: a wrong one stays wrong by the same amount.
    * A UDP checksum of 0 is filled in, if an address or port is given. It stays 0 where it cannot be known:
      in a fragment, and in a packet that was captured only in part.
    * Bytes behind the packet's end (Ethernet padding) are cut off.

    Of a packet that was captured only in part, what is there changes; bytes that are no IP packet come back
    as they are. The TTL does not go below 0.

    Raises
    ------
    TraceError : an address of ``change`` is of the other family than the packet.

    Source: packet-path facts, section 13.2 (ip_vs_xmit.c, ip_vs_proto_tcp.c, ip_vs_proto_udp.c; 6.1, 6.12).
    """
    headers = parse(data)
    if headers is None:
        return bytes(data)
    packet = bytearray(data[: headers.length])
    src = _packed(change.src, headers.version) or headers.src
    dst = _packed(change.dst, headers.version) or headers.dst
    if change != Rewrite(ttl_down=change.ttl_down):
        _rewrite_transport(packet, headers, change, src, dst)
    ttl = max(headers.ttl - change.ttl_down, 0)
    if headers.version == 4:
        _rewrite_ipv4(packet, ttl, src, dst)
    else:
        packet[7] = ttl
        packet[8:40] = src + dst
    return bytes(packet)


def _rewrite_ipv4(packet: bytearray, ttl: int, src: bytes, dst: bytes) -> None:
    size = (packet[0] & 15) * 4
    old = bytes(packet[8:10] + packet[12:20])
    packet[8] = ttl
    packet[12:20] = src + dst
    if size <= len(packet):
        packet[10:12] = b"\0\0"
        check = checksum.full(packet[:size])
    else:  # options were not captured: all that can be done is to follow the changes
        check = checksum.update(int.from_bytes(packet[10:12], "big"), old, packet[8:10] + packet[12:20])
    packet[10:12] = check.to_bytes(2, "big")


def _rewrite_transport(packet: bytearray, headers: Headers, change: Rewrite, src: bytes, dst: bytes) -> None:
    l4 = headers.l4
    if l4 == 0 or headers.proto not in _CHECKSUM_AT or len(packet) < l4 + 4:
        return
    old_ports = bytes(packet[l4 : l4 + 4])
    sport = headers.sport if change.sport is None else change.sport
    dport = headers.dport if change.dport is None else change.dport
    packet[l4 : l4 + 4] = sport.to_bytes(2, "big") + dport.to_bytes(2, "big")

    at = l4 + _CHECKSUM_AT[headers.proto]
    field = packet[at : at + 2]
    if len(field) < 2:
        return
    check = int.from_bytes(field, "big")
    if check or headers.proto == TCP:
        old = headers.src + headers.dst + old_ports
        check = checksum.update(check, old, src + dst + packet[l4 : l4 + 4])
    elif headers.shape != FRAGMENT and len(packet) == headers.length:
        check = checksum.transport(src, dst, UDP, packet[l4:])
    else:
        return
    if check == 0 and headers.proto == UDP:
        check = 0xFFFF
    packet[at : at + 2] = check.to_bytes(2, "big")


def _packed(address: Address | None, version: int) -> bytes | None:
    if address is None:
        return None
    if address.version != version:
        raise TraceError(f"an IPv{version} packet cannot be rewritten to {address}")
    return address.packed
