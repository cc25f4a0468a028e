"""The order of listings. Expected values: captures of the real tool (tests/test_live_captures.py replays them all)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from lbsim.model.config import ServiceId
from lbsim.model.kernel_sort import endpoint_key, service_key, sorted_as_listed


def test_the_key_of_an_ipv4_endpoint_is_its_number_and_port() -> None:
    assert endpoint_key(IPv4Address("10.0.0.1"), 80) == (0x0A000001, 80)


def test_the_key_of_an_ipv6_endpoint_is_its_four_words_and_port() -> None:
    assert endpoint_key(IPv6Address("1:2:3:4:5:6:7:8"), 80) == (0x10002, 0x30004, 0x50006, 0x70008, 80)


@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 65535))))
def test_within_half_the_circle_it_is_the_order_of_numbers(pairs: list[tuple[int, int]]) -> None:
    assert sorted_as_listed(pairs, lambda pair: pair) == sorted(pairs)


def test_services_by_mark_come_last_and_by_the_sign_of_the_difference() -> None:
    # facts: ipvsadm.md section 3.8
    names = ["fwm 5", "fwm 1 ipv6", "fwm 1", "udp 10.0.0.1:53", "tcp [::1]:80", "sctp 10.0.0.1:9", "tcp 192.168.1.1:80"]
    services = [ServiceId.parse(name) for name in names]
    assert [str(service) for service in sorted_as_listed(services, service_key)] == [
        "tcp 192.168.1.1:80",
        "udp 10.0.0.1:53",
        "sctp 10.0.0.1:9",
        "tcp [::1]:80",
        "fwm 1",
        "fwm 1 ipv6",
        "fwm 5",
    ]
    marks = [ServiceId.marked(mark) for mark in (1, 3_000_000_000)]
    assert [service.fwmark for service in sorted_as_listed(marks, service_key)] == [3_000_000_000, 1]
