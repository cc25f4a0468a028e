"""fo: facts, schedulers.md section 3.7, and the fo column of the examples there."""

from __future__ import annotations

import pytest

from lbsim.engine.lanes import Lane
from tests.engine.schedulers.situations import expected_of, picked_by
from tests.playbook import Playbook


@pytest.mark.parametrize(("situation", "picked"), expected_of("fo"))
def test_who_is_picked(situation: dict[str, tuple[int, int, int, int]], picked: str, lane: Lane) -> None:
    assert picked_by("fo", situation, lane) == picked


def test_twelve_connections_that_become_active(play: Playbook) -> None:
    play.config("tcp V:80 fo", "A weight 3", "B weight 2", "C weight 1").picks("A A A A A A A A A A A A")


def test_twelve_udp_connections_that_never_are(play: Playbook) -> None:
    play.config("udp V:53 fo", "A weight 3", "B weight 2", "C weight 1").picks("A A A A A A A A A A A A", flags="UDP")


def test_of_equal_weights_the_newest_is_taken(lane: Lane) -> None:
    assert picked_by("fo", {"A": (2, 0, 0, 0), "B": (2, 9, 9, 0), "C": (1, 0, 0, 0)}, lane) == "B"


def test_the_next_one_takes_over_when_the_first_is_full(play: Playbook) -> None:
    play.config("tcp V:80 fo", "A weight 3", "B weight 2").picks("A A").edit("A weight 0").picks("B B")
    play.edit("A weight 3").picks("A")
