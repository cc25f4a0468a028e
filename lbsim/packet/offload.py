"""Checksum offload: a capture made on the sending host shows packets that its network card has yet to finish."""

from __future__ import annotations

from lbsim.engine.records import TCP, UDP, WHOLE
from lbsim.packet import checksum
from lbsim.packet.headers import parse

__all__ = ["with_checksum"]

_CHECKSUM_AT = {TCP: 16, UDP: 6}  # offset of the checksum in the transport header


def with_checksum(data: bytes) -> bytes:
    """The IP packet with the TCP or UDP checksum that the sender left to its network card.

    A packet with any other checksum comes back as it is, whether right or wrong; so do a fragment, a packet that
    was captured only in part, and bytes that are no IP packet. (A right checksum can equal what a host leaves to
    the card; computed anew, it is the same.)
    """
    headers = parse(data)
    if headers is None or headers.shape != WHOLE or headers.proto not in _CHECKSUM_AT or len(data) < headers.length:
        return data
    proto = headers.proto
    segment = bytearray(data[headers.l4 : headers.length])
    field = slice(_CHECKSUM_AT[proto], _CHECKSUM_AT[proto] + 2)
    ends = headers.src, headers.dst
    if int.from_bytes(segment[field], "big") != checksum.left_to_the_card(*ends, proto, len(segment)):
        return data
    segment[field] = b"\0\0"
    check = checksum.transport(*ends, proto, segment) or (0xFFFF if proto == UDP else 0)
    segment[field] = check.to_bytes(2, "big")
    return data[: headers.l4] + segment
