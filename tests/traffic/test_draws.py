"""Random numbers: the same bits everywhere, and distributed as their names say."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsim.traffic.draws import Draws, exp, log, sin_turns, splitmix64, zipf

N = 20_000
# Kolmogorov and Smirnov: a sample of N is farther from its distribution in one of 1000 cases only. The seeds are
# fixed, so a test either always passes or never.
BOUND = 1.95 / math.sqrt(N)


def distance(sample, distribution) -> float:
    """The largest distance between a sample's and a given distribution function."""
    ordered = sorted(sample)
    expected = [distribution(x) for x in ordered]
    n = len(ordered)
    return max(max((i + 1) / n - e, e - i / n) for i, e in enumerate(expected))


def chi_square(counts: Counter, probabilities: list[float], n: int) -> float:
    return sum((counts[i] - n * p) ** 2 / (n * p) for i, p in enumerate(probabilities))


def highest_chi_square(freedom: int) -> float:
    """Exceeded in one of 1000 cases (Wilson and Hilferty's approximation)."""
    z = NormalDist().inv_cdf(0.999)
    return freedom * (1 - 2 / (9 * freedom) + z * math.sqrt(2 / (9 * freedom))) ** 3


def scalar_log(x: float) -> float:
    """The same sums as the product's, with Python's floats one by one."""
    m, e = math.frexp(x)
    if m < 0.7071067811865476:
        m, e = 2 * m, e - 1
    s = (m - 1) / (m + 1)
    series = 0.0
    for k in range(11, -1, -1):
        series = series * (s * s) + 1 / (2 * k + 1)
    return e * 0.6931471805599453 + 2 * s * series


def scalar_exp(x: float) -> float:
    x = min(max(x, -700.0), 700.0)
    k = math.floor(x / 0.6931471805599453 + 0.5)
    r = x - k * 0.6931471805599453
    series = 0.0
    for i in range(14, -1, -1):
        series = series * r + 1 / math.factorial(i)
    return math.ldexp(series, k)


def test_splitmix64_gives_the_published_numbers_of_the_published_seed():
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert splitmix64(1234567, np.arange(5)).tolist() == published


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_the_logarithm_is_that_of_the_standard_library_but_for_rounding(x):
    assert log(np.array([x]))[0] == pytest.approx(math.log(x), rel=1e-15, abs=1e-15)


@given(st.floats(min_value=-700, max_value=700))
def test_the_exponential_is_that_of_the_standard_library_but_for_rounding(x):
    # x is split with an error of its last bit, 2**-53 * 700
    assert exp(np.array([x]))[0] == pytest.approx(math.exp(x), rel=2e-13)


@given(st.floats(min_value=0, max_value=1))
def test_the_sine_is_that_of_the_standard_library_but_for_rounding(turns):
    assert sin_turns(np.array([turns]))[0] == pytest.approx(math.sin(2 * math.pi * turns), abs=2e-15)


@given(st.lists(st.floats(min_value=1e-300, max_value=1e300), min_size=1, max_size=40))
def test_every_bit_of_the_logarithm_is_that_of_the_same_sums_done_one_by_one(values):
    assert log(np.array(values)).tolist() == [scalar_log(x) for x in values]


@given(st.lists(st.floats(min_value=-1e9, max_value=1e9), min_size=1, max_size=40))
def test_every_bit_of_the_exponential_is_that_of_the_same_sums_done_one_by_one(values):
    assert exp(np.array(values)).tolist() == [scalar_exp(x) for x in values]


def test_the_exponential_stays_finite_whatever_it_is_of():
    assert np.isfinite(exp(np.array([-math.inf, -1e300, 1e300, math.inf]))).all()


@pytest.mark.parametrize("method", ["words", "uniform", "exponential", "normal"])
def test_the_first_numbers_of_a_stream_do_not_depend_on_how_many_are_drawn(method):
    draw = getattr(Draws(5), method)
    assert draw("x", 1000)[:10].tolist() == draw("x", 10).tolist()


IN_PIECES = {
    "words": lambda draws, n, begin: draws.words("x", n, begin),
    "uniform": lambda draws, n, begin: draws.uniform("x", n, begin),
    "below": lambda draws, n, begin: draws.below("x", n, 1000, begin),
    "exponential": lambda draws, n, begin: draws.exponential("x", n, begin),
    "normal": lambda draws, n, begin: draws.normal("x", n, begin),
    "ranks": lambda draws, n, begin: draws.ranks("x", n, zipf(1000, 1.1), begin),
}


@pytest.mark.parametrize("kind", IN_PIECES)
def test_a_stream_drawn_in_pieces_is_the_same_stream(kind):
    draw = IN_PIECES[kind]
    pieces = [draw(Draws(6), n, begin) for begin, n in ((0, 3), (3, 1), (4, 0), (4, 96))]
    assert np.concatenate(pieces).tolist() == draw(Draws(6), 100, 0).tolist()


def test_words_of_a_stream_are_found_by_their_places():
    words = Draws(7).words("x", 100).tolist()
    assert Draws(7).words_at("x", np.array([99, 0, 42, 42])).tolist() == [words[i] for i in (99, 0, 42, 42)]


@pytest.mark.parametrize("seeds", list(pairwise([-1, 0, 1, 2**64, 2**64 + 1, 10**40])))
def test_every_integer_is_a_seed_of_its_own(seeds):
    a, b = (Draws(seed).words("x", 4).tolist() for seed in seeds)
    assert not set(a) & set(b)


def test_each_purpose_has_its_own_stream():
    assert not set(Draws(1).words("a", 1000).tolist()) & set(Draws(1).words("b", 1000).tolist())


def test_uniform_numbers_are_uniform_between_0_and_1():
    assert distance(Draws(1).uniform("x", N).tolist(), lambda x: x) < BOUND


def test_exponential_numbers_follow_their_distribution():
    assert distance(Draws(2).exponential("x", N).tolist(), lambda x: 1 - math.exp(-x)) < BOUND


def test_normal_numbers_follow_their_distribution():
    assert distance(Draws(3).normal("x", N).tolist(), NormalDist().cdf) < BOUND


def test_neighbouring_normal_numbers_do_not_depend_on_each_other():
    sample = Draws(4).normal("x", N)
    # of independent numbers the correlation has the deviation 1 / sqrt(n)
    assert abs(float(np.corrcoef(sample[:-1], sample[1:])[0, 1])) < 3.3 / math.sqrt(N)


@pytest.mark.parametrize("size", [1, 2, 7, 254])
def test_every_number_below_a_size_is_equally_likely(size):
    counts = Counter(Draws(5).below("x", N, size).tolist())
    assert set(counts) <= set(range(size))
    assert chi_square(counts, [1 / size] * size, N) <= highest_chi_square(max(size - 1, 1))


@given(st.integers(1, 2**32), st.integers(0, 1000))
def test_numbers_below_a_size_stay_below_it(size, seed):
    drawn = Draws(seed).below("x", 50, size)
    assert drawn.min() >= 0
    assert drawn.max() < size


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.1, 2.5])
def test_zipf_ranks_are_as_frequent_as_the_definition_says(exponent):
    ranks = 30
    weights = [k**-exponent for k in range(1, ranks + 1)]
    probabilities = [w / math.fsum(weights) for w in weights]
    counts = Counter(Draws(6).ranks("x", N, zipf(ranks, exponent)).tolist())
    assert set(counts) <= set(range(ranks))
    # the rarest rank of the steepest case is expected 3 times only: put the tail into one class
    head = 15
    classes = Counter({i: counts[i] for i in range(head)} | {head: sum(counts[i] for i in range(head, ranks))})
    shares = [*probabilities[:head], math.fsum(probabilities[head:])]
    assert chi_square(classes, shares, N) < highest_chi_square(head)


def test_a_very_steep_zipf_distribution_gives_all_to_the_first():
    assert set(Draws(7).ranks("x", 1000, zipf(2**20, 1e308)).tolist()) == {0}


def test_a_zipf_distribution_over_a_single_rank_is_that_rank():
    assert set(Draws(7).ranks("x", 10, zipf(1, 1.1)).tolist()) == {0}
