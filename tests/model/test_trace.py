"""Packets as columns."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsim.model.trace import COLUMN_TYPES, AddressTable, Flow, FlowTable, Trace

CLIENT, VIP, OTHER = map(ip_address, ("203.0.113.1", "192.0.2.1", "203.0.113.2"))


def made(*times: int, client: object = CLIENT, port: int = 1000, raw: bytes = b"", **more: object) -> Trace:
    """Packets of one flow at these times; with ``raw``, each was captured and is one byte of it."""
    columns = Trace.empty_columns(len(times))
    columns["time"][:] = times
    columns["src"][:] = 1
    columns["sport"][:] = port
    if raw:
        columns["raw_at"][:] = range(len(times))
        columns["raw_len"][:] = 1
    return Trace(columns, (VIP, client), (Flow(6, 1, port, 0, 80),), raw, **more)


def test_empty_columns_are_all_there_with_their_types() -> None:
    columns = Trace.empty_columns(3)
    assert {name: column.dtype for name, column in columns.items()} == {n: np.dtype(k) for n, k in COLUMN_TYPES.items()}
    assert {len(column) for column in columns.values()} == {3}


def test_an_empty_column_is_zero_but_for_ttl_and_raw() -> None:
    columns = Trace.empty_columns(2)
    assert {name: column.tolist() for name, column in columns.items() if column.any()} == {
        "ttl": [64, 64],
        "raw_at": [-1, -1],
    }


def test_a_missing_column_is_a_mistake() -> None:
    columns = Trace.empty_columns(1)
    del columns["ttl"]
    with pytest.raises(AssertionError, match="ttl"):
        Trace(columns, (), ())


def test_columns_of_different_lengths_are_a_mistake() -> None:
    columns = Trace.empty_columns(1) | {"ttl": np.zeros(2, dtype="i2")}
    with pytest.raises(AssertionError, match="different lengths"):
        Trace(columns, (), ())


def test_a_trace_has_the_length_of_its_columns() -> None:
    assert (len(made(1, 2, 3)), len(made())) == (3, 0)


def test_a_column_is_got_by_its_name() -> None:
    assert made(5, 7)["time"].tolist() == [5, 7]


@pytest.mark.parametrize(("times", "duration"), [((), 0), ((3,), 3), ((1, 9), 9)])
def test_a_trace_lasts_until_its_last_packet(times: tuple[int, ...], duration: int) -> None:
    assert made(*times).duration == duration


# Merging


def test_merging_one_trace_gives_that_trace() -> None:
    trace = made(1)
    assert Trace.merge([trace]) is trace


def test_merging_nothing_gives_an_empty_trace() -> None:
    merged = Trace.merge([])
    assert (len(merged), merged.addresses, merged.flows, merged.raw, merged.damage) == (0, (), (), b"", None)
    assert {name: column.dtype for name, column in merged.columns.items()} == {
        n: np.dtype(k) for n, k in COLUMN_TYPES.items()
    }


def test_packets_of_merged_traces_are_in_time_order() -> None:
    merged = Trace.merge([made(1, 5, 9), made(2, 6, client=OTHER)])
    assert merged["time"].tolist() == [1, 2, 5, 6, 9]
    assert [merged.addresses[src] for src in merged["src"]] == [CLIENT, OTHER, CLIENT, OTHER, CLIENT]


def test_packets_of_the_same_instant_keep_the_order_of_the_traces() -> None:
    merged = Trace.merge([made(1, 1, port=7), made(0, 1, port=8), made(1, port=9)])
    assert merged["sport"].tolist() == [8, 7, 7, 8, 9]


def test_addresses_of_merged_traces_are_there_once() -> None:
    assert Trace.merge([made(1), made(2, client=OTHER), made(3)]).addresses == (VIP, CLIENT, OTHER)


def test_equal_flows_of_merged_traces_become_one() -> None:
    merged = Trace.merge([made(1), made(2, client=OTHER), made(3), made(4, port=1001)])
    assert merged.flows == (Flow(6, 1, 1000, 0, 80), Flow(6, 2, 1000, 0, 80), Flow(6, 1, 1001, 0, 80))
    assert merged["flow"].tolist() == [0, 1, 0, 2]


def test_captured_bytes_of_merged_traces_are_found_again() -> None:
    merged = Trace.merge([made(1, 4, raw=b"ad"), made(2), made(3, raw=b"c")])
    at = merged["raw_at"].tolist()
    assert [merged.raw[i : i + 1] if i >= 0 else None for i in at] == [b"a", None, b"c", b"d"]


def test_an_empty_trace_among_others_does_no_harm() -> None:
    merged = Trace.merge([made(), made(3), made()])
    assert merged["time"].tolist() == [3]


def test_what_was_left_out_is_added_up() -> None:
    merged = Trace.merge([made(left_out={"arp": 2}), made(left_out={"arp": 1, "no service": 4})])
    assert merged.left_out == {"arp": 3, "no service": 4}


@pytest.mark.parametrize(
    ("damages", "all_of_them"),
    [((None, None), None), (("cut", None), "cut"), (("cut", "no end"), "cut; no end")],
)
def test_damages_are_told_together(damages: tuple[str | None, ...], all_of_them: str | None) -> None:
    assert Trace.merge([made(1, damage=damage) for damage in damages]).damage == all_of_them


def test_packets_that_were_not_captured_stay_so_behind_captured_ones() -> None:
    assert Trace.merge([made(1, raw=b"a"), made(2, 3)])["raw_at"].tolist() == [0, -1, -1]


def test_merged_traces_of_one_capture_keep_its_bytes_once() -> None:
    raw = b"0123456789"
    merged = Trace.merge([made(1, 2, raw=raw), made(3, raw=raw)])
    assert merged.raw is raw
    assert merged["raw_at"].tolist() == [0, 1, 0]


def test_addresses_that_are_equal_numbers_of_different_families_stay_two() -> None:
    four, six = ip_address("0.0.0.7"), ip_address("::7")
    merged = Trace.merge([made(1, client=four), made(2, client=six)])
    assert merged.addresses == (VIP, four, six)
    assert [merged.addresses[src] for src in merged["src"]] == [four, six]


# Blocks


def test_a_trace_is_cut_into_blocks_of_so_many_packets() -> None:
    assert [block["time"].tolist() for block in made(1, 2, 3, 4, 5).blocks(2)] == [[1, 2], [3, 4], [5]]


@pytest.mark.parametrize(("packets", "sizes"), [(4, [2, 2]), (0, [0]), (1, [1]), (2, [2])])
def test_blocks_are_full_but_for_the_last_one(packets: int, sizes: list[int]) -> None:
    assert [len(block) for block in made(*range(packets)).blocks(2)] == sizes


def test_all_blocks_of_a_trace_share_its_tables() -> None:
    trace = made(1, 2, 3)
    shared = [(block.addresses, block.flows) for block in trace.blocks(1)]
    assert all(addresses is trace.addresses and flows is trace.flows for addresses, flows in shared)


def test_what_was_left_out_is_in_the_last_block_only() -> None:
    blocks = list(made(1, 2, left_out={"arp": 2}, damage="cut").blocks(1))
    assert [(block.left_out, block.damage) for block in blocks] == [({}, None), ({"arp": 2}, "cut")]


def test_joined_blocks_are_the_trace_again() -> None:
    trace = made(1, 2, 3, 4, 5, raw=b"abcde", left_out={"arp": 2}, damage="cut")
    again = Trace.joined(trace.blocks(2))
    assert {name: column.tolist() for name, column in again.columns.items()} == {
        name: column.tolist() for name, column in trace.columns.items()
    }
    assert again.addresses is trace.addresses
    assert again.flows is trace.flows
    assert (again.raw, again.left_out, again.damage) == (trace.raw, trace.left_out, trace.damage)


def test_joined_blocks_with_bytes_of_their_own_find_them_again() -> None:
    joined = Trace.joined(iter([made(1, 2, raw=b"ab"), made(3), made(4, raw=b"c")]))
    assert [joined.raw[at : at + 1] if at >= 0 else None for at in joined["raw_at"].tolist()] == [
        b"a",
        b"b",
        None,
        b"c",
    ]


def test_a_single_block_joined_is_that_block() -> None:
    trace = made(1, 2)
    assert Trace.joined(iter([trace])) is trace


def test_no_block_joined_is_an_empty_trace() -> None:
    joined = Trace.joined(iter(()))
    assert (len(joined), joined.addresses, joined.flows, joined.raw, joined.damage) == (0, (), (), b"", None)
    assert {name: column.dtype for name, column in joined.columns.items()} == {
        n: np.dtype(k) for n, k in COLUMN_TYPES.items()
    }


# Tables of addresses and flows

ADDRESSES = tuple(
    map(ip_address, ("192.0.2.1", "2001:db8::a:0:1", "255.255.255.255", "::", "0.0.0.0", "::ffff:1.2.3.4"))
)
FLOWS = (Flow(6, 1, 40000, 0, 80), Flow(17, 2**31 - 1, 0, 3, 65535), Flow(132, 1, 5, 0, 443))
TABLES = pytest.mark.parametrize(("kind", "rows"), [(AddressTable, ADDRESSES), (FlowTable, FLOWS)])

addresses = st.one_of(
    st.ip_addresses(), st.integers(0, 2**32 - 1).map(IPv4Address), st.integers(0, 2**128 - 1).map(IPv6Address)
)
flows = st.builds(
    Flow,
    st.integers(0, 255),
    st.integers(0, 2**31 - 1),
    st.integers(0, 65535),
    st.integers(0, 2**31 - 1),
    st.integers(0, 65535),
)


@given(st.lists(addresses))
def test_a_table_gives_back_the_addresses_it_was_made_of(rows: list[IPv4Address | IPv6Address]) -> None:
    table = AddressTable(rows)
    assert (list(table), [table[i] for i in range(len(rows))]) == (rows, rows)


@given(st.lists(flows))
def test_a_table_gives_back_the_flows_it_was_made_of(rows: list[Flow]) -> None:
    table = FlowTable(rows)
    assert (list(table), [table[i] for i in range(len(rows))]) == (rows, rows)


@given(st.lists(addresses))
def test_the_words_of_an_address_are_its_number_highest_first(rows: list[IPv4Address | IPv6Address]) -> None:
    table = AddressTable(rows)
    assert table.words.tolist() == [[int(a) >> shift & 0xFFFFFFFF for shift in (96, 64, 32, 0)] for a in rows]
    assert table.family.tolist() == [a.version for a in rows]


def test_columns_of_tables_have_their_types() -> None:
    a, f = AddressTable(ADDRESSES), FlowTable(FLOWS)
    assert (a.family.dtype, a.words.dtype, a.words.shape) == (np.dtype("i1"), np.dtype("u4"), (6, 4))
    columns = (f.proto, f.client, f.client_port, f.server, f.server_port)
    assert [column.dtype.str[1:] for column in columns] == ["i2", "i4", "i4", "i4", "i4"]


def test_the_columns_of_flows_are_their_fields() -> None:
    table = FlowTable(FLOWS)
    assert (table.proto.tolist(), table.client.tolist(), table.client_port.tolist()) == (
        [6, 17, 132],
        [1, 2**31 - 1, 1],
        [40000, 0, 5],
    )
    assert (table.server.tolist(), table.server_port.tolist()) == ([0, 3, 0], [80, 65535, 443])


@TABLES
def test_a_row_is_found_from_both_ends(kind: type, rows: tuple[object, ...]) -> None:
    table = kind(rows)
    assert (table[0], table[-1], table[np.int32(1)]) == (rows[0], rows[-1], rows[1])


@TABLES
@pytest.mark.parametrize("beyond", [0, 5, -1])
def test_there_is_no_row_beyond_the_end_even_where_there_is_room(
    kind: type, rows: tuple[object, ...], beyond: int
) -> None:
    table = kind(rows)
    table.append(rows[0])  # more room than rows from now on
    with pytest.raises(IndexError):
        table[-len(table) + beyond if beyond < 0 else len(table) + beyond]


@TABLES
@pytest.mark.parametrize("part", [slice(1, 2), slice(-2, None), slice(None), slice(9, 12), slice(None, None, -2)])
def test_a_slice_of_a_table_is_a_table_of_these_rows(kind: type, rows: tuple[object, ...], part: slice) -> None:
    table = kind(rows)
    assert type(table[part]) is kind
    assert list(table[part]) == list(rows[part])


@TABLES
def test_a_slice_that_grows_leaves_its_table_alone(kind: type, rows: tuple[object, ...]) -> None:
    table = kind(rows)
    part = table[:1]
    part.append(rows[2])
    assert (list(part), list(table)) == ([rows[0], rows[2]], list(rows))


@TABLES
def test_rows_are_taken_in_the_order_of_their_numbers(kind: type, rows: tuple[object, ...]) -> None:
    assert list(kind(rows).take(np.array([2, 0, 2]))) == [rows[2], rows[0], rows[2]]


@TABLES
def test_tables_and_sequences_of_the_same_rows_are_equal(kind: type, rows: tuple[object, ...]) -> None:
    table = kind(rows)
    assert table == kind(rows)
    assert table == rows
    assert list(rows) == table


@TABLES
@pytest.mark.parametrize(
    "other", [lambda rows: rows[:-1], lambda rows: (*rows[:-1], rows[0]), lambda rows: (*rows, rows[0])]
)
def test_tables_of_other_rows_are_not_equal(kind: type, rows: tuple[object, ...], other) -> None:
    assert kind(rows) != other(rows)
    assert kind(rows) != kind(other(rows))


def test_addresses_of_different_families_are_not_equal() -> None:
    assert AddressTable([ip_address("0.0.0.1")]) != AddressTable([ip_address("::1")])


@TABLES
def test_a_table_is_not_equal_to_what_is_no_sequence(kind: type, rows: tuple[object, ...]) -> None:
    assert kind(rows) != set(rows)


@TABLES
def test_a_table_has_no_hash_as_it_may_grow(kind: type, rows: tuple[object, ...]) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(kind(rows))


@TABLES
def test_a_short_table_prints_as_what_makes_it(kind: type, rows: tuple[object, ...]) -> None:
    made_again = eval(repr(kind(rows)))
    assert type(made_again) is kind
    assert made_again == rows


def test_a_long_table_prints_its_first_rows_and_its_length() -> None:
    text = repr(FlowTable(FLOWS[:1] * 1000))
    assert text.count("Flow(") == 8
    assert text.endswith(", ... 1,000 in all])")


@TABLES
def test_rows_are_appended_and_a_view_taken_before_stays_as_it_is(kind: type, rows: tuple[object, ...]) -> None:
    table, name = kind(), next(iter(kind.TYPES))
    views = []
    for i in range(100):
        views.append(getattr(table, name))
        table.append(rows[i % len(rows)])
    whole = getattr(table, name).tolist()
    assert [view.tolist() for view in views] == [whole[:i] for i in range(100)]
    assert list(table) == [rows[i % len(rows)] for i in range(100)]


@TABLES
def test_a_table_grows_by_another_one(kind: type, rows: tuple[object, ...]) -> None:
    table = kind(rows)
    table.extend(kind(rows[1:]))
    table.extend(table)
    assert table == (*rows, *rows[1:]) * 2


@TABLES
def test_more_rows_than_are_made_into_objects_at_once_are_all_there(kind: type, rows: tuple[object, ...]) -> None:
    many = rows * 4000
    assert all(a == b for a, b in zip(kind(many), many, strict=True))


def test_addresses_are_added_as_columns() -> None:
    table = AddressTable(ADDRESSES[:1])
    table.extend_columns(family=4, words=np.array([[0, 0, 0, 0xCB007101], [0, 0, 0, 0xFFFFFFFF]], dtype="i8"))
    table.extend_columns(family=[6, 4], words=[[0x20010DB8, 0, 0, 1], [0, 0, 0, 1]])
    assert [str(a) for a in table] == ["192.0.2.1", "203.0.113.1", "255.255.255.255", "2001:db8::1", "0.0.0.1"]


def test_words_of_a_single_address_without_its_row_are_a_mistake() -> None:
    with pytest.raises(AssertionError, match="1 dimensions"):
        AddressTable().extend_columns(family=4, words=[0, 0, 0, 1])


def test_flows_are_added_as_columns_where_one_value_may_stand_for_all() -> None:
    table = FlowTable(FLOWS[:1])
    table.extend_columns(proto=6, client=np.arange(3), client_port=[7, 8, 9], server=0, server_port=80)
    assert table == (FLOWS[0], Flow(6, 0, 7, 0, 80), Flow(6, 1, 8, 0, 80), Flow(6, 2, 9, 0, 80))


def test_columns_of_flows_that_differ_in_length_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="shape mismatch"):
        FlowTable().extend_columns(proto=6, client=[1, 2], client_port=[7, 8, 9], server=0, server_port=80)


@pytest.mark.parametrize("name", ["family", "words"])
def test_nobody_can_change_an_address_of_a_table(name: str) -> None:
    with pytest.raises(ValueError, match="read-only"):
        getattr(AddressTable(ADDRESSES), name)[0] = 1


@pytest.mark.parametrize("name", FlowTable.TYPES)
def test_nobody_can_change_a_flow_of_a_table(name: str) -> None:
    with pytest.raises(ValueError, match="read-only"):
        getattr(FlowTable(FLOWS), name)[0] = 1


def test_a_table_that_grows_row_by_row_copies_each_row_a_few_times_at_most() -> None:
    table, room, copied = FlowTable(), 0, 0
    for _ in range(5000):
        table.append(FLOWS[0])
        if len(table._columns["proto"]) != room:
            room = len(table._columns["proto"])
            copied += len(table) - 1
    # rooms of 1, 2, 4, ... 8192: the rows copied are 1 + 2 + ... + 4096
    assert copied <= 8191


def test_a_trace_made_of_sequences_holds_tables() -> None:
    trace = made(1)
    assert (type(trace.addresses), type(trace.flows)) == (AddressTable, FlowTable)


def test_a_trace_made_of_tables_holds_these_very_tables() -> None:
    shared = AddressTable(ADDRESSES), FlowTable(FLOWS)
    trace = Trace(Trace.empty_columns(0), *shared)
    assert trace.addresses is shared[0]
    assert trace.flows is shared[1]


# Numbering
