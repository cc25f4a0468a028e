"""Packets in bulk: record for record what the packet-by-packet functions make of them, in both lanes."""

from __future__ import annotations

import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.model.trace import Trace
from lbsim.model.verdict import Rewrite
from lbsim.packet.build import build
from lbsim.packet.bulk import UNKNOWN, Desk, Receiver, add_receiver, find_receiver
from lbsim.packet.offload import with_checksum
from lbsim.packet.received import CaptureWriter
from lbsim.packet.rewrite import rewrite
from tests.packet.leaving import BY_VERSION, Leaving, answers_to, leaving_packets, trace_of

FILE_HEADER = 24
SECOND = 1_000_000_000
#: In the checked lane, a byte that is read or written outside its array is an IndexError.
LANES = {"interpreted": interpreted_lane(), "compiled": compiled_lane(), "checked": compiled_lane(checked=True)}

every_lane = pytest.mark.parametrize("lane", LANES.values(), ids=LANES)


def one_by_one(trace: Trace, ends: list[Rewrite | None]) -> list[bytes]:
    """The records of the packets that leave, each built, changed and written by itself."""
    records = []
    for i, new in enumerate(ends):
        if new is not None:
            packet = rewrite(with_checksum(build(trace, i)), new)
            time, length = int(trace["time"][i]), max(int(trace["length"][i]), len(packet))
            records.append(struct.pack("<IIII", time // SECOND, time % SECOND, len(packet), length) + packet)
    return records


def in_bulk(lane: Lane, *blocks: tuple[Trace, list[Rewrite | None]]) -> list[bytes]:
    """The records of a capture of all blocks."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("lbsim.packet.received.compiled_lane", lambda: lane)
        with CaptureWriter(Path(folder, "all.pcap")) as captures:
            for trace, ends in blocks:
                captures.add(trace, answers_to(trace, ends, lane))
        return split(captures.paths[0].read_bytes())


def split(capture: bytes) -> list[bytes]:
    """The records of a capture file."""
    records = []
    at = FILE_HEADER
    while at < len(capture):
        end = at + 16 + int.from_bytes(capture[at + 8 : at + 12], "little")
        records.append(capture[at:end])
        at = end
    return records


@every_lane
@given(packets=st.lists(leaving_packets(), max_size=8))
def test_records_are_those_of_packets_made_one_by_one(lane: Lane, packets: list[Leaving]) -> None:
    trace, ends = trace_of(packets), [packet.new for packet in packets]
    assert in_bulk(lane, (trace, ends)) == one_by_one(trace, ends)


@every_lane
@given(packets=st.lists(leaving_packets(), min_size=1, max_size=8), cut=st.integers(0, 8))
def test_a_trace_in_blocks_gives_the_records_of_the_whole(lane: Lane, packets: list[Leaving], cut: int) -> None:
    trace, ends = trace_of(packets), [packet.new for packet in packets]
    parts = [
        (block, ends[begin : begin + cut + 1])
        for begin, block in zip(range(0, len(packets), cut + 1), trace.blocks(cut + 1), strict=True)
    ]
    assert in_bulk(lane, *parts) == in_bulk(lane, (trace, ends))


# --- Against scapy


def by_scapy(packet: Packet, new: Rewrite) -> bytes:
    """The packet with new ends and one hop less, all checksums computed by scapy."""
    packet = packet.__class__(bytes(packet))
    ip, transport = packet, packet[TCP] if TCP in packet else packet[UDP]
    ip.src, ip.dst, transport.sport, transport.dport = str(new.src), str(new.dst), new.sport, new.dport
    if IP in packet:
        ip.ttl -= 1
        del ip.chksum
    else:
        ip.hlim -= 1
    del transport.chksum
    return bytes(packet)


@pytest.fixture(scope="module")
def talk() -> list[tuple[Packet, Rewrite]]:
    """Packets of every kind that scapy can check, and the ends with which they leave."""
    found = []
    for version in (4, 6):
        client, vip, dest, last = BY_VERSION[version]
        ip = IP(src=str(client), dst=str(vip), id=7) if version == 4 else IPv6(src=str(client), dst=str(vip))
        for size in (0, 1, 2, 1000, 1001):
            payload = Raw((bytes(range(256)) * 4)[:size])
            for new in (Rewrite(client, 40001, dest, 8080), Rewrite(last, 65535, last, 0)):
                found += [
                    (ip / TCP(sport=40001, dport=80, flags="PA", seq=2**32 - 1) / payload, new),
                    (ip / UDP(sport=40001, dport=80) / payload, new),
                ]
    return found


@every_lane
def test_captured_packets_leave_as_scapy_rebuilds_them(lane: Lane, talk: list[tuple[Packet, Rewrite]]) -> None:
    trace = trace_of([Leaving({"length": len(packet)}, bytes(packet), new) for packet, new in talk])
    records = in_bulk(lane, (trace, [new for _, new in talk]))
    assert [record[16:] for record in records] == [by_scapy(packet, new) for packet, new in talk]


@every_lane
@pytest.mark.parametrize("version", [4, 6])
def test_made_packets_leave_as_scapy_builds_them(lane: Lane, version: int) -> None:
    client, _, dest, _ = BY_VERSION[version]
    new = Rewrite(client, 40001, dest, 8080)
    head, offset = (20, 0) if version == 4 else (40, 4)
    columns = {"src": offset, "dst": offset + 1, "sport": 40001, "dport": 80, "ttl": 64, "seq": 7, "ack": 2**32 - 1}
    tcp = Leaving(columns | {"proto": 6, "flags": 0x18, "length": head + 20 + 33}, None, new)
    udp = Leaving(columns | {"proto": 17, "length": head + 8 + 3}, None, new)
    records = in_bulk(lane, (trace_of([tcp, udp]), [new, new]))

    def expected(transport: Packet, size: int, number: int) -> bytes:
        if version == 4:
            return bytes(IP(src=str(client), dst=str(dest), ttl=63, id=number, flags="DF") / transport / bytes(size))
        return bytes(IPv6(src=str(client), dst=str(dest), hlim=63) / transport / bytes(size))

    assert [record[16:] for record in records] == [
        expected(TCP(sport=40001, dport=8080, flags="PA", seq=7, ack=2**32 - 1, window=65535), 33, 1),
        expected(UDP(sport=40001, dport=8080), 3, 2),
    ]


@every_lane
def test_what_was_left_to_the_senders_card_leaves_finished(lane: Lane, talk: list[tuple[Packet, Rewrite]]) -> None:
    unfinished = []
    for packet, new in talk:
        whole = packet.__class__(bytes(packet))
        transport = whole[TCP] if TCP in whole else whole[UDP]
        ends = bytes(whole)[12:20] if IP in whole else bytes(whole)[8:40]
        pseudo = ends + struct.pack("!II", len(bytes(transport)), 6 if TCP in whole else 17)
        total = sum(int.from_bytes(pseudo[at : at + 2], "big") for at in range(0, len(pseudo), 2))
        while total > 0xFFFF:  # RFC 1071
            total = (total & 0xFFFF) + (total >> 16)
        transport.chksum = total
        unfinished.append(Leaving({"length": len(packet)}, bytes(whole), new))
    records = in_bulk(lane, (trace_of(unfinished), [new for _, new in talk]))
    assert [record[16:] for record in records] == [by_scapy(packet, new) for packet, new in talk]


# --- Numbers of packets, times, lengths


@every_lane
def test_the_ipv4_id_counts_all_packets_of_the_traffic_in_16_bits(lane: Lane) -> None:
    new = Rewrite(BY_VERSION[4][0], 1, BY_VERSION[4][1], 2)
    row = Leaving({"proto": 17, "length": 28}, None, new)
    first = trace_of([row] * 0xFFFF, step=0)
    records = in_bulk(lane, (first, [None] * 0xFFFF), (trace_of([row] * 2), [new, new]))
    assert [record[20:22].hex() for record in records] == ["0000", "0001"]


@every_lane
def test_a_record_has_seconds_and_nanoseconds_and_the_length_on_the_wire(lane: Lane) -> None:
    new = Rewrite(BY_VERSION[4][0], 1, BY_VERSION[4][1], 2)
    packet = bytes(IP(src="198.51.100.1", dst="192.168.1.10") / UDP(sport=1, dport=2) / Raw(b"abcdef"))
    trace = trace_of([Leaving({"length": 34}, packet[:30], new)] * 3, step=(2**32 - 1) * SECOND // 2)
    heads = [struct.unpack("<IIII", record[:16]) for record in in_bulk(lane, (trace, [new] * 3))]
    assert heads == [(0, 0, 30, 34), (2**31 - 1, SECOND // 2, 30, 34), (2**32 - 1, 0, 30, 34)]


# --- Finding receivers


@pytest.mark.parametrize("lane", [interpreted_lane(), compiled_lane()], ids=lambda lane: lane.name)
def test_every_receiver_is_found_by_its_own_end_only(lane: Lane) -> None:
    ends = [(addr, port) for addr in range(7) for port in (0, 80, 65535)]
    desk = Desk(np.zeros(1, "u1"), lane.table(Receiver, len(ends) + 1), lane.heads(4))  # few buckets: long chains
    for r, end in enumerate(ends, 1):
        lane.function(add_receiver)(desk, r, *end)
    find = lane.function(find_receiver)
    assert [find(desk.receivers, desk.heads, *end) for end in ends] == list(range(1, len(ends) + 1))
    assert find(desk.receivers, desk.heads, 7, 80) == find(desk.receivers, desk.heads, 0, 81) == UNKNOWN
