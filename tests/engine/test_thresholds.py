"""Thresholds: facts, schedulers.md section 1.5, with its table."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from lbsim.engine.lanes import Lane
from lbsim.engine.records import Dest
from lbsim.engine.thresholds import filled, relief, set_thresholds, vacated
from lbsim.host import EngineHost
from tests.oracles import thresholds


class Place:
    """A destination with thresholds, to which entries are bound."""

    def __init__(self, profile: str = "linux-6.1.192", lane: Lane | None = None) -> None:
        self.host = EngineHost(profile=profile, lane=lane)
        self.dest = self.host.tables.dests[1]

    def call(self, function: Any, *arguments: int) -> None:
        self.host.lane.function(function)(self.host.tables, self.dest, *arguments)

    def bind(self) -> None:
        self.dest.total += 1
        if self.dest.upper:
            self.call(filled)

    def unbind(self) -> None:
        self.dest.total -= 1
        if self.dest.upper:
            self.call(vacated)

    def play(self, events: str) -> str:
        """The flag after each event: + binds, - unbinds, 10,5 edits."""
        flags = ""
        for event in events.split():
            if "," in event:
                self.call(set_thresholds, *map(int, event.split(",")))
            else:
                self.bind() if event == "+" else self.unbind()
            flags += str(int(self.dest.overload))
        return flags


@pytest.mark.parametrize(
    ("events", "flags"),
    [
        ("4,0 + + + + + - - -", "000011110"),
        ("4,2 + + + + - - -", "00001110"),
        ("10,5" + " +" * 10 + " -" * 6, "0" * 10 + "1" + "111110"),
        ("0,0" + " +" * 6 + " 4,0 - - - 10,0", "0000000" + "1" + "111" + "0"),
        ("10,0" + " +" * 10 + " 12,0 - -", "0" * 10 + "1" + "110"),
        ("4,0 + + + + 4,0 0,0", "0000110"),
        ("2,0 + + 2,2 - -", "001100"),
    ],
)
def test_when_a_destination_is_full(events: str, flags: str, lane: Lane) -> None:
    assert Place(lane=lane).play(events) == flags


@pytest.mark.parametrize(
    ("events", "flags"),
    [
        ("4,0 + + + + + - - -", "000011110"),  # without edits as today
        ("0,0" + " +" * 6 + " 4,0 +", "00000000" + "1"),  # an edit sets nothing until the next connection
        ("10,0" + " +" * 10 + " 12,0", "0" * 10 + "10"),  # a higher threshold takes the destination back
        ("4,0 + + + + 4,3 0,0", "0000110"),
    ],
)
def test_before_august_2026(events: str, flags: str, lane: Lane) -> None:
    assert Place("linux-6.1.0", lane).play(events) == flags


@pytest.mark.parametrize(
    ("upper", "lower", "low"), [(4, 0, 3), (10, 0, 8), (10, 5, 5), (1, 0, 1), (7, 0, 6), (0, 0, 0)]
)
def test_relief_is_the_lower_threshold_or_three_quarters_rounded_up(upper: int, lower: int, low: int) -> None:
    assert relief(Dest(upper=upper, lower=lower)) == low


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_random_events_go_as_the_restatement_says(old: bool, seed: int) -> None:
    random = Random(seed)
    place = Place("linux-6.1.0" if old else "linux-6.1.192")
    naive = {"total": 0, "upper": 0, "lower": 0, "overload": False}
    for _ in range(400):
        what = random.random()
        if what < 0.1:
            upper = random.choice([0, 1, 2, 3, 4, 5, 8, 12, 20])
            lower = random.randrange(upper + 1)
            place.call(set_thresholds, upper, lower)
            thresholds.change(naive, upper, lower, old=old)
        elif what < 0.55:
            naive["total"] += 1
            place.bind()
            thresholds.bound(naive, old=old)
        elif naive["total"]:
            naive["total"] -= 1
            place.unbind()
            thresholds.unbound(naive, old=old)
        assert place.dest.overload == naive["overload"]
