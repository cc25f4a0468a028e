"""Expectations against results made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbsim.model.outcome import Outcome
from lbsim.model.result import Result
from lbsim.scenario import check, load, moments_needed
from tests.results import DNS, SECOND, WEB, A, B, C, Run, entry, web
from tests.scenario.texts import write

HEAD = """\
name: by-hand
config: |
  ipvsadm -A -t 192.168.1.10:80 -s rr
  ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.11:80 -m
  ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.12:80 -m
  ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.13:80 -m
"""
TWO_SERVICES = (
    HEAD
    + """\
  ipvsadm -A -u 192.168.1.10:53 -s rr
  ipvsadm -a -u 192.168.1.10:53 -r 10.0.0.11:80 -m
"""
)


def outcome(folder: Path, expectation: str, result: Result, head: str = HEAD) -> Outcome:
    """What became of one expectation, written in one line of YAML."""
    loaded = load(write(folder, f"{head}expect:\n  - {expectation}\n"))
    (only,) = check(loaded, result)
    return only


def connections(*dests: str) -> Run:
    """A run of a web service with these connections, in order."""
    run = web()
    for number, dest in enumerate(dests):
        run.connect(f"198.51.100.1:{number + 1}", dest)
    return run


def names(*dests: str) -> str:
    return f"[{', '.join(dests)}]"


def test_a_sequence_is_met_by_the_first_connections(tmp_path: Path) -> None:
    result = connections(C, B, A, C).result()
    assert outcome(tmp_path, f"sequence: {names(C, B, A)}", result).passed


def test_a_sequence_counts_connections_and_not_packets(tmp_path: Path) -> None:
    run = web().connect("198.51.100.1:1", A, sent=5, answered=4).connect("198.51.100.1:2", B)
    assert outcome(tmp_path, f"sequence: {names(A, B)}", run.result()).passed


def test_a_rescheduled_connection_is_one_more(tmp_path: Path) -> None:
    run = connections(A).packet("198.51.100.1:1", B, "rescheduled")
    assert outcome(tmp_path, f"{{sequence: {names(A, B)}, complete: true}}", run.result()).passed


def test_a_sequence_sees_only_its_own_service(tmp_path: Path) -> None:
    run = web().service(DNS).dest(A, service=DNS)
    run.connect("198.51.100.1:1", C).connect("198.51.100.1:2", A, service=DNS).connect("198.51.100.1:3", B)
    expectation = f"{{service: '{WEB}', sequence: {names(C, B)}, complete: true}}"
    assert outcome(tmp_path, expectation, run.result(), TWO_SERVICES).passed


def test_the_first_difference_of_a_sequence_is_shown_with_its_surroundings(tmp_path: Path) -> None:
    result = connections(C, B, A, C, A, B, C).result()
    failed = outcome(tmp_path, f"sequence: {names(C, B, A, C, B, A, C)}", result)
    assert not failed.passed
    assert failed.detail == (
        f"connection 5: expected {B}, got {A}; 3 to 7: expected {A} {C} {B} {A} {C}, got {A} {C} {A} {B} {C}"
    )


@pytest.mark.parametrize(
    ("expectation", "detail"),
    [
        (f"sequence: {names(A, B, C)}", f"connection 3: expected {C}, got none; expected 3 connections, got 2"),
        (
            f"{{sequence: {names(A)}, complete: true}}",
            f"connection 2: expected none, got {B}; expected 1 connection, got 2",
        ),
    ],
)
def test_too_few_or_too_many_connections_break_a_sequence(tmp_path: Path, expectation: str, detail: str) -> None:
    failed = outcome(tmp_path, expectation, connections(A, B).result())
    assert (failed.passed, failed.detail) == (False, detail)


@pytest.mark.parametrize(
    ("expectation", "passed"),
    [
        ("share: {10.0.0.11:80: 0.5, 10.0.0.12:80: 0.25}", True),  # 2, 1, 1 of 4 connections
        ("share: {10.0.0.11:80: 0.49}", False),
        ("{share: {10.0.0.11:80: 0.4}, tolerance: 0.1}", True),  # 0.1 is not further than 0.1
        ("{share: {10.0.0.11:80: 0.4}, tolerance: 0.0999}", False),
        # packets: A has 2 x 3, B and C 1 x 3: 6 of 12; every packet has 100 bytes
        ("{share: {10.0.0.12:80: 0.25}, of: packets}", True),
        ("{share: {10.0.0.12:80: 0.25}, of: bytes}", True),
    ],
)
def test_a_share_is_met_within_its_tolerance(tmp_path: Path, expectation: str, passed: bool) -> None:
    assert outcome(tmp_path, expectation, connections(A, B, A, C).result()).passed is passed


def test_a_share_counts_destinations_that_were_removed(tmp_path: Path) -> None:
    result = connections(A, B, C, C).remove(C).result()
    assert outcome(tmp_path, "share: {10.0.0.11:80: 0.25, 10.0.0.13:80: 0.5}", result).passed


def test_a_missed_share_is_shown_with_its_counts(tmp_path: Path) -> None:
    failed = outcome(tmp_path, "{share: {10.0.0.11:80: 0.2}, tolerance: 0.05}", connections(A, B, A, C).result())
    assert failed.detail == f"{A}: 0.5000 (2 of 4 connections), expected 0.2 within 0.05"


def test_nothing_to_share_meets_no_share(tmp_path: Path) -> None:
    assert not outcome(tmp_path, "{share: {10.0.0.11:80: 0}, tolerance: 1}", web().result()).passed


# connections of 2 packets in and 1 out, 100 bytes each
@pytest.mark.parametrize(
    "numbers",
    [
        "connections: 2",
        "packets: 6",
        "bytes: 600",
        "in_packets: 4",
        "out_packets: 2",
        "in_bytes: 400",
        "out_bytes: 200",
        "active: 3",
        "inactive: 4",
        "connections: 2, active: 3",
    ],
)
def test_totals_are_met_by_the_same_numbers(tmp_path: Path, numbers: str) -> None:
    run = Run().service().dest(A, active=3, inactive=4).dest(B)
    run.connect("198.51.100.1:1", A).connect("198.51.100.1:2", A)
    assert outcome(tmp_path, f"totals: {{10.0.0.11:80: {{{numbers}}}}}", run.result()).passed


def test_missed_totals_are_shown_each(tmp_path: Path) -> None:
    totals = "totals: {10.0.0.11:80: {connections: 9, packets: 6, active: 1}, 10.0.0.12:80: {bytes: 1}}"
    failed = outcome(tmp_path, totals, connections(A, A).result())
    assert failed.detail == (f"{A}: connections 2, expected 9; {A}: active 0, expected 1; {B}: bytes 0, expected 1")


def test_totals_of_a_destination_that_was_never_there_are_not_met(tmp_path: Path) -> None:
    failed = outcome(tmp_path, "totals: {10.0.0.13:80: {connections: 0}}", web(A, B).result())
    assert (failed.passed, failed.detail) == (False, f"{C}: it was never there")


def test_more_than_three_differences_are_counted(tmp_path: Path) -> None:
    totals = "totals: {10.0.0.11:80: {connections: 9, packets: 9, bytes: 9, active: 9, inactive: 9}}"
    assert outcome(tmp_path, totals, web().result()).detail.endswith("; and 2 more")


ENTRIES = (entry("198.51.100.1:1", A), entry("198.51.100.1:2", B, "FIN_WAIT", 119))
ROW_A = f"TCP 198.51.100.1:1 192.168.1.10:80 {A} ESTABLISHED"
ROW_B = f"TCP * * {B} FIN_WAIT 119"


@pytest.mark.parametrize(
    ("expectation", "detail"),
    [
        (f"{{table: 5s, rows: [{ROW_A}, {ROW_B}]}}", ""),
        (f"{{table: 5s, rows: [{ROW_A}], complete: false}}", ""),
        ("{table: 5s, count: 2}", ""),
        (f"{{table: 5s, count: 2, rows: [{ROW_B}]}}", ""),
        (f"{{table: 5s, count: 2, rows: [{ROW_A}, {ROW_B}], complete: true}}", ""),
        ("{table: 5s, count: 3}", "2 rows, expected 3"),
        (
            f"{{table: 5s, rows: [{ROW_A}]}}",
            f"unexpected row TCP 198.51.100.1:2 192.168.1.10:80 {B} FIN_WAIT 119",
        ),
        (f"{{table: 5s, rows: [TCP * * {C} *], complete: false}}", f"no row TCP * * {C} *"),
        (
            "table: 5s",
            f"unexpected row TCP 198.51.100.1:1 192.168.1.10:80 {A} ESTABLISHED 890; "
            f"unexpected row TCP 198.51.100.1:2 192.168.1.10:80 {B} FIN_WAIT 119",
        ),
    ],
)
def test_a_table_is_met_by_its_rows_and_count(tmp_path: Path, expectation: str, detail: str) -> None:
    result = web().moment(5 * SECOND, *ENTRIES).result()
    found = outcome(tmp_path, expectation, result)
    assert (found.passed, "" if found.passed else found.detail) == (not detail, detail)


def test_an_empty_table_is_met_by_no_rows(tmp_path: Path) -> None:
    assert outcome(tmp_path, "table: 5s", web().moment(5 * SECOND).result()).passed


def test_a_table_is_that_of_its_moment(tmp_path: Path) -> None:
    result = web().moment(4 * SECOND).moment(5 * SECOND, *ENTRIES).result()
    assert outcome(tmp_path, "{table: 5s, count: 2}", result).passed


def test_reasons_are_met_by_the_same_numbers_of_packets(tmp_path: Path) -> None:
    result = connections(A, B).packet("198.51.100.1:9", None, "not_syn").result()
    assert outcome(tmp_path, "reasons: {new: 2, known: 2, translated: 2, not_syn: 1, no_dest: 0}", result).passed


def test_missed_reasons_are_shown_with_their_numbers(tmp_path: Path) -> None:
    failed = outcome(tmp_path, "reasons: {new: 3, no_dest: 1}", connections(A, B).result())
    assert failed.detail == "new: 2 packets, expected 3; no_dest: 0 packets, expected 1"


def test_outcomes_are_in_the_order_of_the_file_and_know_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEAD}expect:\n  - reasons: {{new: 1}}\n  - sequence: [{A}]\n  - reasons: {{new: 2}}\n")
    outcomes = check(load(path), connections(A).result())
    first = HEAD.count("\n") + 2
    assert [one.place for one in outcomes] == [f"{path}:{first}", f"{path}:{first + 1}", f"{path}:{first + 2}"]
    assert [one.passed for one in outcomes] == [True, True, False]


def test_tables_are_needed_at_shown_and_at_expected_moments(tmp_path: Path) -> None:
    text = f"{HEAD}show: [9s, 2s]\nexpect:\n  - table: 5s\n  - table: 2s\n"
    assert moments_needed(load(write(tmp_path, text))) == (2 * SECOND, 5 * SECOND, 9 * SECOND)
