"""A reply as the real server sends it, against scapy's own checksums."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP

from lbsim.kernel.job import DIRECTOR
from lbsim.kernel.reply import Responders, sent_by
from lbsim.model.verdict import Rewrite
from lbsim.packet.rewrite import rewrite


def test_a_reply_gets_the_servers_address_and_port_and_keeps_its_ttl() -> None:
    reply = bytes(IP(src="192.168.1.10", dst="198.51.100.1", ttl=63) / TCP(sport=80, dport=40001, flags="SA"))
    expected = bytes(IP(src="10.0.0.12", dst="198.51.100.1", ttl=63) / TCP(sport=8080, dport=40001, flags="SA"))
    assert sent_by(reply, ip_address("10.0.0.12").packed, 8080) == expected


@given(
    st.sampled_from([TCP(), TCP(chksum=0xFFFF), TCP(chksum=0x1234), UDP(), ICMP()]),
    st.binary(min_size=4, max_size=4),
    st.integers(0, 65535),
    st.binary(max_size=30),
    st.sampled_from([{}, {"flags": "MF"}, {"frag": 7}, {"options": b"\x01\x01\x01\x00"}, {"len": 60}]),
)
def test_a_reply_changes_as_any_packet_does_that_gets_another_sender(
    transport: TCP | UDP | ICMP, address: bytes, port: int, payload: bytes, changes: dict[str, object]
) -> None:
    reply = bytes(IP(src="192.168.1.10", dst="198.51.100.1", **changes) / transport / payload)
    sport = None if isinstance(transport, ICMP) else port
    assert sent_by(reply, address, port) == rewrite(reply, Rewrite(src=ip_address(address), sport=sport, ttl_down=0))


def test_a_udp_checksum_of_zero_stays_zero() -> None:
    reply = bytes(IP(src="192.168.1.10", dst="198.51.100.1") / UDP(sport=53, dport=4000, chksum=0) / b"ab")
    expected = bytes(IP(src="10.0.0.12", dst="198.51.100.1") / UDP(sport=5353, dport=4000, chksum=0) / b"ab")
    assert sent_by(reply, ip_address("10.0.0.12").packed, 5353) == expected


def test_who_got_the_last_request_answers_unless_that_went_there_as_it_was() -> None:
    responders = Responders()
    reply = bytes(IP(src="192.168.1.10", dst="198.51.100.1") / TCP(sport=80, dport=40001, flags="SA"))
    over_nat = bytes(IP(src="198.51.100.1", dst="10.0.0.12") / TCP(sport=40001, dport=8080))
    as_it_was = bytes(IP(src="198.51.100.1", dst="192.168.1.10") / TCP(sport=40001, dport=80))
    error = bytes(IP(src="198.51.100.1", dst="10.0.0.13") / ICMP(type=3))
    assert responders.answer(7, reply) is None
    responders.note(7, [("r:10.0.0.12", over_nat), ("c", b""), ("r:10.0.0.13", error)])
    expected = sent_by(reply, ip_address("10.0.0.12").packed, 8080)
    assert responders.answer(7, reply) == ("r:10.0.0.12", expected)
    responders.note(7, [("r:10.0.0.11", as_it_was)])
    assert responders.answer(7, reply) is None


@pytest.mark.parametrize("straight", ["10.0.0.12/32", "10.0.0.0/24", "198.51.100.0/24"])
def test_no_answer_comes_from_whoever_has_another_gateway_nor_to_a_client_next_door(straight: str) -> None:
    responders = Responders(["192.0.2.0/24", straight])
    reply = bytes(IP(src="192.168.1.10", dst="198.51.100.1") / TCP(sport=80, dport=40001, flags="SA"))
    responders.note(7, [("r:10.0.0.12", bytes(IP(src="198.51.100.1", dst="10.0.0.12") / TCP(sport=40001, dport=80)))])
    assert (responders.answer(7, reply), responders.is_straight(7)) == (None, True)
    responders.note(8, [("r:10.0.1.12", bytes(IP(src="198.51.99.1", dst="10.0.1.12") / TCP(sport=40001, dport=80)))])
    assert (responders.answer(8, reply) is None, responders.is_straight(8)) == (False, False)


@pytest.mark.parametrize(("end", "port"), [("192.168.1.10", 8080), ("192.168.1.20", 80)])
def test_a_program_on_the_director_answers_from_where_it_listens(end: str, port: int) -> None:
    responders = Responders()
    reply = bytes(IP(src="192.168.1.20", dst="198.51.100.1") / TCP(sport=80, dport=40001, flags="SA"))
    responders.note(7, [(DIRECTOR, bytes(IP(src="198.51.100.1", dst=end) / TCP(sport=40001, dport=port)))])
    expected = bytes(IP(src=end, dst="198.51.100.1") / TCP(sport=port, dport=40001, flags="SA"))
    assert responders.answer(7, reply) == (DIRECTOR, expected)


def test_who_got_it_through_a_tunnel_answers_the_client_itself() -> None:
    responders = Responders()
    reply = bytes(IP(src="192.168.1.10", dst="198.51.100.1") / TCP(sport=80, dport=40001, flags="SA"))
    request = IP(src="198.51.100.1", dst="192.168.1.10") / TCP(sport=40001, dport=80)
    over_nat = bytes(IP(src="198.51.100.1", dst="10.0.0.12") / TCP(sport=40001, dport=8080))
    assert not responders.is_straight(7)
    responders.note(7, [("r:10.0.0.12", bytes(IP(src="10.0.0.1", dst="10.0.0.12") / request))])
    assert (responders.answer(7, reply), responders.is_straight(7)) == (None, True)
    responders.note(7, [("r:10.0.0.12", over_nat)])
    assert (responders.answer(7, reply) is None, responders.is_straight(7)) == (False, False)
