"""The two lanes: how tables are made, and that numba stays away until it is asked for."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lbsim.engine import director, hashing
from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane, kernel, replaced
from lbsim.engine.numbers import BAD_IP_HEADER, ICMP_ERROR
from lbsim.engine.reasons import INVALID_IP, NO_RESPONDER
from lbsim.engine.records import Flow, Outcome, Packet
from lbsim.host import EngineHost


def test_a_lane_is_made_once() -> None:
    assert compiled_lane() is compiled_lane()
    assert interpreted_lane() is interpreted_lane()


def test_lanes_have_names() -> None:
    assert (interpreted_lane().name, compiled_lane().name) == ("interpreted", "compiled")


def test_rows_of_a_new_table_are_zero(lane: Lane) -> None:
    table = lane.table(Flow, 3)
    assert len(table) == 3
    assert [(row.addr, row.port) for row in table] == [(0, 0)] * 3


def test_rows_can_be_changed_through_a_name(lane: Lane) -> None:
    table = lane.table(Flow, 2)
    row = table[1]
    row.addr = 7
    row.port += 80
    assert (table[1].addr, table[1].port) == (7, 80)


def test_a_grown_table_keeps_its_rows(lane: Lane) -> None:
    table = lane.table(Flow, 2)
    table[1].addr = 7
    larger = lane.grown(table, 5)
    assert [row.addr for row in larger] == [0, 7, 0, 0, 0]
    larger[4].port = 9
    assert larger[4].port == 9


def test_a_grown_table_of_integers_keeps_them(lane: Lane) -> None:
    assert list(lane.grown(lane.integers([1, 2]), 4)) == [1, 2, 0, 0]


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_growing_to_less_changes_nothing(lane: Lane, rows: int) -> None:
    assert len(lane.grown(lane.table(Flow, 3), rows)) == 3


def test_columns_become_rows_and_columns_again(lane: Lane) -> None:
    columns = {"addr": np.array([1, 2, 3], dtype="i8"), "port": np.array([80, 81, 65535], dtype="i4")}
    table = lane.rows(Flow, columns)
    assert [(row.addr, row.port) for row in table] == [(1, 80), (2, 81), (3, 65535)]
    read = lane.read(table, ("port", "addr"), 2)
    assert {name: list(values) for name, values in read.items()} == {"port": [80, 81], "addr": [1, 2]}


def test_columns_are_matched_by_name_not_by_order(lane: Lane) -> None:
    columns = {"port": np.array([80]), "addr": np.array([1])}
    (row,) = lane.rows(Flow, columns)
    assert (row.addr, row.port) == (1, 80)


def test_fields_without_column_are_zero(lane: Lane) -> None:
    assert [(row.addr, row.port) for row in lane.rows(Flow, {"addr": np.array([1, 2])})] == [(1, 0), (2, 0)]


def test_tables_can_be_replaced_one_at_a_time(lane: Lane) -> None:
    host = EngineHost(lane=lane)
    new = lane.table(Flow, 9)
    tables = replaced(lane, host.tables, flows=new)
    assert tables.flows is new
    assert tables.conns is host.tables.conns


def test_the_interpreted_lane_calls_the_function_itself() -> None:
    assert interpreted_lane().function(hashing.hash32) is hashing.hash32


def test_the_compiled_lane_calls_a_twin_that_agrees() -> None:
    twin = compiled_lane().function(hashing.hash32)
    assert twin is not hashing.hash32
    assert twin(0x0A000001, 8) == hashing.hash32(0x0A000001, 8)


def test_twins_call_twins() -> None:
    entry = compiled_lane().function(director.receive_block)
    twin = entry.py_func.__globals__["receive"]
    assert twin is not director.receive
    assert twin.py_func.__code__ is director.receive.__code__
    assert twin.py_func.__globals__ is compiled_lane().function(director.receive).py_func.__globals__
    assert director.receive_block.__globals__["receive"] is director.receive


def test_a_compiled_block_writes_outcomes() -> None:
    lane = compiled_lane()
    host = EngineHost(lane=lane)
    packets, outcomes = lane.table(Packet, 2), lane.table(Outcome, 2)
    packets[0].shape, packets[1].shape = BAD_IP_HEADER, ICMP_ERROR
    host.receive_block(packets, outcomes, 2)
    assert [outcome.reason for outcome in outcomes] == [INVALID_IP, NO_RESPONDER]


def test_only_functions_can_be_marked() -> None:
    with pytest.raises(AssertionError):
        kernel(len)


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_numba_is_not_imported_before_the_compiled_lane_is_asked_for() -> None:
    code = "import sys, lbsim.live, lbsim.simulate, lbsim.engine.director; print('numba' in sys.modules)"
    assert run_python(code) == "False"


def test_without_numba_the_compiled_lane_is_an_import_error() -> None:
    code = """
import sys
sys.modules["numba"] = None
from lbsim.engine.lanes import compiled_lane
try:
    compiled_lane()
except ImportError:
    print("ImportError")
"""
    assert run_python(code) == "ImportError"
