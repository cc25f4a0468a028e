"""Codes of verdicts and reasons."""

from __future__ import annotations

from lbsim.engine import reasons
from lbsim.model.verdict import REASONS, SEEN, Verdict

VERDICT_NAMES = {verdict.name for verdict in Verdict}
CODES = {name: value for name, value in vars(reasons).items() if isinstance(value, int) and name not in VERDICT_NAMES}


def test_every_code_has_a_row_in_the_table_of_reasons() -> None:
    assert {row.code for row in REASONS if row not in SEEN} == set(CODES.values())


def test_what_is_seen_of_a_kernel_has_codes_that_the_engine_never_writes() -> None:
    assert {row.code for row in SEEN}.isdisjoint(CODES.values())


def test_no_code_stands_for_two_reasons() -> None:
    assert len(set(CODES.values())) == len(CODES)


def test_no_reason_has_code_0() -> None:
    assert 0 not in CODES.values()


def test_verdicts_have_the_engines_numbers() -> None:
    assert {verdict.name: int(verdict) for verdict in Verdict} == {
        name: getattr(reasons, name) for name in VERDICT_NAMES
    }
