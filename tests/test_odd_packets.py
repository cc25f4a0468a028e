"""Packets that the IP layer refuses, to a live director and in captures: both decide the same, as real kernels do.

What left 6.1.192 and 6.12.117 for each of them is what is expected here.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Packet, Raw

from lbsim import Director, parse, simulate
from lbsim.engine.lanes import Lane
from lbsim.live import Departure
from lbsim.model.verdict import reason_of
from lbsim.packet.checksum import full
from lbsim.traffic import pcap
from tests.traffic.captures import ethernet, pcap_file

CLIENT, VIP, SERVER, FAR = "203.0.113.1", "192.168.1.10", "10.0.0.11", "198.51.100.9"
CONFIG = f"-A -t {VIP}:80 -s rr\n-a -t {VIP}:80 -r {SERVER}:8080 -m\n"


def with_options(packet: Packet, text: str) -> bytes:
    """The packet with these options; scapy would make others of them."""
    data, options = bytes(packet), bytes.fromhex(text)
    header = bytearray(data[:20] + options)
    header[0] = 0x40 | len(header) // 4
    header[2:4] = (len(data) + len(options)).to_bytes(2, "big")
    header[10:12] = bytes(2)
    header[10:12] = full(header).to_bytes(2, "big")
    return bytes(header) + data[20:]


def syn(src: str = CLIENT, sport: int = 40001) -> Packet:
    return IP(src=src, dst=VIP, flags="DF") / TCP(sport=sport, dport=80)


ERROR = IP(src="203.0.113.254", dst=VIP) / ICMP(type=3, code=1)
ANSWER = IP(src=VIP, dst=CLIENT) / TCP(sport=80, dport=40001, flags="SA")


def about_answer(wrong: int) -> bytes:
    data = bytearray(bytes(ERROR / Raw(bytes(ANSWER)[:28])))
    data[22] ^= wrong
    return bytes(data)


BY_BOTH = {
    "sound": (bytes(syn(sport=40002)), "new"),
    "from the loopback net": (bytes(syn("127.0.0.1")), "martian_source"),
    "from the service": (bytes(syn(VIP)), "martian_source"),
    "from many": (bytes(syn("224.0.0.5")), "martian_source"),
    "from nobody": (bytes(syn("0.0.0.0")), "martian_source"),
    "from class E": (bytes(syn("240.0.0.5")), "new"),
    "malformed option": (with_options(syn(), "07270400"), "bad_option"),
    "source route": (with_options(syn(), "8307040a00000b00"), "source_routed"),
    "router alert": (with_options(syn(sport=40003), "94040000"), "new"),
    "ICMP error": (about_answer(0), "icmp_to_dest"),
    "ICMP error with a wrong checksum": (about_answer(0x55), "icmp_checksum"),
}


@pytest.mark.parametrize("name", BY_BOTH)
def test_live_and_in_captures_they_get_the_same_verdict(name: str, tmp_path: Path, lane: Lane) -> None:
    packet, reason = BY_BOTH[name]
    director = Director(CONFIG, lane=lane)
    director.receive(bytes(syn()))
    assert director.receive(packet).reason == reason
    (tmp_path / "c.pcap").write_bytes(pcap_file(ethernet(bytes(syn())), ethernet(packet)))
    config = parse(CONFIG)
    trace = pcap.read(tmp_path / "c.pcap", services=[service.id for service in config.services()], lane=lane)
    result = simulate(config, trace, lane=lane)
    assert [reason_of(code).name for code in result["reason"].tolist()] == ["new", reason]


@pytest.mark.parametrize(("text", "place"), [("07270400", 20), ("8302000000000000", 21), ("0101010194030000", 25)])
@pytest.mark.parametrize("target", [VIP, FAR])
def test_the_sender_is_told_where_its_options_are_wrong(text: str, place: int, target: str) -> None:
    packet = with_options(IP(src=CLIENT, dst=target, flags="DF") / UDP(sport=1000, dport=80) / b"x", text)
    answer = Director(CONFIG, own=["192.168.1.1"]).receive(packet)
    source = target if target == VIP else "192.168.1.1"
    head = IP(src=source, dst=CLIENT, id=0, ttl=64, tos=0xC0) / ICMP(type=12, code=0, ptr=place)
    assert answer.departures == (Departure("clients", bytes(head / Raw(packet))),)


def test_nobody_is_told_of_a_source_route() -> None:
    answer = Director(CONFIG).receive(with_options(syn(), "8907080a00000b00"))
    assert (answer.verdict.name, answer.reason, answer.departures) == ("DROP", "source_routed", ())


@pytest.mark.parametrize("target", ["255.255.255.255", "224.0.0.1", "239.1.2.3"])
def test_nobody_answers_what_goes_to_many(target: str) -> None:
    for packet in (IP(src=CLIENT, dst=target) / UDP(sport=1, dport=80), IP(src=CLIENT, dst=target) / TCP(dport=80)):
        answer = Director(CONFIG, own=["192.168.1.1"]).receive(bytes(packet))
        assert (answer.verdict.name, answer.reason, answer.departures) == ("LOCAL", "not_unicast", ())


# A host captures so what its network card segments: all the data belongs to the packet.
def test_in_captures_a_length_of_0_is_let_pass(tmp_path: Path) -> None:
    packet = bytearray(bytes(syn()))
    packet[2:4] = bytes(2)
    (tmp_path / "c.pcap").write_bytes(pcap_file(ethernet(bytes(packet))))
    config = parse(CONFIG)
    result = simulate(config, pcap.read(tmp_path / "c.pcap", services=[service.id for service in config.services()]))
    assert [reason_of(code).name for code in result["reason"].tolist()] == ["new"]
