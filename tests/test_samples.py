"""How a run samples active and inactive connections for figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsim import parse, samples
from lbsim.config import parse_command
from lbsim.model.config import TimedCommand
from lbsim.simulate import simulate
from tests.test_simulate import DELETE_12, EMPTY, SECOND, WEB, made
from tests.traces import config_text, in_blocks, random_trace


def test_samples_are_spread_evenly_from_start_to_end() -> None:
    result = simulate(WEB, made((0, "in", 1000, 2)), until=100 * SECOND, samples=5)
    assert result.series.times == tuple(n * 25 * SECOND for n in range(5))
    by_name = dict(zip([row.dest for row in result.destinations], result.series.active, strict=True))
    assert by_name == {"10.0.0.11:80": (0, 0, 0, 0, 0), "10.0.0.12:80": (1, 1, 1, 0, 0)}


@pytest.mark.parametrize("samples", [0, 1])
def test_fewer_than_two_samples_are_none(samples: int) -> None:
    assert simulate(WEB, EMPTY, until=SECOND, samples=samples).series.times == ()


def test_a_run_without_length_is_sampled_once() -> None:
    assert simulate(WEB, EMPTY).series.times == (0,)


def test_with_many_destinations_samples_get_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MOST_SAMPLED_CELLS", 20)
    assert len(simulate(WEB, EMPTY, until=SECOND, samples=200).series.times) == 10


def test_a_run_of_unknown_length_is_sampled_as_often_and_evenly() -> None:
    # 100 s in at most 20 samples: every 2**13 ms is 13 of them, every 2**12 would be 25; and one of the end
    trace = made((0, "in", 1000, 2), (100, "in", 1001, 2))
    result = simulate(WEB, in_blocks(trace, [1]), samples=20)
    assert result.series.times == (*(n * 2**13 * 1_000_000 for n in range(13)), 100 * SECOND)
    by_name = dict(zip([row.dest for row in result.destinations], result.series.active, strict=True))
    # the first connection is active for its 60 s of SYN_RECV (and the wheel's 0.384 s)
    assert by_name == {"10.0.0.12:80": (1,) * 8 + (0,) * 6, "10.0.0.11:80": (0,) * 13 + (1,)}


@given(cuts=st.lists(st.integers(0, 200), max_size=5))
def test_samples_of_a_run_of_unknown_length_do_not_depend_on_its_blocks(cuts: list[int]) -> None:
    trace = random_trace(2, 200)
    config = parse(config_text(4, "rr"))
    assert simulate(config, in_blocks(trace, cuts)).series == simulate(config, in_blocks(trace, [])).series


@pytest.mark.parametrize("samples", [0, 1])
def test_fewer_than_two_samples_are_none_for_blocks_too(samples: int) -> None:
    assert simulate(WEB, in_blocks(made((5, "in", 1000, 2)), []), samples=samples).series.times == ()


def test_a_command_after_the_last_packet_makes_a_run_of_unknown_length_longer() -> None:
    trace = made((0, "in", 1000, 2))
    result = simulate(WEB, in_blocks(trace, []), timeline=[TimedCommand(10 * SECOND, DELETE_12)], samples=4)
    assert (result.final.at, result.series.times[-1]) == (10 * SECOND, 10 * SECOND)
    assert len(result.series.times) <= 4


def test_a_destination_that_was_forgotten_and_came_back_is_one_line() -> None:
    timeline = [
        TimedCommand(0, DELETE_12),
        TimedCommand(400 * SECOND, parse_command("-a -t 192.0.2.1:80 -r 10.0.0.12:80 -m")),
    ]
    trace = made((401, "in", 1000, 2))
    result = simulate(WEB, trace, timeline=timeline, until=402 * SECOND, samples=3)
    assert [row.dest for row in result.destinations] == ["10.0.0.11:80", "10.0.0.12:80"]
    assert result.series.active == ((0, 0, 0), (0, 0, 1))
