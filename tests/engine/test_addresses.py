"""Addresses: facts, schedulers.md sections 2 (fold) and 6.2 (address class)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsim import Director
from lbsim.engine.addresses import unicast, wanted
from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.engine.numbers import MANY, NEVER_SOURCE, NEVER_TARGET
from lbsim.engine.records import Packet
from lbsim.host import EngineHost
from lbsim.model.config import Address
from lbsim.model.trace import AddressTable
from tests.oracles import picks
from tests.oracles.director import is_unicast


@pytest.mark.parametrize(
    ("address", "words", "fold"),
    [
        ("10.0.0.1", (0, 0, 0, 0x0A000001), 0x0A000001),
        ("255.255.255.255", (0, 0, 0, 0xFFFFFFFF), 0xFFFFFFFF),
        ("2001:db8::1", (0x20010DB8, 0, 0, 1), 0x20010DB9),
        ("2001:db8:0:1::ffff", (0x20010DB8, 1, 0, 0xFFFF), 0x2001F246),
        ("fe80::1", (0xFE800000, 0, 0, 1), 0xFE800001),
    ],
)
def test_an_address_is_four_words_and_their_fold(
    address: str, words: tuple[int, int, int, int], fold: int, lane: Lane
) -> None:
    host = EngineHost(lane=lane)
    row = host.tables.addresses[host.intern(ip_address(address))]
    assert (row.word0, row.word1, row.word2, row.word3) == words
    assert (row.fold, row.family) == (fold, ip_address(address).version)


@given(address=st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_the_fold_is_the_naive_one(address: IPv4Address | IPv6Address) -> None:
    host = EngineHost()
    assert host.tables.addresses[host.intern(address)].fold == picks.fold(str(address))


@pytest.mark.parametrize(
    ("address", "accepted"),
    [
        ("10.0.0.1", True),
        ("0.0.0.0", False),
        ("0.0.0.1", True),
        ("255.255.255.255", False),
        ("255.255.255.254", True),
        ("223.255.255.255", True),
        ("224.0.0.0", False),
        ("239.255.255.255", False),
        ("240.0.0.0", True),
        ("127.0.0.1", True),
        ("2001:db8::1", True),
        ("::", False),
        ("::1", True),
        ("::10.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("fc00::1", True),
        ("fec0::1", True),
        ("fe80::1", False),
        ("febf::1", False),
        ("ff02::1", False),
        ("feff::1", True),
        ("0:0:0:1:ffff:0:0:1", True),
        ("0:1::ffff:0:1", True),
        ("1::", True),
        ("0:0:1::", True),
        ("0:0:0:0:1::", True),
    ],
)
def test_destinations_must_be_single_hosts(address: str, accepted: bool) -> None:
    host = EngineHost()
    assert unicast(host.tables, host.intern(ip_address(address))) is accepted


# With ip -6 route add local ::/0 dev lo, 6.1.192 and 6.12.117 answered so; with the route in a table that only marked
# packets are looked up in (local == 2), they refused fe80::2.
@pytest.mark.parametrize(
    ("address", "local", "accepted"),
    [
        ("fe80::2", 1, True),
        ("fe80::2", 2, False),
        ("::", 1, True),
        ("::ffff:1.2.3.4", 1, True),
        ("ff02::1", 1, False),
        ("ff0e::1", 1, False),
        ("224.0.0.1", 1, False),
    ],
)
def test_an_ipv6_destination_may_be_any_address_of_the_directors(
    address: str, local: int, accepted: bool, lane: Lane
) -> None:
    host = EngineHost(lane=lane)
    a = host.intern(ip_address(address))
    host.tables.addresses[a].local = local
    assert lane.function(unicast)(host.tables, a) == accepted


def test_a_link_local_address_is_a_destination_if_it_is_the_directors(lane: Lane) -> None:
    # 6.1.192 and 6.12.117, with fe80::1 on an interface
    director = Director("ipvsadm -A -t [2001:db8:1::10]:80 -s rr", own=["2001:db8:1::1", "fe80::1"], lane=lane)
    answers = [director.run(f"ipvsadm -a -t [2001:db8:1::10]:80 -r [fe80::{n}]:80 -m").status for n in (1, 2)]
    assert answers == [0, 255]


# schedulers.md sections 3.10 and 3.12: the destination address of the packet, never swapped
@pytest.mark.parametrize(("quote", "address"), [(0, 2), (1, 1)])
def test_a_quoted_packet_on_its_way_back_was_sent_to_its_source(quote: int, address: int) -> None:
    assert wanted(Packet(src=1, dst=2, quote=quote)) == address


@given(address=st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_the_address_class_is_the_naive_one(address: IPv4Address | IPv6Address) -> None:
    host = EngineHost()
    assert unicast(host.tables, host.intern(address)) == is_unicast(str(address))


# What the kernels 6.1.192 and 6.12.117 took, dropped and never sent on, when asked with packets from and to them.
@pytest.mark.parametrize(
    ("address", "odd"),
    [
        ("0.0.0.0", NEVER_SOURCE | NEVER_TARGET),
        ("0.1.2.3", 0),
        ("126.255.255.255", 0),
        ("127.0.0.1", NEVER_SOURCE | NEVER_TARGET),
        ("127.9.9.9", NEVER_SOURCE | NEVER_TARGET),
        ("128.0.0.1", 0),
        ("169.254.1.1", 0),
        ("224.0.0.1", NEVER_SOURCE | MANY),
        ("239.1.2.3", NEVER_SOURCE | MANY),
        ("240.0.0.5", 0),
        ("255.255.255.254", 0),
        ("255.255.255.255", NEVER_SOURCE | MANY),
        ("::", 0),
        ("::1", NEVER_SOURCE | NEVER_TARGET),
        ("::ffff:1.2.3.4", 0),
        ("1::1", 0),
        ("fe80::9", 0),
        ("ff00::1", NEVER_SOURCE | MANY),
        ("ff02::1", NEVER_SOURCE | MANY),
        ("ff0e::77", NEVER_SOURCE | MANY),
    ],
)
def test_what_no_host_has_as_its_address(address: str, odd: int, lane: Lane) -> None:
    host = EngineHost(lane=lane)
    host.intern_all(AddressTable([ip_address(address)]))
    assert host.tables.addresses[1].odd == odd


# Interning. An oracle of two lines: the id is the place in the list of all different addresses so far.
@given(st.lists(st.lists(st.ip_addresses() | st.integers(0, 40).map(ip_address), max_size=40), max_size=4))
def test_tables_and_single_addresses_get_the_same_ids(tables: list[list[Address]]) -> None:
    for lane in (interpreted_lane(), compiled_lane()):
        host = EngineHost(lane=lane)
        seen: dict[Address, int] = {}
        for addresses in tables:
            expected = [seen.setdefault(address, len(seen) + 1) for address in addresses]
            assert host.intern_all(AddressTable(addresses)).tolist() == expected
            assert [host.intern(address) for address in addresses] == expected
        assert host.addresses == list(seen)


def test_addresses_of_two_families_with_the_same_words_are_two(lane: Lane) -> None:
    host = EngineHost(lane=lane)
    both = [ip_address("1.2.3.4"), ip_address("::102:304")]
    assert host.intern_all(AddressTable(both)).tolist() == [1, 2]
    assert [host.address(a) for a in (1, 2)] == both


def test_ids_stay_when_the_buckets_become_more(lane: Lane) -> None:
    host = EngineHost(lane=lane)
    many = AddressTable([ip_address(n) for n in range(3000)])
    first = host.intern_all(many[:900])
    assert host.intern_all(many)[:900].tolist() == first.tolist()
    assert host.intern_all(many).tolist() == list(range(1, 3001))
