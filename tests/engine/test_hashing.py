"""Hashes: facts, schedulers.md section 2, with the products of the table in section 3.9."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsim.engine.hashing import hash32, row_bucket
from lbsim.engine.lanes import compiled_lane
from tests.oracles import picks

VECTORS = [
    (0x0A000001, 0x27C88647, 39),
    (0x0A000002, 0x89910C8E, 137),
    (0x0A000003, 0xEB5992D5, 235),
    (0xC0A80164, 0x5972BABC, 89),
    (0xAC100509, 0x731C1B7F, 115),
    (0xCB007107, 0x7CC102F1, 124),
    (0x08080808, 0xBCAE6A38, 188),
    (0xFFFFFFFF, 0x9E3779B9, 158),
    (0x20010DB9, 0x3F01A44F, 63),
    (0x20010DBA, 0xA0CA2A96, 160),
    (0xFE800001, 0xF7488647, 247),
    (0x2001F246, 0xB20AD56A, 178),
    (0x0A000401, 0x49E1A247, 73),
    (0x0A009C41, 0xCBBD5C07, 203),
    (0x0A009C42, 0x2D85E24E, 45),
    (0xCB017106, 0xA13F7CAA, 161),
    (0x00000001, 0x61C88647, 97),
]


@pytest.mark.parametrize(("value", "product", "bucket"), VECTORS)
def test_the_upper_bits_of_the_product_are_the_bucket(value: int, product: int, bucket: int) -> None:
    assert (hash32(value, 32), hash32(value, 8)) == (product, bucket)


@given(value=st.integers(0, 2**32 - 1), bits=st.integers(1, 32))
def test_both_lanes_hash_like_the_naive_formula(value: int, bits: int) -> None:
    expected = picks.hash32(value, bits)
    assert hash32(value, bits) == expected
    assert compiled_lane().function(hash32)(value, bits) == expected


@given(
    address=st.integers(1, 2**31 - 1),
    port=st.integers(0, 65535),
    salt=st.integers(0, 2**31 - 1),
    bits=st.integers(6, 24),
)
def test_both_lanes_find_rows_in_the_same_bucket(address: int, port: int, salt: int, bits: int) -> None:
    mask = (1 << bits) - 1
    bucket = row_bucket(address, port, salt, mask)
    assert 0 <= bucket <= mask
    assert compiled_lane().function(row_bucket)(address, port, salt, mask) == bucket
