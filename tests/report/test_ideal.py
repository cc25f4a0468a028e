"""What part each destination should get."""

from __future__ import annotations

import pytest

from lbsim.model.config import DirectorConfig
from lbsim.report.ideal import ideal_of, ideal_shares, sh_buckets
from tests.results import DNS, WEB, A, B, C, Run, web


@pytest.mark.parametrize("scheduler", ["rr", "lc"])
def test_rr_and_lc_aim_at_equal_parts_whatever_the_weights(scheduler):
    assert ideal_shares(scheduler, [(A, 1), (B, 7)]).shares == {A: 0.5, B: 0.5}


def test_a_quiesced_destination_should_get_nothing():
    assert ideal_shares("rr", [(A, 1), (B, 0), (C, 1)]).shares == {A: 0.5, B: 0.0, C: 0.5}


def test_if_all_are_quiesced_nobody_should_get_anything():
    assert ideal_shares("lc", [(A, 0), (B, 0)]).shares == {A: 0.0, B: 0.0}


@pytest.mark.parametrize("scheduler", ["wrr", "wlc", "sed", "nq", "mh", "twos"])
def test_weighted_schedulers_aim_at_parts_by_weight(scheduler):
    assert ideal_shares(scheduler, [(A, 1), (B, 3)]).shares == {A: 0.25, B: 0.75}


@pytest.mark.parametrize(("weights", "one"), [((1, 3, 2), B), ((3, 3, 2), B), ((0, 0, 0), None)])
def test_fo_aims_at_the_heaviest_and_of_equals_the_newest(weights, one):
    shares = ideal_shares("fo", list(zip((A, B, C), weights, strict=True))).shares
    assert shares == {name: float(name == one) for name in (A, B, C)}


def test_fo_without_destinations():
    assert ideal_shares("fo", []).shares == {}


@pytest.mark.parametrize("scheduler", ["dh", "lblc", "lblcr", "none", "ovf", "mine"])
def test_others_do_not_aim_at_parts(scheduler):
    ideal = ideal_shares(scheduler, [(A, 1), (B, 3)])
    assert (ideal.meaning, ideal.shares) == (f"unknown: {scheduler} does not aim at parts", {})


def test_a_service_without_destinations_has_no_ideal():
    assert ideal_shares("sh", []).shares == {}


@pytest.mark.parametrize(
    ("weights", "buckets"),
    [
        # the examples of the kernel facts, chapter 3.9
        ((3, 2, 1), (127, 86, 43)),
        ((3, 0, 1), (153, 51, 52)),
        ((300, 200, 1), (55, 200, 1)),
        ((100, 100, 100), (56, 100, 100)),
    ],
)
def test_sh_buckets_are_those_of_the_kernel(weights, buckets):
    found = sh_buckets(list(zip((A, B, C), weights, strict=True)))
    assert found == dict(zip((A, B, C), buckets, strict=True))


def test_sh_buckets_of_a_quiesced_destination_serve_nobody():
    # buckets A 153, C 52; B's 51 are refused, so the others' parts are of 205
    assert ideal_shares("sh", [(A, 3), (B, 0), (C, 1)]).shares == {A: 153 / 205, B: 0.0, C: 52 / 205}


@pytest.mark.parametrize(("scheduler", "words"), [("rr", "equal parts"), ("sh", "256 buckets"), ("wlc", "by weight")])
def test_an_ideal_says_what_it_means(scheduler, words):
    assert words in ideal_shares(scheduler, [(A, 1)]).meaning


def test_the_ideal_of_a_run_is_that_of_its_config():
    run = Run().service(WEB, "sh").dest(A, 3).dest(B, 2).dest(C, 1)
    ideal = ideal_of(run.config(), run.result(), WEB)
    assert ideal.shares == {A: 127 / 256, B: 86 / 256, C: 43 / 256}
    assert "changed" not in ideal.meaning


def test_a_config_that_changed_during_the_run_is_mentioned():
    run = web(A, B)
    config = run.config()
    run.dest(C)
    ideal = ideal_of(config, run.result(), WEB)
    assert ideal.shares == {A: 0.5, B: 0.5}
    assert ideal.meaning.endswith("before the config changed")


def test_a_service_that_was_added_later_has_the_ideal_of_the_end():
    run = web(A).service(DNS, "sh").dest(A, 3, service=DNS).dest(B, 2, service=DNS).dest(C, 1, service=DNS)
    ideal = ideal_of(DirectorConfig(), run.result(), DNS)
    assert ideal.shares == {A: 127 / 256, B: 86 / 256, C: 43 / 256}


def test_a_service_that_came_and_went_has_none():
    run = web(A)
    run.services.clear()
    assert ideal_of(DirectorConfig(), run.result(), WEB).shares == {}
