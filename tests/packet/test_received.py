"""A run as captures: every file holds what its receiver got, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet
from scapy.utils import RawPcapReader

from lbsim import Director, __version__
from lbsim.config import parse, parse_command
from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.engine.numbers import IN, OUT
from lbsim.engine.reasons import ICMP_ROUTED
from lbsim.errors import LbsimError, TraceError
from lbsim.model.config import TimedCommand
from lbsim.model.trace import Trace
from lbsim.model.verdict import Rewrite
from lbsim.packet.build import build
from lbsim.packet.received import LISTING, CaptureWriter
from lbsim.simulate import simulate
from lbsim.traffic import script
from tests.packet.leaving import answers_to
from tests.traces import EVERY_SHAPE, config_text, random_trace

NAT = """\
ipvsadm -A -t 192.168.1.10:80 -s rr
ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.11:8080 -m
ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.12:8080 -m
"""
TALK = """\
0s    198.51.100.1:1001 > 192.168.1.10:80 tcp S
10ms  192.168.1.10:80 > 198.51.100.1:1001 tcp SA
20ms  198.51.100.1:1001 > 192.168.1.10:80 tcp PA len=3
1s    198.51.100.2:1002 > 192.168.1.10:80 tcp S
2s    198.51.100.3:1003 > 192.168.1.10:81 tcp S
"""
V4_ENDS = (ip_address("198.51.100.1"), 1001, ip_address("10.0.0.11"), 8080)
TCP_NAT_HEADERS = 40  # IPv4 and TCP, without options


def packets_in(path: Path) -> list[tuple[int, bytes]]:
    """(ns, IP packet) of a capture, read by scapy."""
    with RawPcapReader(str(path)) as capture:
        return [(meta.sec * 10**9 + meta.usec, data) for data, meta in capture]


def write(target: Path, config: str, trace: Trace | Iterable[Trace], **options: Any) -> list[Path]:
    """The captures of a run."""
    with CaptureWriter(target) as captures:
        simulate(parse(config), trace, sinks=[captures], **options)
    return captures.paths


def written(folder: Path, config: str, trace: Trace) -> dict[str, list[tuple[int, bytes]]]:
    """File name -> its packets."""
    return {path.name: packets_in(path) for path in write(folder, config, trace)}


def has_correct_checksums(packet: Packet) -> bool:
    """Whether scapy computes the same checksums."""
    anew = packet.copy()
    for layer in (IP, TCP, UDP):
        if layer in anew:
            del anew[layer].chksum
    return bytes(anew) == bytes(packet)


# Added last, so first: the newest destination (10.0.0.12) gets the first connection of rr.
def test_each_destination_has_a_file_with_what_it_received(tmp_path: Path) -> None:
    files = written(tmp_path, NAT, script.parse(TALK))
    assert {name: [at for at, _ in rows] for name, rows in files.items()} == {
        "clients.pcap": [10_000_000],
        "10.0.0.12_8080.pcap": [0, 20_000_000],
        "10.0.0.11_8080.pcap": [1_000_000_000],
    }


def test_destinations_get_packets_with_their_own_address(tmp_path: Path) -> None:
    syn, data = (IP(data) for _, data in written(tmp_path, NAT, script.parse(TALK))["10.0.0.12_8080.pcap"])
    assert [(p.src, p[TCP].sport, p.dst, p[TCP].dport, p.ttl, str(p[TCP].flags)) for p in (syn, data)] == [
        ("198.51.100.1", 1001, "10.0.0.12", 8080, 63, "S"),
        ("198.51.100.1", 1001, "10.0.0.12", 8080, 63, "PA"),
    ]
    assert (len(data), has_correct_checksums(syn), has_correct_checksums(data)) == (
        TCP_NAT_HEADERS + 3,
        True,
        True,
    )


def test_clients_get_packets_from_the_virtual_address(tmp_path: Path) -> None:
    ((_, data),) = written(tmp_path, NAT, script.parse(TALK))["clients.pcap"]
    answer = IP(data)
    assert (answer.src, answer[TCP].sport, answer.dst, answer[TCP].dport, answer.ttl) == (
        "192.168.1.10", 80, "198.51.100.1", 1001, 63,
    )  # fmt: skip
    assert has_correct_checksums(answer)


def test_clients_get_what_a_named_server_sends(tmp_path: Path) -> None:
    talk = "0 198.51.100.1:1001 > 192.168.1.10:80 tcp S\n1ms 10.0.0.12:8080 > 198.51.100.1:1001 tcp SA\n"
    trace = script.parse(talk)
    assert trace["direction"].tolist() == [IN, OUT]
    files = written(tmp_path, NAT, trace)
    assert {name: [at for at, _ in packets] for name, packets in files.items()} == {
        "clients.pcap": [1_000_000],
        "10.0.0.12_8080.pcap": [0],
    }


def test_file_names_of_ipv6_destinations_have_no_colons(tmp_path: Path) -> None:
    config = "ipvsadm -A -u [2001:db8:1::10]:53 -s rr\nipvsadm -a -u [2001:db8:1::10]:53 -r [fd00::11]:5353 -m\n"
    files = written(tmp_path, config, script.parse("0 [2001:db8::1]:1000 > [2001:db8:1::10]:53 udp len=40\n"))
    ((_, data),) = files["fd00--11_5353.pcap"]
    query = IPv6(data)
    assert (query.src, query.dst, query[UDP].dport, query.hlim) == ("2001:db8::1", "fd00::11", 5353, 63)
    assert has_correct_checksums(query)


def test_a_destination_of_two_services_has_one_file_in_order_of_time(tmp_path: Path) -> None:
    config = NAT.replace("ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.12:8080 -m\n", "")
    config += "ipvsadm -A -t 192.168.1.10:81 -s rr\nipvsadm -a -t 192.168.1.10:81 -r 10.0.0.11:8080 -m\n"
    files = written(tmp_path, config, script.parse(TALK))
    assert [at for at, _ in files["10.0.0.11_8080.pcap"]] == [0, 20_000_000, 1_000_000_000, 2_000_000_000]


def captured(trace: Trace, server: str, port: int) -> Trace:
    """The trace as a capture of the same packets, in which the service's end was another server's."""
    raw = bytearray()
    columns = dict(trace.columns) | {"raw_at": trace["raw_at"].copy(), "raw_len": trace["raw_len"].copy()}
    for row in range(len(trace)):
        client, client_port = str(trace.addresses[trace["src"][row]]), int(trace["sport"][row])
        data = bytes(IP(src=client, dst=server) / TCP(sport=client_port, dport=port, flags=int(trace["flags"][row])))
        columns["raw_at"][row], columns["raw_len"][row] = len(raw), len(data)
        raw += data
    return replace(trace, columns=columns, raw=bytes(raw))


def test_a_captured_server_end_leaves_no_trace(tmp_path: Path) -> None:
    trace = captured(script.parse("0 198.51.100.1:1001 > 192.168.1.10:80 tcp S\n"), "203.0.113.77", 8000)
    ((_, data),) = written(tmp_path, NAT, trace)["10.0.0.12_8080.pcap"]
    syn = IP(data)
    assert (syn.src, syn[TCP].sport, syn.dst, syn[TCP].dport) == ("198.51.100.1", 1001, "10.0.0.12", 8080)
    assert has_correct_checksums(syn)


def test_a_checksum_that_was_left_to_the_senders_card_is_written(tmp_path: Path) -> None:
    trace = captured(script.parse("0 198.51.100.1:1001 > 192.168.1.10:80 tcp S\n"), "192.168.1.10", 80)
    # RFC 1071 sum of the pseudo header: addresses c633 6401 c0a8 010a, protocol 6, 20 bytes of TCP; it folds to ec01
    assert (0xC633 + 0x6401 + 0xC0A8 + 0x010A + 6 + 20) % 0xFFFF == 0xEC01
    raw = trace.raw[:36] + b"\xec\x01" + trace.raw[38:]  # IP header 20 bytes, checksum at 16 of TCP's
    ((_, data),) = written(tmp_path, NAT, replace(trace, raw=raw))["10.0.0.12_8080.pcap"]
    assert has_correct_checksums(IP(data))


def test_packets_after_the_end_of_the_run_are_not_written(tmp_path: Path) -> None:
    trace = script.parse(TALK)
    paths = write(tmp_path, NAT, trace, until=500_000_000)
    assert [path.name for path in paths] == ["clients.pcap", "10.0.0.12_8080.pcap"]


def test_a_run_without_packets_leaves_an_empty_capture_of_the_clients(tmp_path: Path) -> None:
    trace = Trace(Trace.empty_columns(0), (), ())
    assert written(tmp_path, NAT, trace) == {"clients.pcap": []}


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    trace = script.parse(TALK)
    with pytest.raises(LbsimError, match="cannot make the folder: Not a directory"):
        write(tmp_path / "file" / "below", NAT, trace)


@pytest.mark.parametrize("version", [4, 6])
def test_both_lanes_write_the_same_files(tmp_path: Path, version: int) -> None:
    trace = random_trace(5, 3000, version=version, shapes=EVERY_SHAPE)
    files = []
    for lane in (interpreted_lane(), compiled_lane()):
        paths = write(tmp_path / lane.name, config_text(version, "rr"), trace, lane=lane)
        files.append({path.name: path.read_bytes() for path in paths})
    assert len(files[0]) > 4
    assert files[0] == files[1]


# --- One file for all


def test_one_file_has_everything_that_left_in_order_of_time(tmp_path: Path) -> None:
    trace = script.parse(TALK)
    files = written(tmp_path / "folder", NAT, trace)
    (path,) = write(tmp_path / "new" / "all.pcap", NAT, trace)
    assert path == tmp_path / "new" / "all.pcap"
    assert packets_in(path) == sorted(packet for packets in files.values() for packet in packets)
    assert [entry.name for entry in path.parent.iterdir()] == ["all.pcap"]


def test_a_folder_may_be_named_like_a_capture(tmp_path: Path) -> None:
    folder = tmp_path / "all.pcap"
    folder.mkdir()
    assert {path.name for path in write(folder, NAT, script.parse(TALK))} == {
        "clients.pcap",
        "10.0.0.11_8080.pcap",
        "10.0.0.12_8080.pcap",
    }


def test_one_file_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "all.pcap"
    path.write_bytes(b"older")
    write(path, NAT, script.parse(TALK))
    assert len(packets_in(path)) == 4


# --- Blocks


def in_blocks(trace: Trace, size: int) -> Iterator[Trace]:
    """The trace in blocks that have captured bytes of their own, of another kind each."""
    kinds: tuple[Callable[[bytes], Any], ...] = (bytes, bytearray, memoryview, lambda raw: np.frombuffer(raw, np.uint8))
    for number, block in enumerate(trace.blocks(size)):
        begin = int(block["raw_at"].min())
        end = int((block["raw_at"] + block["raw_len"]).max())
        columns = dict(block.columns) | {"raw_at": block["raw_at"] - begin}
        yield replace(block, columns=columns, raw=kinds[number % len(kinds)](trace.raw[begin:end]))


@pytest.mark.parametrize("lane", [interpreted_lane(), compiled_lane()], ids=lambda lane: lane.name)
def test_a_capture_in_blocks_gives_the_same_files(tmp_path: Path, lane: Lane) -> None:
    talk = "".join(f"+1ms 198.51.100.1:{30000 + n} > 192.168.1.10:80 tcp S\n" for n in range(50))
    trace = captured(script.parse(talk), "203.0.113.77", 8000)
    whole = write(tmp_path / "whole", NAT, trace)
    blocks = write(tmp_path / "blocks", NAT, in_blocks(trace, 7), lane=lane)
    assert [path.name for path in whole] == [path.name for path in blocks]
    assert [path.read_bytes() for path in whole] == [path.read_bytes() for path in blocks]


# --- Nothing is left behind


class Stopped:
    """A source of blocks that fails after the first one."""

    def __init__(self, trace: Trace, reason: BaseException) -> None:
        self.blocks = trace.blocks(1)
        self.reason = reason

    def __iter__(self) -> Iterator[Trace]:
        yield next(self.blocks)
        raise self.reason


@pytest.mark.parametrize("target", ["new/folder", "new/all.pcap"])
@pytest.mark.parametrize("reason", [KeyboardInterrupt(), LbsimError("no more")], ids=["Ctrl-C", "an error"])
def test_a_run_that_breaks_off_leaves_nothing_behind(tmp_path: Path, target: str, reason: BaseException) -> None:
    with pytest.raises(type(reason)):
        write(tmp_path / target, NAT, Stopped(script.parse(TALK), reason))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["", "clients.pcap"])
def test_a_run_that_breaks_off_leaves_what_was_there(tmp_path: Path, target: str) -> None:
    write(tmp_path, NAT, script.parse(TALK))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / target, NAT, Stopped(script.parse(TALK), KeyboardInterrupt()))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_is_lost_in_mid_run_is_one_error(tmp_path: Path) -> None:
    folder = tmp_path / "lost"

    def losing() -> Iterator[Trace]:
        folder.rmdir()
        yield script.parse(TALK)

    with pytest.raises(LbsimError) as caught:
        write(folder, NAT, losing())
    assert str(caught.value) == f"{folder}/clients.pcap: cannot write the capture: No such file or directory"


# --- Files of the run before


def test_a_file_that_a_run_does_not_write_anew_goes_if_the_run_before_wrote_it(tmp_path: Path) -> None:
    write(tmp_path, NAT, script.parse(TALK))
    write(tmp_path, NAT.replace("10.0.0.11", "10.0.0.13"), script.parse(TALK))
    assert {path.name for path in tmp_path.iterdir()} == {
        "captures.json", "clients.pcap", "10.0.0.12_8080.pcap", "10.0.0.13_8080.pcap",
    }  # fmt: skip


def test_the_listing_names_the_files_and_their_sizes(tmp_path: Path) -> None:
    paths = write(tmp_path, NAT, script.parse(TALK))
    listing = json.loads((tmp_path / LISTING).read_text())
    assert listing == {"lbsim": __version__, "files": {path.name: path.stat().st_size for path in paths}}


@pytest.mark.parametrize(
    "listing",
    [
        None,
        "",
        "[]",
        '{"files": []}',
        '{"files": {"../mine.pcap": 4}}',
        '{"files": {"10.0.0.11_8080.pcap": 5}}',
        '{"files": {"10.0.0.11_8080.pcap": "4"}}',
        '{"files": {"10.0.0.11_8080.pcap": null}}',
        '{"files": {"folder": 4096}}',
    ],
)
def test_nothing_else_goes(tmp_path: Path, listing: str | None) -> None:
    folder = tmp_path / "captures"
    (folder / "folder").mkdir(parents=True)
    for path in (tmp_path / "mine.pcap", folder / "10.0.0.11_8080.pcap"):
        path.write_bytes(b"mine")
    if listing is not None:
        (folder / LISTING).write_text(listing)
    write(folder, NAT.replace("10.0.0.11", "10.0.0.13"), script.parse(TALK))
    assert (tmp_path / "mine.pcap").read_bytes() == b"mine"
    assert (folder / "10.0.0.11_8080.pcap").read_bytes() == b"mine"
    assert (folder / "folder").is_dir()


@pytest.mark.parametrize("lane", [interpreted_lane(), compiled_lane()], ids=lambda lane: lane.name)
def test_an_error_that_ipvs_found_on_its_way_has_lost_two_from_its_ttl(tmp_path: Path, lane: Lane) -> None:
    trace = script.parse(TALK)
    answers = answers_to(trace, [Rewrite(*V4_ENDS)] * len(trace), lane)
    answers.columns["reason"][0] = ICMP_ROUTED
    with CaptureWriter(tmp_path / "all.pcap") as captures:
        captures.add(trace, answers)
    assert [packet[8] for _, packet in packets_in(tmp_path / "all.pcap")] == [62, 63, 63, 63, 63]


# facts: packet-path.md section 15: what a socket of the director sends is not routed.
@pytest.mark.parametrize("lane", [interpreted_lane(), compiled_lane()], ids=lambda lane: lane.name)
def test_an_answer_of_the_director_itself_keeps_its_ttl(tmp_path: Path, lane: Lane) -> None:
    local = NAT.replace("10.0.0.12:8080", "192.168.1.10:8080")
    write(tmp_path / "all.pcap", local, script.parse(TALK), lane=lane)
    left = [IP(packet) for _, packet in packets_in(tmp_path / "all.pcap")]
    assert [(packet.src, packet.dst, packet.ttl) for packet in left] == [
        ("192.168.1.10", "198.51.100.1", 64),
        ("198.51.100.2", "10.0.0.11", 63),
    ]


# A program on the director gets what IPVS lets in: over NAT at the destination's end, else as it came.
@pytest.mark.parametrize(
    ("destination", "file", "port"),
    [
        ("192.168.1.10:8080 -m", "192.168.1.10_8080.pcap", 8080),
        ("192.168.1.10:80 -g", "192.168.1.10_80.pcap", 80),
        ("192.168.1.10:80 -i", "192.168.1.10_80.pcap", 80),
    ],
)
@pytest.mark.parametrize("lane", [interpreted_lane(), compiled_lane()], ids=lambda lane: lane.name)
def test_a_destination_that_is_the_director_has_a_file_too(
    tmp_path: Path, destination: str, file: str, port: int, lane: Lane
) -> None:
    local = NAT.replace("10.0.0.12:8080 -m", destination)
    write(tmp_path, local, script.parse(TALK), lane=lane, mtu={ip_network("0.0.0.0/0"): 41})
    got = [IP(packet) for _, packet in packets_in(tmp_path / file)]
    assert [(p.src, p.dst, p[TCP].dport, p.ttl, len(p)) for p in got] == [
        ("198.51.100.1", "192.168.1.10", port, 64, 40),
        ("198.51.100.1", "192.168.1.10", port, 64, 43),
    ]
    assert all(map(has_correct_checksums, got))


@pytest.mark.parametrize("lane", [interpreted_lane(), compiled_lane()], ids=lambda lane: lane.name)
def test_what_a_client_on_the_director_gets_does_not_leave_it(tmp_path: Path, lane: Lane) -> None:
    talk = TALK.replace("198.51.100.1", "192.168.1.10").replace("tcp S\n", "tcp S via=director\n", 1)
    trace = script.parse(talk, director=[ip_address("192.168.1.10")])
    write(tmp_path / "all.pcap", NAT, trace.blocks(1), lane=lane)
    left = [IP(packet) for _, packet in packets_in(tmp_path / "all.pcap")]
    assert [(p.src, p.dst, p.ttl) for p in left] == [
        ("192.168.1.10", "10.0.0.12", 63),
        ("192.168.1.10", "10.0.0.12", 63),
        ("198.51.100.2", "10.0.0.11", 63),
    ]
    write(tmp_path, NAT, trace, lane=lane)
    answers = [IP(packet) for _, packet in packets_in(tmp_path / "clients.pcap")]
    assert [(p.src, p.dst, p.ttl) for p in answers] == [("192.168.1.10", "192.168.1.10", 64)]


# --- What cannot be written


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("length", 70_000, "an IPv4 packet of 70000 bytes cannot be"),
        ("length", 19, "an IPv4 packet of 19 bytes cannot be"),
        ("seq", 2**32, "a value does not fit its header field: proto 6, sport 1001, "),
        ("src", -1, "no packet leads from 2001:db8::1 to 192.168.1.10"),
    ],
)
def test_a_row_that_makes_no_packet_is_named_by_its_number_in_the_whole_traffic(
    tmp_path: Path, column: str, value: int, message: str
) -> None:
    trace = script.parse(TALK)
    trace.addresses.append(ip_address("2001:db8::1"))
    answers = answers_to(trace, [Rewrite(*V4_ENDS)] * len(trace), interpreted_lane())
    trace.columns[column][2] = value % len(trace.addresses) if column == "src" else value

    def write_one_by_one() -> None:
        with CaptureWriter(tmp_path) as captures:
            for at, block in enumerate(trace.blocks(1)):
                row = {name: column[at : at + 1] for name, column in answers.columns.items()}
                captures.add(block, replace(answers, columns=row))

    with pytest.raises(TraceError) as caught:
        write_one_by_one()
    assert (str(caught.value)[: len(message)], caught.value.packet) == (message, 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lane", [interpreted_lane(), compiled_lane()], ids=lambda lane: lane.name)
def test_bytes_outside_the_captured_ones_are_never_read(tmp_path: Path, lane: Lane) -> None:
    trace = captured(script.parse(TALK), "203.0.113.77", 8000)
    with pytest.raises(AssertionError, match="packet 2: no such bytes were captured"):
        write(tmp_path, NAT, replace(trace, raw=trace.raw[:100]).blocks(1), lane=lane)


@pytest.mark.parametrize("second", [-1, 2**32])
def test_a_time_that_no_record_can_hold_is_one_clear_line(tmp_path: Path, second: int) -> None:
    trace = script.parse(TALK)
    trace.columns["time"][:] = second * 10**9
    answers = answers_to(trace, [None] * len(trace), interpreted_lane())
    with pytest.raises(LbsimError) as caught, CaptureWriter(tmp_path) as captures:
        captures.add(trace, answers)
    assert str(caught.value) == (
        f"{tmp_path}: a packet at {second} s does not fit into a capture; expected 0 to 4294967295"
    )


def test_the_trace_is_left_as_it_was(tmp_path: Path) -> None:
    trace = script.parse(TALK)
    before = {name: column.copy() for name, column in trace.columns.items()}
    written(tmp_path, NAT, trace)
    assert all(np.array_equal(before[name], column) for name, column in trace.columns.items())


# Direct routing and tunnels

WAYS = """\
ipvsadm -A -t 192.168.1.10:80 -s rr
ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.11 -g
ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.12 -i
ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.13 -i --tun-type gue --tun-port 6080 --tun-csum
ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.14 -i --tun-type gre --tun-csum
ipvsadm -a -t 192.168.1.10:80 -r [fd00::15]:80 -i
ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.16:8080 -m
"""
MANY = "".join(f"{i}s  198.51.100.{i}:1001 > 192.168.1.10:80 tcp S len={i}\n" for i in range(6)) + "".join(
    f"{6 + i}s  192.168.1.10:80 > 198.51.100.{i}:1001 tcp SA\n" for i in range(6)
)


@pytest.mark.parametrize("lane", [interpreted_lane(), compiled_lane()], ids=lambda lane: lane.name)
def test_captures_have_what_destinations_receive_by_every_way(tmp_path: Path, lane: Lane) -> None:
    trace = script.parse(MANY)
    write(tmp_path, WAYS, trace, lane=lane)
    got = {path.stem: [data for _, data in packets_in(path)] for path in tmp_path.glob("*.pcap")}
    assert {name: len(packets) for name, packets in got.items()} == {
        "clients": 1, "10.0.0.11_80": 1, "10.0.0.12_80": 1, "10.0.0.13_80": 1, "10.0.0.14_80": 1, "fd00--15_80": 1,
        "10.0.0.16_8080": 1,
    }  # fmt: skip
    # the live director is told of every way byte by byte: see tests/test_departures.py
    live = Director(WAYS)
    for i in range(6):
        (departure,) = live.receive(build(trace, i)).departures
        (name,) = [name for name in got if name.startswith(departure.to.replace(":", "-") + "_")]
        assert got[name] == [departure.packet], name


IN_MID_RUN = (
    "ipvsadm -e -t 192.168.1.10:80 -r 10.0.0.12 -i --tun-type gue --tun-port 6080",
    "sysctl -w net.ipv4.vs.pmtu_disc=0",
    "ipvsadm -e -t 192.168.1.10:80 -r 10.0.0.12 -i --tun-type gre --tun-csum",
    "ipvsadm -e -t 192.168.1.10:80 -r 10.0.0.12 -m",
    "sysctl -w net.ipv4.vs.pmtu_disc=1",
    "ipvsadm -e -t 192.168.1.10:80 -r 10.0.0.12 -i",
)


@pytest.mark.parametrize("lane", [interpreted_lane(), compiled_lane()], ids=lambda lane: lane.name)
def test_a_way_that_changes_in_mid_run_changes_for_later_packets_only(tmp_path: Path, lane: Lane) -> None:
    config = "-A -t 192.168.1.10:80 -s rr\n-a -t 192.168.1.10:80 -r 10.0.0.12 -i\n"
    lines = (f"{i}s  198.51.100.{i}:1001 > 192.168.1.10:80 tcp S len={i}\n" for i in range(9))
    trace = script.parse("".join(lines))
    timeline = [TimedCommand(10**9 * i + 5, parse_command(text)) for i, text in enumerate(IN_MID_RUN, start=1)]
    write(tmp_path, config, trace, lane=lane, timeline=timeline)
    live = Director(config)
    wanted = []
    for i in range(9):
        (departure,) = live.receive(build(trace, i), at=i).departures
        wanted.append(departure.packet)
        if 0 < i <= len(IN_MID_RUN):
            assert live.run(IN_MID_RUN[i - 1]).status == 0
    assert [data for _, data in packets_in(tmp_path / "10.0.0.12_80.pcap")] == wanted
    assert len({(IP(packet).proto, IP(packet).flags.DF) for packet in wanted}) == 5


# What is only routed, facts: packet-path.md sections 10 (answers of one-packet services), 11.3 and 12.
ROUTED = """\
0s   198.51.100.1:1001 > 192.168.1.10:53 udp len=3
1s   192.168.1.10:53 > 198.51.100.1:1001 udp len=5
3s   198.51.100.1:1001 > 203.0.113.9:80 tcp S
4s   192.168.1.10:1001 > 203.0.113.9:80 tcp S via=director
"""
ONE_PACKET = "ipvsadm -A -u 192.168.1.10:53 -s rr -o\nipvsadm -a -u 192.168.1.10:53 -r 10.0.0.11:5353 -m\n"


@pytest.mark.parametrize("lane", [interpreted_lane(), compiled_lane()], ids=lambda lane: lane.name)
def test_what_is_only_routed_leaves_as_it_came(tmp_path: Path, lane: Lane) -> None:
    trace = script.parse(ROUTED, director=[ip_address("192.168.1.10")])
    write(tmp_path / "all.pcap", ONE_PACKET, trace, lane=lane)
    left = [IP(packet) for _, packet in packets_in(tmp_path / "all.pcap")]
    assert [(p.src, p.sport, p.dst, p.dport, p.ttl, len(p)) for p in left] == [
        ("198.51.100.1", 1001, "10.0.0.11", 5353, 63, 31),
        ("10.0.0.11", 5353, "198.51.100.1", 1001, 63, 33),  # the server's own end: answers are not translated
        ("198.51.100.1", 1001, "203.0.113.9", 80, 63, 40),
        ("192.168.1.10", 1001, "203.0.113.9", 80, 64, 40),  # from the director itself
    ]
    assert all(map(has_correct_checksums, left))
    write(tmp_path, ONE_PACKET, trace, lane=lane)
    clients = [IP(packet) for _, packet in packets_in(tmp_path / "clients.pcap")]
    assert [bytes(p) for p in clients] == [bytes(p) for p in left[1:2]]
    assert [bytes(IP(packet)) for _, packet in packets_in(tmp_path / "10.0.0.11_5353.pcap")] == [bytes(left[0])]


@pytest.mark.parametrize("lane", [interpreted_lane(), compiled_lane()], ids=lambda lane: lane.name)
def test_a_routed_packet_that_is_too_long_leaves_in_pieces_with_its_own_ends(tmp_path: Path, lane: Lane) -> None:
    trace = script.parse("0s 198.51.100.1:80 > 192.168.1.10:53 udp\n1s 192.168.1.10:53 > 198.51.100.1:80 udp len=100\n")
    packet = bytearray(build(trace, 1))
    packet[6] = 0  # may be cut
    check = int.from_bytes(packet[10:12], "big") + 0x4000
    packet[10:12] = (check % 0xFFFF).to_bytes(2, "big")
    trace = replace(trace, raw=bytes(packet))
    trace.columns["raw_at"][1], trace.columns["raw_len"][1] = 0, len(packet)
    write(tmp_path, ONE_PACKET, trace, lane=lane, mtu={ip_network("198.51.100.0/24"): 100})
    pieces = [IP(data) for _, data in packets_in(tmp_path / "clients.pcap")]
    assert [(p.src, p.dst, p.ttl, p.frag, len(p)) for p in pieces] == [
        ("10.0.0.11", "198.51.100.1", 63, 0, 100),
        ("10.0.0.11", "198.51.100.1", 63, 10, 48),
    ]
    assert pieces[0][UDP].sport == 5353
    assert all(map(has_correct_checksums, [piece.copy() for piece in pieces[1:]]))
