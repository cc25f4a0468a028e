"""mh: facts, schedulers.md section 3.11, with its tables."""

from __future__ import annotations

from hashlib import sha1
from ipaddress import ip_address

import pytest

from lbsim import Director
from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.engine.numbers import IPV4, IPV6
from lbsim.engine.schedulers.mh import SLOTS, folded, shift_for
from lbsim.host import EngineHost
from lbsim.model.config import AddDest, DestId
from lbsim.packet.build import build_packet
from tests.engine.schedulers.rig import Rig
from tests.playbook import Playbook

WEIGHTS = {"A": 3, "B": 2, "C": 1}

#: Client; who gets it; who stands in if A has weight 0 and mh-fallback is set.
CLIENTS = [
    ("10.0.0.1", "B", "B"),
    ("10.0.0.2", "A", "C"),
    ("10.0.0.3", "B", "B"),
    ("192.168.1.100", "A", "C"),
    ("172.16.5.9", "C", "C"),
    ("203.0.113.7", "C", "C"),
    ("8.8.8.8", "B", "B"),
    ("255.255.255.255", "A", "B"),
]


def test_the_table_is_the_kernels(lane: Lane) -> None:
    slots = Rig("mh", WEIGHTS, lane=lane).slots()
    assert slots[:40] == "BCACAABCABACABAAACABAAABAAABABAAABAABACB"
    assert slots[4053:] == "CAABCAAACBCABBCABAABBABACABAAABAAAAABAAC"
    assert [slots.count(name) for name in "ABC"] == [2046, 1364, 683]
    assert sha1(slots.encode()).hexdigest() == "d7f2d6ed08ac32607b472133efd83119ad716302"


@pytest.mark.parametrize(("client", "picked", "stand_in"), CLIENTS)
def test_the_clients_address_decides(client: str, picked: str, stand_in: str, lane: Lane) -> None:
    rig = Rig("mh", WEIGHTS, lane=lane)
    assert rig.pick(client) == picked
    rig.edit("A", 0)
    assert rig.pick(client) == (picked if picked != "A" else "-")
    assert rig.switch("mh", "mh-fallback") == ""
    assert rig.pick(client) == stand_in


@pytest.mark.parametrize(
    ("client", "port", "picked"),
    [
        ("10.0.0.1", 1024, "A"),
        ("10.0.0.1", 40000, "B"),
        ("203.0.113.7", 65535, "A"),
        ("255.255.255.255", 2, "B"),  # 0xffffffff + 2 wraps to 1
    ],
)
def test_with_mh_port_the_port_decides_too(client: str, port: int, picked: str, lane: Lane) -> None:
    assert Rig("mh", WEIGHTS, flags="mh-port", lane=lane).pick(client, port) == picked


@pytest.mark.parametrize(("client", "picked"), [("2001:db8::1", "C"), ("2001:db8::2", "A"), ("fe80::1", "A")])
def test_ipv6(client: str, picked: str, lane: Lane) -> None:
    assert Rig("mh", WEIGHTS, version=6, lane=lane).pick(client) == picked


@pytest.mark.parametrize(
    ("weights", "counts"),
    [
        ("1000 500 1", "2685 1364 44"),
        ("65535 1", "4029 64"),
        ("64 1", "3968 125"),
        ("63 1", "4029 64"),
        ("100 200 300", "682 1364 2047"),
        ("128 64", "2728 1365"),
        ("4 0 6", "1636 0 2457"),
        ("0 0", "0 0"),
    ],
)
def test_slots_by_weight(weights: str, counts: str, lane: Lane) -> None:
    named = dict(zip("ABC", map(int, weights.split()), strict=False))
    slots = Rig("mh", named, lane=lane).slots()
    assert [slots.count(name) for name in named] == list(map(int, counts.split()))


@pytest.mark.parametrize(("largest", "shift"), [(1, 0), (63, 0), (64, 1), (127, 1), (128, 2), (1000, 4), (65535, 10)])
def test_turns_have_six_bits_at_most(largest: int, shift: int) -> None:
    assert shift_for(largest) == shift


def test_a_quiesced_destination_keeps_its_slots(lane: Lane) -> None:
    rig = Rig("mh", WEIGHTS, lane=lane)
    before = rig.slots()
    rig.edit("A", 0)
    assert rig.slots() == before


def test_a_destination_that_is_added_with_weight_0_has_none_until_it_gets_a_weight(lane: Lane) -> None:
    rig = Rig("mh", {"A": 0, "B": 1}, lane=lane)
    assert rig.slots() == "B" * SLOTS
    rig.edit("A", 1)
    assert rig.slots().count("A") == 2046  # B, the newer one, takes the first of 4093 slots and the last


def test_a_service_keeps_its_slots_when_it_gets_another_scheduler_for_a_while(lane: Lane) -> None:
    rig = Rig("mh", WEIGHTS, lane=lane)
    before = rig.slots()
    assert (rig.switch("rr"), rig.switch("mh")) == ("", "")
    assert rig.slots() == before
    assert rig.host.tables.director[0].mh_slots_used == SLOTS


def test_an_empty_slot_ends_the_search(lane: Lane) -> None:
    rig = Rig("mh", {"A": 0}, flags="mh-fallback", lane=lane)
    assert rig.pick() == "-"


def test_the_search_gives_up_when_nobody_takes_connections(lane: Lane) -> None:
    rig = Rig("mh", {"A": 1}, flags="mh-fallback", lane=lane)
    rig.row("A").overload = 1
    assert rig.pick() == "-"


def crowded(count: int, profile: str = "linux-6.1.192", lane: Lane | None = None) -> Rig:
    """A service with so many destinations, under rr."""
    rig = Rig("rr", {}, lane=lane or interpreted_lane(), profile=profile)
    for n in range(count):
        rig.apply(AddDest(rig.service, DestId(ip_address((10 << 24) + 1 + n), 80)))
    return rig


def test_one_destination_more_than_slots_is_refused_and_the_old_scheduler_restored() -> None:
    rig = crowded(SLOTS, lane=compiled_lane())
    assert rig.switch("mh") == ""
    table = rig.host.tables.mh_slots[rig.host.tables.services[1].mh_slots :][:SLOTS].copy()
    assert sorted(table) == list(range(1, SLOTS + 1))
    rig.apply(AddDest(rig.service, DestId(ip_address("10.99.0.1"), 80)))  # accepted; the table stays
    assert (rig.host.tables.mh_slots[rig.host.tables.services[1].mh_slots :][:SLOTS] == table).all()
    assert rig.switch("wrr") == ""
    assert rig.switch("mh", "mh-port") == "EINVAL"
    service = rig.host.services()[0]
    assert (service.scheduler, service.flags) == ("wrr", ())


def test_kernels_before_june_2026_leave_the_service_without_scheduler() -> None:
    rig = crowded(SLOTS + 1, "linux-6.1.0")
    assert rig.switch("mh") == "EINVAL"
    assert rig.host.services()[0].scheduler == "none"


def test_an_address_is_folded_as_one_of_the_services_family() -> None:
    rig = Rig("mh", {"A": 1}, version=6)
    host: EngineHost = rig.host
    dest = rig.row("A")
    assert folded(host.tables, dest, IPV4) == 0x20010DB8  # the first four bytes
    assert folded(host.tables, dest, IPV6) == 0x20010DB8 ^ 0x00010000 ^ 0x11


def test_few_clients_move_when_a_destination_goes(play: Playbook) -> None:
    play.config("tcp V:80 mh", "A").picks("A A").add("B").delete("A").picks("B B B")


# More destinations than slots: mh does not start (facts, schedulers.md sections 4.3 and 7).
@pytest.mark.parametrize(
    ("profile", "left", "reason"),
    [
        ("linux-6.1.192", "rr", "new"),
        ("linux-6.12.117", "rr", "new"),
        ("linux-6.1.0", "none", "no_dest"),
        ("linux-6.12.0", "none", "no_dest"),
    ],
)
def test_a_service_that_cannot_change_to_mh_keeps_its_scheduler_or_loses_it(
    profile: str, left: str, reason: str
) -> None:
    dests = "".join(f"-a -t 192.0.2.1:80 -r 10.0.{n // 250}.{n % 250 + 1} -m\n" for n in range(4094))
    director = Director(f"-A -t 192.0.2.1:80 -s rr\n{dests}", profile=profile)
    assert director.run("ipvsadm -E -t 192.0.2.1:80 -s mh").status == 255
    assert director.services()[0].scheduler == left
    syn = build_packet(src="198.51.100.1", dst="192.0.2.1", sport=1001, dport=80, flags=2)
    assert director.receive(syn).reason == reason
