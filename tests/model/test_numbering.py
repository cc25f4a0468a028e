"""Numbers for rows by their content, against a dictionary."""

from __future__ import annotations

from ipaddress import ip_address
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsim.model import numbering
from lbsim.model.numbering import Numbering
from lbsim.model.trace import AddressTable, Flow, FlowTable

few = st.integers(0, 3)
flows = st.builds(Flow, st.sampled_from([6, 17]), few, few, few, few)
addresses = st.sampled_from([ip_address(a) for a in ("10.0.0.1", "::a00:1", "10.0.0.2", "1::", "::1:0:0", "::1:0")])


def columns_of(table: FlowTable | AddressTable) -> dict[str, np.ndarray]:
    return {name: table.column(name) for name in table.TYPES}


def check_against_a_dictionary(kind: type, known: list, batches: list[list]) -> None:
    table = kind(dict.fromkeys(known))
    numbers: dict[object, int] = {row: n for n, row in enumerate(table)}
    by_content = Numbering(table)
    for batch in batches:
        expected = [numbers.setdefault(row, len(numbers)) for row in batch]
        assert by_content.of(**columns_of(kind(batch))).tolist() == expected
        assert list(table) == list(numbers)


@given(st.lists(flows), st.lists(st.lists(flows)))
def test_flows_are_numbered_as_a_dictionary_would(known: list, batches: list[list]) -> None:
    check_against_a_dictionary(FlowTable, known, batches)


@given(st.lists(addresses), st.lists(st.lists(addresses)))
def test_addresses_are_numbered_as_a_dictionary_would(known: list, batches: list[list]) -> None:
    check_against_a_dictionary(AddressTable, known, batches)


def many_flows(seed: int, n: int, distinct: int) -> FlowTable:
    table = FlowTable()
    client = np.random.default_rng(seed).integers(0, distinct, n)
    table.extend_columns(proto=6, client=client, client_port=client % 7, server=0, server_port=80)
    return table


def test_numbers_stay_right_while_the_slots_become_more() -> None:
    table, first = FlowTable(), dict[int, int]()
    by_content = Numbering(table)
    for seed in range(20):
        batch = many_flows(seed, 3000, 30_000)
        expected = [first.setdefault(client, len(first)) for client in batch.client.tolist()]
        assert by_content.of(**columns_of(batch)).tolist() == expected
    assert table.client.tolist() == list(first)


@pytest.mark.parametrize("rows", [0, 1, 4])
def test_rows_that_are_there_already_are_found_however_many_are_entered_at_once(
    monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(numbering, "_ROWS_AT_ONCE", 3)
    table = many_flows(1, rows, 10**9)
    assert Numbering(table).of(**columns_of(table)).tolist() == list(range(rows))
    assert len(table) == rows


def test_rows_whose_hashes_are_all_the_same_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbering, "_hashed", lambda columns: np.full(len(columns["proto"]), 1023, dtype=np.uint64))
    batch = many_flows(2, 200, 60)
    first: dict[int, int] = {}
    expected = [first.setdefault(client, len(first)) for client in batch.client.tolist()]
    assert Numbering(FlowTable()).of(**columns_of(batch)).tolist() == expected


def test_every_bit_of_a_row_moves_the_lowest_bits_of_its_hash() -> None:
    # 15 bits of the protocol and 31 of each other column: 139, which hit 130 of 1024 slots if they hit at random
    zero = FlowTable([Flow(0, 0, 0, 0, 0)])
    slots = set()
    for name, kind in FlowTable.TYPES.items():
        for bit in range(8 * np.dtype(kind).itemsize - 1):
            columns = columns_of(zero) | {name: np.array([1 << bit], dtype=kind)}
            slots.add(int(numbering._hashed(columns)[0]) % 1024)
    assert len(slots) > 110


def test_a_growing_table_keeps_its_numbers() -> None:
    by_content = Numbering(FlowTable())
    batches = [many_flows(3, n, 10**9) for n in (10, 1000, 10_000, 100_000)]
    for smaller, larger in pairwise(batches):
        before = by_content.of(**columns_of(smaller)).tolist()
        by_content.of(**columns_of(larger))
        assert by_content.of(**columns_of(smaller)).tolist() == before
