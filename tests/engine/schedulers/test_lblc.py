"""lblc: facts, schedulers.md section 3.12 and the example behind 3.13."""

from __future__ import annotations

import pytest

from lbsim.engine.lanes import Lane
from tests.engine.schedulers.rig import Rig

TARGET = "198.51.100.80"


def loaded(rig: Rig, **active: int) -> None:
    for name, count in active.items():
        rig.row(name).active = rig.row(name).total = count


def test_an_address_stays_with_its_destination(lane: Lane) -> None:
    rig = Rig("lblc", {"A": 2, "B": 2}, lane=lane)
    assert rig.pick(to=TARGET) == "B"
    loaded(rig, A=1, B=3)  # B has more than its weight, but 2 x 1 < 2 is false
    assert rig.pick(to=TARGET) == "B"
    loaded(rig, A=0)  # 2 x 0 < 2
    assert rig.pick(to=TARGET) == "A"
    loaded(rig, B=0)
    assert rig.pick(to=TARGET) == "A"
    rig.row("A").overload = 1  # nobody looks at that
    assert rig.pick(to=TARGET) == "A"
    rig.delete("A")
    assert rig.pick(to=TARGET) == "B"


def test_another_address_is_given_to_whom_wlc_picks(lane: Lane) -> None:
    rig = Rig("lblc", {"A": 1, "B": 1}, lane=lane)
    assert rig.pick(to=TARGET) == "B"
    loaded(rig, B=1)
    assert (rig.pick(to="198.51.100.81"), rig.pick(to=TARGET)) == ("A", "B")


def test_a_quiesced_destination_is_replaced(lane: Lane) -> None:
    rig = Rig("lblc", {"A": 1, "B": 1}, lane=lane)
    assert rig.pick(to=TARGET) == "B"
    rig.edit("B", 0)
    assert rig.pick(to=TARGET) == "A"
    rig.edit("B", 1)
    assert rig.pick(to=TARGET) == "A"
    for name in "AB":
        rig.edit(name, 0)
    assert rig.pick(to=TARGET) == "-"
    assert rig.host.tables.services[1].cache_count == 1  # the entry stays


def test_a_removed_destination_stays_in_the_trash_as_long_as_an_address_has_it(lane: Lane) -> None:
    rig = Rig("lblc", {"A": 1}, lane=lane)
    rig.pick(to=TARGET)
    rig.delete("A")
    rig.host.advance(86_000 * 10**9)
    rig.add("A", 1)
    assert rig.used == 1  # the same row
    rig.delete("A")
    rig.host.advance(90_000 * 10**9)  # the address was forgotten after a day and at most half an hour
    rig.add("A", 1)
    assert rig.used == 2


@pytest.mark.parametrize("end", ["other scheduler", "service"])
def test_the_cache_ends_with_the_scheduler(end: str, lane: Lane) -> None:
    rig = Rig("lblc", {"A": 1}, lane=lane)
    rig.pick(to=TARGET)
    service, row = rig.host.tables.services[1], rig.row("A")
    assert (service.cache_count, row.cached) == (1, 1)
    assert rig.switch("rr" if end == "other scheduler" else "lblcr") == ""
    assert (service.cache_count, row.cached) == (0, 0)
    assert (service.timer_fire == 0) == (end == "other scheduler")


def test_an_address_that_moves_is_one_entry_and_in_older_kernels_counts_again(lane: Lane) -> None:
    for profile, count in (("linux-6.1.192", 1), ("linux-6.1.0", 2)):
        rig = Rig("lblc", {"A": 1, "B": 1}, lane=lane, profile=profile)
        rig.pick(to=TARGET)
        rig.edit("B", 0)
        assert rig.pick(to=TARGET) == "A"
        assert rig.host.tables.services[1].cache_count == count
