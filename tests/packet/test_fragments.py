"""Fragments: facts, packet-path.md sections 12, 13.1 and 16. Scapy is the oracle of cutting."""

from __future__ import annotations

from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting
from scapy.packet import Packet, Raw

from lbsim.packet.fragments import Datagram, Fragments, split, split_again, without_empty_headers

SECOND = 1_000_000_000


def datagram(version: int, size: int) -> bytes:
    network = (
        IP(src="198.51.100.1", dst="192.168.1.10", id=7) if version == 4 else IPv6(src="2001:db8::1", dst="fd00::1")
    )
    return bytes(network / UDP(sport=5000, dport=53) / Raw(bytes(i % 251 for i in range(size))))


def put_together(pieces: list[bytes], at: int = 0) -> list[Datagram | None]:
    fragments = Fragments()
    return [fragments.add(piece, at) for piece in pieces]


@pytest.mark.parametrize("limit", [44, 576, 1400, 1500])
def test_ipv4_is_cut_as_scapy_cuts_it(limit: int) -> None:
    data = datagram(4, 3000)
    size = (limit - 20) & ~7
    assert split(data, limit) == [bytes(piece) for piece in fragment(IP(data), fragsize=size)]


@pytest.mark.parametrize("version", [4, 6])
def test_what_fits_stays_whole(version: int) -> None:
    data = datagram(version, 100)
    assert split(data, len(data)) == [data]


def test_a_fragment_can_be_cut_again() -> None:
    first, _, last = split(datagram(4, 3000), 1500)
    again = [*split(first, 700), *split(last, 40)]
    assert [IP(piece).frag for piece in again[:3]] == [0, 85, 170]  # (700 - 20) // 8 = 85
    assert [str(IP(piece).flags) for piece in again[:3]] == ["MF", "MF", "MF"]
    assert str(IP(again[-1]).flags) == ""


def test_options_that_are_not_copied_are_blank_in_later_fragments() -> None:
    packet = IP(options=b"\x07\x07\x04" + bytes(4) + b"\x01") / UDP() / Raw(bytes(200))  # record route
    first, *others = split(bytes(packet), 128)
    assert first[20] == 7
    assert {other[20:28] for other in others} == {b"\x01" * 8}


def test_options_that_are_copied_stay() -> None:
    header = bytes(IP(options=b"\x94\x04\x00\x00") / UDP() / Raw(bytes(200)))  # router alert
    assert {piece[20:24] for piece in split(header, 128)} == {b"\x94\x04\x00\x00"}


@pytest.mark.parametrize(
    "options", [b"\x00\x07\x07\x07", b"\x07\x00\x07\x07", b"\x07\x09\x07\x07", b"\x01\x01\x01\x07"]
)
def test_options_end_where_they_cannot_be_read(options: bytes) -> None:
    packet = bytes(IP(options=options) / UDP() / Raw(bytes(200)))
    assert {piece[20:24] for piece in split(packet, 128)} == {options}


@pytest.mark.parametrize("version", [4, 6])
def test_where_not_even_8_bytes_fit_the_packet_is_left_whole(version: int) -> None:
    data = datagram(version, 100)
    assert split(data, 27 if version == 4 else 55) == [data]


@pytest.mark.parametrize(
    "headers",
    [
        IPv6ExtHdrHopByHop(),
        IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting(addresses=["::1"]),
        IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting(addresses=["::1"]) / IPv6ExtHdrDestOpt(),
    ],
)
def test_ipv6_headers_for_routers_are_in_every_fragment(headers: Packet) -> None:
    packet = IPv6(src="2001:db8::1", dst="fd00::1") / headers / UDP(sport=1, dport=2) / Raw(bytes(3000))
    for_routers = headers.copy()
    if IPv6ExtHdrRouting in headers:
        for_routers[IPv6ExtHdrRouting].remove_payload()
    pieces = split(bytes(packet), 1280)
    size = 40 + len(bytes(for_routers))
    assert all(len(piece) <= 1280 for piece in pieces)
    assert {piece[6] for piece in pieces} == {bytes(packet)[6]}
    assert all(isinstance(IPv6(piece)[IPv6ExtHdrFragment], IPv6ExtHdrFragment) for piece in pieces)
    assert [IPv6(piece)[IPv6ExtHdrFragment].offset * 8 for piece in pieces] == [0, *offsets(pieces, size)]
    *_, whole = put_together(pieces)
    lengths = tuple(len(piece) - size - 8 for piece in pieces)
    assert whole == Datagram(bytes(packet), len(pieces[0]), lengths)


def offsets(pieces: list[bytes], size: int) -> list[int]:
    """Where all fragments but the first begin."""
    lengths = [len(piece) - size - 8 for piece in pieces]
    return [sum(lengths[: i + 1]) for i in range(len(lengths) - 1)]


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("version", [4, 6])
def test_fragments_come_in_any_order(version: int, order: tuple[int, ...]) -> None:
    data = datagram(version, 3000)
    pieces = split(data, 1500)
    *before, whole = put_together([pieces[i] for i in order])
    lengths = tuple(len(piece) - (20 if version == 4 else 48) for piece in pieces)
    assert (before, whole) == ([None, None], Datagram(data, max(map(len, pieces)), lengths))


@given(st.sampled_from([4, 6]), st.integers(1, 4000), st.integers(60, 1500))
def test_what_is_cut_can_be_put_together(version: int, size: int, limit: int) -> None:
    data = datagram(version, size)
    pieces = split(data, limit)
    if len(pieces) > 1:
        assert all(len(piece) <= limit for piece in pieces)
        *before, whole = put_together(pieces)
        assert set(before) == {None}
        assert whole is not None
        assert whole.data == data


@pytest.mark.parametrize(("version", "patience"), [(4, 30), (6, 60)])
def test_the_rest_is_not_waited_for_for_ever(version: int, patience: int) -> None:
    first, second = split(datagram(version, 2000), 1500)
    in_time, late = Fragments(), Fragments()
    assert in_time.add(first, 0) is None
    assert in_time.add(second, patience * SECOND - 1) is not None
    assert late.add(first, 0) is None
    assert late.add(second, patience * SECOND) is None


def test_datagrams_of_other_ids_are_others() -> None:
    first, second = split(datagram(4, 2000), 1500)
    other = second[:4] + b"\0\x08" + second[6:]
    assert put_together([first, other]) == [None, None]


@pytest.mark.parametrize("version", [4, 6])
def test_the_same_fragment_twice_does_no_harm(version: int) -> None:
    first, second = split(datagram(version, 2000), 1500)
    assert put_together([first, first, second])[2] is not None


def piece(begin: int, size: int, *, more: bool) -> bytes:
    return bytes(IP(src="198.51.100.1", dst="192.168.1.10", id=7, proto=17, frag=begin // 8, flags="MF" if more else 0)
                 / Raw(bytes(size)))  # fmt: skip


@pytest.mark.parametrize(
    "pieces",
    [
        [piece(0, 24, more=True), piece(16, 24, more=True)],
        [piece(0, 24, more=True), piece(8, 8, more=True)],
        [piece(0, 24, more=True), piece(0, 16, more=True)],
        [piece(24, 8, more=True), piece(8, 8, more=False)],
        [piece(24, 8, more=False), piece(32, 8, more=True)],
        [piece(24, 8, more=False), piece(24, 16, more=False)],
        [piece(24, 8, more=False), piece(0, 8, more=False)],
        [piece(0, 24, more=True), piece(65528, 400, more=False)],
    ],
)
def test_fragments_that_do_not_fit_end_the_datagram(pieces: list[bytes]) -> None:
    fragments = Fragments()
    for one in pieces:
        assert fragments.add(one, 0) is None
    # nothing of it is left: these two are complete by themselves
    assert fragments.add(piece(0, 32, more=True), 0) is None
    assert fragments.add(piece(32, 8, more=False), 0) is not None


def test_an_ipv4_fragment_without_8_bytes_brings_nothing() -> None:
    assert put_together([piece(0, 7, more=True), piece(0, 0, more=False)]) == [None, None]


def test_an_ipv6_fragment_of_an_odd_length_is_no_fragment() -> None:
    odd = bytes(IPv6() / IPv6ExtHdrFragment(m=1, nh=17) / Raw(bytes(13)))
    empty = bytes(IPv6() / IPv6ExtHdrFragment(m=0, offset=1, nh=17))
    assert put_together([odd, empty]) == [None, None]


# Cut again: what 6.1.192 and 6.12.117 made of fragments of 800, 1304 and 704 bytes of payload


def header_of(version: int) -> int:
    return 20 if version == 4 else 48


def cut_at(data: bytes, version: int, limit: int, *lengths: int) -> list[int]:
    """Bytes of payload of what leaves because of fragments with so many."""
    begin = 20 if version == 4 else 40
    came = Datagram(b"", max(lengths) + header_of(version), lengths)
    pieces = split_again(data, limit, came)
    if len(pieces) == 1:
        return [len(pieces[0]) - begin]
    *_, whole = put_together(pieces)
    assert whole is not None
    assert whole.data == data
    return [len(piece) - header_of(version) for piece in pieces]


@pytest.mark.parametrize("version", [4, 6])
def test_what_came_in_fragments_is_cut_where_it_was(version: int) -> None:
    data = datagram(version, 2800)
    assert cut_at(data, version, 1500, 800, 1304, 704) == [800, 1304, 704]
    assert cut_at(data, version, 1500, 1304, 1304, 200) == [1304, 1304, 200]
    assert cut_at(data, version, 1000, 800, 1304, 704) == ([976, 976, 856] if version == 4 else [952, 952, 904])


@pytest.mark.parametrize("version", [4, 6])
def test_headers_in_front_belong_to_the_first_fragment(version: int) -> None:
    data = datagram(version, 2800 + 40)
    assert cut_at(data, version, 1500, 800, 1304, 704) == [840, 1304, 704]


@pytest.mark.parametrize("version", [4, 6])
def test_with_odd_headers_in_front_all_is_cut_anew(version: int) -> None:
    data = datagram(version, 2800 + 20)
    assert cut_at(data, version, 1500, 800, 1304, 704) == [1304, 1304, 220]


@pytest.mark.parametrize("version", [4, 6])
def test_if_the_first_one_becomes_too_large_all_is_cut_anew(version: int) -> None:
    data = datagram(version, 2800 + 40)
    assert cut_at(data, version, 1500, 1304, 800, 704) == [1304, 1304, 240]


def test_ipv6_is_not_cut_anew_below_what_every_link_carries() -> None:
    assert cut_at(datagram(6, 2800), 6, 1500, 704, 704, 696, 704) == [704, 704, 696, 704]
    assert cut_at(datagram(6, 2804), 6, 1500, 704, 704, 696, 704) == [1232, 1232, 348]
    assert cut_at(datagram(6, 100), 6, 1500, 100, 8) == [108]


@pytest.mark.parametrize(("which", "said"), [((), False), ((0,), True), ((0, 1, 2), True), ((2,), False)])
def test_dont_fragment_is_said_of_the_whole_if_the_largest_fragment_says_so(which: tuple[int, ...], said: bool) -> None:
    pieces = [IP(piece) for piece in split(datagram(4, 3000), 1500)]
    for at in which:
        pieces[at].flags = "DF+MF" if at < 2 else "DF"
        del pieces[at].chksum
    *_, whole = put_together([bytes(piece) for piece in pieces])
    assert whole is not None
    assert str(IP(whole.data).flags) == ("DF" if said else "")
    assert IP(whole.data).chksum == IP(bytes(IP(datagram(4, 3000), flags="DF" if said else 0, chksum=None))).chksum


# Fragment headers of what is no fragment


def headed(*kinds: int, place: int = 0) -> bytes:
    """A UDP packet over IPv6 behind headers of these kinds; fragment headers have ``place`` in theirs."""
    chain = [*kinds, 17]
    headers = b"".join(
        bytes([following, 0]) + (place.to_bytes(2) + b"\0\0\0\x09" if kind == 44 else b"\1\4\0\0\0\0")
        for kind, following in pairwise(chain)
    )
    content = headers + bytes(UDP(sport=1, dport=2) / b"abc")
    return bytes(IPv6(src="2001:db8::1", dst="2001:db8::2", nh=chain[0], plen=len(content))) + content


@pytest.mark.parametrize(
    ("kinds", "left"),
    [((44,), ()), ((44, 44), ()), ((0, 44), (0,)), ((44, 60), (60,)), ((60, 44), (60,)), ((60,), (60,)), ((), ())],
)
def test_a_fragment_header_that_is_not_needed_goes(kinds: tuple[int, ...], left: tuple[int, ...]) -> None:
    assert without_empty_headers(headed(*kinds)) == headed(*left)
    assert without_empty_headers(headed(*kinds, place=6)) == headed(*left)  # the reserved bits


@pytest.mark.parametrize("place", [1, 8, 9])
def test_the_header_of_a_fragment_stays(place: int) -> None:
    assert without_empty_headers(headed(60, 44, place=place)) == headed(60, 44, place=place)


def test_of_a_cut_chain_nothing_goes() -> None:
    assert without_empty_headers(headed(60, 44)[:52]) == headed(60, 44)[:52]
