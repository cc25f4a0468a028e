"""From what ``simulate`` takes to a job: what is asked, in which order, with which bytes."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet as ScapyPacket
from scapy.packet import Raw

from lbsim.config import parse, parse_command
from lbsim.config.marks import read_marks
from lbsim.errors import KernelUnavailable
from lbsim.kernel.job import CLIENT, DIRECTOR, REPLY, Command, Job, Packet, Show, server
from lbsim.kernel.job_rules import marks_of
from lbsim.kernel.scenario_job import COUNTERS_SETTLE, job_of
from lbsim.model.config import TimedCommand
from lbsim.model.trace import Trace
from lbsim.packet.capture_file import CaptureFile
from lbsim.traffic import pcap, script

VIP = "192.168.1.10"
CONFIG = f"ipvsadm -A -t {VIP}:80 -s rr\nipvsadm -a -t {VIP}:80 -r 10.0.0.11:8080 -m\n"
SCRIPT = f"""\
0s   198.51.100.1:1001 > {VIP}:80 tcp S
10ms {VIP}:80 > 198.51.100.1:1001 tcp SA
20ms 10.0.0.11:8080 > 198.51.100.1:1001 tcp A
"""
SECOND = 10**9
NOTHING = Trace.merge([])


def job(config: str = CONFIG, trace: Trace | None = None, **options: object) -> Job:
    """The job of a config and a trace, by default those above."""
    return job_of("j", parse(config), script.parse(SCRIPT) if trace is None else trace, **options)


def captured(folder: Path, *packets: ScapyPacket, mapped: str | None = None, snaplen: int = 65535) -> list[Packet]:
    """The packets of a job whose traffic is a capture that keeps ``snaplen`` bytes of each."""
    capture = CaptureFile(folder / "c.pcap")
    for packet in map(bytes, packets):
        kept = packet[:snaplen]
        capture.append(struct.pack("<IIII", 0, 0, len(kept), len(packet)) + kept)
    capture.keep()
    config = parse(f"{CONFIG}ipvsadm -A -u {VIP}:53 -s rr\n")
    services = [service.id for service in config.services()]
    mapping = {(ip_address(mapped), 8000): services[0]} if mapped else None
    made = job_of("j", config, pcap.read(folder / "c.pcap", services=services, mapping=mapping))
    return [event for event in made.events if isinstance(event, Packet)]


def test_each_packet_leaves_on_the_wire_of_its_sender() -> None:
    sent = [(e.at, e.side) for e in job().events if isinstance(e, Packet)]
    assert sent == [(0, CLIENT), (10_000_000, REPLY), (20_000_000, server("10.0.0.11"))]


def test_a_reply_bears_the_virtual_end() -> None:
    reply = job().events[1]
    assert isinstance(reply, Packet)
    packet = IP(reply.content)
    assert (packet.src, packet[TCP].sport, packet.dst, packet[TCP].dport) == (VIP, 80, "198.51.100.1", 1001)


def test_vips_and_servers_are_those_of_the_config_and_of_the_timeline_each_once() -> None:
    late = [
        TimedCommand(SECOND, parse_command("ipvsadm -A -t 192.168.1.9:80 -s rr")),
        TimedCommand(SECOND, parse_command("ipvsadm -a -t 192.168.1.9:80 -r 10.0.0.9:80 -m")),
        TimedCommand(SECOND, parse_command("ipvsadm -a -t 192.168.1.9:80 -r 10.0.0.11:80 -m")),
    ]
    made = job(timeline=late)
    assert made.vips == ("192.168.1.9", VIP)
    assert made.servers == ("10.0.0.9", "10.0.0.11")


def test_the_set_up_is_the_routers_lines_and_the_configs_commands() -> None:
    assert job("iptables -P FORWARD ACCEPT\n" + CONFIG).setup == (
        ("iptables", "-P", "FORWARD", "ACCEPT"),
        *(tuple(line.split()) for line in CONFIG.replace("-m\n", "-m -w 1\n").splitlines()),
    )


def test_sysctls_are_those_of_ipvs() -> None:
    assert job(sysctls={"conn_reuse_mode": 0}).sysctls == (("net.ipv4.vs.conn_reuse_mode", "0"),)


# As simulate does it: commands come before packets, and tables are shown after them.
def test_at_equal_times_commands_come_first_and_looks_last() -> None:
    command = TimedCommand(0, parse_command(f"ipvsadm -e -t {VIP}:80 -r 10.0.0.11:8080 -m -w 2"))
    made = job(timeline=[command], moments=[0])
    assert [type(event) for event in made.events[:3]] == [Command, Packet, Show]


def test_nothing_is_asked_after_the_end_but_for_counters_that_have_settled() -> None:
    command = TimedCommand(SECOND, parse_command(f"ipvsadm -D -t {VIP}:80"))
    made = job(timeline=[command], moments=[5_000_000, SECOND], until=15_000_000)
    assert [event.at for event in made.events[:-2]] == [0, 5_000_000, 10_000_000]
    assert made.events[-2:] == (Show(15_000_000), Show(15_000_000 + COUNTERS_SETTLE, stats=True))


def test_a_run_without_packets_still_looks_at_the_tables() -> None:
    assert job(trace=NOTHING).events == (Show(0), Show(COUNTERS_SETTLE, stats=True))


def test_a_moment_at_the_end_is_looked_at_once() -> None:
    assert [event.at for event in job(trace=NOTHING, moments=[7 * SECOND]).events] == [7 * SECOND, 11_200_000_000]


def test_the_last_look_follows_the_last_moment() -> None:
    assert job(trace=NOTHING, moments=[7 * SECOND]).events[-1].at == 7 * SECOND + COUNTERS_SETTLE


def test_ipv6_packets_and_servers_are_ipv6() -> None:
    config = "-A -t [2001:db8:1::10]:80 -s rr\n-a -t [2001:db8:1::10]:80 -r [fd00::11]:80 -m\n"
    made = job(config, script.parse("0s [2001:db8::1]:1001 > [2001:db8:1::10]:80 tcp S\n"))
    assert (made.vips, made.servers) == (("2001:db8:1::10",), ("fd00::11",))
    (packet,) = (event for event in made.events if isinstance(event, Packet))
    assert IPv6(packet.content).dst == "2001:db8:1::10"


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("172.16.0.5", "the bench has no such network"),
        ("10.0.1.5", "the bench has no such network"),
        ("10.0.0.255", "no host can have this address"),
        ("10.0.0.0", "no host can have this address"),
        ("10.0.0.1", "this is the director itself"),
    ],
)
def test_a_destination_that_the_bench_cannot_have_is_named(address: str, why: str) -> None:
    with pytest.raises(KernelUnavailable) as caught:
        job(CONFIG.replace("10.0.0.11", address))
    assert str(caught.value).startswith(f"replay with destination {address}: ")
    assert why in str(caught.value)
    assert str(caught.value).endswith("give destinations addresses in 10.0.0.0/24 or fd00::/64")


MARKS = (
    "iptables -t mangle -A PREROUTING -d 192.168.1.20 -p tcp --dport 80 -j MARK --set-mark 1",
    "ip route add local 198.18.0.0/24 dev lo",
    "ip rule add fwmark 1 lookup 100",
    "ip route add local 198.18.1.0/24 dev lo table 100",
)


def test_marks_are_made_before_the_services_and_their_single_addresses_are_the_directors() -> None:
    config = "ipvsadm -A -f 1 -s rr\nipvsadm -a -f 1 -r 10.0.0.11:0 -m -w 1\n"
    made = job(config, marks=read_marks("\n".join(MARKS)))
    setup = [" ".join(argv) for argv in made.setup]
    assert setup == [*MARKS, *config.splitlines()]
    assert made.vips == ("192.168.1.20",)
    assert marks_of(made) == read_marks("\n".join(MARKS))


def test_other_methods_and_options_are_set_up_as_they_were_given() -> None:
    config = f"ipvsadm -A -t {VIP}:80 -s rr -p 60\nipvsadm -a -t {VIP}:80 -r 10.0.0.11:80 -g -w 1 -x 9 -y 3\n"
    made = job(f"{config}ipvsadm -Z\nipvsadm --set 0 30 0\n")
    assert [" ".join(argv) for argv in made.setup] == [*config.splitlines(), "ipvsadm -Z", "ipvsadm --set 0 30 0"]


# facts: packet-path.md section 15: over NAT a local socket gets the packet at the destination's end, else at the
# virtual one, and from outside nothing gets to a loopback address over NAT.
@pytest.mark.parametrize(
    ("destination", "listening"),
    [
        (f"{VIP}:8080 -m", [f"tcp {VIP}:8080"]),
        (f"{VIP}:8080 -g", [f"tcp {VIP}:80"]),
        (f"{VIP}:8080 -i", [f"tcp {VIP}:80"]),
        ("127.0.0.1:8080 -m", []),
        ("127.0.0.1:8080 -g", [f"tcp {VIP}:80"]),
        ("10.0.0.12:8080 -m", []),
    ],
)
def test_programs_listen_where_the_directors_own_destinations_get_their_packets(
    destination: str, listening: list[str]
) -> None:
    made = job(f"{CONFIG}ipvsadm -a -t {VIP}:80 -r {destination}\n")
    assert list(made.listening) == listening
    assert made.servers == (("10.0.0.11",) if listening or "127" in destination else ("10.0.0.11", "10.0.0.12"))


def test_a_program_for_every_port_has_those_that_clients_ask_for() -> None:
    config = f"{CONFIG}ipvsadm -A -t {VIP}:0 -s rr -p 60\nipvsadm -a -t {VIP}:0 -r {VIP}:0 -m\n"
    trace = script.parse(f"{SCRIPT}30ms 198.51.100.1:1001 > {VIP}:443 tcp S\n")
    assert list(job(config, trace).listening) == [f"tcp {VIP}:80", f"tcp {VIP}:443"]


def test_a_client_on_the_director_is_a_program_that_listens() -> None:
    text = f"0s {VIP}:1001 > {VIP}:80 tcp S via=director\n1s {VIP}:80 > {VIP}:1001 tcp SA\n"
    made = job(trace=script.parse(text, director=[ip_address(VIP)]))
    assert [e.side for e in made.events if isinstance(e, Packet)] == [DIRECTOR, REPLY]
    assert made.listening == (f"tcp {VIP}:1001",)


def test_a_client_on_the_director_reaches_a_program_at_a_loopback_address() -> None:
    config = f"{CONFIG}ipvsadm -a -t {VIP}:80 -r 127.0.0.1:8080 -m\n"
    text = f"0s {VIP}:1001 > {VIP}:80 tcp S via=director\n"
    made = job(config, script.parse(text, director=[ip_address(VIP)]))
    assert made.listening == (f"tcp {VIP}:1001", "tcp 127.0.0.1:8080")


def test_a_client_on_the_director_cannot_be_one_of_sctp() -> None:
    text = f"0s {VIP}:1001 > {VIP}:80 sctp INIT via=director\n"
    with pytest.raises(KernelUnavailable, match=r"SCTP from the director itself, 192\.168\.1\.10:1001"):
        job(trace=script.parse(text, director=[ip_address(VIP)]))


def test_a_destination_that_becomes_the_director_only_later_is_named() -> None:
    later = TimedCommand(SECOND, parse_command("ipvsadm -A -t 10.0.0.11:80 -s rr"))
    with pytest.raises(KernelUnavailable, match="this is the director itself"):
        job(timeline=[later])
    assert job(f"{CONFIG}ipvsadm -A -t 10.0.0.11:80 -s rr\n", NOTHING).listening == ("tcp 10.0.0.11:8080",)


def test_direct_routing_over_ipv6_to_the_director_is_not_tried() -> None:
    config = "-A -t [2001:db8::10]:80 -s rr\n-a -t [2001:db8::10]:80 -r [2001:db8::10]:80 {}\n"
    assert job(config.format("-i"), NOTHING).listening == ("tcp [2001:db8::10]:80",)
    with pytest.raises(KernelUnavailable, match="never lets go of the bench's network; send its packets over NAT"):
        job(config.format("-g"), NOTHING)


@pytest.mark.parametrize("service", ["--sctp-service 192.168.1.10:80", "-f 1"])
def test_a_program_that_the_bench_cannot_have_is_named(service: str) -> None:
    with pytest.raises(KernelUnavailable, match="listens on the bench's director has a port of TCP or UDP"):
        job(f"{CONFIG}ipvsadm -A {service} -s rr\nipvsadm -a {service} -r {VIP}:80 -m\n")


def test_a_packet_of_a_real_server_that_is_no_destination_is_named() -> None:
    trace = script.parse(f"{SCRIPT}30ms 10.0.0.77:8080 > 198.51.100.1:1001 tcp A\n")
    with pytest.raises(KernelUnavailable) as caught:
        job(trace=trace)
    assert str(caught.value) == (
        "replay of the packet that the real server 10.0.0.77 sends at 0.03s: it is no destination of any service, "
        "so the bench has no wire for it; make it a destination"
    )
    assert len(job(trace=trace, until=20_000_000).events) == 5


@pytest.mark.parametrize(("payload", "fits"), [(1460, True), (1461, False)])
def test_a_packet_that_is_too_long_for_the_bench_is_named(payload: int, fits: bool) -> None:
    trace = script.parse(f"{SCRIPT}30ms 198.51.100.1:1001 > {VIP}:80 tcp A len={payload}\n")
    if fits:
        assert len(job(trace=trace).events) == 6
        return
    with pytest.raises(KernelUnavailable) as caught:
        job(trace=trace)
    assert str(caught.value) == (
        "replay of the packet at 0.03s, 1,501 bytes long: the bench's wires carry 1,500; "
        "if it is from a capture made on a host, capture with its card's offloads (TSO, GRO) switched off"
    )


def test_a_captured_packet_goes_out_byte_for_byte(tmp_path: Path) -> None:
    packet = IP(src="198.51.100.1", dst=VIP, id=77, ttl=55) / TCP(sport=1001, dport=80, flags="S", window=1234)
    assert [one.content for one in captured(tmp_path, packet)] == [bytes(packet)]


def test_a_captured_packet_of_another_end_goes_to_the_service(tmp_path: Path) -> None:
    there = TCP(sport=1001, dport=8000, flags="S")
    here = TCP(sport=1001, dport=80, flags="S")
    (sent,) = captured(tmp_path, IP(src="198.51.100.1", dst="127.0.0.1") / there, mapped="127.0.0.1")
    assert sent.content == bytes(IP(src="198.51.100.1", dst=VIP) / here)


# 40 bytes of headers are kept of 140; scapy computes the checksums of the same packet with zeros
@pytest.mark.parametrize(
    "header",
    [TCP(sport=1001, dport=80, flags="PA", seq=7), UDP(sport=1001, dport=53)],
)
def test_a_packet_that_was_captured_in_part_has_its_true_length(tmp_path: Path, header: ScapyPacket) -> None:
    ends = IP(src="198.51.100.1", dst=VIP, id=77)
    whole = ends / header / Raw(bytes(range(101)))
    (sent,) = captured(tmp_path, whole, snaplen=40)
    assert len(sent.content) == len(whole)
    kept = 40 - 20 - (20 if header.name == "TCP" else 8)  # bytes of the payload
    assert sent.content == bytes(ends / header / Raw(bytes(range(kept)).ljust(101, b"\0")))


def test_a_udp_checksum_of_zero_stays_zero_in_a_part_of_a_packet(tmp_path: Path) -> None:
    packet = IP(src="198.51.100.1", dst=VIP) / UDP(sport=1001, dport=53, chksum=0) / Raw(bytes(50))
    assert [one.content for one in captured(tmp_path, packet, snaplen=30)] == [bytes(packet)]


def test_of_a_fragment_that_was_captured_in_part_the_length_is_right_and_the_rest_zeros(tmp_path: Path) -> None:
    packet = IP(src="198.51.100.1", dst=VIP, flags="MF") / UDP(sport=1001, dport=53, chksum=77, len=900) / bytes(72)
    assert [one.content for one in captured(tmp_path, packet, snaplen=60)] == [bytes(packet)]


def test_a_captured_udp_checksum_of_zero_stays_zero(tmp_path: Path) -> None:
    packet = IP(src="198.51.100.1", dst=VIP) / UDP(sport=1001, dport=53, chksum=0) / b"ab"
    assert [one.content for one in captured(tmp_path, packet)] == [bytes(packet)]
