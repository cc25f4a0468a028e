"""nq: facts, schedulers.md section 3.6, and the nq column of the examples there."""

from __future__ import annotations

import pytest

from lbsim.engine.lanes import Lane
from tests.engine.schedulers.situations import expected_of, picked_by
from tests.playbook import Playbook


@pytest.mark.parametrize(("situation", "picked"), expected_of("nq"))
def test_who_is_picked(situation: dict[str, tuple[int, int, int, int]], picked: str, lane: Lane) -> None:
    assert picked_by("nq", situation, lane) == picked


def test_twelve_connections_that_become_active(play: Playbook) -> None:
    play.config("tcp V:80 nq", "A weight 3", "B weight 2", "C weight 1").picks("C B A A B A A B A C B A")


def test_twelve_udp_connections_that_never_are(play: Playbook) -> None:
    play.config("udp V:53 nq", "A weight 3", "B weight 2", "C weight 1").picks("C C C C C C C C C C C C", flags="UDP")
