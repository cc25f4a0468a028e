"""Packets as columns."""

from __future__ import annotations

from ipaddress import ip_address

import numpy as np
import pytest

from lbsim.model.trace import COLUMN_TYPES, Flow, Trace

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
