"""A checksum that the sender left to its card is computed, every other one kept; scapy says what is right."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from lbsim.packet.offload import with_checksum

V4 = IP(src="198.51.100.1", dst="192.168.1.10")
V6 = IPv6(src="2001:db8::1", dst="2001:db8:1::10")
SEGMENTS = [TCP(sport=40001, flags="S"), TCP(sport=40001, flags="PA") / Raw(b"abc"), UDP(sport=40001) / Raw(b"query")]


def folded(data: bytes) -> int:
    """The ones' complement sum of 16-bit words (RFC 1071, section 1)."""
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def finished(packet: Packet) -> bytes:
    """The packet with all checksums, by scapy."""
    return bytes(packet)


def as_sent_to_the_card(packet: Packet) -> bytes:
    """The same packet with the sum of its pseudo header in place of the checksum."""
    whole = packet.__class__(bytes(packet))
    segment = whole[TCP] if TCP in whole else whole[UDP]
    ends = bytes(whole)[12:20] if IP in whole else bytes(whole)[8:40]
    segment.chksum = folded(ends + len(segment).to_bytes(4, "big") + bytes([0, 0, 0, 6 if TCP in whole else 17]))
    return bytes(whole)


@pytest.mark.parametrize("packet", [ip / segment for ip in (V4, V6) for segment in SEGMENTS], ids=Packet.summary)
def test_what_was_left_to_the_card_is_computed(packet: Packet) -> None:
    unfinished = as_sent_to_the_card(packet)
    assert unfinished != finished(packet)
    assert with_checksum(unfinished) == finished(packet)


def test_a_udp_checksum_that_comes_out_as_0_is_written_as_0xffff() -> None:
    # Two bytes of payload that hold the checksum which the rest would have bring the sum to 0xFFFF, the checksum to 0.
    rest = IP(finished(V4 / UDP(sport=40001) / Raw(b"\0\0")))[UDP].chksum
    packet = V4 / UDP(sport=40001) / Raw(rest.to_bytes(2, "big"))
    done = IP(with_checksum(as_sent_to_the_card(packet)))
    assert done[UDP].chksum == 0xFFFF


def test_padding_behind_the_packet_stays_out_of_the_sum() -> None:
    packet = V4 / SEGMENTS[0]
    assert with_checksum(as_sent_to_the_card(packet) + b"\xff" * 6) == finished(packet)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(finished(V4 / SEGMENTS[1]), id="a right checksum"),
        pytest.param(finished(V4 / TCP(sport=40001, chksum=0x1234)), id="a wrong checksum"),
        pytest.param(finished(V4 / UDP(sport=40001, chksum=0)), id="no UDP checksum"),
        pytest.param(as_sent_to_the_card(V4 / SEGMENTS[1])[:-1], id="captured in part"),
        pytest.param(as_sent_to_the_card(V4 / SEGMENTS[0])[:30], id="captured without checksum"),
        pytest.param(as_sent_to_the_card(IP(dst="192.168.1.10", flags="MF") / SEGMENTS[0]), id="a fragment"),
        pytest.param(finished(V4 / ICMP()), id="neither TCP nor UDP"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_everything_else_comes_back_as_it_is(data: bytes) -> None:
    assert with_checksum(data) == data
