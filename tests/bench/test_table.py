"""What is told and kept of measurements. These are no measurements: they always run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench import history
from tests.bench.conftest import PAGES
from tests.bench.history import Entry, Row
from tests.bench.table import BEGIN, END, amount, into, markdown

MACHINE = {
    "processor": "Z80",
    "cores": 1,
    "memory_gib": 2,
    "system": "CP/M 3",
    "python": "CPython 3.11.7",
    "packages": {"numpy": "2.1", "dpkt": ""},
}
ROWS = (
    Row("engine", "rr", "packets/s", (6e6, 7e6, 9e6), 6e6),
    Row("engine", "sh", "packets/s", (5e6, 4e6, 3e6), 6e6, "odd"),
    Row("start", "help", "s", (0.05,), 0.04),
    Row("start", "kernel", note="no kernel here"),
)
ENTRY = Entry("2026-01-02T03:04Z", "0.1.0", "abc", MACHINE, 0.5, ROWS)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (6_214_000, "packets/s", "6.21 M packets/s"),
        (45_400, "packets/s", "45.4 k packets/s"),
        (123.4, "packets/s", "123 packets/s"),
        (40, "s", "40.0 s"),
        (0.0513, "s", "51.3 ms"),
        (0.000002, "s", "2.00 µs"),
        (96, "bytes", "96 bytes"),
        (2_100_000_000, "bytes", "2.10 GB"),
    ],
)
def test_an_amount_has_three_digits_and_its_unit(value: float, unit: str, text: str) -> None:
    assert amount(value, unit) == text


def test_each_group_is_a_table_with_medians_and_what_is_wanted() -> None:
    assert markdown(ENTRY).splitlines() == [
        "| engine | median | spread | wanted |",
        "|---|--:|--:|--:|",
        "| rr | 7.00 M packets/s | 43% | ≥ 6.00 M packets/s |",  # (9 - 6) / 7
        "| sh (odd) | 4.00 M packets/s | 50% | ≥ 6.00 M packets/s **missed** |",
        "",
        "| start | median | spread | wanted |",
        "|---|--:|--:|--:|",
        "| help | 50.0 ms |  | ≤ 40.0 ms **missed** |",
        "| kernel | not measured: no kernel here | | |",
        "",
        "Measured 2026-01-02 on Z80, 1 cores (one used), 2 GiB, CP/M 3, CPython 3.11.7, numpy 2.1; lbsim 0.1.0 (abc); "
        "load 0.5 at the beginning. Medians; spread is from the lowest to the highest.",
    ]


@pytest.mark.parametrize(
    ("rate", "told"),
    [(7.7e6, "7.70 M packets/s (-9%)"), (8e6, "**8.00 M packets/s (-12%)**"), (3.5e6, "3.50 M packets/s (+100%)")],
)
def test_what_has_become_slower_by_more_than_a_tenth_is_marked(rate: float, told: str) -> None:
    before = replace(ENTRY, rows=(replace(ROWS[0], values=(rate,)),))
    assert markdown(ENTRY, before).splitlines()[2].endswith(f" {told} |")


def test_more_time_is_worse() -> None:
    before = replace(ENTRY, rows=(replace(ROWS[2], values=(0.04,)),))
    assert "| **40.0 ms (+25%)** |" in markdown(ENTRY, before)


def test_peers_are_compared_with_lbsim_side_by_side() -> None:
    rows = (
        Row("captures", "capture to decisions", "packets/s", (5e6,)),
        Row("peers", "dpkt: parse", "packets/s", (1e5,)),
        Row("peers", "scapy: dissect, NAT, rebuild", "packets/s", (2000,)),  # nothing of lbsim's was measured
    )
    text = markdown(replace(ENTRY, rows=rows))
    assert "| dpkt: parse | 100 k packets/s | capture to decisions | 5.00 M packets/s | 50 | ≥ 30 |" in text
    assert text.count("scapy") == 1


def test_a_peer_that_is_too_near_is_marked() -> None:
    rows = (
        Row("captures", "capture to decisions", "packets/s", (2e6,)),
        Row("peers", "dpkt: parse", "packets/s", (8e5,)),
    )
    assert "| 2.5 | ≥ 30 **missed** |" in markdown(replace(ENTRY, rows=rows))


def test_a_table_takes_the_place_of_the_old_one() -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert into(into(text, "older\n"), "new\n") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


def test_a_text_without_a_place_for_the_table_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="no <!-- bench"):
        into(f"{BEGIN}\n", "new")


def test_entries_are_kept_as_lines_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    assert history.read(path) == []
    history.append(ENTRY, path)
    history.append(replace(ENTRY, commit="def"), path)
    assert history.read(path) == [ENTRY, replace(ENTRY, commit="def")]
    assert path.read_text(encoding="utf-8").count("\n") == 2


def test_entries_of_other_machines_are_not_compared_with() -> None:
    other = replace(ENTRY, machine=MACHINE | {"processor": "6502"})
    newer = replace(ENTRY, at="2026-02-03T04:05Z")
    assert history.last_like([ENTRY, newer, other], ENTRY) == newer
    assert history.last_like([other], ENTRY) is None


def test_an_entry_says_where_it_was_measured() -> None:
    entry = history.now(ROWS, 1.234)
    assert entry.rows == ROWS
    assert entry.load == 1.23
    assert entry.machine["python"].split()[1].startswith("3.")
    assert entry.machine["packages"]["numpy"]


def test_the_history_that_is_under_version_control_can_be_read() -> None:
    assert all(entry.rows for entry in history.read())


def test_the_brief_table_has_the_rows_of_which_something_is_wanted() -> None:
    lines = markdown(ENTRY, brief=True).splitlines()
    assert [line.split(" | ")[0] for line in lines if line.startswith("| ")] == [
        "| engine", "| rr", "| sh (odd)", "| start", "| help",
    ]  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_have_a_place_for_the_table(page: str) -> None:
    assert into((Path(__file__).parents[2] / page).read_text(encoding="utf-8"), "")


def test_a_page_shows_what_was_kept_last() -> None:
    for page, brief in PAGES.items():
        shown = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
        assert not history.read() or markdown(history.read()[-1], brief=brief) in shown


def test_a_peer_that_could_not_be_measured_is_told_with_what_is_wanted_of_it() -> None:
    rows = (
        Row("captures", "capture to decisions", "packets/s", (4e6,)),
        Row("peers", "dpkt: parse", "packets/s", (1e5,)),
        Row("peers", "nftables NAT of this kernel, without the sender", note="it needs root"),
    )
    for brief in (False, True):
        table = markdown(replace(ENTRY, rows=rows), brief=brief).splitlines()
        begin = table.index("| side by side | | lbsim | | times as fast | wanted |")
        assert table[begin + 2 : begin + 5] == [
            "| dpkt: parse | 100 k packets/s | capture to decisions | 4.00 M packets/s | 40 | ≥ 30 |",
            f"| {rows[2].name} | not measured: it needs root | capture to decisions | | | ≥ 6 |",
            "",
        ]
