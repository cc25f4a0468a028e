"""A result's packets as Arrow columns, against a row-by-row reading of the result."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from typing import Any

import pyarrow
import pytest

from lbsim import LbsimError, parse
from lbsim.model.result import RESULT_COLUMNS, Result
from lbsim.model.verdict import Verdict, reason_of
from lbsim.simulate import simulate
from tests.results import DNS, A, B, web
from tests.traces import EVERY_SHAPE, config_text, random_trace


def rows_of(result: Result) -> list[dict[str, Any]]:
    """Every packet with names in place of numbers, None for what it does not have."""
    rows = []
    for values in zip(*(result[name].tolist() for name in RESULT_COLUMNS), strict=True):
        row: dict[str, Any] = dict(zip(RESULT_COLUMNS, values, strict=True))
        for name in ("src", "dst", "new_src", "new_dst"):
            row[name] = result.addresses[row[name]] if row[name] >= 0 else None
        dest = result.destinations[row["dest"]] if row["dest"] >= 0 else None
        row |= {"service": dest.service if dest else None, "dest": dest.dest if dest else None}
        row |= {"direction": ("in", "out")[row["direction"]], "reason": reason_of(row["reason"]).name}
        row["verdict"] = Verdict(row["verdict"]).name
        if row["verdict"] != "FORWARD":
            row |= {"new_sport": None, "new_dport": None}
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def result() -> Result:
    return simulate(parse(config_text(4, "rr")), random_trace(5, 1500, shapes=EVERY_SHAPE), scenario="arrows", seed=3)


def test_a_result_is_a_table_with_names(result: Result) -> None:
    assert pyarrow.table(result).to_pylist() == rows_of(result)


def test_ipv6_addresses_are_named_too() -> None:
    result = simulate(parse(config_text(6, "rr")), random_trace(5, 100, version=6))
    assert pyarrow.table(result).to_pylist() == rows_of(result)


def test_texts_are_dictionaries_without_doubles(result: Result) -> None:
    # a real server of two services is one text
    run = web(A, B).service(DNS).dest(B, service=DNS).connect("10.1.0.1:1", A).connect("10.1.0.1:2", B, service=DNS)
    table = pyarrow.table(run.result())
    for name in ("src", "dst", "new_src", "new_dst", "direction", "verdict", "reason", "service", "dest"):
        assert pyarrow.types.is_dictionary(table.schema.field(name).type), name
        texts = table.column(name).chunk(0).dictionary.to_pylist()
        assert len(texts) == len(set(texts))
    assert table.to_pylist() == rows_of(run.result())


def test_many_packets_come_in_several_batches(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lbsim.model.arrow._BATCH", 400)
    table = pyarrow.table(result)
    assert [len(chunk) for chunk in table.column("time").chunks] == [400, 400, 400, 300]
    assert table.to_pylist() == rows_of(result)


def test_a_result_without_packets_is_an_empty_table() -> None:
    table = pyarrow.table(simulate(parse(""), random_trace(1, 0)))
    assert (len(table), table.column_names) == (0, [*list(RESULT_COLUMNS)[:11], "service", *list(RESULT_COLUMNS)[11:]])


def test_where_it_comes_from_is_in_the_metadata(result: Result) -> None:
    assert json.loads(pyarrow.table(result).schema.metadata[b"lbsim"]) == asdict(result.provenance)


def test_a_result_without_columns_says_so(result: Result) -> None:
    with pytest.raises(LbsimError, match="has no per-packet columns"):
        pyarrow.table(replace(result, columns={}, addresses=(), summed=result.aggregates))


def test_without_pyarrow_the_remedy_is_said(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LbsimError, match=r"pyarrow is missing; expected it installed: pip install 'lbsim\[arrow\]'"):
        result.__arrow_c_stream__()


def test_nobody_pays_for_pyarrow_who_does_not_ask() -> None:
    program = (
        "import sys; from lbsim import parse, simulate, Trace\n"
        "import lbsim.pipeline, lbsim.export, lbsim.model.arrow\n"
        "print('pyarrow' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
