"""The internet checksum: in full, and updated for changed fields.

Both rest on one fact: the ones' complement sum of 16-bit words is their plain sum modulo 0xFFFF. The remainder cannot
tell 0 from 0xFFFF, the sum can: it is 0 only if every word is 0.

Why both ways agree: computed in full, the checksum 0xFFFF would need a sum of 0, so addresses, protocol and all else
of zeros, which no packet has; updated, it cannot come out at all. Both give 0 to 0xFFFE, and within that range the
remainder decides. UDP then writes 0xFFFF for 0, because 0 there means "no checksum".

The functions marked ``@kernel`` work on sums and run in both lanes; the others are the same for bytes.
"""

from __future__ import annotations

from struct import Struct, unpack_from

from lbsim.engine.lanes import COMPILED, kernel
from lbsim.engine.numbers import IPV4
from lbsim.packet.headers import Bytes, word

__all__ = ["check_after", "check_of", "full", "sum_of_addresses", "sum_of_words", "transport"]

_EIGHT_BYTES = Struct("!4H").unpack_from
_THIRTY_TWO_BYTES = Struct("!16H").unpack_from


@kernel
def sum_of_words(data: Bytes, begin: int, end: int) -> int:
    """The plain sum of the 16-bit words in ``data[begin:end]``; an odd byte counts as if a zero byte followed."""
    total = 0
    if not COMPILED:
        total = sum(unpack_from(f"!{max(end - begin, 0) // 2}H", data, begin))
    else:
        for at in range(begin, end - 1, 2):
            total += (data[at] & 0xFF) << 8 | data[at + 1] & 0xFF
    if (end - begin) & 1:
        total += (data[end - 1] & 0xFF) << 8
    return total


@kernel
def check_of(total: int) -> int:
    """The checksum (0 to 0xFFFF) of data with this sum of words, as written into a header whose own was 0 till then."""
    if total == 0:
        return 0xFFFF
    return 0xFFFE - (total - 1) % 0xFFFF


@kernel
def check_after(check: int, before: int, after: int) -> int:
    """The checksum after the sum of some words that it covers went from ``before`` to ``after``.

    A checksum that was wrong stays wrong by the same amount. The answer is 0 to 0xFFFE; a given 0xFFFF comes out as 0
    if nothing changed.

    Source: packet-path facts, section 13.2 (ip_vs_proto_tcp.c, ip_vs_proto_udp.c, 6.1 and 6.12).
    """
    return check_of((0xFFFF - check) + (0xFFFF - before % 0xFFFF) + after)


@kernel
def sum_of_addresses(packet: Bytes, begin: int, version: int) -> int:
    """The sum of words of both addresses of the IP packet that begins at ``begin``."""
    if not COMPILED:
        begin, words = (begin + 12, _EIGHT_BYTES) if version == IPV4 else (begin + 8, _THIRTY_TWO_BYTES)
        return sum(words(packet, begin))
    if version == IPV4:  # no loop: this is most of what is summed up for most packets
        src = word(packet, begin + 12) + word(packet, begin + 14)
        return src + word(packet, begin + 16) + word(packet, begin + 18)
    return sum_of_words(packet, begin + 8, begin + 40)


@kernel
def crc32c(data: Bytes, begin: int, end: int, hole: int) -> int:
    """SCTP's checksum over ``data[begin:end]``, the four bytes from ``hole`` on taken as zeros (RFC 9260, appendix A).

    Its bytes stand in the header with the lowest one first.
    """
    crc = 0xFFFFFFFF
    for at in range(begin, end):
        if at < hole or at >= hole + 4:
            crc ^= data[at] + 0
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 != 0 else 0)
    return crc ^ 0xFFFFFFFF


def full(data: bytes | bytearray | memoryview) -> int:
    """The checksum of ``data`` (0 to 0xFFFF), as it is written into a header whose checksum field was 0.

    Data of odd length counts as if a zero byte followed.
    """
    return check_of(sum_of_words(data, 0, len(data)))


def transport(src: bytes, dst: bytes, proto: int, segment: bytes | bytearray | memoryview) -> int:
    """The checksum of a TCP, UDP or ICMPv6 segment with its pseudo header, computed in full.

    The checksum field of ``segment`` must be 0 (with a correct checksum in it, the answer is 0). That UDP
    writes 0xFFFF for 0 is left to the caller.
    """
    ends = src + dst
    total = sum_of_words(ends, 0, len(ends)) + proto + len(segment) + sum_of_words(segment, 0, len(segment))
    return check_of(total)
