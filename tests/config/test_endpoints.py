"""ADDRESS:PORT. Expected values: what ipvsadm 1.31 answered, and the C library as an independent implementation."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lbsim.config.endpoints import HostNameError, format_endpoint, read_endpoint, read_number


def refused(text: str, protocol: str | None = "tcp") -> str:
    with pytest.raises(ValueError, match="expected") as caught:
        read_endpoint(text, protocol)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("192.168.1.10:80", "192.168.1.10", 80),
        ("192.168.1.10:0", "192.168.1.10", 0),
        ("192.168.1.10:65535", "192.168.1.10", 65535),
        ("192.168.1.10:080", "192.168.1.10", 80),
        ("192.168.1.10:+90", "192.168.1.10", 90),
        ("192.168.1.10", "192.168.1.10", None),
        ("192.168.1:80", "192.168.0.1", 80),
        ("10.1:80", "10.0.0.1", 80),
        ("0x0a000002:80", "10.0.0.2", 80),
        ("0x0a000002", "10.0.0.2", None),
        ("010.0.0.3:80", "8.0.0.3", 80),
        ("167772164:80", "10.0.0.4", 80),
        ("0.0.0.0:81", "0.0.0.0", 81),
        ("[fd00::10]:80", "fd00::10", 80),
        ("[::ffff:10.0.0.1]:80", "::ffff:10.0.0.1", 80),
        ("fd00::1", "fd00::1", None),
        ("fd00::1:80", "fd00::1:80", None),  # the last group of the address, no port
        ("::", "::", None),
        ("[192.168.1.77]:80", "192.168.1.77", None),  # the trap: the port is not looked at
    ],
)
def test_an_endpoint_is_read_as_ipvsadm_reads_it(text: str, address: str, port: int | None) -> None:
    assert read_endpoint(text, "tcp") == (ip_address(address), port)


@pytest.mark.parametrize(
    "text",
    [
        *("", "80", ":80", "192.168.1.256:80", "192.168.1.0/24:80", "192.168.1.20:80:80", " 192.168.1.30:80"),
        *("[fd00::1:80", "[fd00::1]", "[fd00::1]80", "[fd00::zz]:80", "[fe80::1%eth0]:80", "[]:80", "1::2::3"),
        *("1.2.3.4.5:80", "1..2:80", "08.0.0.1:80", "0x:80", "4294967296:80", "256.1:80", "9999999999999:80"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert refused(text).startswith(f"{text!r} is no address and port: expected 192.0.2.1:80 or [2001:db8::1]:80")


@pytest.mark.parametrize("text", ["www:443", "localhost", "www.example.test:http", "[www6.example.test]:83"])
def test_host_names_are_refused_with_the_advice_to_dump_numbers(text: str) -> None:
    with pytest.raises(HostNameError, match="host names are not looked up: make dumps with ipvsadm -S -n"):
        read_endpoint(text, "tcp")


@pytest.mark.parametrize("port", ["", "65536", "-1", "0x50", "8 0", "HTTP", "9" * 5000, "99999999999"])
def test_what_is_no_port_is_refused(port: str) -> None:
    assert refused(f"192.0.2.1:{port}") == f"{port!r} is no port: expected a number from 0 to 65535"


@pytest.mark.parametrize(
    ("name", "protocol", "port"),
    [
        ("http", "tcp", 80),
        ("https", "tcp", 443),
        ("http-alt", "tcp", 8080),
        ("domain", "udp", 53),
        ("tftp", "udp", 69),
    ],
)
def test_a_port_name_is_looked_up_for_the_protocol(name: str, protocol: str, port: int) -> None:
    assert read_endpoint(f"192.0.2.1:{name}", protocol) == (IPv4Address("192.0.2.1"), port)


@pytest.mark.parametrize(("name", "protocol"), [("tftp", "tcp"), ("http", "udp"), ("nosuchport", "tcp")])
def test_a_port_name_of_another_protocol_is_not_known(name: str, protocol: str) -> None:
    message = refused(f"192.0.2.1:{name}", protocol)
    assert message == f"unknown {protocol} port name {name!r}: expected a number, or a name of /etc/services"


def test_a_port_name_needs_the_protocol() -> None:
    assert refused("10.0.0.13:http", None) == (
        "port name 'http' before the service: expected a number, or -t or -u first"
    )


@given(st.text(alphabet="0123789afxX.", max_size=18))
def test_ipv4_addresses_are_read_as_the_c_library_reads_them(text: str) -> None:
    try:
        expected = IPv4Address(socket.inet_aton(text))
    except OSError:
        refused(f"{text}:80")
    else:
        assert read_endpoint(f"{text}:80", "tcp") == (expected, 80)


@given(st.text(alphabet="01af:.", max_size=20))
def test_ipv6_addresses_are_read_as_the_c_library_reads_them(text: str) -> None:
    try:
        expected = IPv6Address(socket.inet_pton(socket.AF_INET6, text))
    except OSError:
        if ":" in text:
            refused(f"[{text}]:80")
    else:
        assert read_endpoint(f"[{text}]:80", "tcp") == (expected, 80)


@given(
    st.integers(0, 2**128 - 1)
    | st.integers(0, 2**50)
    | st.lists(st.sampled_from([0, 1, 0xFFFF]), min_size=8, max_size=8)
)
@example(0xFFFF0A000001)
@example(0x01020304)
@example(0xFFFF)
def test_ipv6_addresses_are_written_as_the_c_library_writes_them(value: int | list[int]) -> None:
    number = value if isinstance(value, int) else sum(word << 16 * at for at, word in enumerate(value))
    written = socket.inet_ntop(socket.AF_INET6, number.to_bytes(16, "big"))
    assert format_endpoint(IPv6Address(number), 80) == f"[{written}]:80"


def test_ipv4_addresses_are_written_without_brackets() -> None:
    assert format_endpoint(IPv4Address("192.0.2.1"), 80) == "192.0.2.1:80"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(
            ("0", 0),
            ("007", 7),
            ("+6", 6),
            ("65536", 65536),
            (" 5", 5),
            ("-0", 0),
            ("2147483647", 2147483647),
            ("0" * 6000 + "1", 1),
        ),
        *((text, None) for text in ("2147483648", "-1", "", "1.5", "0x8", "abc", "٣", "9" * 6000)),
    ],
)
def test_a_number_is_decimal(text: str, number: int | None) -> None:
    assert read_number(text, 2147483647) == number
