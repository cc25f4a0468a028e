"""MTUs of routes in a simulation: each packet of a capture as a live director decides about it.

The live director's answers are those of real kernels: tests/kernel_truth.py, scenarios/tunnel/too-large.
"""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from struct import pack

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw
from scapy.utils import RawPcapReader, rdpcap, wrpcap

from lbsim import Director
from lbsim.config import parse
from lbsim.engine.lanes import Lane
from lbsim.model.verdict import Verdict, reason_of
from lbsim.packet.received import CaptureWriter
from lbsim.packet.tunnel import without_chance
from lbsim.simulate import simulate
from lbsim.traffic import pcap, script

MTU = {"10.0.0.0/24": 1400, "10.0.0.12/32": 1300, "203.0.113.0/24": 1350, "fd00::11/128": 1280}
WIDE = """
    -A -t [2001:db8::10]:80 -s rr
    -a -t [2001:db8::10]:80 -r [fd00::11]:80 {way}
"""
CONFIG = """
    -A -t 192.168.1.10:80 -s rr
    -a -t 192.168.1.10:80 -r 10.0.0.11 {way}
    -a -t 192.168.1.10:80 -r 10.0.0.12 {way}
"""


def packets(size: int) -> list[Packet]:
    """For each of three clients a SYN, then data in IP packets of that size; over IPv4 with and without DF."""
    narrow, other = (IP(src=src, dst="192.168.1.10", flags="DF") for src in ("203.0.113.1", "198.51.100.1"))
    wide = IPv6(src="2001:db8:9::1", dst="2001:db8::10")
    made = [ip / TCP(sport=40001, dport=80, flags="S") for ip in (narrow, other, wide)]
    for ip in (narrow, other, wide, IP(src=narrow.src, dst=narrow.dst), IP(src=other.src, dst=other.dst)):
        head = ip / TCP(sport=40001, dport=80, flags="A")
        made.append(head / Raw(bytes(size - len(head))))
    return made


@pytest.mark.parametrize("way", ["-m", "-g", "-i"])
@pytest.mark.parametrize("size", [1260, 1261, 1280, 1281, 1300, 1301, 1350, 1351, 1380, 1381, 1400, 1401, 1500, 1501])
def test_each_packet_is_decided_as_by_a_live_director(way: str, size: int, tmp_path: Path, lane: Lane) -> None:
    text = (CONFIG + WIDE).format(way=way)
    director = Director(text, mtu=MTU)
    expected = [director.receive(bytes(packet), at=float(n)).reason for n, packet in enumerate(packets(size))]
    sent = packets(size)
    for n, packet in enumerate(sent):
        packet.time = n
    wrpcap(str(tmp_path / "a.pcap"), sent, linktype=101)
    config = parse(text)
    trace = pcap.read(tmp_path / "a.pcap", services=[service.id for service in config.services()])
    result = simulate(config, trace, mtu={ip_network(name): limit for name, limit in MTU.items()}, lane=lane)
    assert [reason_of(int(code)).name for code in result["reason"]] == expected
    if size == 1501:  # a tunnel over IPv6 would need a link for more than 1280 bytes
        assert expected[3:] == [*["mtu_exceeded"] * 2, "too_narrow" if way == "-i" else "mtu_exceeded", *["known"] * 2]


@pytest.mark.parametrize("way", ["-m", "-g", "-i", "-i --tun-type gue --tun-port 5555", "-i --tun-type gre"])
@pytest.mark.parametrize("target", ["all.pcap", "folder"])
def test_captures_have_the_pieces_that_a_live_director_sends(way: str, target: str, tmp_path: Path, lane: Lane) -> None:
    text = CONFIG.format(way=way)
    director = Director(text, mtu=MTU, sysctls={"pmtu_disc": 0})
    sent = [packet for size in (1260, 1281, 1400, 1500) for packet in packets(size) if IP in packet]
    expected = []
    for n, packet in enumerate(sent):
        packet.time = n
        answer = director.receive(bytes(packet), at=float(n))
        if answer.verdict == Verdict.FORWARD:
            expected += [(n, one.to, bytes(one.packet)) for one in answer.departures]
    wrpcap(str(tmp_path / "a.pcap"), sent, linktype=101)
    config = parse(text)
    trace = pcap.read(tmp_path / "a.pcap", services=[service.id for service in config.services()])
    mtu = {ip_network(name): limit for name, limit in MTU.items()}
    with CaptureWriter(tmp_path / target) as captures:
        simulate(config, trace, mtu=mtu, lane=lane, sinks=[captures], sysctls={"pmtu_disc": 0})
    written = [
        (round(float(packet.time)), _known(bytes(packet))) for path in captures.paths for packet in rdpcap(str(path))
    ]
    assert sorted(written) == sorted((n, _known(data)) for n, _, data in expected)
    assert any(IP(data).flags.MF for _, _, data in expected)


def test_what_was_captured_only_in_part_is_not_cut(tmp_path: Path, lane: Lane) -> None:
    text = CONFIG.format(way="-m")
    sent = [packet for packet in packets(1400) if IP in packet and not (Raw in packet and packet[IP].flags.DF)]
    records = [pack("<IIII", n, 0, min(len(one), 100), len(one)) + bytes(one)[:100] for n, one in enumerate(sent)]
    head = pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 100, 101)
    (tmp_path / "a.pcap").write_bytes(head + b"".join(records))
    config = parse(text)
    trace = pcap.read(tmp_path / "a.pcap", services=[service.id for service in config.services()])
    mtu = {ip_network(name): limit for name, limit in MTU.items()}
    with CaptureWriter(tmp_path / "all.pcap") as captures:
        simulate(config, trace, mtu=mtu, lane=lane, sinks=[captures])
    with RawPcapReader(str(captures.paths[0])) as reader:
        written = [(meta.wirelen, len(data)) for data, meta in reader]
    assert written == [(len(packet), min(len(packet), 100)) for packet in sent]


def _known(data: bytes) -> bytes:
    """The packet without what a tunnel draws by lot."""
    return without_chance(data)


def test_answers_are_refused_that_do_not_fit_towards_the_client_and_made_packets_have_df(lane: Lane) -> None:
    talk = script.parse(
        """\
        0s 203.0.113.1:1001 > 192.168.1.10:80 tcp S
        1s 192.168.1.10:80 > 203.0.113.1:1001 tcp SA len=1310
        2s 192.168.1.10:80 > 203.0.113.1:1001 tcp SA len=1311
        3s 203.0.113.1:1001 > 192.168.1.10:80 tcp A len=1260
        4s 203.0.113.1:1001 > 192.168.1.10:80 tcp A len=1261
        """
    )
    config = parse(CONFIG.format(way="-m"))
    result = simulate(config, talk, mtu={ip_network(name): limit for name, limit in MTU.items()}, lane=lane)
    reasons = [reason_of(int(code)).name for code in result["reason"]]
    assert reasons == ["new", "translated", "mtu_exceeded", "known", "mtu_exceeded"]


def test_without_an_mtu_every_length_gets_through_and_with_one_all_others_are_1500(lane: Lane) -> None:
    talk = script.parse(
        """\
        0s 203.0.113.1:1001 > 192.168.1.10:80 tcp S
        1s 203.0.113.1:1001 > 192.168.1.10:80 tcp A len=9000
        """
    )
    config = parse(CONFIG.format(way="-m"))
    for mtu, expected in (({}, "known"), ({ip_network("192.0.2.0/24"): 1400}, "mtu_exceeded")):
        result = simulate(config, talk, mtu=mtu, lane=lane)
        assert reason_of(int(result["reason"][1])).name == expected
