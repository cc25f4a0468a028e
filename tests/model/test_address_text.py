"""Very many addresses as text, against the ipaddress module."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import given
from hypothesis import strategies as st

from lbsim.model.address_text import AddressTexts, address_texts
from lbsim.model.trace import AddressTable

SPECIAL = [
    "::", "::1", "::1:0:0", "::10.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "1:0:0:2::", "1:0:2:3:4:5:6:7",
    "2001:db8:0:0:1:0:0:1", "fe80::", "ff02::1", "0.0.0.0", "255.255.255.255", "1.2.3.4",
]  # fmt: skip
A_WORD = st.sampled_from([0, 0, 0, 1, 0xFFFF]) | st.integers(0, 0xFFFF)


def test_addresses_with_a_special_text_are_written_as_the_ipaddress_module_does() -> None:
    addresses = [ip_address(text) for text in SPECIAL]
    assert address_texts(AddressTable(addresses)) == [str(address) for address in addresses]


@given(
    st.lists(
        st.integers(0, 2**32 - 1).map(IPv4Address)
        | st.lists(A_WORD, min_size=8, max_size=8).map(lambda ws: IPv6Address(b"".join(w.to_bytes(2) for w in ws))),
        max_size=20,
    )
)
def test_any_address_is_written_as_the_ipaddress_module_does(addresses: list[IPv4Address | IPv6Address]) -> None:
    assert address_texts(AddressTable(addresses)) == [str(address) for address in addresses]


def test_texts_of_a_table_are_equal_to_those_that_it_had() -> None:
    table = AddressTable([ip_address("10.0.0.1"), ip_address("fd00::1")])
    texts = AddressTexts(table)
    table.append(ip_address("10.0.0.2"))
    assert texts == ("10.0.0.1", "fd00::1")
    assert texts != ["10.0.0.1"]
    assert texts != 5
    assert (len(texts), texts[1], texts[:1], list(texts)) == (2, "fd00::1", ["10.0.0.1"], ["10.0.0.1", "fd00::1"])
    assert repr(texts) == "['10.0.0.1', 'fd00::1']"
