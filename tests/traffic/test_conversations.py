"""Many services, addresses and flows: what the tables find, against dictionaries."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lbsim.engine.lanes import Lane
from lbsim.engine.numbers import AH, ESP, FRAGMENT, IN, REPLY, WHOLE
from lbsim.errors import TraceError
from lbsim.model.config import ServiceId
from lbsim.model.trace import Flow, Trace
from lbsim.traffic import pcap, service_ends
from lbsim.traffic.numbering import _tag
from tests.traffic.captures import Reader, ethernet, flows, ip, pcap_file, rows, tcp, udp


@pytest.fixture
def read(tmp_path: Path, lane: Lane) -> Reader:
    return Reader(tmp_path / "capture", lane)


class Oracle:
    """What the rules of ``pcap`` say of whole TCP and UDP packets, with dictionaries."""

    def __init__(self, services: list[ServiceId], mapping: dict[Any, ServiceId]) -> None:
        self.ends: dict[Any, Any] = {}
        for (address, port), service in mapping.items():
            self.ends.setdefault((service.protocol, address, port), (service.address, service.port))
        for service in (*services, *mapping.values()):
            self.ends.setdefault((service.protocol, service.address, service.port), (service.address, service.port))
        self.addresses: dict[Any, int] = {}
        self.flows: dict[Flow, int] = {}
        self.rows: list[Any] = []

    def packet(self, protocol: str, src: Any, sport: int, dst: Any, dport: int) -> None:
        if to := self.end(protocol, dst, dport):
            self.row(protocol, IN, (src, sport), to)
        elif to := self.end(protocol, src, sport):
            self.row(protocol, REPLY, (dst, dport), to)

    def end(self, protocol: str, address: Any, port: int) -> Any:
        """The virtual end; an end of port 0 has every port that no other has, and a service of port 0 keeps it."""
        found = self.ends.get((protocol, address, port)) or self.ends.get((protocol, address, 0))
        return found and (found[0], found[1] or port)

    def row(self, protocol: str, direction: int, client: Any, virtual: Any) -> None:
        near, far = (self.addresses.setdefault(end[0], len(self.addresses)) for end in (client, virtual))
        flow = Flow({"tcp": 6, "udp": 17}[protocol], near, client[1], far, virtual[1])
        self.rows.append((direction, self.flows.setdefault(flow, len(self.flows))))


def check(trace: Trace, oracle: Oracle) -> None:
    assert list(trace.addresses) == list(oracle.addresses)
    assert list(trace.flows) == list(oracle.flows)
    assert list(zip(trace["direction"].tolist(), trace["flow"].tolist(), strict=True)) == oracle.rows


@pytest.mark.parametrize("seed", range(4))
def test_addresses_and_flows_are_numbered_as_a_dictionary_would(tmp_path, lane, seed):
    random = Random(seed)
    addresses: list[Any] = [IPv4Address(random.getrandbits(32)) for _ in range(400)]
    addresses += [IPv6Address(random.getrandbits(128)) for _ in range(400)]
    addresses += [IPv4Address(0x0A000000 + k) for k in range(400)] + [
        IPv6Address((0x20010DB8 << 96) + k) for k in range(400)
    ]
    addresses += [IPv4Address(0), IPv4Address(2**32 - 1), IPv6Address(0), IPv6Address(2**128 - 1)]
    addresses += [IPv6Address(int(address)) for address in addresses[:100]]  # the same last word in the other family
    services = [
        ServiceId(random.choice(("tcp", "udp")), random.choice(addresses), random.choice((0, 53, 80, 80, 65535)))
        for _ in range(300)
    ]
    mapping = {}
    for service in random.sample(services, 50):
        server = random.choice([a for a in addresses if a.version == service.address.version])
        mapping[server, random.choice((0, 80, 8080))] = service
    oracle = Oracle(services, mapping)
    ends = [(s.protocol, s.address, s.port) for s in services]
    ends += [(service.protocol, *end) for end, service in mapping.items()]
    frames = []
    for _ in range(4000):
        protocol, server, port = random.choice(ends) if random.random() < 0.9 else ("tcp", random.choice(addresses), 80)
        client = random.choice([a for a in addresses if a.version == server.version])
        client_port = random.choice((0, 1024, 80, 65535, random.getrandbits(16)))
        packet = (client, client_port, server, port)
        if random.random() < 0.5:
            packet = (server, port, client, client_port)
        src, sport, dst, dport = packet
        oracle.packet(protocol, *packet)
        header = tcp(sport, dport) if protocol == "tcp" else udp(sport, dport)
        frames.append(ethernet(ip(header, str(src), str(dst), proto=6 if protocol == "tcp" else 17)))
    path = tmp_path / "capture"
    path.write_bytes(pcap_file(*frames))
    assert len(oracle.flows) > 1000
    check(pcap.read(path, services=services, mapping=mapping, lane=lane), oracle)
    blocks = pcap.read_blocks(path, services=services, mapping=mapping, lane=lane, block_packets=100)
    check(Trace.joined(blocks), oracle)


def test_ipv6_addresses_that_look_alike_in_the_table_are_told_apart(read):
    def tag(address: IPv6Address) -> int:
        words = [int(address) >> shift & 0xFFFFFFFF for shift in (96, 64, 32, 0)]
        return _tag(*words)

    first = IPv6Address("2001:db8::1")
    # with other upper words, the last one that leads to the same tag
    others = [IPv6Address(k << 96 | (tag(first) ^ tag(IPv6Address(k << 96)))) for k in range(1, 40)]
    assert {tag(address) for address in (first, *others)} == {tag(first)}
    frames = [ethernet(ip(tcp(), str(client), "2001:db8::10")) for client in (first, *others) * 2]
    trace = read(pcap_file(*frames), "tcp [2001:db8::10]:80")
    assert trace["flow"].tolist() == [*range(40)] * 2
    assert [trace.addresses[number] for number in trace["src"][:40]] == [first, *others]


def test_a_client_of_zeros_has_a_flow(read):
    trace = read(
        pcap_file(ethernet(ip(tcp(0, 0), "0.0.0.0")), ethernet(ip(tcp(0, 0), "0.0.0.0"))), "tcp 192.168.1.10:0"
    )
    assert flows(trace) == ["6 0.0.0.0:0 192.168.1.10:0"]
    assert trace["flow"].tolist() == [0, 0]


def test_a_service_s_own_address_can_be_a_client(read):
    frames = [
        ethernet(ip(udp(53, 53), a, b, proto=17)) for a, b in (("192.0.2.1", "192.0.2.2"), ("192.0.2.2", "192.0.2.1"))
    ]
    trace = read(pcap_file(*frames), "udp 192.0.2.1:53", "udp 192.0.2.2:53")
    assert rows(trace) == ["in 192.0.2.1:53 > 192.0.2.2:53", "in 192.0.2.2:53 > 192.0.2.1:53"]
    assert [str(address) for address in trace.addresses] == ["192.0.2.1", "192.0.2.2"]


def test_tables_grow_with_what_is_in_the_capture(read):
    clients = [f"10.{k >> 8}.{k & 255}.1" for k in range(5000)]
    trace = read(pcap_file(*(ethernet(ip(tcp(), client)) for client in clients * 2)))
    assert trace["flow"].tolist() == [*range(5000)] * 2
    assert [str(trace.addresses[number]) for number in trace["src"][:5000]] == clients


def test_too_many_services_for_one_capture_are_refused(read, monkeypatch):
    monkeypatch.setattr(service_ends, "MOST_PAIRS", 5)
    read(pcap_file(), "tcp 192.0.2.1:80", "tcp 192.0.2.1:81", "tcp 192.0.2.2:80")  # TCP and ICMP of two addresses
    with pytest.raises(TraceError, match="3 services are too many to find in one capture"):
        read(pcap_file(), "tcp 192.0.2.1:80", "tcp 192.0.2.2:80", "tcp 192.0.2.3:80")


def test_without_services_there_are_no_rows(tmp_path, lane):
    path = tmp_path / "capture"
    path.write_bytes(pcap_file(ethernet(ip(tcp()))))
    trace = pcap.read(path, services=[], lane=lane)
    assert (len(trace), trace.left_out) == (0, {"no_service": 1})


@pytest.mark.parametrize("version", [4, 6])
def test_the_order_of_addresses_is_that_of_the_rows_client_first(read, version):
    virtual = {4: "192.168.1.10", 6: "2001:db8::10"}[version]
    clients = {4: ("203.0.113.9", "203.0.113.1"), 6: ("2001:db8::9", "2001:db8::1")}[version]
    frames = [ethernet(ip(tcp(), clients[0], virtual)), ethernet(ip(tcp(80, 7), virtual, clients[1]))]
    end = ServiceId("tcp", ip_address(virtual), 80)
    trace = read(pcap_file(*frames), str(end))
    assert [str(address) for address in trace.addresses] == [clients[0], virtual, clients[1]]


def test_a_service_of_port_0_has_every_port_of_its_address(read: Reader) -> None:
    client, server = "203.0.113.1", "192.0.2.80"
    packets = [
        ip(tcp(1001, 80), client, server),
        ip(tcp(1002, 4711), client, server),
        ip(tcp(4711, 1002), server, client),
        ip(udp(1001, 53), client, server, proto=17),
        ip(tcp(1001, 80), client, "192.0.2.81"),
    ]
    trace = read(pcap_file(*map(ethernet, packets)), "tcp 192.0.2.80:0", "tcp 192.0.2.80:80")
    assert [(flow.client_port, flow.server_port) for flow in trace.flows] == [(1001, 80), (1002, 4711)]
    assert trace["direction"].tolist() == [IN, IN, REPLY]
    assert trace.left_out == {"no_service": 2}


def test_sctp_packets_are_rows_with_the_events_of_their_chunks(read: Reader) -> None:
    init = bytes([0x13, 0x88, 0x0F, 0x1C, *bytes(8), 1, 0, 0, 20, *bytes(16)])  # 5000 > 3868
    init_ack = bytes([0x0F, 0x1C, 0x13, 0x88, *bytes(8), 2, 0, 0, 20, *bytes(16)])
    client, server = "203.0.113.1", "192.0.2.80"
    packets = [ip(init, client, server, proto=132), ip(init_ack, server, client, proto=132)]
    trace = read(pcap_file(*map(ethernet, packets)), "sctp 192.0.2.80:3868", "tcp 192.0.2.80:3868")
    assert [(flow.proto, flow.client_port, flow.server_port) for flow in trace.flows] == [(132, 5000, 3868)]
    assert (trace["direction"].tolist(), trace["flags"].tolist()) == ([IN, REPLY], [2, 3])


IKE_PORTS = ["udp 192.0.2.80:500", "udp 192.0.2.80:0"]


@pytest.mark.parametrize("service", IKE_PORTS)
@pytest.mark.parametrize("proto", [ESP, AH])
def test_ipsec_packets_are_those_of_their_key_exchange(read: Reader, proto: int, service: str) -> None:
    client, server, content = "203.0.113.1", "192.0.2.80", bytes(24)
    packets = [
        ip(content, client, server, proto=proto),
        ip(content, server, client, proto=proto),
        ip(content, client, "192.0.2.81", proto=proto),
        ip(content, server, client, proto=47),
    ]
    trace = read(pcap_file(*map(ethernet, packets)), service, "udp 192.0.2.81:53")
    assert flows(trace) == [f"{proto} 203.0.113.1:0 192.0.2.80:0"]
    assert trace["direction"].tolist() == [IN, REPLY]
    assert trace.left_out == {"other_protocol": 2}


@pytest.mark.parametrize("virtual", [4, 6])
def test_ipsec_packets_of_a_server_that_stands_for_a_service(read: Reader, virtual: int) -> None:
    client, server, service = {
        4: ("203.0.113.1", "10.1.2.3", "192.0.2.80"),
        6: ("2001:db8::1", "[fd00::99]", "[2001:db8::10]"),
    }[virtual]
    end, named = f"{server}:500", f"udp {service}:500"
    host = server.strip("[]")
    packets = [ip(bytes(24), client, host, proto=ESP), ip(bytes(24), host, client, proto=ESP)]
    trace = read(pcap_file(*map(ethernet, packets)), named, mapping={end: named})
    assert [str(address) for address in trace.addresses] == [client, service.strip("[]")]
    assert trace["direction"].tolist() == [IN, REPLY]


def test_fragments_of_ipsec_packets_are_put_together(read: Reader) -> None:
    client, server = "203.0.113.1", "192.0.2.80"
    packets = [
        ip(bytes(24), client, server, proto=ESP, fragment=0x2000),
        ip(bytes(8), client, server, proto=ESP, fragment=3),
    ]
    trace = read(pcap_file(*map(ethernet, packets)), "udp 192.0.2.80:500")
    assert (trace["shape"].tolist(), trace["length"].tolist()) == ([FRAGMENT, WHOLE], [44, 52])
