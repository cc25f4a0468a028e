"""lblcr: facts, schedulers.md section 3.13 with its example."""

from __future__ import annotations

from lbsim.engine.lanes import Lane
from tests.engine.schedulers.rig import Rig

TARGET = "198.51.100.80"
DAY = 24 * 60 * 60
SECOND = 10**9


def loaded(rig: Rig, **active: int) -> None:
    for name, count in active.items():
        rig.row(name).active = rig.row(name).total = count


def members(rig: Rig) -> str:
    """The set of the only address, newest member first."""
    t = rig.host.tables
    entry = next(e for e in t.cache_heads if e)
    m, names = t.cached[entry].member, []
    while m:
        names.append(rig.name_of(int(t.members[m].dest)))
        m = t.members[m].next
    return " ".join(names)


def test_a_set_grows_when_its_least_loaded_member_is_overtaxed(lane: Lane) -> None:
    rig = Rig("lblcr", {"A": 2, "B": 2}, lane=lane)
    assert (rig.pick(to=TARGET), members(rig)) == ("B", "B")
    loaded(rig, A=1, B=3)
    assert (rig.pick(to=TARGET), members(rig)) == ("B", "B")
    loaded(rig, A=0)
    assert (rig.pick(to=TARGET), members(rig)) == ("A", "A B")
    loaded(rig, B=0)
    assert (rig.pick(to=TARGET), members(rig)) == ("A", "A B")
    rig.row("A").overload = 1
    assert (rig.pick(to=TARGET), members(rig)) == ("B", "A B")
    rig.delete("A")
    assert (rig.pick(to=TARGET), members(rig)) == ("B", "A B")


def grown(lane: Lane) -> Rig:
    """A service whose set is C B A."""
    rig = Rig("lblcr", {"A": 1, "B": 1, "C": 1}, lane=lane)
    rig.edit("B", 0)
    rig.edit("C", 0)
    rig.pick(to=TARGET)
    rig.edit("B", 1)
    rig.edit("A", 0)
    rig.pick(to=TARGET)
    rig.edit("C", 1)
    rig.edit("B", 0)
    rig.pick(to=TARGET)
    rig.edit("A", 1)
    rig.edit("B", 1)
    assert members(rig) == "C B A"
    return rig


def at(rig: Rig, seconds: float) -> None:
    rig.host.advance(round(seconds * SECOND))


def test_a_set_that_did_not_change_for_a_day_loses_its_most_loaded_member(lane: Lane) -> None:
    rig = grown(lane)
    loaded(rig, A=2, B=3, C=1)
    at(rig, DAY)
    assert (rig.pick(to=TARGET), members(rig)) == ("C", "C B A")  # not longer ago than a day
    at(rig, DAY + 0.004)
    assert (rig.pick(to=TARGET), members(rig)) == ("C", "C A")
    at(rig, DAY + 1)
    assert (rig.pick(to=TARGET), members(rig)) == ("C", "C A")  # it changed a second ago
    assert rig.row("B").cached == 0


def test_the_newest_of_equals_goes_and_gets_this_connection_still(lane: Lane) -> None:
    rig = grown(lane)
    at(rig, DAY + 1)
    assert (rig.pick(to=TARGET), members(rig)) == ("C", "B A")


def test_the_oldest_member_may_be_the_most_loaded(lane: Lane) -> None:
    rig = grown(lane)
    loaded(rig, A=9)
    at(rig, DAY + 1)
    assert (rig.pick(to=TARGET), members(rig)) == ("C", "C B")


def test_nobody_goes_if_all_weights_are_0(lane: Lane) -> None:
    rig = grown(lane)
    for name in "ABC":
        rig.edit(name, 0)
    at(rig, DAY + 1)
    assert (rig.pick(to=TARGET), members(rig)) == ("-", "C B A")


def test_a_set_of_one_stays(lane: Lane) -> None:
    rig = Rig("lblcr", {"A": 1}, lane=lane)
    rig.pick(to=TARGET)
    for hours in range(1, 27):
        at(rig, hours * 3600)
        assert (rig.pick(to=TARGET), members(rig)) == ("A", "A")


def test_rows_of_members_that_left_are_used_again(lane: Lane) -> None:
    rig = grown(lane)
    at(rig, DAY + 1)
    rig.pick(to=TARGET)  # C leaves
    assert members(rig) == "B A"
    for name in "AB":
        rig.edit(name, 0)
    assert (rig.pick(to=TARGET), members(rig)) == ("C", "C B A")
    assert rig.host.tables.director[0].members_used == 3


def test_a_member_that_wlc_picks_again_does_not_come_in_twice(lane: Lane) -> None:
    rig = Rig("lblcr", {"A": 2, "B": 2}, lane=lane)
    rig.pick(to=TARGET)
    loaded(rig, B=3)  # overtaxed, as A is idle; but A takes no connections
    rig.row("A").overload = 1
    assert (rig.pick(to=TARGET), members(rig)) == ("B", "B")


def test_with_the_scheduler_its_sets_go(lane: Lane) -> None:
    rig = grown(lane)
    assert rig.switch("lblc") == ""
    assert [int(rig.row(name).cached) for name in "ABC"] == [0, 0, 0]
    assert rig.host.tables.director[0].free_member != 0


def test_a_set_that_nobody_asked_for_a_day_is_forgotten(lane: Lane) -> None:
    rig = grown(lane)
    at(rig, 2 * DAY)
    assert rig.host.tables.services[1].cache_count == 0
