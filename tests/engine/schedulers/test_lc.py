"""lc: facts, schedulers.md sections 1.4 and 3.3, and the lc column of the examples there."""

from __future__ import annotations

import pytest

from lbsim.engine.lanes import Lane
from lbsim.engine.records import Dest
from lbsim.engine.schedulers.lc import load
from lbsim.host import EngineHost
from tests.engine.schedulers.rig import Rig
from tests.playbook import Playbook

#: Destination: (weight, active, total); added in this order.
SITUATIONS = [
    ({"A": (1, 0, 0), "B": (5, 0, 0), "C": (3, 0, 0)}, "C"),  # all idle: the newest
    ({"A": (1, 1, 1), "B": (1, 0, 256)}, "B"),  # 257 against 256
    ({"A": (1, 0, 256), "B": (1, 1, 1)}, "A"),
    ({"A": (2, 2, 2), "B": (1, 1, 1), "C": (3, 3, 3)}, "B"),
    ({"A": (4, 4, 9), "B": (1, 1, 3), "C": (0, 0, 0)}, "B"),
    ({"A": (4, 5, 5), "B": (2, 2, 2), "C": (1, 1, 1)}, "C"),
    ({"A": (4, 5, 5), "B": (2, 3, 3), "C": (1, 2, 2)}, "C"),
    ({"A": (1, 0, 257), "B": (1, 1, 1)}, "B"),  # 257 each: the newest
    ({"A": (0, 0, 0), "B": (0, 0, 0)}, "-"),
    ({}, "-"),
]


@pytest.mark.parametrize(("situation", "picked"), SITUATIONS)
def test_the_least_loaded_gets_the_connection(
    situation: dict[str, tuple[int, int, int]], picked: str, lane: Lane
) -> None:
    rig = Rig("lc", {name: weight for name, (weight, _, _) in situation.items()}, lane=lane)
    for name, (_, active, total) in situation.items():
        rig.row(name).active, rig.row(name).total = active, total
    assert rig.pick() == picked


def test_an_overloaded_destination_is_left_out(lane: Lane) -> None:
    rig = Rig("lc", {"A": 9, "B": 2, "C": 2}, lane=lane)
    rig.row("A").overload = 1
    for name, total in (("B", 5), ("C", 6)):
        rig.row(name).active, rig.row(name).total = 5, total
    assert rig.pick() == "B"


@pytest.mark.parametrize(
    ("active", "total", "expected"),
    [(0, 0, 0), (1, 1, 257), (0, 256, 256), (2**23, 2**23, 2**31 + 2**23), (2**24, 5, 5)],
)
def test_load_is_256_times_active_plus_total_in_unsigned_32_bits(active: int, total: int, expected: int) -> None:
    assert load(EngineHost().tables, Dest(active=active, total=total)) == expected


@pytest.mark.parametrize(("active", "total", "expected"), [(0, 0, 0), (1, 1, 256), (0, 256, 256), (2, 7, 517)])
def test_before_august_2026_it_was_256_times_active_plus_inactive(active: int, total: int, expected: int) -> None:
    assert load(EngineHost(profile="linux-6.1.0").tables, Dest(active=active, total=total)) == expected


def test_twelve_connections_that_stay_go_round(play: Playbook) -> None:
    play.config("tcp V:80 lc", "A weight 3", "B weight 2", "C weight 1").picks("C B A C B A C B A C B A")


def test_twelve_udp_connections_go_round_although_none_is_active(play: Playbook) -> None:
    play.config("udp V:53 lc", "A weight 3", "B weight 2", "C weight 1").picks("C B A C B A C B A C B A", flags="UDP")


def test_a_client_that_closed_makes_room_for_the_next(play: Playbook) -> None:
    play.config("tcp V:80 lc", "A", "B").picks("B A")
    play.send("c2 ACK").expect("FORWARD A known").send("c2 FIN+ACK").expect("FORWARD A known")
    # A: 256 * 0 + 1, B: 256 * 1 + 1; then A: 256 + 2, B: 257
    play.picks("A B")


def test_entries_that_are_gone_weigh_nothing(play: Playbook) -> None:
    play.config("tcp V:80 lc", "A", "B").picks("B").wait("SYN_RECV timeout").picks("B A")


def test_connections_of_a_destination_back_from_the_trash_weigh_again(play: Playbook) -> None:
    play.config("tcp V:80 lc", "A", "B").picks("B A B").delete("B").add("B").picks("A B A")
