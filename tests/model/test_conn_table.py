"""The connection table as columns, against the rows that the engine's host makes one by one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lbsim import parse
from lbsim.engine.lanes import Lane
from lbsim.model.conn_table import ConnTable
from lbsim.model.result import ConnRow, Result
from lbsim.simulate import simulate
from tests.traces import config_text, random_trace

SECOND = 1_000_000_000


def run(version: int = 4, lane: Lane | None = None) -> Result:
    """80 flows' entries at the end, some of the same ends, and some rows of the engine's table free again."""
    trace = random_trace(21, 2000, version=version)
    trace.columns["sport"][:200] = 0  # makes a new entry each time
    return simulate(parse(config_text(version, "rr")), trace, moments=[100 * SECOND, 300 * SECOND], lane=lane)


@pytest.fixture
def columnar(monkeypatch: pytest.MonkeyPatch, lane: Lane) -> Result:
    """The same run, whose tables are kept as columns."""
    monkeypatch.setitem(simulate.__globals__, "MANY_ENTRIES", 0)
    return run(lane=lane)


def test_rows_and_their_order_are_the_hosts(columnar: Result) -> None:
    rows = run().moments[1].connections
    table = columnar.moments[1].connections
    assert isinstance(table, ConnTable)
    assert tuple(table) == rows
    assert (len(table), table[0], table[-1], table[2:5]) == (len(rows), rows[0], rows[-1], rows[2:5])


def test_ipv6_entries_are_sorted_and_written_likewise(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = run(6).moments[1].connections
    monkeypatch.setitem(simulate.__globals__, "MANY_ENTRIES", 0)
    assert tuple(run(6).moments[1].connections) == rows


def test_a_table_is_what_it_was_at_its_moment_however_the_run_goes_on(columnar: Result) -> None:
    whole = run()
    assert columnar.moments == whole.moments
    assert columnar.moments[0].connections != columnar.moments[1].connections
    assert columnar.final == whole.final


def test_tables_and_tuples_with_the_same_rows_are_equal(columnar: Result) -> None:
    table = columnar.moments[1].connections
    rows = tuple(table)
    assert table == rows
    assert rows == table
    assert table != rows[:-1]
    assert table != (*rows[:-1], replace(rows[-1], state="?"))
    assert table != "rows"
    assert (table == 7) is False


def test_a_row_that_does_not_exist_is_an_index_error(columnar: Result) -> None:
    table = columnar.final.connections
    with pytest.raises(IndexError):
        table[len(table)]


def test_very_many_entries_are_read_in_pieces(columnar: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbsim.model.conn_table._ROWS_AT_ONCE", 7)
    assert tuple(columnar.moments[1].connections) == run().moments[1].connections


def test_an_empty_table_has_no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(simulate.__globals__, "MANY_ENTRIES", -1)
    table = simulate(parse(""), random_trace(1, 0)).final.connections
    assert (list(table), table, len(table)) == ([], (), 0)


def test_the_file_holds_the_rows_of_columns(columnar: Result, tmp_path: Path) -> None:
    columnar.to_json(tmp_path / "a.json")
    run().to_json(tmp_path / "b.json")
    a, b = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert (a["moments"], a["final"]) == (b["moments"], b["final"])


def test_very_many_entries_stay_out_of_the_file_of_a_result_without_columns(
    columnar: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (len(moment.connections) for moment in columnar.moments)
    monkeypatch.setattr("lbsim.model.result.FILED_ENTRIES", min(first, second))
    summed = replace(columnar, columns={}, addresses=(), summed=columnar.aggregates)
    for result in (columnar, summed):
        result.to_json(tmp_path / "r.json")
        kept = Result.from_json(tmp_path / "r.json")
        shown = [(len(moment.connections), moment.left_out) for moment in kept.moments]
        most = max(first, second)
        expected = [(n, 0) if n < most or result is columnar else (0, n) for n in (first, second)]
        assert shown == expected
    kept.to_json(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "r.json").read_bytes()


def test_a_row_is_a_conn_row(columnar: Result) -> None:
    assert isinstance(columnar.final.connections[0], ConnRow)
