"""MTUs of routes in a simulation: each packet of a capture as a live director decides about it.

The live director's answers are those of real kernels: tests/kernel_truth.py, scenarios/tunnel/too-large.
"""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from lbsim import Director
from lbsim.config import parse
from lbsim.engine.lanes import Lane
from lbsim.model.verdict import reason_of
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
