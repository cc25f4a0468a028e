"""Errors are one line that says where, what, and what was expected."""

from __future__ import annotations

import pytest

from lbsim.errors import (
    ConfigError,
    KernelFailed,
    KernelUnavailable,
    LbsimError,
    ScenarioError,
    TraceError,
    expected_one_of,
)


@pytest.mark.parametrize("kind", [ConfigError, ScenarioError, TraceError])
def test_every_error_is_an_lbsim_error(kind: type[LbsimError]) -> None:
    assert isinstance(kind("x"), LbsimError)


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ({}, "no such thing"),
        ({"file": "a.ipvs"}, "a.ipvs: no such thing"),
        ({"file": "a.ipvs", "line": 3}, "a.ipvs:3: no such thing"),
        ({"file": "a.ipvs", "line": 3, "column": 9}, "a.ipvs:3:9: no such thing"),
        ({"line": 3}, "3: no such thing"),
        ({"file": "a.ipvs", "text": "-Q"}, "a.ipvs: no such thing  [-Q]"),
        ({"text": ""}, "no such thing"),
    ],
)
def test_an_error_reads_as_place_message_and_text(place: dict[str, object], text: str) -> None:
    assert str(LbsimError("no such thing", **place)) == text


def test_the_parts_of_an_error_can_be_got_at() -> None:
    error = ConfigError("m", file="f", line=1, column=2, text="t")
    assert (error.message, error.file, error.line, error.column, error.text) == ("m", "f", 1, 2, "t")


def test_a_trace_error_may_name_its_packet() -> None:
    assert (TraceError("m", packet=7).packet, TraceError("m").packet) == (7, None)


@pytest.mark.parametrize("kind", [KernelUnavailable, KernelFailed])
def test_a_kernels_error_is_one_line_with_what_was_tried_the_step_and_the_remedy(kind: type[KernelUnavailable]) -> None:
    assert str(kind("a kernel", "it\npanicked", "try again")) == "a kernel: it panicked; try again"


def test_a_text_of_several_lines_becomes_one() -> None:
    assert str(LbsimError("m", text="a\n   b\tc")) == "m  [a b c]"


def test_a_long_text_is_cut() -> None:
    assert str(LbsimError("m", text="x" * 121)) == f"m  [{'x' * 117}...]"
    assert str(LbsimError("m", text="x" * 120)) == f"m  [{'x' * 120}]"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("rrr", "unknown scheduler 'rrr', did you mean 'rr'? expected one of: lc, rr, sh"),
        ("weighted", "unknown scheduler 'weighted'; expected one of: lc, rr, sh"),
    ],
)
def test_a_name_that_is_not_known_is_answered_with_the_known_ones(given: str, sentence: str) -> None:
    assert expected_one_of(given, ["sh", "rr", "lc"], "scheduler") == sentence
