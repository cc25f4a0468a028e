"""The texts of the real tools, read back; the literals are those of the fact sheets' formats."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import IPv6

from lbsim.kernel.job import Arrival, CommandSeen, Observation, PacketSeen, ShowSeen
from lbsim.kernel.seen import (
    Step,
    comparable,
    conn_rows,
    listed,
    listing_of,
    options_of,
    profile_of,
    series_of,
    steps_of,
    without_picks,
)
from lbsim.model.config import Persistence
from lbsim.model.result import ConnRow, Counters, ServiceOptions

LISTING = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  192.168.1.10:80 sh (sh-fallback,sh-port)
  -> 10.0.0.11:8080               Masq    1      2          30       \x20
  -> 10.0.0.12:8080               Masq    0      0          0        \x20
UDP  192.168.1.10:53 rr
TCP  [2001:db8:1::10]:80 lc
  -> [fd00::11]:80                Masq    100    1          0        \x20
"""
STATS = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  192.168.1.10:80                     3       12        9      624 123456789
  -> 10.0.0.11:8080                      3       12        9      624 123456789
"""
CONNS = """\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
UDP C6336401 9C42 C0A8010A 0035 0A00000C 14E9 UDP             299
TCP C6336401 9C41 C0A8010A 0050 0A00000B 1F90 ESTABLISHED     899
"""
CONNS_IPV6 = (
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
    "TCP 2001:0db8:0000:0000:0000:0000:0000:0001 9C41 2001:0db8:0001:0000:0000:0000:0000:0010 0050 "
    "fd00:0000:0000:0000:0000:0000:0000:0011 1F90 SYN_RECV         59\n"
)
HTTP, DNS, HTTP6 = "tcp 192.168.1.10:80", "udp 192.168.1.10:53", "tcp [2001:db8:1::10]:80"
ERROR = IP(src="192.168.1.10", dst="198.51.100.1", ttl=64, id=4711) / ICMP(type=3, code=3) / (b"x" * 28)


def test_services_have_their_scheduler_and_flags() -> None:
    assert listing_of(ShowSeen(0, 0, LISTING, "", "")).services == {
        HTTP: ("sh", ("sh-fallback", "sh-port")),
        DNS: ("rr", ()),
        HTTP6: ("lc", ()),
    }


def test_destinations_have_weight_active_and_inactive_connections() -> None:
    assert listing_of(ShowSeen(0, 0, LISTING, "", "")).dests == {
        (HTTP, "10.0.0.11:8080"): (1, 2, 30),
        (HTTP, "10.0.0.12:8080"): (0, 0, 0),
        (HTTP6, "[fd00::11]:80"): (100, 1, 0),
    }


ODD = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  192.168.1.10:80 sh () persistent 600 mask 255.255.255.0
  -> 10.0.0.11:80                 Route   1      2          3        \x20
FWM  -1 wrr persistent 360 ops
  -> 10.0.0.12:0                  Tunnel  4      0          0        \x20
FWM  6 IPv6 mh (mh-port)
"""
ODD_STATS = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
FWM  -1                                  1        2        3        4        5
  -> 10.0.0.12:0                         1        2        3        4        5
FWM  6 IPv6                              0        0        0        0        0
"""


def test_services_by_mark_and_persistent_ones_and_other_methods_are_read() -> None:
    odd = listing_of(ShowSeen(0, 0, ODD, ODD_STATS, ""))
    first, second, third = "tcp 192.168.1.10:80", "fwm 4294967295", "fwm 6 ipv6"
    assert odd.services == {first: ("sh", ()), second: ("wrr", ()), third: ("mh", ("mh-port",))}
    assert odd.dests == {(first, "10.0.0.11:80"): (1, 2, 3), (second, "10.0.0.12:0"): (4, 0, 0)}
    assert odd.options == {
        first: "persistent 600 mask 255.255.255.0",
        (first, "10.0.0.11:80"): "Route",
        second: "persistent 360 ops",
        (second, "10.0.0.12:0"): "Tunnel",
        third: "",
    }
    row = Counters(1, 2, 3, 4, 5)
    assert odd.counters == {(second, ""): row, (second, "10.0.0.12:0"): row, (third, ""): Counters()}


def test_an_empty_table_has_no_rows() -> None:
    head = "".join(f"{line}\n" for line in LISTING.splitlines()[:3])
    seen = listing_of(ShowSeen(0, 0, head, "", CONNS.splitlines()[0]))
    assert (seen.services, seen.dests, seen.conns) == ({}, {}, ())


def test_counters_are_those_of_services_and_of_destinations() -> None:
    counters = listing_of(ShowSeen(0, 0, LISTING, STATS, "")).counters
    row = Counters(3, 12, 9, 624, 123_456_789)
    assert counters == {(HTTP, ""): row, (HTTP, "10.0.0.11:8080"): row}


def test_counters_that_were_not_asked_for_are_none() -> None:
    assert listing_of(ShowSeen(0, 0, LISTING, "", "")).counters is None


def test_entries_are_sorted_and_their_hexadecimal_ends_read() -> None:
    assert conn_rows(CONNS) == (
        ConnRow("TCP", "198.51.100.1:40001", "192.168.1.10:80", "10.0.0.11:8080", "ESTABLISHED", 899),
        ConnRow("UDP", "198.51.100.1:40002", "192.168.1.10:53", "10.0.0.12:5353", "UDP", 299),
    )


def test_ipv6_entries_are_read() -> None:
    assert conn_rows(CONNS_IPV6) == (
        ConnRow("TCP", "[2001:db8::1]:40001", "[2001:db8:1::10]:80", "[fd00::11]:8080", "SYN_RECV", 59),
    )


@pytest.mark.parametrize("name", ["PEName PEData", "sip callid"])
def test_what_a_persistence_engine_adds_does_not_matter(name: str) -> None:
    assert len(conn_rows(CONNS.replace("     899\n", f"     899 {name}\n"))) == 2


def test_destinations_keep_their_order() -> None:
    turned = "".join(f"{LISTING.splitlines()[i]}\n" for i in (0, 1, 2, 3, 5, 4))
    assert list(listing_of(ShowSeen(0, 0, turned, "", "")).dests) == [
        (HTTP, "10.0.0.12:8080"),
        (HTTP, "10.0.0.11:8080"),
    ]


# as numbers: 9 < 10 < 100, and 10.0.0.2 < 10.0.0.10
def test_entries_are_in_the_order_of_their_ends_as_numbers() -> None:
    rows = [f"TCP {client:08X} {port:04X} C0A8010A 0050 0A00000B 0050 SYN_RECV 59" for client, port in (
        (0x0A00000A, 9), (0x0A000002, 100), (0x0A000002, 9), (0x0A000002, 10)
    )]  # fmt: skip
    assert [row.client for row in conn_rows("\n".join(["head", *rows]))] == [
        "10.0.0.2:9", "10.0.0.2:10", "10.0.0.2:100", "10.0.0.10:9"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("release", "series", "profile"),
    [
        ("6.1.192", "6.1", "linux-6.1.192"),
        ("6.12.117+deb12-cloud-amd64", "6.12", "linux-6.12.117"),
        ("6.9.3", "6.9", "linux-6.1.192"),
    ],
)
def test_a_release_has_a_series_and_a_profile_that_answers_for_it(release: str, series: str, profile: str) -> None:
    assert (series_of(release), profile_of(release)) == (series, profile)


def test_each_event_becomes_a_step() -> None:
    seen = (
        PacketSeen(1, (Arrival("c", b"\x00", 2),)),
        CommandSeen(3, ("ipvsadm",), 2, "No such\n  service\n"),
        ShowSeen(4, 4, LISTING, "", CONNS),
    )
    packet, command, show = steps_of(Observation("j", "6.1.0", events=seen))
    assert (packet, command) == (Step(1, (("c", b"\x00"),)), Step(3, answer=(2, "No such service")))
    assert show.listing
    assert len(show.listing.conns) == 2


def changed(number: int) -> bytes:
    error = ERROR.copy()
    error.id = number
    return bytes(error)


def test_the_random_id_of_the_directors_own_error_does_not_count() -> None:
    assert comparable(Arrival("c", changed(1), 0)) == comparable(Arrival("c", changed(2), 0))


def test_every_other_byte_of_the_directors_own_error_counts() -> None:
    one = bytearray(changed(1))
    one[-1] ^= 1
    assert comparable(Arrival("c", bytes(one), 0)) != comparable(Arrival("c", changed(1), 0))


def test_the_random_flow_label_of_the_directors_own_packet_does_not_count() -> None:
    two = [bytes(IPv6(hlim=64, fl=label) / TCP(sport=80, flags="R")) for label in (0, 0xABCDE)]
    assert comparable(Arrival("c", two[0], 0)) == comparable(Arrival("c", two[1], 0))


@pytest.mark.parametrize("packet", [IP(ttl=63, id=5) / ICMP(), IP(ttl=64, id=5) / TCP(), IPv6(hlim=63, fl=7) / TCP()])
def test_packets_of_others_count_byte_for_byte(packet: IP) -> None:
    assert comparable(Arrival("c", bytes(packet), 0)) == ("c", bytes(packet))


# As the captures have it: facts, ipvsadm.md section 3.2.
def test_a_listing_tells_options_methods_and_marks() -> None:
    text = (
        "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n"
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
        "TCP  192.168.1.10:80 sh (sh-port) persistent 300 mask 255.255.255.0\n"
        "  -> 10.0.0.11:80                 Route   1      2          3         \n"
        "FWM  -1 IPv6 rr ops\nFWM  7 wlc\n"
    )
    found = listed(text, None, ())
    assert found.services == {
        "tcp 192.168.1.10:80": ("sh", ("sh-port",)), "fwm 4294967295 ipv6": ("rr", ()), "fwm 7": ("wlc", ()),
    }  # fmt: skip
    assert found.dests == {("tcp 192.168.1.10:80", "10.0.0.11:80"): (1, 2, 3)}
    assert found.options == {
        "tcp 192.168.1.10:80": "persistent 300 mask 255.255.255.0",
        ("tcp 192.168.1.10:80", "10.0.0.11:80"): "Route",
        "fwm 4294967295 ipv6": "ops",
        "fwm 7": "",
    }


# Likewise; without a mask every bit counts.
@pytest.mark.parametrize(
    ("text", "version", "options"),
    [
        ("", 4, ServiceOptions()),
        ("ops", 4, ServiceOptions(one_packet=True)),
        ("persistent 360", 4, ServiceOptions(Persistence(360, 0xFFFFFFFF))),
        ("persistent 360", 6, ServiceOptions(Persistence(360, 128))),
        ("persistent 600 mask 255.255.255.0", 4, ServiceOptions(Persistence(600, 0xFFFFFF00))),
        ("persistent 600 mask 64 ops", 6, ServiceOptions(Persistence(600, 64), one_packet=True)),
        ("persistent 60 mask 255.255.0.0 pe sip ops", 4, ServiceOptions(Persistence(60, 0xFFFF0000), "sip", True)),
    ],
)
def test_the_end_of_a_services_line_tells_its_options(text: str, version: int, options: ServiceOptions) -> None:
    assert options_of(text, version) == options


def test_what_a_kernel_leaves_to_chance_in_a_tunnels_headers_is_not_compared() -> None:
    request = IP(src="198.51.100.1", dst="192.168.1.10", ttl=63) / TCP(sport=40001, dport=80)
    sent = Arrival("r:10.0.0.12", bytes(IP(src="10.0.0.1", dst="10.0.0.12", id=4711, ttl=63) / request), 0)
    plain = bytes(IP(src="10.0.0.1", dst="10.0.0.12", id=0, ttl=63) / request)
    assert comparable(sent) == ("r:10.0.0.12", plain)


# What 6.1.192 and 6.12.117 refuse of answers to themselves goes through IPVS: one of the TTL is gone, and what a kernel
# picks is not.
@pytest.mark.parametrize(
    ("packet", "same"),
    [
        (IP(src="192.168.1.10", dst="10.0.0.11", ttl=63, tos=0xC0) / ICMP(type=3, code=3) / (b"x" * 28), True),
        (IP(src="192.168.1.10", dst="10.0.0.11", ttl=63, tos=0) / ICMP(type=3, code=3) / (b"x" * 28), False),
        (IP(src="192.168.1.10", dst="10.0.0.11", ttl=62, tos=0xC0) / ICMP(type=3, code=3) / (b"x" * 28), False),
        (IP(src="192.168.1.10", dst="10.0.0.11", ttl=63, tos=0xC0) / ICMP(type=8) / (b"x" * 28), False),
    ],
)
def test_ids_of_errors_of_the_director_do_not_count_where_ipvs_sent_them_on(packet: IP, same: bool) -> None:
    one, other = packet.copy(), packet.copy()
    one.id, other.id = 1, 2
    assert (without_picks(bytes(one)) == without_picks(bytes(other))) == same


@pytest.mark.parametrize(("flags", "same"), [("R", True), ("S", False)])
def test_flow_labels_of_resets_of_the_director_do_not_count_either(flags: str, same: bool) -> None:
    one, other = (bytes(IPv6(src="fd00::1", dst="fd00::11", hlim=63, fl=label) / TCP(flags=flags)) for label in (1, 2))
    assert (without_picks(one) == without_picks(other)) == same
