"""Captures in, traces out.

``captures`` writes the files byte by byte from the formats' definitions; scapy, which has its own writers, is the
second source.
"""

from __future__ import annotations

import struct

import pytest

from lbsim.engine.numbers import CUT_HEADER, FRAGMENT, ICMP_ERROR, IN, NO_PORTS, WHOLE
from lbsim.errors import TraceError
from lbsim.model.trace import Flow
from lbsim.traffic import pcap
from tests.traffic.captures import (
    ACK,
    ANSWER,
    ARP,
    BACKWARDS,
    CLIENT,
    COOKED,
    COOKED_V2,
    NG,
    NG_START,
    REQUEST,
    REQUEST_V6,
    SERVICE,
    VIRTUAL,
    Pcapng,
    Record,
    ethernet,
    flows,
    ip,
    pcap_file,
    rows,
    tcp,
    times,
    udp,
)  # fmt: skip

# --- formats --------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanoseconds", [False, True])
def test_pcap_is_read_in_both_byte_orders_and_resolutions(read, order, nanoseconds):
    step = 1_000_001_000 if not nanoseconds else 1_000_000_001
    content = pcap_file(ethernet(REQUEST), Record(ethernet(ANSWER), step), order=order, nanoseconds=nanoseconds)
    trace = read(content)
    assert times(trace) == [0, step]
    assert rows(trace) == [
        "in 203.0.113.1:40001 > 192.168.1.10:80",
        "reply 192.168.1.10:80 > 203.0.113.1:40001",
    ]
    assert trace.damage is None


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_is_read_in_both_byte_orders(read, order):
    ng = Pcapng(order)
    packets = ng.packet(ethernet(REQUEST), 5_000_000) + ng.packet(ethernet(ANSWER), 2**33 + 5)
    trace = read(ng.section() + ng.interface() + packets)
    assert times(trace) == [
        0,
        (2**33 + 5 - 5_000_000) * 1000,
    ]  # microseconds unless the interface says otherwise
    assert len(rows(trace)) == 2


@pytest.mark.parametrize(
    ("resolution", "units", "nanoseconds"),
    [
        (0, 3, 3_000_000_000),  # seconds
        (3, 7, 7_000_000),
        (6, 7, 7_000),
        (9, 7, 7),
        (12, 7_999, 7),  # picoseconds, cut
        (0x80, 3, 3_000_000_000),  # 2**0 per second
        (0x80 | 10, 512, 500_000_000),  # 512 / 1024 s
        (0x80 | 32, 2**31, 500_000_000),
    ],
)
def test_the_time_resolution_of_a_pcapng_interface_counts(read, resolution, units, nanoseconds):
    interface = NG.interface(1, NG.option(9, bytes([resolution])))
    trace = read(NG.section() + interface + NG.packet(ethernet(REQUEST), 0) + NG.packet(ethernet(REQUEST), units))
    assert times(trace) == [0, nanoseconds]


def test_the_time_offset_of_a_pcapng_interface_is_added(read):
    late = NG.interface(1, NG.option(14, struct.pack("<q", 5)))
    content = NG_START + late + NG.packet(ethernet(REQUEST), 10) + NG.packet(ethernet(ANSWER), 10, interface=1)
    assert times(read(content)) == [0, 5_000_000_000]


def test_options_behind_the_end_of_options_are_not_read(read):
    interface = NG.interface(1, NG.option(2, b"eth0"), NG.option(0, b""), NG.option(9, b"\x00"))
    content = NG.section() + interface + NG.packet(ethernet(REQUEST), 0) + NG.packet(ethernet(REQUEST), 1)
    assert times(read(content)) == [0, 1000]


def test_each_section_of_a_pcapng_has_its_own_byte_order_and_interfaces(read):
    big = Pcapng(">")
    first = NG_START + NG.packet(ethernet(REQUEST), 0)
    second = big.section() + big.interface(101) + big.packet(ANSWER, 1)
    assert rows(read(first + second)) == [
        "in 203.0.113.1:40001 > 192.168.1.10:80",
        "reply 192.168.1.10:80 > 203.0.113.1:40001",
    ]


def test_packets_of_several_interfaces_of_different_link_types_are_read(read):
    content = NG_START + NG.interface(101) + NG.packet(REQUEST, interface=1) + NG.packet(ethernet(REQUEST))
    assert len(read(content)) == 2


def test_blocks_of_unknown_types_are_skipped(read):
    comment = NG.block(0x0BAD, b"anything")
    assert len(read(NG_START + comment + NG.packet(ethernet(REQUEST)) + comment)) == 1


def test_old_packet_blocks_are_read(read):
    content = NG_START + NG.old_packet(ethernet(REQUEST), 1) + NG.old_packet(ethernet(ANSWER), 2)
    assert times(read(content)) == [0, 1000]


def test_a_simple_packet_is_of_the_time_of_the_packet_before_it(read):
    simple = NG.simple_packet(ethernet(REQUEST))
    content = NG_START + NG.packet(ethernet(REQUEST), 100) + NG.packet(ethernet(REQUEST), 103) + simple
    assert times(read(content)) == [0, 3000, 3000]


def test_simple_packets_at_the_beginning_are_of_the_first_time(read):
    simple = NG.simple_packet(ethernet(REQUEST))
    content = NG_START + simple + simple + NG.packet(ethernet(REQUEST), 7) + NG.packet(ethernet(REQUEST), 8)
    assert times(read(content)) == [0, 0, 0, 1000]


def test_a_pcapng_without_any_time_is_read_all_the_same(read):
    assert times(read(NG_START + NG.simple_packet(ethernet(REQUEST)) * 2, start=7)) == [7, 7]


def test_the_snapshot_length_says_how_much_of_a_simple_packet_was_captured(read):
    frame = ethernet(ip(tcp(payload=bytes(100))))
    content = NG.section() + NG.interface(1, snaplen=60) + NG.simple_packet(frame[:60], len(frame))
    assert read(content)["raw_len"].tolist() == [60 - 14]


@pytest.mark.parametrize("content", [pcap_file(), NG.section(), NG_START], ids=["pcap", "section", "interface"])
def test_a_capture_without_packets_is_an_empty_trace(read, content):
    trace = read(content)
    assert (len(trace), trace.flows, trace.damage, dict(trace.left_out)) == (0, (), None, {})


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (1, ethernet(REQUEST)),
        (1, ethernet(REQUEST, tags=(0x8100,))),
        (1, ethernet(REQUEST, tags=(0x88A8, 0x8100))),
        (1, ethernet(REQUEST, tags=(0x9100, 0x9100, 0x8100))),
        (113, COOKED + b"\x08\x00" + REQUEST),
        (113, COOKED + b"\x81\x00\x00\x07\x08\x00" + REQUEST),
        (276, b"\x08\x00" + COOKED_V2 + REQUEST),
        (276, b"\x81\x00" + COOKED_V2 + b"\x00\x07\x08\x00" + REQUEST),
        (12, REQUEST),
        (14, REQUEST),
        (101, REQUEST),
        (228, REQUEST),
        (0, b"\x02\x00\x00\x00" + REQUEST),
        (0, b"\x00\x00\x00\x02" + REQUEST),
        (108, b"\x00\x00\x00\x02" + REQUEST),
    ],
)
@pytest.mark.parametrize("file_format", ["pcap", "pcapng"])
def test_every_link_type_is_read(read, link, frame, file_format):
    in_pcapng = NG.section() + NG.interface(link) + NG.packet(frame)
    trace = read(pcap_file(frame, link=link) if file_format == "pcap" else in_pcapng)
    assert rows(trace) == ["in 203.0.113.1:40001 > 192.168.1.10:80"]
    assert trace.raw[trace["raw_at"][0] :][: trace["raw_len"][0]] == REQUEST


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (1, ethernet(REQUEST_V6)),
        (113, COOKED + b"\x86\xdd" + REQUEST_V6),
        (276, b"\x86\xdd" + COOKED_V2 + REQUEST_V6),
        (101, REQUEST_V6),
        (229, REQUEST_V6),
        *((0, bytes([family, 0, 0, 0]) + REQUEST_V6) for family in (10, 23, 24, 28, 30)),
        (108, b"\x00\x00\x00\x1e" + REQUEST_V6),
    ],
)
def test_every_link_type_is_read_with_ipv6(read, link, frame):
    trace = read(pcap_file(frame, link=link), "tcp [2001:db8::10]:80")
    assert rows(trace) == ["in 2001:db8::1:40001 > 2001:db8::10:80"]


def test_what_describes_the_frame_check_sequence_is_no_part_of_the_link_type(read):
    assert len(read(pcap_file(ethernet(REQUEST) + b"\x01\x02\x03\x04", link=0x24000001))) == 1


# --- meaning --------------------------------------------------------------------------------------


def test_the_columns_say_what_the_headers_say(read):
    packet = ip(tcp(flags=ACK | 8, payload=b"GET / HTTP/1.1\r\n\r\n"), ttl=57)
    trace = read(pcap_file(ARP, Record(ethernet(packet), 5_000)))
    at = 24 + 16 + len(ARP) + 16 + 14
    # header 20 + 20 bytes, payload 18; seq and ack as in tcp()
    expected = {
        "time": 5_000, "flow": 0, "direction": IN, "sport": 40001, "dport": 80, "proto": 6, "flags": 24,
        "length": 58, "ttl": 57, "shape": WHOLE, "seq": 1000, "ack": 2000, "raw_at": at, "raw_len": 58,
    }  # fmt: skip
    assert {name: int(trace[name][0]) for name in expected} == expected
    assert trace.raw[at : at + 58] == packet


def test_a_flow_is_protocol_client_end_and_virtual_end_in_both_directions(read):
    frames = [
        ethernet(ip(tcp(1, 80))),
        ethernet(ip(tcp(80, 1), VIRTUAL, CLIENT)),
        ethernet(ip(tcp(2, 80))),
        ethernet(ip(tcp(1, 80), "203.0.113.2")),
        ethernet(ip(udp(1, 80), proto=17)),
        ethernet(ip(tcp(1, 80))),
    ]
    trace = read(pcap_file(*frames), SERVICE, "udp 192.168.1.10:80")
    assert trace["flow"].tolist() == [0, 0, 1, 2, 3, 0]
    assert flows(trace) == [
        "6 203.0.113.1:1 192.168.1.10:80",
        "6 203.0.113.1:2 192.168.1.10:80",
        "6 203.0.113.2:1 192.168.1.10:80",
        "17 203.0.113.1:1 192.168.1.10:80",
    ]


def test_a_flow_that_begins_with_an_answer_has_the_same_ends(read):
    trace = read(pcap_file(ethernet(ANSWER), ethernet(REQUEST)))
    assert trace["flow"].tolist() == [0, 0]
    assert flows(trace) == ["6 203.0.113.1:40001 192.168.1.10:80"]


def test_only_packets_of_the_given_services_are_rows(read):
    frames = [
        ethernet(ip(tcp(1, 80), dst="192.168.1.10")),
        ethernet(ip(tcp(1, 80), dst="192.168.1.11")),  # another address
        ethernet(ip(tcp(1, 443), dst="192.168.1.10")),  # another port
        ethernet(ip(udp(1, 80), dst="192.168.1.10", proto=17)),  # another protocol
        ethernet(ip(udp(1, 53), dst="192.168.1.12", proto=17)),
    ]
    trace = read(pcap_file(*frames), SERVICE, "udp 192.168.1.12:53")
    assert rows(trace) == ["in 203.0.113.1:1 > 192.168.1.10:80", "in 203.0.113.1:1 > 192.168.1.12:53"]
    assert trace.left_out == {"no_service": 3}


def test_a_packet_from_one_service_to_another_is_a_client_s(read):
    frame = ethernet(ip(udp(53, 53), "192.168.1.11", VIRTUAL, proto=17))
    trace = read(pcap_file(frame), "udp 192.168.1.10:53", "udp 192.168.1.11:53")
    assert rows(trace) == ["in 192.168.1.11:53 > 192.168.1.10:53"]


MAPPING = {"198.51.100.7:8080": SERVICE}


def test_a_mapped_server_end_reads_as_the_virtual_service(read):
    request = ip(tcp(dport=8080), dst="198.51.100.7")
    answer = ip(tcp(8080, 40001, ACK), "198.51.100.7", CLIENT)
    trace = read(pcap_file(ethernet(request), ethernet(answer)), mapping=MAPPING)
    assert rows(trace) == [
        "in 203.0.113.1:40001 > 192.168.1.10:80",
        "reply 192.168.1.10:80 > 203.0.113.1:40001",
    ]
    assert flows(trace) == ["6 203.0.113.1:40001 192.168.1.10:80"]


def test_the_raw_bytes_of_a_mapped_packet_stay_as_captured(read):
    request = ip(tcp(dport=8080), dst="198.51.100.7")
    trace = read(pcap_file(ethernet(request)), mapping=MAPPING)
    assert trace.raw[trace["raw_at"][0] :][: trace["raw_len"][0]] == request


def test_a_mapped_service_need_not_be_listed(read):
    request = ethernet(ip(tcp(dport=8080), dst="198.51.100.7"))
    trace = read(pcap_file(request, ethernet(REQUEST)), "udp 10.9.9.9:53", mapping={"198.51.100.7:8080": SERVICE})
    assert rows(trace) == ["in 203.0.113.1:40001 > 192.168.1.10:80"] * 2


def test_a_mapping_is_of_the_service_s_protocol(read):
    request = ethernet(ip(udp(dport=8080), dst="198.51.100.7", proto=17))
    assert read(pcap_file(request), mapping=MAPPING).left_out == {"no_service": 1}


def test_a_mapping_comes_before_the_service_that_has_the_address_itself(read):
    trace = read(pcap_file(ethernet(REQUEST)), mapping={"192.168.1.10:80": "tcp 192.168.1.99:8000"})
    assert rows(trace) == ["in 203.0.113.1:40001 > 192.168.1.99:8000"]


def test_servers_that_stand_for_one_service_share_its_flows(read):
    frames = [ethernet(ip(tcp(), dst=server)) for server in ("198.51.100.7", "198.51.100.8")]
    trace = read(pcap_file(*frames), mapping={"198.51.100.7:80": SERVICE, "198.51.100.8:80": SERVICE})
    assert trace["flow"].tolist() == [0, 0]


def test_a_mapping_between_address_families_is_refused(read):
    with pytest.raises(TraceError, match=r"\[2001:db8::7\]:80 cannot stand for tcp 192\.168\.1\.10:80"):
        read(pcap_file(), mapping={"[2001:db8::7]:80": SERVICE})


# --- time -----------------------------------------------------------------------------------------


def test_times_count_from_the_first_packet_even_if_it_is_left_out(read):
    content = pcap_file(ARP, Record(ethernet(REQUEST), 3_000))
    assert times(read(content, start=1_000_000)) == [1_003_000]


def test_packets_whose_time_runs_backwards_are_sorted_and_equal_times_stay_in_order(read):
    trace = read(BACKWARDS)
    assert trace["sport"].tolist() == [2, 4, 1, 3]
    assert times(trace) == [0, 0, 3_000, 3_000]


def test_sorted_packets_keep_their_flows_which_are_in_the_order_of_their_first_packets(read):
    trace = read(BACKWARDS)
    assert trace["flow"].tolist() == [0, 1, 2, 3]
    assert [flow.client_port for flow in trace.flows] == [2, 4, 1, 3]


def test_time_running_backwards_is_named(read):
    assert read(BACKWARDS).damage == "time runs backwards, first at packet 2 by 3000 ns"


def test_time_running_backwards_and_a_cut_are_both_named(read):
    assert read(BACKWARDS[:-1]).damage == (
        f"cut in packet 4 at byte {len(BACKWARDS) - 1}; time runs backwards, first at packet 2 by 3000 ns"
    )


# --- packets left out, and rare ones --------------------------------------------------------------

LEFT_OUT_CASES = [
    ("arp", 1, ARP),
    ("arp", 1, ethernet(bytes(28), 0x0806, tags=(0x8100,))),
    ("arp", 113, COOKED + b"\x08\x06" + bytes(28)),
    ("arp", 276, b"\x08\x06" + COOKED_V2 + bytes(28)),
    ("not_ip", 1, ethernet(bytes(40), 0x88CC)),
    ("not_ip", 1, ethernet(bytes(40), 0x0026)),  # IEEE 802.3: a length where the type would be
    ("not_ip", 113, COOKED + b"\x00\x04" + bytes(40)),
    ("not_ip", 276, b"\x00\x04" + COOKED_V2 + bytes(40)),
    ("not_ip", 0, b"\x07\x00\x00\x00" + bytes(40)),
    ("unreadable", 1, bytes(13)),
    ("unreadable", 1, ethernet(b"", 0x8100)),
    ("unreadable", 1, ethernet(b"", 0x0800)),
    ("unreadable", 113, bytes(15)),
    ("unreadable", 276, bytes(19)),
    ("unreadable", 0, bytes(3)),
    ("unreadable", 1, ethernet(REQUEST[:19])),
    ("unreadable", 1, ethernet(b"\x44" + REQUEST[1:])),  # a header of 16 bytes
    ("unreadable", 101, b"\x55" + REQUEST[1:]),  # IP version 5
    ("unreadable", 101, b""),
    ("other_protocol", 1, ethernet(ip(b"\x08\x00" + bytes(6), proto=1))),  # ping
    ("other_protocol", 1, ethernet(ip(tcp(), proto=50))),  # ESP
    ("no_service", 1, ethernet(ip(tcp(), proto=132))),  # SCTP
    ("other_protocol", 1, ethernet(ip(b"", proto=47))),
    ("other_protocol", 1, ethernet(ip(bytes(8), proto=1, fragment=0x2000))),
    ("other_protocol", 1, ethernet(ip(b"\x03\x03" + bytes(30), dst="192.168.1.11", proto=1))),
    ("other_protocol", 1, ethernet(ip(b"\x03\x03" + bytes(30), VIRTUAL, CLIENT, proto=1))),
    ("no_service", 1, ethernet(ip(tcp(dport=81)))),
    ("no_service", 1, ethernet(ip(tcp()[:3], dst="192.168.1.11"))),
    ("no_service", 1, ethernet(ip(tcp(), dst="192.168.1.11"))[: 14 + 20 + 10]),
    ("not_captured", 1, ethernet(REQUEST)[: 14 + 20 + 19]),
    ("not_captured", 1, ethernet(REQUEST)[: 14 + 20 + 2]),
    ("not_captured", 1, ethernet(REQUEST)[: 14 + 20]),
    ("not_captured", 1, ethernet(ANSWER)[: 14 + 20 + 19]),
]


@pytest.mark.parametrize(("name", "link", "frame"), LEFT_OUT_CASES)
def test_a_packet_that_is_no_row_is_counted_under_its_name(read, name, link, frame):
    trace = read(pcap_file(frame, link=link))
    assert (len(trace), trace.left_out) == (0, {name: 1})


def test_packets_of_an_unsupported_link_type_are_counted_beside_readable_ones(read):
    content = NG_START + NG.interface(127) + NG.packet(ethernet(REQUEST)) + NG.packet(b"radio", interface=1)
    trace = read(content)
    assert (len(trace), trace.left_out) == (1, {"other_link_type": 1})


def test_every_name_of_left_out_has_a_case():
    assert {case[0] for case in LEFT_OUT_CASES} | {"other_link_type"} == set(pcap.LEFT_OUT)


def test_names_come_in_the_order_of_the_table(read):
    frames = [frame for _, link, frame in reversed(LEFT_OUT_CASES) if link == 1]
    assert list(read(pcap_file(*frames)).left_out) == list(pcap.LEFT_OUT)[1:]


def test_a_packet_that_is_left_out_makes_no_flow_and_no_address(read):
    trace = read(pcap_file(*(frame for _, link, frame in LEFT_OUT_CASES if link == 1)))
    assert (trace.flows, trace.addresses) == ((), ())


def test_a_packet_cut_by_the_snapshot_length_behind_its_headers_is_whole(read):
    packet = ip(tcp(payload=bytes(100)))
    trace = read(pcap_file(Record(ethernet(packet), kept=14 + 40)))
    assert (trace["length"][0], trace["raw_len"][0], trace["shape"][0]) == (140, 40, WHOLE)


def test_padding_is_not_part_of_the_packet(read):
    trace = read(pcap_file(ethernet(REQUEST) + bytes(6)))
    assert (trace["length"][0], trace["raw_len"][0]) == (40, 40)


@pytest.mark.parametrize(
    ("packet", "shape", "line"),
    [
        (ip(tcp()[:19]), CUT_HEADER, "in 203.0.113.1:40001 > 192.168.1.10:80"),
        (ip(tcp()[:3]), NO_PORTS, "in 203.0.113.1:0 > 192.168.1.10:0"),
        (ip(tcp()[:3], VIRTUAL, CLIENT), NO_PORTS, "reply 192.168.1.10:0 > 203.0.113.1:0"),
    ],
)
def test_a_packet_that_itself_ends_within_its_transport_header_is_a_row(read, packet, shape, line):
    # Ethernet pads it to 60 bytes, which must not be taken for a header.
    trace = read(pcap_file(ethernet(packet) + bytes(60 - 14 - len(packet))))
    assert (rows(trace), trace["shape"].tolist()) == ([line], [shape])


def test_fragments_from_and_to_a_service_s_address_are_rows(read):
    frames = [
        ethernet(ip(tcp(), fragment=0x2000)),
        ethernet(ip(bytes(24), fragment=0x2003)),
        ethernet(ip(bytes(24), VIRTUAL, CLIENT, fragment=6)),
        ethernet(ip(bytes(24), dst="192.168.1.11", fragment=6)),
        ethernet(ip(bytes(24), proto=17, fragment=6)),
    ]
    trace = read(pcap_file(*frames))
    assert rows(trace) == [
        "in 203.0.113.1:40001 > 192.168.1.10:80",
        "in 203.0.113.1:40001 > 192.168.1.10:80",  # as the first one says
        "reply 192.168.1.10:0 > 203.0.113.1:0",
    ]
    assert trace["shape"].tolist() == [FRAGMENT] * 3
    assert trace.left_out == {"no_service": 2}


def test_a_first_fragment_to_another_port_is_a_row_like_those_behind_it(read):
    trace = read(pcap_file(ethernet(ip(tcp(dport=8080), fragment=0x2000))))
    assert rows(trace) == ["in 203.0.113.1:40001 > 192.168.1.10:8080"]


def test_a_fragment_to_a_mapped_address_reads_as_the_virtual_one(read):
    frames = [
        ethernet(ip(tcp(dport=8080), dst="198.51.100.7", fragment=0x2000)),
        ethernet(ip(bytes(24), dst="198.51.100.7", fragment=3)),
    ]
    line = "in 203.0.113.1:40001 > 192.168.1.10:80"
    assert rows(read(pcap_file(*frames), mapping=MAPPING)) == [line, line]
    assert rows(read(pcap_file(frames[1]), mapping=MAPPING)) == ["in 203.0.113.1:0 > 192.168.1.10:0"]


@pytest.mark.parametrize(
    ("packet", "service", "flow"),
    [
        # An error quotes the packet that it is about: one of the service's own.
        (ip(b"\x03\x01" + bytes(6) + ANSWER[:28], "203.0.113.254", proto=1), SERVICE, (1, 0, 0, 1, 0)),
        (ip(b"\x0b\x00" + bytes(6) + ANSWER[:28], proto=1), "udp 192.168.1.10:53", (1, 0, 0, 1, 0)),
        (
            ip(b"\x01\x04" + bytes(6) + REQUEST_V6[:48], "2001:db8::1", "2001:db8::10", proto=58),
            "tcp [2001:db8::10]:80",
            (58, 0, 0, 1, 0),
        ),
    ],
)
def test_an_icmp_error_to_a_service_s_address_is_a_row(read, packet, service, flow):
    trace = read(pcap_file(ethernet(packet)), service)
    assert trace["shape"].tolist() == [ICMP_ERROR]
    assert trace["direction"].tolist() == [IN]
    assert trace.flows == (Flow(*flow),)


def test_an_icmp_error_to_a_mapped_address_reads_as_to_the_virtual_one(read):
    packet = ip(b"\x03\x01" + bytes(6) + ANSWER[:28], dst="198.51.100.7", proto=1)
    assert rows(read(pcap_file(ethernet(packet)), mapping=MAPPING)) == ["in 203.0.113.1:0 > 192.168.1.10:0"]
