"""sh: facts, schedulers.md section 3.9, with its tables of buckets."""

from __future__ import annotations

import pytest

from lbsim.engine.lanes import Lane
from lbsim.engine.schedulers import init_service
from tests.engine.schedulers.rig import Rig
from tests.playbook import Playbook

WEIGHTS = {"A": 3, "B": 2, "C": 1}


def counts(buckets: str) -> dict[str, int]:
    return {name: buckets.count(name) for name in sorted(set(buckets))}


# The bucket table


def test_buckets_are_dealt_out_round_the_list_each_its_weight(lane: Lane) -> None:
    buckets = Rig("sh", WEIGHTS, lane=lane).buckets()
    assert buckets == ("CBBAAA" * 43)[:256]
    assert counts(buckets) == {"A": 127, "B": 86, "C": 43}


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"A": 300, "B": 200, "C": 1}, {"A": 55, "B": 200, "C": 1}),
        ({"C": 1, "B": 200, "A": 300}, {"A": 256}),
        ({"A": 100, "B": 100, "C": 100}, {"A": 56, "B": 100, "C": 100}),
        ({"A": 0, "B": 0}, {"A": 128, "B": 128}),
        ({}, {"-": 256}),
    ],
)
def test_weights_beyond_the_table_starve_the_older(weights: dict[str, int], expected: dict[str, int]) -> None:
    assert counts(Rig("sh", weights).buckets()) == expected


def test_a_weight_of_0_still_takes_one_bucket_per_round() -> None:
    rig = Rig("sh", WEIGHTS)
    rig.edit("B", 0)
    assert rig.buckets() == ("CBAAA" * 52)[:256]
    assert counts(rig.buckets()) == {"A": 153, "B": 51, "C": 52}


def test_deleting_a_destination_deals_the_buckets_out_anew() -> None:
    rig = Rig("sh", WEIGHTS)
    rig.delete("B")
    assert rig.buckets() == "CAAA" * 64


def test_deleting_the_last_destination_empties_the_table() -> None:
    rig = Rig("sh", {"A": 1})
    rig.delete("A")
    assert counts(rig.buckets()) == {"-": 256}
    assert rig.pick() == "-"


def test_overload_does_not_change_the_table() -> None:
    rig = Rig("sh", WEIGHTS)
    rig.row("A").overload = 1
    rig.edit("C", 1)
    assert rig.buckets() == ("CBBAAA" * 43)[:256]


# Who is picked


@pytest.mark.parametrize(
    ("client", "picked"),
    [
        ("10.0.0.1", "A"),
        ("10.0.0.2", "A"),
        ("10.0.0.3", "B"),
        ("192.168.1.100", "A"),
        ("172.16.5.9", "B"),
        ("203.0.113.7", "A"),
        ("8.8.8.8", "B"),
        ("255.255.255.255", "B"),
    ],
)
def test_the_clients_address_decides(client: str, picked: str, lane: Lane) -> None:
    assert Rig("sh", WEIGHTS, lane=lane).pick(client) == picked


@pytest.mark.parametrize(
    ("client", "picked"),
    [("2001:db8::1", "A"), ("2001:db8::2", "A"), ("fe80::1", "B"), ("2001:db8:0:1::ffff", "A")],
)
def test_an_ipv6_address_decides_by_its_folded_words(client: str, picked: str, lane: Lane) -> None:
    assert Rig("sh", WEIGHTS, version=6, lane=lane).pick(client) == picked


def test_without_sh_port_the_port_does_not_matter() -> None:
    rig = Rig("sh", WEIGHTS)
    assert {rig.pick("10.0.0.1", port) for port in (1, 1024, 40000, 40001, 65535)} == {"A"}


@pytest.mark.parametrize(
    ("client", "port", "picked"),
    [
        ("10.0.0.1", 1024, "B"),
        ("10.0.0.1", 40000, "A"),
        ("10.0.0.1", 40001, "A"),
        ("203.0.113.7", 65535, "A"),
        ("255.255.255.255", 2, "B"),  # the sum wraps to 1
    ],
)
def test_with_sh_port_the_port_is_added(client: str, port: int, picked: str, lane: Lane) -> None:
    assert Rig("sh", WEIGHTS, flags="sh-port", lane=lane).pick(client, port) == picked


@pytest.mark.parametrize("client", ["10.0.0.1", "10.0.0.2", "192.168.1.100", "203.0.113.7"])
def test_without_sh_fallback_clients_of_an_overloaded_destination_are_refused(client: str) -> None:
    rig = Rig("sh", WEIGHTS)
    rig.row("A").overload = 1
    assert rig.pick(client) == "-"


@pytest.mark.parametrize(
    ("client", "picked"),
    [("10.0.0.1", "C"), ("10.0.0.2", "C"), ("192.168.1.100", "C"), ("203.0.113.7", "B"), ("10.0.0.3", "B")],
)
def test_with_sh_fallback_they_go_elsewhere(client: str, picked: str, lane: Lane) -> None:
    rig = Rig("sh", WEIGHTS, flags="sh-fallback", lane=lane)
    rig.row("A").overload = 1
    assert rig.pick(client) == picked


@pytest.mark.parametrize(
    ("client", "plain", "with_fallback"),
    [
        ("10.0.0.1", "A", "A"),
        ("10.0.0.3", "C", "C"),
        ("172.16.5.9", "C", "C"),
        ("10.0.0.6", "-", "A"),
        ("10.0.0.10", "-", "A"),
    ],
)
def test_clients_that_hash_to_a_quiesced_destination(client: str, plain: str, with_fallback: str) -> None:
    picked = []
    for flags in ("", "sh-fallback"):
        rig = Rig("sh", WEIGHTS, flags=flags)
        rig.edit("B", 0)
        picked.append(rig.pick(client))
    assert picked == [plain, with_fallback]


def test_sh_fallback_gives_up_if_nobody_takes_connections() -> None:
    rig = Rig("sh", {"A": 0, "B": 0}, flags="sh-fallback")
    assert rig.pick("10.0.0.1") == "-"


# In a life


def test_all_connections_of_a_client_go_to_one_destination(play: Playbook) -> None:
    play.config("tcp V:80 sh", "A")
    for port in range(1000, 1010):
        play.send(f"c1:{port} SYN").expect("FORWARD A new")


def test_a_service_that_becomes_sh_knows_its_destinations(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B").edit("B weight 0").edit_service("tcp V:80 sh sh-fallback").picks("A A A A A A")


def test_flags_can_be_changed_without_dealing_anew(play: Playbook) -> None:
    play.config("tcp V:80 sh", "A weight 0").picks("-").add("B").edit("B weight 0").picks("-")
    play.edit("B weight 1").edit_service("tcp V:80 sh sh-fallback").picks("B B B").listing(
        "tcp V:80 sh sh-fallback: B A"
    )


def test_two_services_have_two_tables(play: Playbook) -> None:
    play.config("tcp V:80 sh", "A", "tcp W:80 sh", "B").send("c1 SYN to V:80").expect("FORWARD A new")
    play.send("c1 SYN to W:80").expect("FORWARD B new")


def test_sh_after_another_scheduler_keeps_its_place_in_memory() -> None:
    rig = Rig("sh", WEIGHTS)
    before = rig.host.tables.services[1].buckets
    rig.host.lane.function(init_service)(rig.host.tables, 1)
    assert rig.host.tables.services[1].buckets == before
    assert rig.host.tables.director[0].buckets_used == before
