"""What captured ICMP errors quote."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from lbsim.engine.lanes import Lane
from lbsim.engine.numbers import CUT_HEADER, FRAGMENT, NO_PORTS, WHOLE
from lbsim.model.trace import Trace
from lbsim.packet.checksum import full
from tests.traffic.captures import (
    ANSWER,
    CLIENT,
    REQUEST,
    REQUEST_V6,
    VIRTUAL,
    Reader,
    Record,
    ethernet,
    ip,
    pcap_file,
    tcp,
    udp,
)  # fmt: skip

ROUTER = "203.0.113.254"


@pytest.fixture
def read(tmp_path: Path, lane: Lane) -> Reader:
    return Reader(tmp_path / "capture", lane)


def error(quoted: bytes, kind: int = 3, code: int = 1, dst: str = VIRTUAL) -> bytes:
    """A frame with an ICMP error from a router."""
    return ethernet(ip(bytes([kind, code]) + bytes(6) + quoted, ROUTER, dst, proto=1))


def error_v6(quoted: bytes, kind: int = 1, code: int = 4) -> bytes:
    return ethernet(ip(bytes([kind, code]) + bytes(6) + quoted, "2001:db8::fe", "2001:db8::10", proto=58))


def quotes(trace: Trace) -> list[str]:
    """``row 0: 3/1 of 6 192.168.1.10:80 > 203.0.113.1:40001``, a line for each."""

    def address(family: int, words: Any) -> str:
        a, b, c, d = words.tolist()
        return str(IPv4Address(d) if family == 4 else IPv6Address(a << 96 | b << 64 | c << 32 | d))

    table = trace.quotes
    return [
        f"row {table['row'][k]}: {table['kind'][k]}/{table['code'][k]} of {table['proto'][k]} "
        f"{address(table['family'][k], table['src'][k])}:{table['sport'][k]} > "
        f"{address(table['family'][k], table['dst'][k])}:{table['dport'][k]}"
        for k in range(len(table))
    ]


LINE = "row 0: 3/1 of 6 192.168.1.10:80 > 203.0.113.1:40001"


def test_an_error_quotes_the_service_s_own_packet(read):
    trace = read(pcap_file(error(ANSWER[:28])))
    assert quotes(trace) == [LINE]
    assert trace.quotes["shape"].tolist() == [CUT_HEADER]  # eight bytes of the TCP header


def test_a_quote_names_the_row_that_quotes(read):
    frames = [ethernet(REQUEST), error(ANSWER), ethernet(bytes(28), 0x0806), ethernet(REQUEST), error(ANSWER, 11, 0)]
    trace = read(pcap_file(*frames))
    assert quotes(trace) == [LINE.replace("row 0", "row 1"), LINE.replace("row 0: 3/1", "row 3: 11/0")]
    assert trace.quotes["shape"].tolist() == [WHOLE, WHOLE]


def test_quotes_are_sorted_with_their_rows(read):
    trace = read(
        pcap_file(Record(error(ANSWER, 3, 1), 5_000), Record(ethernet(REQUEST), 2_000), Record(error(ANSWER, 4, 0)))
    )
    assert quotes(trace) == [LINE.replace("3/1", "4/0"), LINE.replace("row 0", "row 2")]


@pytest.mark.parametrize(("kind", "code"), [(1, 4), (2, 0), (3, 1), (4, 2)])
def test_an_ipv6_error_quotes_an_ipv6_packet(read, kind, code):
    answer = ip(udp(53, 4000), "2001:db8::10", "2001:db8::1", proto=17)
    trace = read(pcap_file(error_v6(answer, kind, code)), "udp [2001:db8::10]:53")
    assert quotes(trace) == [f"row 0: {kind}/{code} of 17 2001:db8::10:53 > 2001:db8::1:4000"]


def test_a_quoted_server_end_reads_as_the_virtual_service(read):
    answer = ip(tcp(8080, 40001), "198.51.100.7", CLIENT)
    frame = error(answer[:28], dst="198.51.100.7")
    mapping = {"198.51.100.7:8080": "tcp 192.168.1.10:80"}
    assert quotes(read(pcap_file(frame), mapping=mapping)) == [LINE]


def test_a_quoted_packet_to_a_service_reads_as_to_the_virtual_one_too(read):
    request = ip(tcp(40001, 8080), CLIENT, "198.51.100.7")
    mapping = {"198.51.100.7:8080": "tcp 192.168.1.10:80"}
    trace = read(pcap_file(error(request[:28], dst="198.51.100.7")), mapping=mapping)
    assert quotes(trace) == ["row 0: 3/1 of 6 203.0.113.1:40001 > 192.168.1.10:80"]


def test_a_quoted_fragment_reads_by_its_address_alone(read):
    answer = ip(bytes(24), "198.51.100.7", CLIENT, fragment=3)
    mapping = {"198.51.100.7:8080": "tcp 192.168.1.10:80"}
    trace = read(pcap_file(error(answer, dst="198.51.100.7")), mapping=mapping)
    assert quotes(trace) == ["row 0: 3/1 of 6 192.168.1.10:0 > 203.0.113.1:0"]
    assert trace.quotes["shape"].tolist() == [FRAGMENT]


def test_a_quote_without_ports_is_one(read):
    trace = read(pcap_file(error(ANSWER[:22])))
    assert quotes(trace) == [LINE.replace(":80 ", ":0 ").replace(":40001", ":0")]
    assert trace.quotes["shape"].tolist() == [NO_PORTS]


@pytest.mark.parametrize("quoted", [b"", ANSWER[:19], b"\x55" + ANSWER[1:], REQUEST_V6, bytes(40)])
def test_what_quotes_no_packet_of_its_family_is_a_row_without_a_quote(read, quoted):
    trace = read(pcap_file(error(quoted)))
    assert (len(trace), quotes(trace)) == (1, [])


def test_padding_behind_an_error_is_not_quoted(read):
    frame = error(b"") + ANSWER[:20]  # the IP packet ends before it
    assert quotes(read(pcap_file(frame))) == []


def test_an_error_cut_by_the_snapshot_length_quotes_what_is_there(read):
    frame = error(ANSWER)
    assert quotes(read(pcap_file(Record(frame, kept=14 + 20 + 8 + 24)))) == [LINE]
    assert quotes(read(pcap_file(Record(frame, kept=14 + 20 + 8 + 19)))) == []


def checked(frame: bytes, wrong: int = 0) -> bytes:
    """An error with its checksum, or one that is off by so much."""
    if frame[14] >> 4 == 4:
        message, ends = frame[34:], b""
    else:
        message = frame[54:]
        ends = frame[22:54] + len(message).to_bytes(4, "big") + bytes([0, 0, 0, 58])
    check = full(ends + message) ^ wrong
    at = len(frame) - len(message) + 2
    return frame[:at] + check.to_bytes(2, "big") + frame[at + 2 :]


@pytest.mark.parametrize("frame", [error(ANSWER[:28]), error(ANSWER + b"odd")])
def test_whether_the_checksum_of_an_error_is_wrong(read, frame):
    frames = [checked(frame), checked(frame, 0x5500), checked(frame) + bytes(7)]
    assert read(pcap_file(*frames)).quotes["wrong"].tolist() == [0, 1, 0]


def test_an_icmpv6_checksum_covers_the_addresses(read):
    frame = error_v6(ip(udp(53, 4000), "2001:db8::10", "2001:db8::1", proto=17))
    trace = read(pcap_file(checked(frame), checked(frame, 1)), "udp [2001:db8::10]:53")
    assert trace.quotes["wrong"].tolist() == [0, 1]


def test_of_an_error_that_was_captured_only_in_part_the_checksum_is_not_known(read):
    frame = checked(error(ANSWER), 1)
    assert read(pcap_file(Record(frame, kept=len(frame) - 1))).quotes["wrong"].tolist() == [0]


def test_errors_that_are_left_out_quote_nothing(read):
    frames = [error(ANSWER, dst="192.168.1.11"), error(ANSWER, kind=8)]
    trace = read(pcap_file(*frames))
    assert (len(trace), len(trace.quotes)) == (0, 0)


def test_there_may_be_more_quotes_than_the_first_table_holds(read):
    trace = read(pcap_file(*[error(ANSWER[:28], code=k % 16) for k in range(1500)]))
    assert trace.quotes["row"].tolist() == [*range(1500)]
    assert trace.quotes["code"].tolist() == [k % 16 for k in range(1500)]
    assert set(quotes(trace)[0:1500:16]) == {
        LINE.replace("3/1", "3/0").replace("row 0", f"row {k}") for k in range(0, 1500, 16)
    }


def test_a_quote_is_what_scapy_finds_in_the_error(read):
    from scapy.layers.inet import ICMP, IP, TCP, UDP, ICMPerror
    from scapy.layers.l2 import Ether

    inner = [
        IP(src=VIRTUAL, dst=CLIENT, ttl=9) / TCP(sport=80, dport=9999, flags="SA"),
        IP(src=VIRTUAL, dst="198.51.100.77", options=b"\x01" * 8) / UDP(sport=53, dport=1) / b"answer",
        IP(src=VIRTUAL, dst=CLIENT, flags="MF") / TCP(sport=80, dport=7),
        IP(src=VIRTUAL, dst=CLIENT) / ICMP(type=3) / IP() / UDP(),
    ]
    frames = [bytes(Ether() / IP(src=ROUTER, dst=VIRTUAL) / ICMP(type=3, code=3) / packet) for packet in inner]
    table = read(pcap_file(*frames)).quotes
    assert len(table) == 4
    for k, frame in enumerate(frames):
        quoted = Ether(frame)[ICMP].payload
        assert str(IPv4Address(int(table["src"][k][3]))) == quoted.src
        assert str(IPv4Address(int(table["dst"][k][3]))) == quoted.dst
        assert table["proto"][k] == quoted.proto
        transport = quoted.payload
        ends = (0, 0) if isinstance(transport, ICMPerror) else (transport.sport, transport.dport)
        assert (table["sport"][k], table["dport"][k]) == ends
