"""Loads per weight in words: fractions, ties, and what does not fit into the kernel's numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lbsim.explain.scheduler_words import _fraction, candidate_lines, sentences
from lbsim.model.explanation import Candidate, Decision, Input, Value
from tests.explain.asking import config, explain_last, said
from tests.explain.test_cases import syns

A, B, C = "10.0.0.11:80", "10.0.0.12:80", "10.0.0.13:80"
FORMULA = "256 x active + all connections"


def dest(name: str, load: int, weight: int, *, active: int | None = None, picked: bool = False) -> Candidate:
    """A destination with a load of that many inactive connections, unless its active ones are given."""
    total = load if active is None else active
    return Candidate(name, weight, active or 0, total - (active or 0), total, 0, 0, load, None, "", picked)


def decided(scheduler: str, *dests: Candidate, **inputs: Value) -> str:
    """What is said of a decision among these."""
    named: dict[str, Value] = {"load": FORMULA, **inputs}
    picked = next(one.dest for one in dests if one.picked)
    given = tuple(Input(name, value) for name, value in named.items())
    return " ".join(sentences(Decision(scheduler, (), dests, given, (), picked)))


@pytest.mark.parametrize(
    ("load", "weight", "text"),
    [
        (8481, 8, "8481/8 = 1060.125"),
        (40349, 4, "40349/4 = 10087.25"),
        (1028257, 2, "1028257/2 = 514128.5"),
        (2570000, 2, "2570000/2 = 1285000"),
        (7, 100, "7/100 = 0.07"),
        (7, 50, "7/50 = 0.14"),
        (3341, 3, "3341/3 ~ 1113.667"),
        (1, 16, "1/16 ~ 0.063"),  # 0.0625 has more than three decimals
        (1, 2000, "1/2000 ~ 0.001"),  # 0.0005, rounded up
        (1, 2001, "1/2001 < 0.001"),
        (999, 2000, "999/2000 ~ 0.500"),  # 0.4995
        (0, 7, "0/7 = 0"),
        (10, 1, "10/1"),
        (600, 6, "600/6 = 100"),
        (2**31 - 1, 65535, "2147483647/65535 ~ 32768.500"),  # 32768 * 65535 = 2147450880, and 32767 / 65535 ~ 0.49999
        (-7, 2, "-7/2 = -3.5"),
        (-1, 3, "-1/3 ~ -0.333"),
        (5, 0, "-"),
    ],
)
def test_loads_per_weight_are_exact_or_rounded_to_three_decimals(load: int, weight: int, text: str) -> None:
    assert _fraction(dest(A, load, weight)) == text


def test_loads_that_read_alike_are_told_apart() -> None:
    """1000/3001 is 0.33322, 1001/3003 a third, 0.33333: both read 0.333."""
    told = decided("wlc", dest(B, 1000, 3001, picked=True), dest(A, 1001, 3003), dest(C, 1, 2))
    assert f"{B} has the smallest, 1000/3001 ~ 0.333. {A} has a little more, which three decimals do not show." in told
    assert ", as " not in told


def test_nothing_and_next_to_nothing_do_not_read_alike() -> None:
    told = decided("wlc", dest(B, 0, 2, picked=True), dest(A, 1, 60000))
    assert told.endswith(f"{B} has the smallest, 0/2 = 0.")


@pytest.mark.parametrize("scheduler", ["lc", "wlc", "sed", "fo", "ovf"])
@pytest.mark.parametrize(("count", "names"), [(2, f"as {A} has;"), (3, f"as {B} and {A} have;")])
def test_equals_are_told_in_good_grammar(scheduler: str, count: int, names: str) -> None:
    found = explain_last(config(scheduler, *[f"10.0.0.{11 + i}" for i in range(count)]), syns(1))
    assert names in said(found, "scheduler")


# twos: schedulers.md section 3.14


def two(first: Candidate, second: Candidate) -> str:
    return decided("twos", first, second, lots=(1, 2), drawn=(first.dest, second.dest), total_weight=9)


def test_twos_tells_who_has_less() -> None:
    told = two(dest(A, 257, 1, active=1), dest(B, 257, 2, active=1, picked=True))
    assert told.endswith(f"per weight are 257/1 and 257/2 = 128.5: {B} gets the connection, it has less.")
    told = two(dest(A, 257, 2, active=1, picked=True), dest(B, 514, 4, active=2))
    assert told.endswith(f"{A} gets the connection, as the first of equals.")
    told = two(dest(A, 1001, 3003), dest(B, 1000, 3001, picked=True))
    assert told.endswith("it has less, though three decimals do not show it.")


def test_twos_may_draw_one_twice() -> None:
    one = dest(A, 257, 1, active=1, picked=True)
    told = decided("twos", one, lots=(1, 1), drawn=(A, A), total_weight=1)
    assert told.endswith(f"Both are the same one: {A} gets the connection.")


def test_twos_tells_what_it_compares_when_products_wrap() -> None:
    """32639 * 65535 = 2138996865 < 2**31; 32896 * 65535 = 2155839360, less 2**32 is -2139127936."""
    told = two(dest(B, 32639, 65535, active=127), dest(A, 32896, 65535, active=128, picked=True))
    assert told.endswith(
        "per weight are 32639/65535 ~ 0.498 and 32896/65535 ~ 0.502. The kernel does not divide, it multiplies each "
        "load by the other's weight, in 32 bits: what is 2^31 or more wraps. So 32639 x 65535 = 2,138,996,865 is "
        "compared with 32896 x 65535 = 2,155,839,360 (wraps to -2,139,127,936): the first is larger, and the second "
        "one drawn, 10.0.0.11:80, gets the connection."
    )
    assert "less" not in told


def test_twos_may_keep_the_first_when_products_wrap() -> None:
    """The other way round: -2139127936 is not larger than 2138996865."""
    told = two(dest(A, 32896, 65535, active=128, picked=True), dest(B, 32639, 65535, active=127))
    assert told.endswith("the first is not larger, and the first one drawn, 10.0.0.11:80, gets the connection.")


def test_the_last_product_that_does_not_wrap() -> None:
    """32768 * 65535 = 2147450880 is less than 2**31 = 2147483648, 32769 * 65535 = 2147516415 is not."""
    first = dest(B, 1, 65535, picked=True)
    assert "wraps" not in two(first, dest(A, 32768, 65535))
    assert "2,147,516,415 (wraps to -2,147,450,881)" in two(
        replace(first, picked=False), dest(A, 32769, 65535, picked=True)
    )


# wlc and others compare products of 64 bits, but a load has 32: schedulers.md sections 1.4 and 3.4


@pytest.mark.parametrize("scheduler", ["wlc", "lc"])
def test_large_products_of_others_do_not_wrap(scheduler: str) -> None:
    told = decided(scheduler, dest(B, 32639, 65535, active=127, picked=True), dest(A, 32896, 65535, active=128))
    assert "wraps" not in told


def test_a_load_that_wraps_is_told() -> None:
    """8,400,000 active ones: 257 * 8400000 = 2158800000, less 2**32 is -2136167296."""
    told = decided("wlc", dest(B, -2136167296, 1, active=8_400_000, picked=True), dest(A, 257, 1, active=1))
    assert (
        "A load of 2^31 or more does not fit into the kernel's number and wraps: 2,158,800,000 of 10.0.0.12:80 is "
        "-2,136,167,296. 10.0.0.12:80 has the smallest"
    ) in told


def test_of_lc_a_load_wraps_at_twice_as_much() -> None:
    """17,000,000 active ones: 257 * 17000000 = 4369000000, less 2**32 is 74032704."""
    told = decided("lc", dest(B, 74032704, 1, active=17_000_000, picked=True), dest(A, 10**9, 1))
    assert "A load of 2^32 or more does not fit into the kernel's number and wraps: 4,369,000,000 of" in told


def test_the_old_formula_wraps_likewise_and_an_ordinary_load_does_not() -> None:
    """256 * 3 + (5 - 3) inactive = 770."""
    one = replace(dest(A, 770, 1, active=3, picked=True), total=5, inactive=2)
    assert "wraps" not in decided("wlc", one, load="256 x active + inactive")
    assert "wraps" not in decided("sed", dest(A, 4, 1, active=3, picked=True), load=None)


def test_the_table_has_the_same_fractions() -> None:
    decision = Decision("wlc", (), (dest(A, 8481, 8),), (), (), None)
    assert candidate_lines(decision)[1].split()[-3:] == ["8481/8", "=", "1060.125"]
