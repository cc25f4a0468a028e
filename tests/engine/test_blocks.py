"""Blocks of packets: columns become rows and outcomes columns, in the same way whoever does it."""

from __future__ import annotations

from dataclasses import fields
from ipaddress import ip_address
from typing import Any

import numpy as np
import pytest

from lbsim.engine import blocks
from lbsim.engine.blocks import FOUND_TYPES, GIVEN_TYPES, Found, Given
from lbsim.engine.lanes import Lane, interpreted_lane
from lbsim.engine.numbers import BAD_IP_HEADER, SOURCE_ROUTE
from lbsim.engine.reasons import INVALID_IP, SOURCE_ROUTED
from lbsim.engine.records import Outcome, Packet
from lbsim.host import EngineHost
from lbsim.model.trace import AddressTable

IDS = np.array([7, 3, 5], dtype="i4")  # of three addresses of a trace


def given(packets: int) -> Given:
    """Packets whose fields all differ."""
    columns = [np.arange(packets) + 5 * at for at, _ in enumerate(GIVEN_TYPES)]
    block = Given(*(column.astype(kind) for column, kind in zip(columns, GIVEN_TYPES.values(), strict=True)))
    return block._replace(src=np.arange(packets, dtype="i4") % 3, dst=np.arange(1, packets + 1, dtype="i4") % 3)


def found(packets: int) -> Found:
    return Found(*(np.full(packets, 99, dtype=kind) for kind in FOUND_TYPES.values()))


def fields_of(lane: Lane, rows: Any) -> list[list[int]]:
    """The fields of all rows, one after the other."""
    names = tuple(field.name for field in fields(Packet))
    return [[int(value) for value in column] for column in lane.read(rows, names, len(rows)).values()]


def test_columns_are_named_and_ordered_like_the_fields_of_a_packet() -> None:
    assert [*GIVEN_TYPES] == [field.name for field in fields(Packet)]


def test_a_row_is_made_of_one_number_of_each_column() -> None:
    rows = [Packet()]
    blocks.make_packets(given(4), IDS, 3, 1, rows)
    expected = [3, 8, 13, 18, 23, 28, 33, 7, 3, 48, 53, 58, 63, 68, 73]
    assert fields_of(interpreted_lane(), rows) == [[value] for value in expected]


def test_loops_over_fields_and_over_columns_make_the_same_rows(lane: Lane) -> None:
    filled = lane.table(Packet, 3)
    lane.function(blocks.fill_packets)(given(5), IDS, 1, 3, filled)
    made = [Packet() for _ in range(3)]
    blocks.make_packets(given(5), IDS, 1, 3, made)
    assert fields_of(lane, filled) == fields_of(interpreted_lane(), made)


def test_loops_over_fields_and_over_columns_note_the_same_outcomes(lane: Lane) -> None:
    packets, outcomes = lane.table(Packet, 3), lane.table(Outcome, 3)
    for row in range(3):
        packets[row].src, packets[row].sport = row, 70 + row
        for at, field in enumerate(fields(Outcome)):
            setattr(outcomes[row], field.name, 10 * row + at)
    noted, told = found(6), found(6)
    lane.function(blocks.note_outcomes)(given(6), IDS, 2, 3, packets, outcomes, noted)
    blocks.tell_outcomes(given(6), IDS, 2, 3, packets, outcomes, told)
    assert [column.tolist() for column in noted] == [column.tolist() for column in told]
    assert noted.src.tolist() == [99, 99, -1, 0, 1, 99]
    assert noted.dst.tolist() == [99, 99, 6, 2, 4, 99]
    assert noted.new_dport.tolist() == [99, 99, 7, 17, 27, 99]


# Of a block that is longer than the tables, the last rows of a table are only looked at ahead.
@pytest.mark.parametrize("rows", [1, 3, 16, 17, 40, 100])
def test_every_packet_of_a_part_is_received_once(lane: Lane, rows: int) -> None:
    host = EngineHost(lane=lane)
    shapes = np.where(np.arange(100) % 7 == 0, BAD_IP_HEADER, SOURCE_ROUTE).astype("i1")
    none = np.zeros(100, dtype="i4")
    block = given(100)._replace(shape=shapes, flow=none, src=none, dst=none)
    answers = found(100)
    tables = lane.table(Packet, rows), lane.table(Outcome, rows)
    ids = host.intern_all(AddressTable([ip_address("198.51.100.1")]))
    host.receive_columns(block, ids, answers, tables, slice(5, 98))
    reasons = np.where(shapes == BAD_IP_HEADER, INVALID_IP, SOURCE_ROUTED)
    assert answers.reason[5:98].tolist() == reasons[5:98].tolist()
    assert {*answers.reason[:5].tolist(), *answers.reason[98:].tolist()} == {99}


# The compiled lane's way, here for once gone by the interpreter, which wants lists for it.
def test_both_ways_lead_to_the_same_outcomes(monkeypatch: pytest.MonkeyPatch) -> None:
    def answered(block: Given, ids: Any) -> list[list[int]]:
        tables = [Packet() for _ in range(20)], [Outcome() for _ in range(20)]
        answers = found(50)
        EngineHost().receive_columns(block, ids, answers, tables, slice(0, 50))
        return [column.tolist() for column in answers]

    block = given(50)._replace(shape=np.full(50, BAD_IP_HEADER, dtype="i1"))
    plain = answered(block, IDS)
    monkeypatch.setattr(blocks, "COMPILED", True)
    assert answered(Given(*(column.tolist() for column in block)), IDS.tolist()) == plain
