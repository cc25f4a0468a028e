"""ADDRESS:PORT as ipvsadm reads and writes it.

The usual forms are ``192.0.2.1:80`` and ``[2001:db8::1]:80``. Some others are read in a way that surprises:
an IPv6 address without brackets has no port, ``[192.0.2.1]:80`` has none either, and IPv4 addresses may be
written as inet_aton() has always allowed.

Source: ipvsadm 1.31, run; glibc 2.36 inet_aton(), inet_pton(), inet_ntop(), strtol().
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from lbsim.errors import expected_one_of
from lbsim.model.config import Address

__all__ = ["PORT_NAMES", "endpoint_key", "format_endpoint", "read_endpoint", "read_number"]

#: Port names that are read, for dumps made without -n: well-known ones, by protocol.
PORT_NAMES: Mapping[str, Mapping[str, int]] = {
    "tcp": {
        "amqp": 5672, "bgp": 179, "domain": 53, "domain-s": 853, "ftp": 21, "http": 80, "http-alt": 8080,
        "https": 443, "imap2": 143, "imaps": 993, "kerberos": 88, "ldap": 389, "ldaps": 636, "ms-sql-s": 1433,
        "ms-wbt-server": 3389, "mysql": 3306, "nfs": 2049, "pop3": 110, "pop3s": 995, "postgresql": 5432,
        "redis": 6379, "sip": 5060, "sip-tls": 5061, "smtp": 25, "ssh": 22, "submission": 587,
        "submissions": 465, "telnet": 23, "www": 80,
    },
    "udp": {
        "bootps": 67, "domain": 53, "https": 443, "ipsec-nat-t": 4500, "isakmp": 500, "kerberos": 88,
        "ntp": 123, "openvpn": 1194, "radius": 1812, "radius-acct": 1813, "sip": 5060, "snmp": 161,
        "snmp-trap": 162, "syslog": 514, "tftp": 69,
    },
}  # fmt: skip

_NUMBER = re.compile(r"\+?0*(?P<digits>[0-9]{1,10})")
_ATON_PART = re.compile(r"0[xX](?P<hex>[0-9a-fA-F]+)|0(?P<octal>[0-7]*)|(?P<decimal>[1-9][0-9]{0,9})")


def read_endpoint(text: str, protocol: str | None) -> tuple[Address, int | None]:
    """Address and port; None for the port if the text has none.

    Parameters
    ----------
    protocol : "tcp" or "udp", for port names; None if it is not known yet, and then neither are port names.

    Raises
    ------
    ValueError : the message says what was expected.
    """
    address, port = _split(text)
    return address, None if port is None else _port(port, protocol)


def read_number(text: str, largest: int) -> int | None:
    """A decimal number, perhaps with a plus sign or zeros in front; None if it is none or too large."""
    number = _NUMBER.fullmatch(text)
    if number is None or int(number["digits"]) > largest:
        return None
    return int(number["digits"])


def format_endpoint(address: Address, port: int) -> str:
    """``192.0.2.1:80`` or ``[2001:db8::1]:80``, with the address as inet_ntop() writes it.

    ``[::ffff:10.0.0.1]:80`` is what Python spells differently from version to version.
    """
    if isinstance(address, IPv4Address):
        return f"{address}:{port}"
    high, low = int(address) >> 32, int(address) & 0xFFFFFFFF
    if high == 0xFFFF or (high == 0 and low > 0xFFFF):
        return f"[{'::ffff:' if high else '::'}{IPv4Address(low)}]:{port}"
    return f"[{address}]:{port}"


def endpoint_key(address: Address, port: int) -> tuple[int, ...]:
    """What sorting compares, one after the other: the 32-bit words of the address, and the port."""
    value = int(address)
    shifts = (0,) if address.version == 4 else (96, 64, 32, 0)
    return (*((value >> shift) & 0xFFFFFFFF for shift in shifts), port)


def _split(text: str) -> tuple[Address, str | None]:
    """Address, and the port as written."""
    if text.startswith("["):
        return _split_bracketed(text)
    ipv6 = _ipv6(text)
    if ipv6 is not None:
        return ipv6, None
    host, colon, port = text.rpartition(":")
    ipv4 = None if text.isdigit() else _ipv4(host if colon else text)
    if ipv4 is None:
        raise _no_endpoint(text)
    return ipv4, port if colon else None


def _split_bracketed(text: str) -> tuple[Address, str | None]:
    inside, _, behind = text[1:].partition("]")
    if not behind.startswith(":"):
        raise _no_endpoint(text)
    ipv6 = _ipv6(inside)
    if ipv6 is not None:
        return ipv6, behind[1:]
    ipv4 = _ipv4(inside)
    if ipv4 is None:
        raise _no_endpoint(text)
    return ipv4, None  # ipvsadm looks for the port of an IPv4 address inside the brackets


def _no_endpoint(text: str) -> ValueError:
    return ValueError(
        f"{text!r} is no address and port: expected 192.0.2.1:80 or [2001:db8::1]:80 "
        "(host names are not looked up: make dumps with ipvsadm -S -n)"
    )


def _ipv6(text: str) -> IPv6Address | None:
    if text.count(":") < 2 or "%" in text:
        return None
    try:
        return IPv6Address(text)
    except AddressValueError:
        return None


def _ipv4(text: str) -> IPv4Address | None:
    """An address as inet_aton() reads it.

    ``10.1`` is 10.0.0.1, ``010.0.0.1`` is 8.0.0.1, ``0x0a000001`` is 10.0.0.1.
    """
    try:
        return IPv4Address(text)  # the usual form, ten times faster
    except AddressValueError:
        parts = text.split(".")
    value = 0
    for place, part in enumerate(parts, 1):
        number = _aton_number(part)
        bits = 8 if place < len(parts) else 8 * (5 - place)  # the last number fills what is left
        if number is None or place > 4 or number >> bits:
            return None
        value = value << bits | number
    return IPv4Address(value)


def _aton_number(text: str) -> int | None:
    part = _ATON_PART.fullmatch(text)
    if part is None:
        return None
    if part["decimal"]:
        return int(part["decimal"])
    return int(part["hex"], 16) if part["hex"] else int(part["octal"] or "0", 8)


def _port(text: str, protocol: str | None) -> int:
    number = read_number(text, 65535)
    if number is not None:
        return number
    if not re.match("[a-z]", text):
        raise ValueError(f"{text!r} is no port: expected a number from 0 to 65535")
    if protocol is None:
        raise ValueError(f"port name {text!r} before the service: expected a number, or -t or -u first")
    names = PORT_NAMES[protocol]
    if text not in names:
        raise ValueError(expected_one_of(text, tuple(names), f"{protocol} port name"))
    return names[text]
