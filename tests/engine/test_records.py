"""Tables and their rows."""

from __future__ import annotations

import pickle
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest

from lbsim.engine import records
from lbsim.engine.lanes import Lane

RECORDS = [
    value
    for name, value in vars(records).items()
    if isinstance(value, type) and is_dataclass(value) and name != "Tables"
]
every_record = pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)


def test_there_are_records() -> None:
    assert {record.__name__ for record in RECORDS} >= {"Conn", "Dest", "Service", "Packet", "Outcome"}


@every_record
def test_every_field_is_an_integer_of_a_known_width(record: type[Any]) -> None:
    types = records.field_types(record)
    assert [name for name, _ in types] == [field.name for field in fields(record)]
    assert {kind for _, kind in types} <= {"i1", "u1", "i2", "u2", "i4", "u4", "i8"}


@every_record
def test_fields_are_attributes_of_a_row_in_both_lanes(record: type[Any], lane: Lane) -> None:
    """Also those that are called as numpy's own attributes are, such as a packet's shape."""
    table: Any = lane.table(record, 2)
    for number, (name, _) in enumerate(records.field_types(record), start=1):
        setattr(table[1], name, number)
        assert getattr(table[1], name) == number
    with pytest.raises(AttributeError):
        table[1].nothing = 1
    again = pickle.loads(pickle.dumps(table))
    values = [getattr(again[1], name) for name, _ in records.field_types(record)]
    assert values == list(range(1, len(values) + 1))


@every_record
def test_rows_are_slotted(record: type[Any]) -> None:
    assert not hasattr(record(), "__dict__")


@every_record
def test_rows_are_equal_only_to_themselves(record: type[Any]) -> None:
    assert record() != record()


@pytest.mark.parametrize("record", [record for record in RECORDS if record is not records.Director])
def test_a_fresh_row_points_nowhere(record: type[Any]) -> None:
    assert {getattr(record(), field.name) for field in fields(record)} == {0}


@pytest.mark.parametrize(
    ("record", "field", "most"),
    [
        (records.Packet, "sport", 65535),
        (records.Packet, "length", 65535 + 40),
        (records.Packet, "proto", 255),
        (records.Packet, "ttl", 255),
        (records.Packet, "tick", 2**40),
        (records.AddressRow, "word0", 2**32 - 1),
        (records.Dest, "weight", 65535),
        (records.Conn, "expires", 2**40),
        (records.Service, "in_bytes", 2**50),
    ],
)
def test_fields_are_wide_enough(record: type[Any], field: str, most: int) -> None:
    kind = dict(records.field_types(record))[field]
    assert np.iinfo(kind).max >= most
