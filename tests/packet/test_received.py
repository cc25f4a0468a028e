"""A run as captures: every file holds what its receiver got, byte for byte."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet
from scapy.utils import RawPcapReader

from lbsim.config import parse
from lbsim.errors import LbsimError
from lbsim.model.trace import Trace
from lbsim.packet.received import write_received
from lbsim.simulate import simulate
from lbsim.traffic import script

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
TCP_NAT_HEADERS = 40  # IPv4 and TCP, without options


def packets_in(path: Path) -> list[tuple[int, bytes]]:
    """(ns, IP packet) of a capture, read by scapy."""
    with RawPcapReader(str(path)) as capture:
        return [(meta.sec * 10**9 + meta.usec, data) for data, meta in capture]


def written(folder: Path, config: str, trace: Trace) -> dict[str, list[tuple[int, bytes]]]:
    """File name -> its packets."""
    paths = write_received(trace, simulate(parse(config), trace), folder)
    return {path.name: packets_in(path) for path in paths}


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
    result = simulate(parse(NAT), trace, until=500_000_000)
    assert [path.name for path in write_received(trace, result, tmp_path)] == ["clients.pcap", "10.0.0.12_8080.pcap"]


def test_a_run_without_packets_leaves_an_empty_capture_of_the_clients(tmp_path: Path) -> None:
    trace = Trace(Trace.empty_columns(0), (), ())
    assert written(tmp_path, NAT, trace) == {"clients.pcap": []}


def test_many_destinations_need_no_more_open_files_than_one(tmp_path: Path) -> None:
    import resource

    count = 300
    config = "ipvsadm -A -u 192.168.1.10:53 -s rr\n" + "".join(
        f"ipvsadm -a -u 192.168.1.10:53 -r 10.0.{n // 200}.{n % 200 + 1}:53 -m\n" for n in range(count)
    )
    talk = "".join(f"{n}ms 198.51.100.1:{30000 + n} > 192.168.1.10:53 udp len=1\n" for n in range(count))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        trace = script.parse(talk)
        paths = write_received(trace, simulate(parse(config), trace), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(paths) == count + 1


def test_progress_ends_no_higher_than_what_there_is(tmp_path: Path) -> None:
    talk = "".join(f"+1ms 198.51.100.1:{30000 + n} > 192.168.1.10:80 tcp S\n" for n in range(2100))
    trace = script.parse(talk)
    told: list[tuple[int, int]] = []
    write_received(trace, simulate(parse(NAT), trace), tmp_path, lambda done, total: told.append((done, total)))
    assert told == [(1024, 2100), (2048, 2100)]


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    trace = script.parse(TALK)
    with pytest.raises(LbsimError, match="cannot make the folder: Not a directory"):
        write_received(trace, simulate(parse(NAT), trace), tmp_path / "file" / "below")


def test_the_trace_is_left_as_it_was(tmp_path: Path) -> None:
    trace = script.parse(TALK)
    before = {name: column.copy() for name, column in trace.columns.items()}
    written(tmp_path, NAT, trace)
    assert all(np.array_equal(before[name], column) for name, column in trace.columns.items())
