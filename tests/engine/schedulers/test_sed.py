"""sed: facts, schedulers.md section 3.5, and the sed column of the examples there."""

from __future__ import annotations

import pytest

from lbsim.engine.lanes import Lane
from tests.engine.schedulers.situations import expected_of, picked_by
from tests.playbook import Playbook


@pytest.mark.parametrize(("situation", "picked"), expected_of("sed"))
def test_who_is_picked(situation: dict[str, tuple[int, int, int, int]], picked: str, lane: Lane) -> None:
    assert picked_by("sed", situation, lane) == picked


def test_twelve_connections_that_become_active(play: Playbook) -> None:
    play.config("tcp V:80 sed", "A weight 3", "B weight 2", "C weight 1").picks("A B A C B A A B A C B A")


def test_twelve_udp_connections_that_never_are(play: Playbook) -> None:
    play.config("udp V:53 sed", "A weight 3", "B weight 2", "C weight 1").picks("A A A A A A A A A A A A", flags="UDP")
