"""Findings."""

from __future__ import annotations

from lbsim.model.finding import Finding


def test_a_finding_reads_as_severity_place_and_text() -> None:
    assert str(Finding("warning", "a.ipvs:3", "weight 0")) == "warning: a.ipvs:3: weight 0"


def test_why_it_matters_stands_behind_it() -> None:
    assert str(Finding("note", "a:1", "x", "y")) == "note: a:1: x (y)"
