"""The table of verdicts and reasons."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from lbsim.model.scenario import ReasonsExpectation
from lbsim.model.verdict import REASONS, SEEN, Rewrite, Verdict, reason_named, reason_of


def test_codes_go_up_and_names_are_different() -> None:
    codes = [reason.code for reason in REASONS]
    assert codes == sorted(set(codes))
    assert len({reason.name for reason in REASONS}) == len(REASONS)


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.name)
def test_a_reason_is_found_by_name_and_by_code(reason) -> None:
    assert reason_named(reason.name) is reason
    assert reason_of(reason.code) is reason


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.name)
def test_a_reason_states_its_condition_and_its_source(reason) -> None:
    assert reason.when.endswith(".")
    assert reason.source


def test_every_verdict_has_a_reason() -> None:
    assert {reason.verdict for reason in REASONS} == set(Verdict)


def test_a_kernels_packets_have_a_reason_per_verdict_that_can_be_seen() -> None:
    seen = [reason.verdict.name for reason in SEEN]
    assert seen == ["FORWARD", "ROUTE", "REJECT", "LOCAL", "DROP", "LOCAL"]  # answered, or a program got it
    assert set(SEEN) < set(REASONS)


def test_no_scenario_can_expect_what_only_a_kernel_shows() -> None:
    ReasonsExpectation(reasons={"new": 1})
    for reason in SEEN:
        with pytest.raises(ValidationError):
            ReasonsExpectation(reasons={reason.name: 1})


def test_a_name_that_is_not_known_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        reason_named("bad_luck")


def test_a_rewrite_changes_nothing_but_the_ttl_by_default() -> None:
    change = Rewrite()
    assert (change.src, change.sport, change.dst, change.dport, change.ttl_down) == (None, None, None, None, 1)
