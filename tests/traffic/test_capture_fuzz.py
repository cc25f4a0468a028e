"""A few of the random captures of ``tests.traffic.capture_fuzz``, and what that says when something goes wrong."""

from __future__ import annotations

from itertools import islice

import pytest

from lbsim.engine.lanes import compiled_lane, interpreted_lane
from tests.traffic import capture_fuzz


def test_random_captures_are_the_same_in_both_lanes_with_every_index_checked(tmp_path):
    read, refused, problem = capture_fuzz.fuzz(20_261_122, 600, None, tmp_path)
    assert (read, problem) == (600, "")
    assert 0 < refused < 300  # most of them hold something that can be read
    assert list(tmp_path.iterdir()) == []


def test_cases_of_a_seed_are_always_the_same():
    assert list(islice(capture_fuzz.cases(3), 50)) == list(islice(capture_fuzz.cases(3), 50))


def test_lanes_that_disagree_are_named_and_the_capture_is_kept(tmp_path, monkeypatch):
    true = capture_fuzz.digest
    monkeypatch.setattr(
        capture_fuzz, "digest", lambda case, lane: true(case, lane) + ("?" if lane.name == "compiled" else "")
    )
    number, _, problem = capture_fuzz.fuzz(1, 10, None, tmp_path)
    assert number == 0
    assert "['interpreted', 'compiled'] found" in problem
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes() == next(capture_fuzz.cases(1)).content


@pytest.mark.parametrize("error", [IndexError("index 9 is out of bounds"), TimeoutError("not done after 10 s")])
def test_an_error_that_is_no_refusal_ends_the_run(tmp_path, monkeypatch, error):
    lanes = (interpreted_lane(), compiled_lane(checked=True))

    def broken(_case, _lane):
        raise error

    monkeypatch.setattr(capture_fuzz, "digest", broken)
    with pytest.raises(capture_fuzz.DisagreementError, match=str(error)):
        capture_fuzz.check(next(capture_fuzz.cases(1)), lanes)
