"""Expected rows of the connection table, and which rows they stand for."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsim.model.result import ConnRow
from lbsim.scenario.table_rows import TableRow, pair_rows, row_text
from tests.results import A, B, C, entry

WANTED_A = TableRow.parse(f"TCP * * {A} *")
WANTED_ANY = TableRow.parse("TCP * * * *")


def rows(*texts: str) -> list[TableRow]:
    return [TableRow.parse(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tcp 198.51.100.1:5 * * established", "TCP 198.51.100.1:5 * * ESTABLISHED"),
        ("UDP [2001:DB8:0:0::1]:05 * * UDP 007", "UDP [2001:db8::1]:5 * * UDP 7"),
        ("* * * * * *", "* * * * * *"),
        ("sctp * * * established", "SCTP * * * ESTABLISHED"),
        ("ip 198.51.100.0:0 0.0.0.5:0 * assured", "IP 198.51.100.0:0 0.0.0.5:0 * ASSURED"),
    ],
)
def test_words_are_brought_into_the_form_of_listings(text: str, words: str) -> None:
    assert str(TableRow.parse(text)) == words


@pytest.mark.parametrize(
    "text", ["", "TCP", "TCP * * * * * *", "ICMP * * * *", "TCP nowhere * * *", "TCP * * 10.0.0.11 *", "TCP * * * * -1"]
)
def test_what_is_no_row_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        TableRow.parse(text)


def test_a_row_of_the_table_reads_like_one_of_a_scenario() -> None:
    row = entry("198.51.100.1:5", A, "FIN_WAIT", 119)
    text = "TCP 198.51.100.1:5 192.168.1.10:80 10.0.0.11:80 FIN_WAIT 119"
    assert row_text(row) == text
    assert pair_rows(rows(text), [row]) == ([], [])


@pytest.mark.parametrize(
    "text",
    [
        "TCP 198.51.100.1:5 192.168.1.10:80 10.0.0.11:80 FIN_WAIT",
        "TCP 198.51.100.1:5 192.168.1.10:80 10.0.0.11:80 FIN_WAIT *",
        "* * * * * 119",
        "TCP * * * FIN_WAIT",
    ],
)
def test_seconds_may_be_left_out_and_a_star_is_any_word(text: str) -> None:
    assert pair_rows(rows(text), [entry("198.51.100.1:5", A, "FIN_WAIT", 119)]) == ([], [])


@pytest.mark.parametrize(
    "text",
    [
        "UDP * * * *",
        "TCP 198.51.100.2:5 * * *",
        "TCP * 192.168.1.10:81 * *",
        "TCP * * 10.0.0.12:80 *",
        "TCP * * * ESTABLISHED",
        "TCP * * * * 118",
        "TCP 198.51.100.1:5 192.168.1.10:80 10.0.0.11:80 FIN_WAIT 118",
        "TCP 198.51.100.1:5 192.168.1.10:80 10.0.0.11:80 CLOSE",
    ],
)
def test_one_different_word_is_a_different_row(text: str) -> None:
    row = entry("198.51.100.1:5", A, "FIN_WAIT", 119)
    assert pair_rows(rows(text), [row]) == (rows(text), [row])


@pytest.mark.parametrize("wanted", [*permutations([WANTED_ANY, WANTED_A, TableRow.parse(f"TCP * * {B} *")])])
def test_a_row_with_many_stars_leaves_the_rows_that_others_need(wanted: tuple[TableRow, ...]) -> None:
    table = [entry("198.51.100.1:1", A), entry("198.51.100.1:2", B), entry("198.51.100.1:3", C)]
    assert pair_rows(wanted, table) == ([], [])


def test_two_expected_rows_need_two_rows() -> None:
    assert pair_rows([WANTED_A, WANTED_A], [entry("198.51.100.1:1", A)]) == ([WANTED_A], [])


def test_rows_that_nobody_expected_are_told() -> None:
    table = [entry("198.51.100.1:1", A), entry("198.51.100.1:2", B)]
    assert pair_rows([WANTED_A], table) == ([], [table[1]])


def test_a_long_table_without_seconds_is_paired_quickly() -> None:
    table = [entry(f"198.51.{n // 250}.{n % 250}:5", A) for n in range(20_000)]
    wanted = [TableRow(tuple(row_text(row).split()[:5])) for row in table]
    assert pair_rows(wanted[::-1], table) == ([], [])


def most_pairs(wanted: list[TableRow], table: list[ConnRow]) -> int:
    """The naive oracle: the best of all ways to line the table up beside the expected rows."""
    longer = [*table, *[None] * len(wanted)]
    return max(
        sum(
            row is not None and want.matches(tuple(row_text(row).split()))
            for want, row in zip(wanted, way, strict=True)
        )
        for way in permutations(longer, len(wanted))
    )


@given(
    st.lists(st.tuples(st.sampled_from("*AB"), st.sampled_from("*XY")), min_size=1, max_size=4),
    st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from("XY")), max_size=4),
)
def test_as_many_rows_as_possible_are_paired(wanted: list[tuple[str, str]], table: list[tuple[str, str]]) -> None:
    dests = {"A": A, "B": B, "*": "*"}
    wanted_rows = [TableRow.parse(f"TCP * * {dests[dest]} {state}") for dest, state in wanted]
    table_rows = [entry(f"198.51.100.1:{n}", dests[dest], state) for n, (dest, state) in enumerate(table)]
    missing, unexpected = pair_rows(wanted_rows, table_rows)
    pairs = most_pairs(wanted_rows, table_rows)
    assert (len(wanted_rows) - len(missing), len(table_rows) - len(unexpected)) == (pairs, pairs)
