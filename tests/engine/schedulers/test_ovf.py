"""ovf: facts, schedulers.md section 3.8, and the ovf column of the examples there."""

from __future__ import annotations

import pytest

from lbsim.engine.lanes import Lane
from tests.engine.schedulers.situations import expected_of, picked_by
from tests.playbook import Playbook


@pytest.mark.parametrize(("situation", "picked"), expected_of("ovf"))
def test_who_is_picked(situation: dict[str, tuple[int, int, int, int]], picked: str, lane: Lane) -> None:
    assert picked_by("ovf", situation, lane) == picked


def test_twelve_connections_that_become_active(play: Playbook) -> None:
    play.config("tcp V:80 ovf", "A weight 3", "B weight 2", "C weight 1").picks("A A A A B B B C C -")


def test_twelve_udp_connections_that_never_are(play: Playbook) -> None:
    play.config("udp V:53 ovf", "A weight 3", "B weight 2", "C weight 1").picks("A A A A A A A A A A A A", flags="UDP")


def test_a_destination_takes_one_active_connection_more_than_its_weight(lane: Lane) -> None:
    assert picked_by("ovf", {"A": (2, 2, 2, 0), "B": (1, 0, 0, 0)}, lane) == "A"
    assert picked_by("ovf", {"A": (2, 3, 3, 0), "B": (1, 0, 0, 0)}, lane) == "B"
