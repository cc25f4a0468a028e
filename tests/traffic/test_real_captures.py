"""Captures that others wrote: scapy's writers, and real traffic as tshark reads it."""

from __future__ import annotations

import pytest

from lbsim.engine.numbers import IN
from lbsim.model.config import ServiceId
from lbsim.model.trace import Trace
from lbsim.traffic import pcap
from tests.traffic.captures import (
    ACK,
    CLIENT,
    CURL_NGINX,
    SERVICE,
    SYN,
    VIRTUAL,
    times,
)  # fmt: skip


def scapy_packets() -> list:
    from scapy.layers.inet import IP, TCP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Dot1Q, Ether

    packets = [
        Ether() / IP(src=CLIENT, dst=VIRTUAL, ttl=61) / TCP(sport=5, dport=80, flags="S", seq=2**32 - 1),
        Ether() / Dot1Q(vlan=3) / IP(src=VIRTUAL, dst=CLIENT) / TCP(sport=80, dport=5, flags="SA", ack=7),
        Ether() / IP(src=CLIENT, dst=VIRTUAL) / UDP(sport=9, dport=53) / b"query",
        Ether() / IPv6(src="2001:db8::1", dst="2001:db8::10", hlim=3) / TCP(sport=6, dport=80, flags="FPA"),
        Ether() / IP(src=CLIENT, dst=VIRTUAL, options=b"\x01" * 8) / TCP(sport=5, dport=80, options=[("MSS", 9)]),
    ]
    for i, packet in enumerate(packets):
        packet.time = 1_700_000_000 + i / 4
    return packets


@pytest.mark.parametrize("writer", ["wrpcap", "wrpcapng"])
def test_files_written_by_scapy_say_what_scapy_put_into_them(tmp_path, writer):
    import scapy.utils
    from scapy.layers.inet import IP, TCP

    packets = scapy_packets()
    getattr(scapy.utils, writer)(str(tmp_path / "scapy"), packets)
    services = [SERVICE, "udp 192.168.1.10:53", "tcp [2001:db8::10]:80"]
    trace = pcap.read(tmp_path / "scapy", services=[ServiceId.parse(text) for text in services])
    assert times(trace) == [i * 250_000_000 for i in range(5)]
    for i, packet in enumerate(packets):
        layer = packet.getlayer(IP) or packet.getlayer("IPv6")
        assert trace.raw[trace["raw_at"][i] :][: trace["raw_len"][i]] == bytes(layer)
        assert trace["length"][i] == len(bytes(layer))
        assert trace["ttl"][i] == (layer.ttl if IP in packet else layer.hlim)
        assert str(trace.addresses[trace["src"][i]]) == layer.src
        assert str(trace.addresses[trace["dst"][i]]) == layer.dst
        assert (trace["sport"][i], trace["dport"][i]) == (layer.sport, layer.dport)
        if TCP in packet:
            assert (trace["flags"][i], trace["seq"][i], trace["ack"][i]) == (
                int(packet[TCP].flags),
                packet[TCP].seq,
                packet[TCP].ack,
            )


@pytest.fixture(scope="module")
def curl_nginx() -> Trace:
    return pcap.read(CURL_NGINX, services=[ServiceId.parse(SERVICE)])


# The expected values of these tests are tshark's: its filters stand beside them.
def test_the_real_capture_has_as_many_packets_as_tshark_counts(curl_nginx):
    assert len(curl_nginx) == 256  # tcp
    assert curl_nginx["direction"].tolist().count(IN) == 147  # tcp.dstport == 80
    assert curl_nginx.left_out == {"arp": 8, "other_protocol": 2}  # arp, icmp
    assert curl_nginx.damage is None


def test_the_real_capture_has_as_many_bytes_as_tshark_counts(curl_nginx):
    to_service = curl_nginx["direction"] == IN
    assert curl_nginx["length"][to_service].sum() == 10217  # sum of ip.len, tcp.dstport == 80
    assert curl_nginx["length"][~to_service].sum() == 32502  # tcp.srcport == 80


def test_the_connections_of_the_real_capture_begin_when_tshark_says(curl_nginx):
    syns = (curl_nginx["flags"] & (SYN | ACK)) == SYN  # tcp.flags.syn == 1 && tcp.flags.ack == 0
    began = [
        (int(t) // 1000, str(curl_nginx.addresses[src]).removeprefix("203.0.113."), int(sport))
        for t, src, sport in zip(
            curl_nginx["time"][syns], curl_nginx["src"][syns], curl_nginx["sport"][syns], strict=True
        )
    ]
    # frame.time_relative in microseconds, last byte of ip.src, tcp.srcport
    assert began == [
        (7850, "1", 58922), (68901, "2", 60400), (129290, "3", 41618), (190266, "4", 54646),
        (250862, "1", 58938), (303307, "2", 60416), (354876, "3", 41620), (409476, "4", 54652),
        (459431, "4", 54654), (570226, "3", 41622), (680749, "2", 60426), (791188, "1", 58944),
        (903685, "2", 60434), (1004927, "3", 41636), (1115189, "1", 58960), (1226634, "4", 54664),
        (1343352, "2", 60450), (1343645, "1", 58962), (1343650, "1", 58976), (1343792, "1", 58990),
    ]  # fmt: skip
    assert len(curl_nginx.flows) == 20  # tcp.stream
