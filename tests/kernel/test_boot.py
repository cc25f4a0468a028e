"""Real kernels under QEMU: what comes back is what left the director, compared with packets that scapy makes."""

from __future__ import annotations

import re

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from lbsim.engine.profile import TAKEN, refused_value
from lbsim.errors import KernelUnavailable
from lbsim.kernel import images, vm
from lbsim.kernel.images import Image
from lbsim.kernel.job import Command, CommandSeen, Job, Observation, Packet, PacketSeen, Show, ShowSeen, server
from lbsim.kernel.seen import comparable
from lbsim.packet.headers import parse

pytestmark = pytest.mark.kernel

SECOND = 10**9
VIP, CLIENT = "192.168.1.10", "198.51.100.1"
ADD = ("ipvsadm", "-A", "-t", f"{VIP}:80", "-s", "rr")
DESTS = tuple(("ipvsadm", "-a", "-t", f"{VIP}:80", "-r", f"10.0.0.{n}:8080", "-m") for n in (11, 12))
MASQUERADE = ("iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "eth0", "-j", "MASQUERADE")


def request(sport: int, flags: str = "S", dport: int = 80) -> bytes:
    return bytes(IP(src=CLIENT, dst=VIP, id=7) / TCP(sport=sport, dport=dport, flags=flags, seq=1000))


def answer(sport: int) -> bytes:
    return bytes(IP(src=VIP, dst=CLIENT, id=8) / TCP(sport=80, dport=sport, flags="SA", seq=5, ack=1001))


def query(**ends: str | int) -> bytes:
    ports = {name: ends.pop(name) for name in ("sport", "dport")}
    return bytes(IPv6(hlim=9, tc=4, fl=77, **ends) / UDP(**ports) / b"a")


#: Each tunable with values around the limits of some.
TUNED = [
    (name, value)
    for name in TAKEN
    for value in (-(2**31), -8589935, -8589934, -1, 0, 1, 2, 3, 4, 6, 49, 50, 8589934, 8589935, 2**30, 2**31 - 1)
]

JOBS = (
    Job(
        "nat", (VIP,), ("10.0.0.11", "10.0.0.12"), (ADD, *DESTS), (),
        (
            Packet(1 * SECOND, 1, "c", request(40001)),
            Packet(1 * SECOND + 20_000_000, 2, "c", request(40002)),
            Packet(2 * SECOND, 1, "reply", answer(40001)),
            Packet(2 * SECOND + 20_000_000, 3, "reply", answer(40003)),
            Packet(2 * SECOND + 40_000_000, 1, "c", request(40001, "A")),
            Show(3 * SECOND),
            Show(10 * SECOND, stats=True),
            Command(11 * SECOND, ADD),
            Show(899 * SECOND),
            Show(920 * SECOND),
        ),
    ),
    Job("own answers", (VIP,), ("10.0.0.11",), (ADD,), (), (
        Packet(SECOND, 1, "c", request(40001, dport=81)),
        Packet(2 * SECOND, 2, "c", request(40001)),
    )),
    Job("ipv6", ("2001:db8:1::10",), ("fd00::11",), (
        ("ipvsadm", "-A", "-u", "[2001:db8:1::10]:53", "-s", "sh"),
        ("ipvsadm", "-a", "-u", "[2001:db8:1::10]:53", "-r", "[fd00::11]:5353", "-m"),
    ), (), (
        Packet(SECOND, 1, "c", bytes(IPv6(src="2001:db8:9::1", dst="2001:db8:1::10") / UDP(sport=9, dport=53) / b"a")),
    )),
    Job("masquerade", (VIP,), ("10.0.0.11",), (MASQUERADE,), (), (
        Packet(SECOND, 1, server("10.0.0.11"), bytes(IP(src="10.0.0.11", dst=CLIENT) / UDP(sport=99, dport=7))),
    )),
    Job("programs", (VIP, "2001:db8:1::10"), (), (
        ADD, ("ipvsadm", "-a", "-t", f"{VIP}:80", "-r", f"{VIP}:8080", "-m"),
        ("ipvsadm", "-A", "-u", "[2001:db8:1::10]:53", "-s", "rr"),
        ("ipvsadm", "-a", "-u", "[2001:db8:1::10]:53", "-r", "[2001:db8:1::10]:53", "-i"),
    ), (), (
        Packet(1 * SECOND, 1, "c", request(40001)),
        Packet(2 * SECOND, 1, "reply", answer(40001)),
        Packet(3 * SECOND, 2, "c", query(dst="2001:db8:1::10", src="2001:db8:9::1", sport=9, dport=53)),
        Packet(4 * SECOND, 2, "reply", query(src="2001:db8:1::10", dst="2001:db8:9::1", sport=53, dport=9)),
        Packet(5 * SECOND, 3, "c", request(40002, "A", dport=8080)),
    ), listening=(f"tcp {VIP}:8080", "udp [2001:db8:1::10]:53")),
    Job("tunables", (VIP,), (), tuple(
        ("ipvsadm", "-A", "-t", f"{VIP}:{port}", "-s", scheduler) for port, scheduler in ((80, "lblc"), (81, "lblcr"))
    ), (), tuple(
        Command(i * 10_000_000, ("sysctl", f"net.ipv4.vs.{name}={value}")) for i, (name, value) in enumerate(TUNED)
    )),
    Job("bad sysctl", (), (), (), (("net.ipv4.vs.nonsense", "1"),)),
    Job("bad command", (), (), (("ipvsadm", "-A", "-t", "nonsense"), ("; reboot",)), (), (Show(0),)),
)  # fmt: skip


#: A kernel gives the error that goes on here a random id, so no two boots see the same.
TOLD_ITSELF = tuple(
    Job(f"told itself, {vip}", (vip.strip("[]"),), (server.strip("[]"),), (
        ("ipvsadm", "-A", "-t", f"{vip}:80", "-s", "rr"),
        ("ipvsadm", "-a", "-t", f"{vip}:80", "-r", f"{vip}:80", "-m", "-w", "0"),
        ("ipvsadm", "-a", "-t", f"{vip}:80", "-r", f"{server}:80", "-m"),
    ), (("net.ipv4.vs.nat_icmp_send", "1"), ("net.ipv4.vs.schedule_icmp", "1")), (
        Packet(1 * SECOND, 1, "c", bytes(ends / TCP(sport=1001, dport=80, flags="A"))),
        Packet(2 * SECOND, 1, "reply", bytes(back / TCP(sport=80, dport=1001, flags="A"))),
    ), listening=(f"tcp {vip}:80",))
    for vip, server, ends, back in (
        (VIP, "10.0.0.11", IP(src=CLIENT, dst=VIP), IP(src=VIP, dst=CLIENT)),
        ("[2001:db8:1::10]", "[fd00::11]", IPv6(src="2001:db8:9::1", dst="2001:db8:1::10"),
         IPv6(src="2001:db8:1::10", dst="2001:db8:9::1")),
    )
)  # fmt: skip


@pytest.fixture(scope="module", params=list(images.SERIES))
def image(request: pytest.FixtureRequest) -> Image:
    return images.fetch(request.param)


@pytest.fixture(scope="module")
def seen(image: Image) -> dict[str, Observation]:
    return {observation.name: observation for observation in vm.run(image, (*JOBS, *TOLD_ITSELF))}


@pytest.fixture(scope="module")
def seen_in_netns(image: Image) -> dict[str, Observation]:
    """By the way ``netns``: the guest stands for a host that has ``ip_vs``."""
    jobs = [job for job in JOBS if job.name != "bad command"]  # a host does not run just any program
    return {observation.name: observation for observation in vm.run(image, jobs, as_host=True)}


def packet(observation: Observation, index: int) -> PacketSeen:
    row = observation.events[index]
    assert isinstance(row, PacketSeen)
    return row


def show(observation: Observation, index: int) -> ShowSeen:
    row = observation.events[index]
    assert isinstance(row, ShowSeen)
    return row


# Debian's kernels say in their build line which upstream version they are: Image.release is that of uname -r.
def test_the_release_is_the_upstream_version(seen: dict[str, Observation], image: Image) -> None:
    (release,) = {observation.release for observation in seen.values()}
    assert re.fullmatch(re.escape(image.series) + r"\.\d+", release)


def test_requests_reach_the_servers_in_rr_order_with_addresses_rewritten(seen: dict[str, Observation]) -> None:
    for index, sport, address in ((0, 40001, "10.0.0.12"), (1, 40002, "10.0.0.11")):
        (arrival,) = packet(seen["nat"], index).arrivals
        tcp = TCP(sport=sport, dport=8080, flags="S", seq=1000)
        assert arrival.where == server(address)
        assert arrival.content == bytes(IP(src=CLIENT, dst=address, id=7, ttl=63) / tcp)


def test_a_reply_is_sent_by_the_server_that_got_the_request(seen: dict[str, Observation]) -> None:
    reply = packet(seen["nat"], 2)
    tcp = TCP(sport=8080, dport=40001, flags="SA", seq=5, ack=1001)
    assert reply.sent == bytes(IP(src="10.0.0.12", dst=CLIENT, id=8) / tcp)
    (arrival,) = reply.arrivals
    assert arrival.where == "c"
    tcp = TCP(sport=80, dport=40001, flags="SA", seq=5, ack=1001)
    assert arrival.content == bytes(IP(src=VIP, dst=CLIENT, id=8, ttl=63) / tcp)


def test_a_program_on_the_director_gets_and_sends_packets_that_are_not_routed(seen: dict[str, Observation]) -> None:
    got, sent, got6, sent6, untouched = (packet(seen["programs"], i) for i in range(5))
    assert [arrival.content for arrival in got.arrivals] == [request(40001, dport=8080)]
    assert [arrival.content for arrival in sent.arrivals] == [answer(40001)]
    asked = query(dst="2001:db8:1::10", src="2001:db8:9::1", sport=9, dport=53)
    assert [arrival.content for arrival in got6.arrivals] == [asked]
    assert [arrival.content for arrival in sent6.arrivals] == [sent6.sent]
    assert [arrival.content for arrival in untouched.arrivals] == [request(40002, "A", dport=8080)]
    places = [[arrival.where for arrival in row.arrivals] for row in (got, sent, got6, sent6, untouched)]
    assert places == [["d"], ["c"], ["d"], ["c"], ["d"]]


# why the engine says told_itself and no more: who gets the error is scheduled
@pytest.mark.parametrize(("vip", "server_of", "proto"), [(VIP, "10.0.0.11", 1), ("[2001:db8:1::10]", "fd00::11", 58)])
def test_the_error_about_a_refused_answer_of_the_director_itself_opens_a_connection(
    seen: dict[str, Observation], vip: str, server_of: str, proto: int
) -> None:
    got, refused = (packet(seen[f"told itself, {vip}"], i).arrivals for i in range(2))
    assert [arrival.where for arrival in got] == ["d"]
    (error,) = refused
    headers = parse(error.content)
    assert (error.where, headers and headers.proto) == (server(server_of), proto)


def test_a_kernel_takes_the_values_of_tunables_that_the_engine_says(seen: dict[str, Observation], image: Image) -> None:
    rows = [row for row in seen["tunables"].events if isinstance(row, CommandSeen)]
    there = [pair for pair in zip(TUNED, rows, strict=True) if pair[0][0] != "est_nice" or image.series != "6.1"]
    refusals = {f"{name}={value}": refused_value(name, value) for (name, value), _ in there}
    taken = {at for at, refusal in refusals.items() if not refusal or "is not modelled" in refusal}
    assert {f"{name}={value}" for (name, value), row in there if row.status == 0} == taken


def test_a_reply_without_a_request_is_not_sent(seen: dict[str, Observation]) -> None:
    assert packet(seen["nat"], 3).sent == b""


def test_a_command_that_fails_says_so_and_the_run_goes_on(seen: dict[str, Observation]) -> None:
    row = seen["nat"].events[7]
    assert isinstance(row, CommandSeen)
    assert row.status != 0
    assert "already exists" in row.output


def test_packets_leave_within_a_tenth_of_a_millisecond(seen: dict[str, Observation]) -> None:
    assert seen["nat"].late < 100_000


def test_counters_are_those_of_all_packets(seen: dict[str, Observation]) -> None:
    row = show(seen["nat"], 6).stats.splitlines()[3].split()
    assert row == ["TCP", f"{VIP}:80", "2", "3", "1", "120", "40"]


def test_an_idle_connection_is_there_at_899_s_and_gone_at_920_s(seen: dict[str, Observation]) -> None:
    assert "9C41 C0A8010A 0050 0A00000C 1F90 ESTABLISHED" in show(seen["nat"], 8).conns
    assert show(seen["nat"], 9).conns.count("\n") == 1


def test_the_directors_own_reset_carries_a_finished_checksum(seen: dict[str, Observation]) -> None:
    (arrival,) = packet(seen["own answers"], 0).arrivals
    reset = IP(arrival.content)
    assert reset[TCP].flags == "RA"
    found = reset[TCP].chksum
    del reset[TCP].chksum
    assert IP(bytes(reset))[TCP].chksum == found


def test_a_service_without_servers_answers_port_unreachable(seen: dict[str, Observation]) -> None:
    (arrival,) = packet(seen["own answers"], 1).arrivals
    assert (IP(arrival.content)[ICMP].type, IP(arrival.content)[ICMP].code) == (3, 3)


def test_ipv6_is_balanced_too(seen: dict[str, Observation]) -> None:
    (arrival,) = packet(seen["ipv6"], 0).arrivals
    udp = UDP(sport=9, dport=5353) / b"a"
    assert arrival.where == server("fd00::11")
    assert arrival.content == bytes(IPv6(src="2001:db8:9::1", dst="fd00::11", hlim=63) / udp)


def test_iptables_masquerades(seen: dict[str, Observation]) -> None:
    (arrival,) = packet(seen["masquerade"], 0).arrivals
    assert IP(arrival.content).src == "192.168.1.1"


def test_a_job_that_cannot_be_set_up_says_why_and_costs_the_others_nothing(seen: dict[str, Observation]) -> None:
    assert "net/ipv4/vs/nonsense" in seen["bad sysctl"].error
    assert [name for name, observation in seen.items() if observation.error] == ["bad sysctl"]


def test_a_command_is_never_read_by_a_shell(seen: dict[str, Observation]) -> None:
    assert seen["bad command"].setup[1].status == 127
    assert len(seen["bad command"].events) == 1


def test_every_job_begins_at_the_same_phase_of_the_timer_wheel(seen: dict[str, Observation]) -> None:
    assert {observation.jiffies % 4096 for observation in seen.values() if not observation.error} == {0}


def test_the_way_netns_sees_the_same(seen: dict[str, Observation], seen_in_netns: dict[str, Observation]) -> None:
    for name, observation in seen_in_netns.items():
        assert _arrived(observation) == _arrived(seen[name])
        assert _states(observation) == _states(seen[name])
        assert observation.error == seen[name].error


def test_the_way_netns_refuses_programs_that_no_director_needs(image: Image) -> None:
    with pytest.raises(KernelUnavailable, match=r"the guest panicked.*not run on a host: ; reboot"):
        vm.run(image, [job for job in JOBS if job.name == "bad command"], as_host=True)


def test_a_second_boot_sees_the_same(image: Image, seen: dict[str, Observation]) -> None:
    (again,) = vm.run(image, JOBS[:1])
    assert _arrived(again) == _arrived(seen["nat"])
    assert _connections(again) == _connections(seen["nat"])


def _arrived(observation: Observation) -> list[tuple[str, bytes]]:
    return [comparable(arrival) for row in observation.events for arrival in row.arrivals]


def _connections(observation: Observation) -> list[list[str]]:
    """The connection tables; their order follows a random seed of the boot."""
    return [sorted(row.conns.splitlines()) for row in observation.events if isinstance(row, ShowSeen)]


def _states(observation: Observation) -> list[list[str]]:
    """The connection tables without the seconds left, which hang on the tick at which a job begins."""
    return [[row.rsplit(maxsplit=1)[0] for row in table] for table in _connections(observation)]
