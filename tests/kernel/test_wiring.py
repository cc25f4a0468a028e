"""What is asked for beforehand is what a guest asks for: it is booted without anything that could make messages."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from lbsim.kernel import frozen, images, initramfs, vm, wiring
from lbsim.kernel.cpio import File, archive
from lbsim.kernel.job import Job, Packet, server
from lbsim.kernel.netlink import collected

VIP, WIDE, CLIENT = "192.168.1.10", "2001:db8:1::10", "203.0.113.1"
SERVERS = ("10.0.0.11", "10.0.0.12", "10.0.0.13")
MARKED = (
    "iptables",
    "-t",
    "mangle",
    "-A",
    "PREROUTING",
    "-d",
    "192.0.2.0/24",
    "-p",
    "tcp",
    "-j",
    "MARK",
    "--set-mark",
    "7",
)
INIT = """#!/bin/python3 -S
import sys
sys.modules["pyroute2"] = None
from lbsim.kernel.agent import main
main()
"""


def service(kind: str, of: str, *servers: str) -> tuple[tuple[str, ...], ...]:
    dests = (("ipvsadm", "-a", kind, of, "-r", one, "-m") for one in servers)
    return ("ipvsadm", "-A", kind, of, "-s", "rr"), *dests


def syn(target: str) -> bytes:
    ip = IPv6(src="2001:db8:9::1", dst=target) if ":" in target else IP(src=CLIENT, dst=target)
    return bytes(ip / TCP(sport=40001, dport=80, flags="S"))


JOBS = (
    Job("one", (VIP,), SERVERS[:1], service("-t", f"{VIP}:80", *SERVERS[:1]), (), (Packet(0, 1, "c", syn(VIP)),)),
    Job("three", (VIP, "192.168.1.20"), SERVERS, service("-t", f"{VIP}:80", *SERVERS), (), (
        Packet(0, 1, "c", syn(VIP)),
    )),
    Job("wide", (WIDE, VIP), (*SERVERS[:1], "fd00::11"), service("-t", f"[{WIDE}]:80", "[fd00::11]:80"), (), (
        Packet(0, 1, "c", syn(WIDE)),
    )),
    Job("narrow", (VIP, WIDE), (*SERVERS[:1], "fd00::11"), service("-t", f"[{WIDE}]:80", "[fd00::11]:80"), (), (
        Packet(0, 1, "c", syn(WIDE)),
    ), mtu=(("0.0.0.0/0", 1400), ("10.0.0.0/24", 1300), ("fd00::11/128", 1280), ("2001:db8:9::/64", 1350))),
    Job("marked", (), SERVERS[:2], (
        MARKED, ("ip", "rule", "add", "fwmark", "7", "lookup", "100"),
        ("ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo", "table", "100"),
        *service("-f", "7", *SERVERS[:2]),
    ), (), (Packet(0, 1, "c", syn("192.0.2.80")),)),
    Job("local", (), SERVERS[:1], (
        ("ip", "route", "add", "local", "192.0.2.0/24", "dev", "lo"), *service("-t", "192.0.2.80:80", *SERVERS[:1]),
    ), (), (Packet(0, 1, "c", syn("192.0.2.80")),)),
)  # fmt: skip


@pytest.mark.kernel
@pytest.mark.parametrize("series", images.SERIES)
def test_a_guest_needs_no_other_messages(series: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    booted = tmp_path / "without.cpio"
    usual = initramfs.base(images.fetch(series))
    booted.write_bytes(usual.read_bytes() + archive({"init": File(INIT.encode(), executable=True)}))
    monkeypatch.setattr(initramfs, "base", lambda _image, programs: booted)
    monkeypatch.setattr(frozen, "kept", lambda *_: None)  # a guest that is not to be kept
    seen = vm.run(images.fetch(series), [*JOBS, *JOBS])  # again: what the first left behind changes no number
    assert [(one.name, one.error) for one in seen] == [(job.name, "") for job in (*JOBS, *JOBS)]
    for job, one in zip((*JOBS, *JOBS), seen, strict=True):
        assert [arrival.where for arrival in one.events[0].arrivals] == [server(job.servers[-1])], job.name


def test_each_message_is_there_once_however_many_jobs_need_it() -> None:
    assert wiring.messages_for([JOBS[0], JOBS[0]]) == wiring.messages_for([JOBS[0]])
    both = wiring.messages_for(JOBS[:2])
    assert both == wiring.messages_for([JOBS[0]]) | wiring.messages_for([JOBS[1]])


def test_the_route_to_a_network_has_the_mtu_of_the_smallest_network_around_it() -> None:
    mtu = (("10.0.0.0/8", 1400), ("10.0.0.0/24", 1300), ("10.0.0.11/32", 1200), ("fd00::/64", 1280))
    network = wiring.Network((), (), mtu)
    asked = ("10.0.0.11/32", "10.0.0.12/32", "10.0.0.0/16", "fd00::1/128")
    assert [network.metrics(to)["metrics"]["mtu"] for to in asked] == [1200, 1300, 1400, 1280]
    assert network.metrics("0.0.0.0/0") == network.metrics("2001:db8::/32") == {}


def test_what_another_line_of_ip_does_is_not_asked_for() -> None:
    with collected() as (ask, messages):
        assert not wiring.route_to_director(ask, ["ip", "rule", "del", "fwmark", "7"])
        assert wiring.route_to_director(ask, ["ip", "rule", "add", "fwmark", "7", "lookup", "100"])
    families = [int(socket.AF_INET), int(socket.AF_INET6)]
    assert [message[16] for message in messages.values()] == families  # behind the header: the rule's family
