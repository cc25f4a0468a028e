"""wlc: facts, schedulers.md section 3.4, and the wlc column of the examples there."""

from __future__ import annotations

import pytest

from lbsim.engine.lanes import Lane
from tests.engine.schedulers.situations import expected_of, picked_by
from tests.playbook import Playbook


@pytest.mark.parametrize(("situation", "picked"), expected_of("wlc"))
def test_who_is_picked(situation: dict[str, tuple[int, int, int, int]], picked: str, lane: Lane) -> None:
    assert picked_by("wlc", situation, lane) == picked


def test_twelve_connections_that_become_active(play: Playbook) -> None:
    play.config("tcp V:80 wlc", "A weight 3", "B weight 2", "C weight 1").picks("C B A A B A C B A A B A")


def test_twelve_udp_connections_that_never_are(play: Playbook) -> None:
    play.config("udp V:53 wlc", "A weight 3", "B weight 2", "C weight 1").picks("C B A A B A C B A A B A", flags="UDP")


def test_before_august_2026_256_inactive_ones_weighed_as_much_as_an_active_one(lane: Lane) -> None:
    # A 256 x 0 + 256 inactive, B 256 x 1 + 0 inactive: a tie, the newest wins; today B is 257
    situation = {"A": (1, 0, 256, 0), "B": (1, 1, 1, 0)}
    assert picked_by("wlc", situation, lane, profile="linux-6.1.0") == "B"
    assert picked_by("wlc", situation, lane) == "A"


def test_weights_and_loads_of_31_bits_do_not_overflow(lane: Lane) -> None:
    # 257 x 2147483647 against 256 x 2147483647
    most = 2**31 - 1
    assert picked_by("wlc", {"A": (most, 0, 256, 0), "B": (most, 1, 1, 0)}, lane) == "A"
