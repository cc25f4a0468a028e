"""The internet checksum: in full, and updated for changed fields.

Both rest on one fact: the ones' complement sum of 16-bit words is their plain sum modulo 0xFFFF. So data of
any length is one big number and one remainder. The remainder cannot tell 0 from 0xFFFF, the sum can: it is 0
only if every word is 0.

Why both ways agree: computed in full, the checksum 0xFFFF would need a sum of 0, so addresses, protocol and
all else of zeros, which no packet has; updated, it cannot come out at all. Both give 0 to 0xFFFE, and within
that range the remainder decides. UDP then writes 0xFFFF for 0, because 0 there means "no checksum".
"""

from __future__ import annotations

import struct

__all__ = ["full", "left_to_the_card", "transport", "update"]


def full(data: bytes | bytearray | memoryview) -> int:
    """The checksum of ``data`` (0 to 0xFFFF), as it is written into a header whose checksum field was 0.

    Data of odd length counts as if a zero byte followed.
    """
    number = int.from_bytes(data, "big") << (8 * (len(data) % 2))
    if number == 0:
        return 0xFFFF
    return 0xFFFF - (number % 0xFFFF or 0xFFFF)


def transport(src: bytes, dst: bytes, proto: int, segment: bytes | bytearray | memoryview) -> int:
    """The checksum of a TCP, UDP or ICMPv6 segment with its pseudo header, computed in full.

    The checksum field of ``segment`` must be 0 (with a correct checksum in it, the answer is 0). That UDP
    writes 0xFFFF for 0 is left to the caller.
    """
    return full(_pseudo_header(src, dst, proto, len(segment)) + segment)


def left_to_the_card(src: bytes, dst: bytes, proto: int, length: int) -> int:
    """What a host writes as checksum of a segment of ``length`` bytes if its network card is to compute it.

    It is the sum of the pseudo header, not complemented. Captures made on the sending host show it (checksum
    offload).
    """
    return 0xFFFF - full(_pseudo_header(src, dst, proto, length))


def _pseudo_header(src: bytes, dst: bytes, proto: int, length: int) -> bytes:
    return src + dst + struct.pack("!II", length, proto)


def update(check: int, old: bytes | bytearray, new: bytes | bytearray) -> int:
    """The checksum after ``old`` became ``new`` in the data that it covers, without looking at the rest.

    ``old`` and ``new`` are of equal, even length. A checksum that was wrong stays wrong by the same amount.
    The answer is 0 to 0xFFFE; a given 0xFFFF comes out as 0 if nothing changed.

    Source: packet-path facts, section 13.2 (ip_vs_proto_tcp.c, ip_vs_proto_udp.c, 6.1 and 6.12).
    """
    total = (0xFFFF - check) - int.from_bytes(old, "big") + int.from_bytes(new, "big")
    return 0xFFFF - (total % 0xFFFF or 0xFFFF)
