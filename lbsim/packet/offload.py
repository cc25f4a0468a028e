"""Checksum offload: a capture made on the sending host shows packets that its network card has yet to finish.

In the place of its checksum such a packet has what the card is to start from: the sum of the pseudo header, not
complemented.
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel
from lbsim.engine.numbers import UDP, WHOLE
from lbsim.packet.checksum import check_of, sum_of_addresses, sum_of_words
from lbsim.packet.headers import Bytes, Fields, read_headers, word
from lbsim.packet.octets import put_word
from lbsim.packet.rewrite import checksum_place

__all__ = ["finish_checksum", "with_checksum"]


def with_checksum(data: bytes) -> bytes:
    """The IP packet with the TCP or UDP checksum that the sender left to its network card.

    A packet with any other checksum comes back as it is, whether right or wrong; so do a fragment, a packet that
    was captured only in part, and bytes that are no IP packet. (A right checksum can equal what a host leaves to
    the card; computed anew, it is the same.)
    """
    packet = bytearray(data)
    h = read_headers(packet, 0, len(packet))
    return bytes(packet[: h.length]) if finish_checksum(packet, 0, len(packet), h) else data


@kernel
def finish_checksum(packet: Bytes, begin: int, end: int, h: Fields) -> bool:
    """Whether the packet in ``packet[begin:end]`` had a checksum that was left to the card: it is written then.

    Parameters
    ----------
    h : what ``read_headers`` says of the packet.
    """
    place = checksum_place(h.proto)
    stop = begin + h.length
    if h.version == 0 or h.shape != WHOLE or place == 0 or stop > end:
        return False
    l4 = begin + h.l4
    pseudo_header = sum_of_addresses(packet, begin, h.version) + h.proto + (stop - l4)
    if word(packet, l4 + place) != 0xFFFF - check_of(pseudo_header):
        return False
    put_word(packet, l4 + place, 0)
    check = check_of(pseudo_header + sum_of_words(packet, l4, stop))
    if check == 0 and h.proto == UDP:
        check = 0xFFFF
    put_word(packet, l4 + place, check)
    return True
