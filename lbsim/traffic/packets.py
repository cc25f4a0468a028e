"""Scapy packets at the edges: in as bytes, out as packets. The only module of lbsim that imports scapy.

Scapy is loaded by the first call, not by the import of this module. Its packets are Any to the type checker.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, TypeAlias

from lbsim.errors import TraceError
from lbsim.model.verdict import Rewrite
from lbsim.packet.headers import Headers, parse
from lbsim.packet.rewrite import rewrite

__all__ = ["ScapyPacket", "from_bytes", "rewrite_packet", "to_bytes"]

ScapyPacket: TypeAlias = Any


def to_bytes(packet: ScapyPacket) -> bytes:
    """The bytes of the outermost IPv4 or IPv6 packet in ``packet``, from the IP header to the packet's end.

    What lies in front (Ethernet, VLAN tags) and behind (padding) is left out. Lengths and checksums that are
    not set are computed, the ones that are set stay, also wrong ones.

    Raises
    ------
    TraceError : no scapy packet, none with an IP layer, or one whose fields make no bytes.
    """
    return _built(_ip_layer(packet))


def from_bytes(data: bytes) -> ScapyPacket:
    """The scapy packet, ``IP`` or ``IPv6``, that the bytes of an IP packet spell.

    Raises
    ------
    TraceError : the bytes are no IP packet.
    """
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6

    headers = parse(data)
    if headers is None:
        raise TraceError("no IP packet; expected bytes that begin with its header", text=data[:20].hex())
    return IP(data) if headers.version == 4 else IPv6(data)


def rewrite_packet(packet: ScapyPacket, change: Rewrite) -> ScapyPacket:
    """A copy of ``packet`` with new addresses, ports, TTL and checksums; its layers and payload are kept.

    The checksums are those of :func:`lbsim.packet.rewrite.rewrite`: a wrong TCP or UDP checksum stays wrong
    by the same amount, a UDP checksum of 0 is filled in. ``to_bytes`` of the copy gives what ``rewrite``
    makes of ``to_bytes(packet)``. Where the layers do not spell out the transport header (it is there as
    Raw), the IP packet is dissected anew.

    Raises
    ------
    TraceError : as :func:`to_bytes`; or an address of ``change`` is of the other family than the packet.
    """
    after = rewrite(to_bytes(packet), change)
    changed = packet.copy()
    layer = _ip_layer(changed)
    headers = parse(after)
    if headers is not None:
        _set_fields(layer, headers, after)
    if _built(layer) == after:
        return changed
    if layer is changed:
        return from_bytes(after)
    below = layer.underlayer
    below.remove_payload()
    below.add_payload(from_bytes(after))
    return changed


def _ip_layer(packet: ScapyPacket) -> ScapyPacket:
    """The outermost layer that is IPv4 or IPv6."""
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6
    from scapy.packet import Packet

    if not isinstance(packet, Packet):
        raise TraceError(f"{type(packet).__name__} is no packet; expected a scapy packet with an IP layer")
    layer: Any = packet
    while layer:  # the end of the layers is an empty payload
        if isinstance(layer, IP | IPv6):
            return layer
        layer = layer.payload
    raise TraceError("a packet without IP; expected a scapy packet with an IP or IPv6 layer", text=packet.summary())


def _built(layer: ScapyPacket) -> bytes:
    try:
        data = bytes(layer)
    except Exception as error:  # scapy lets through whatever its fields raise
        raise TraceError(f"scapy cannot build this packet: {error}") from error
    headers = parse(data)
    return data if headers is None else data[: headers.length]


def _set_fields(layer: ScapyPacket, headers: Headers, data: bytes) -> None:
    """Copy what :func:`rewrite` may have changed from the bytes into scapy's fields."""
    from scapy.layers.inet import TCP, UDP

    layer.src, layer.dst = str(ip_address(headers.src)), str(ip_address(headers.dst))
    if headers.version == 4:
        layer.ttl, layer.chksum = headers.ttl, int.from_bytes(data[10:12], "big")
    else:
        layer.hlim = headers.ttl
    kind, offset = {6: (TCP, 16), 17: (UDP, 6)}.get(headers.proto, (None, 0))
    transport = kind and layer.getlayer(kind)
    if transport:
        at = headers.l4 + offset
        transport.sport, transport.dport = headers.sport, headers.dport
        transport.chksum = int.from_bytes(data[at : at + 2], "big")
