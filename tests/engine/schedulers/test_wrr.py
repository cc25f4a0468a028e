"""wrr: facts, schedulers.md section 3.2."""

from __future__ import annotations

import pytest

from lbsim.engine.lanes import Lane
from tests.engine.schedulers.rig import Rig
from tests.playbook import Playbook

#: Weights of A, B, C; how the service came about; (cw, mw, di) before the first pick; two rounds of picks.
SEQUENCES = [
    ("4 3 2", "added", (1, 4, 1), "C B A A B A C B A C B A A B A C B A"),
    ("4 3 2", "list", (1, 4, 1), "A B C A A B A B C A B C A A B A B C"),
    ("4 3 2", "switched", (4, 4, 1), "A B A C B A C B A A B A C B A C B A"),
    ("1 1 1", "added", (1, 1, 1), "C B A C B A"),
    ("1 1 1", "list", (1, 1, 1), "A B C A B C"),
    ("3 1", "added", (1, 3, 1), "B A A A B A A A"),
    ("3 1", "list", (1, 3, 1), "A B A A A B A A"),
    ("3 1", "switched", (3, 3, 1), "A A B A A A B A"),
    ("10 2", "added", (1, 9, 2), "B A A A A A B A A A A A B A A A A A B A A A A A"),
    ("10 2", "list", (1, 9, 2), "A B A A A A A B A A A A A B A A A A A B A A A A"),
    ("10 2", "switched", (9, 9, 2), "A A A A B A A A A A B A A A A A B A A A A A B A"),
    ("0 2 1", "added", (1, 2, 1), "C B B C B B"),
    ("0 2 1", "list", (1, 2, 1), "B C B B C B"),
    ("0 2 1", "switched", (2, 2, 1), "B C B B C B"),
]


def state(rig: Rig) -> tuple[int, int, int]:
    service = rig.host.tables.services[1]
    return int(service.lap), int(service.top_lap), int(service.lap_step)


@pytest.mark.parametrize(("weights", "how", "before", "picks"), SEQUENCES)
def test_a_fresh_service(weights: str, how: str, before: tuple[int, int, int], picks: str, lane: Lane) -> None:
    named = dict(zip("ABC", map(int, weights.split()), strict=False))
    if how == "list":
        named = dict(reversed(named.items()))
    rig = Rig("rr" if how == "switched" else "wrr", named, lane=lane)
    if how == "switched":
        assert rig.switch("wrr") == ""
    assert state(rig) == before
    assert rig.picks(len(picks.split())) == picks


def test_edits_in_operation(lane: Lane) -> None:
    rig = Rig("wrr", {"A": 4, "B": 3, "C": 2}, lane=lane)

    def picks(expected: str, then: tuple[int, int, int]) -> None:
        assert rig.picks(len(expected.split())) == expected
        assert state(rig) == then

    assert state(rig) == (1, 4, 1)
    picks("C B A A B", (3, 4, 1))
    rig.edit("A", 6)
    assert state(rig) == (3, 6, 1)
    picks("B A C B A C B A", (1, 6, 1))
    rig.edit("A", 2)
    assert state(rig) == (1, 3, 1)
    picks("C B A B C B A C", (1, 3, 1))
    rig.add("D", 8)
    assert state(rig) == (1, 8, 1)
    picks("D C B A D D D D D D B D C B", (2, 8, 1))
    rig.delete("D")
    assert state(rig) == (2, 3, 1)
    picks("C B A C B A B C", (2, 3, 1))
    rig.edit("C", 0)
    assert state(rig) == (2, 3, 1)
    picks("B A B A B B A B", (1, 3, 1))
    rig.row("B").overload = 1
    picks("A A A A A", (1, 3, 1))
    rig.row("A").overload = 1
    picks("- - -", (1, 3, 1))
    for name in "ABC":
        rig.edit(name, 0)
    picks("-", (0, 0, 1))


def test_a_failed_search_moves_lap_and_cursor(lane: Lane) -> None:
    # list B A, cursor A, lap 1: lap 1 is the last, then laps 2 and 1 up to A itself
    rig = Rig("wrr", {"A": 1, "B": 2}, lane=lane)
    assert rig.picks(2) == "B A"
    for name in "AB":
        rig.row(name).overload = 1
    assert rig.pick() == "-"
    assert (rig.name_of(int(rig.host.tables.services[1].cursor)), state(rig)) == ("A", (1, 2, 1))
    rig.row("B").overload = 0
    assert rig.picks(3) == "B B B"


def test_connections_go_by_weight(play: Playbook) -> None:
    play.config("tcp V:80 wrr", "A weight 3", "B weight 1").picks("B A A A B A A A")
    play.edit("A weight 1").picks("B A B A")


def test_deleting_the_one_picked_last_starts_at_the_head(play: Playbook) -> None:
    play.config("tcp V:80 wrr", "A", "B", "C").picks("C B").delete("B").picks("C A C")


def test_a_failed_search_ends_where_it_began(lane: Lane) -> None:
    # laps 2 and 1: from the cursor to the end, and then every lap again, the last one up to the cursor
    rig = Rig("wrr", {"A": 2, "B": 2, "C": 2}, lane=lane)
    rig.edit("C", 1)
    assert rig.pick() != "-"
    cursor = rig.name_of(int(rig.host.tables.services[1].cursor))
    for name in "ABC":
        rig.row(name).overload = 1
    assert rig.pick() == "-"
    assert rig.name_of(int(rig.host.tables.services[1].cursor)) == cursor


def test_a_failed_search_from_the_head_goes_back_there(lane: Lane) -> None:
    rig = Rig("wrr", {"A": 2, "B": 1}, lane=lane)
    for name in "AB":
        rig.row(name).overload = 1
    assert rig.pick() == "-"
    assert (int(rig.host.tables.services[1].cursor), state(rig)) == (0, (2, 2, 1))
