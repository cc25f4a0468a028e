"""/proc/net/ip_vs*. Expected values: what the real kernel showed (tests/captures), and facts written beside."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from lbsim.listing import proc_conns, proc_conns_sync, proc_services, proc_stats, proc_stats_percpu
from lbsim.model.config import DestId, Persistence, ServiceId, format_endpoint
from lbsim.model.listing import ListedDest, ListedService, Rates
from lbsim.model.result import ConnRow, Counters
from tests.captured import Run, runs


def of(name: str, file: str) -> list[Run]:
    return [run for run in runs(name) if run.command == f"cat /proc/net/{file}"]


def end(address: str, port: str) -> str:
    known = IPv6Address(address) if ":" in address else IPv4Address(int(address, 16))
    return format_endpoint(known, int(port, 16))


def entry(line: str) -> ConnRow:
    protocol, *ends, state, expires = line.split()
    client, virtual, destination = (end(*ends[at : at + 2]) for at in (0, 2, 4))
    return ConnRow(protocol, client, virtual, destination, state, int(expires))


@pytest.mark.parametrize("run", [*of("traffic", "ip_vs_conn"), *of("fwmark-port0-traffic", "ip_vs_conn")])
def test_entries_are_printed_as_by_the_real_kernel(run: Run) -> None:
    assert len(run.out) > 1
    assert proc_conns(map(entry, run.out[1:])).splitlines() == run.out


def test_services_are_printed_as_by_the_real_kernel() -> None:
    # facts: packet-path.md section 19.3
    dest = ListedDest(DestId.parse("10.0.0.11:8080"), "masq", 1, active=1)
    wide = ListedDest(DestId.parse("[fd00::11]:80"), "tunnel", 2, inactive=3)
    services = [
        ListedService(ServiceId.parse("tcp 192.168.1.10:80"), "rr", dests=(dest,)),
        ListedService(ServiceId.parse("udp 192.168.1.10:54"), "rr", (), Persistence(20), one_packet=True),
        ListedService(ServiceId.parse("tcp [2001:db8:1::10]:82"), "rr", one_packet=True, dests=(wide,)),
        ListedService(ServiceId.parse("fwm 1"), "rr", one_packet=True),
        ListedService(ServiceId.parse("fwm 70000 ipv6"), "lc", (), Persistence(50, 64)),
    ]
    assert proc_services(services, 250).splitlines()[3:] == [
        "TCP  C0A8010A:0050 rr  ",
        "  -> 0A00000B:1F90      Masq    1      1          0         ",
        "UDP  C0A8010A:0036 rr ops  persistent 5000 FFFFFFFF",
        "TCP  [2001:0db8:0001:0000:0000:0000:0000:0010]:0052 rr ",
        "  -> [fd00:0000:0000:0000:0000:0000:0000:0011]:0050      Tunnel  2      0          3         ",
        "FWM  00000001 rr ops ",
        "FWM  00011170 lc persistent 12500 40000000",
    ]


@pytest.mark.parametrize("run", of("traffic", "ip_vs_stats"))
def test_totals_are_printed_as_by_the_real_kernel(run: Run) -> None:
    total, rates = ([int(word, 16) for word in run.out[at].split()] for at in (2, 5))
    assert proc_stats(Counters(*total), Rates(*rates)).splitlines() == run.out


@pytest.mark.parametrize("run", of("traffic", "ip_vs_conn_sync"))
def test_entries_with_their_origin_are_printed_as_by_the_real_kernel(run: Run) -> None:
    assert len(run.out) > 1
    rows = [entry(line.replace(" LOCAL ", " ")) for line in run.out[1:]]
    assert proc_conns_sync(rows).splitlines() == run.out


def test_the_counters_of_a_processor_are_printed_as_by_the_real_kernel() -> None:
    # 6.1.192, one processor: seven seconds after two packets
    seen = Counters(2, 2, 0, 0x5B, 0)
    assert proc_stats_percpu(seen, seen, Rates(0, 0, 0, 5, 0)).splitlines() == [
        "       Total Incoming Outgoing         Incoming         Outgoing",
        "CPU    Conns  Packets  Packets            Bytes            Bytes",
        "  0        2        2        0               5B                0",
        "  ~        2        2        0               5B                0",
        "",
        "     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s",
        "           0        0        0                5                0",
    ]
