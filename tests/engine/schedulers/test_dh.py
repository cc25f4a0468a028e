"""dh: facts, schedulers.md section 3.10, with its table."""

from __future__ import annotations

import pytest

from lbsim.engine.lanes import Lane
from tests.engine.schedulers.rig import Rig
from tests.playbook import Playbook

WEIGHTS = {"A": 3, "B": 2, "C": 1}

#: Destination address of the packet; who gets it; if B has weight 0; after deleting B.
TABLE = [
    ("10.0.0.1", "C", "C", "A"),
    ("10.0.0.2", "A", "A", "A"),
    ("10.0.0.3", "B", "-", "A"),
    ("192.168.1.100", "A", "A", "A"),
    ("172.16.5.9", "B", "-", "A"),
    ("203.0.113.7", "B", "-", "C"),
    ("198.51.100.23", "B", "-", "A"),
]


@pytest.mark.parametrize(("target", "picked", "quiesced", "deleted"), TABLE)
def test_the_destination_address_decides(target: str, picked: str, quiesced: str, deleted: str, lane: Lane) -> None:
    rig = Rig("dh", WEIGHTS, lane=lane)
    assert rig.pick(to=target) == picked
    rig.edit("B", 0)
    assert rig.pick(to=target) == quiesced
    rig.delete("B")
    assert rig.pick(to=target) == deleted


def test_an_ipv6_address_decides_by_its_folded_words(lane: Lane) -> None:
    assert Rig("dh", WEIGHTS, version=6, lane=lane).pick(to="2001:db8::80") == "A"


def test_buckets_are_dealt_out_one_each_whatever_the_weights_are(lane: Lane) -> None:
    buckets = Rig("dh", WEIGHTS, lane=lane).buckets()
    assert buckets == ("CBA" * 86)[:256]
    assert [buckets.count(name) for name in "CBA"] == [86, 85, 85]


def test_an_edit_deals_nothing_out_anew(lane: Lane) -> None:
    rig = Rig("dh", WEIGHTS, lane=lane)
    first = rig.host.tables.services[1].buckets
    rig.host.tables.hash_buckets[first] = 0
    rig.edit("B", 7)
    assert rig.host.tables.hash_buckets[first] == 0
    rig.add("D", 1)
    assert rig.buckets() == "DCBA" * 64


def test_an_overloaded_destination_gets_nothing_and_nobody_stands_in(lane: Lane) -> None:
    rig = Rig("dh", WEIGHTS, lane=lane)
    rig.row("C").overload = 1
    assert rig.pick(to="10.0.0.1") == "-"


def test_a_service_keeps_its_buckets_when_it_gets_sh(lane: Lane) -> None:
    rig = Rig("dh", WEIGHTS, lane=lane)
    assert rig.switch("sh") == ""
    assert rig.buckets() == ("CBBAAA" * 43)[:256]
    assert rig.host.tables.director[0].buckets_used == 256


def test_the_clients_do_not_matter(play: Playbook) -> None:
    play.config("tcp V:80 dh", "A").picks("A A").add("B").delete("A").picks("B B")
