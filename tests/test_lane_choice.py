"""Which lane a run takes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from lbsim import lane_choice
from lbsim.engine.lanes import compiled_lane, interpreted_lane
from lbsim.errors import LbsimError
from lbsim.lane_choice import MANY, WORTH_COMPILING, WORTH_LOADING, chosen, slow_hint


@pytest.fixture
def no_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_choice, "find_spec", lambda _name: None)


@pytest.fixture(params=[True, False], ids=["compiled before", "never compiled"])
def at_hand(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(compiled_lane(), "at_hand", lambda _name: request.param)
    return bool(request.param)


def test_a_small_run_is_interpreted(at_hand: bool) -> None:
    assert chosen("auto", WORTH_LOADING - 1) is interpreted_lane()


def test_a_larger_run_is_compiled_if_that_was_done_before(at_hand: bool) -> None:
    assert chosen("auto", WORTH_LOADING) is (compiled_lane() if at_hand else interpreted_lane())


def test_a_very_large_run_is_worth_the_compiler(at_hand: bool) -> None:
    assert chosen("auto", WORTH_COMPILING) is compiled_lane()


def test_a_lane_can_be_asked_for() -> None:
    assert (chosen("compiled", 1), chosen("interpreted", 10**9)) == (compiled_lane(), interpreted_lane())


@pytest.mark.usefixtures("no_numba")
def test_without_numba_auto_stays_interpreted_and_says_so_if_the_run_is_large() -> None:
    assert chosen("auto", 10**9) is interpreted_lane()
    assert slow_hint("auto", MANY - 1) == slow_hint("interpreted", MANY) == ""
    assert "pip install 'lbsim[fast]'" in slow_hint("auto", MANY)


def test_with_numba_there_is_nothing_to_say() -> None:
    assert importlib.util.find_spec("numba")
    assert slow_hint("auto", 10**9) == ""


@pytest.mark.usefixtures("no_numba")
def test_without_numba_compiled_is_refused_in_one_line() -> None:
    with pytest.raises(LbsimError, match=r"the compiled lane needs numba: pip install 'lbsim\[fast\]'"):
        chosen("compiled", 1)


def test_an_unknown_lane_names_the_known_ones() -> None:
    with pytest.raises(LbsimError, match="expected one of: auto, compiled, interpreted"):
        chosen("fast", 1)


def test_compiled_code_is_at_hand_once_it_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lane = compiled_lane()
    monkeypatch.setattr(lane, "kept_in", tmp_path)
    assert not lane.at_hand("receive_block")
    (tmp_path / "engine_1").mkdir()
    (tmp_path / "engine_1" / "director.receive_block-66.py311.1.nbc").touch()
    assert lane.at_hand("receive_block")
