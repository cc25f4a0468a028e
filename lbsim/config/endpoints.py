"""ADDRESS:PORT as ipvsadm reads and writes it.

The usual forms are ``192.0.2.1:80`` and ``[2001:db8::1]:80``. Some others are read in a way that surprises:
an IPv6 address without brackets has no port, ``[192.0.2.1]:80`` has none either, and IPv4 addresses may be
written as inet_aton() has always allowed.

Source: ipvsadm 1.31, run; glibc 2.36 inet_aton(), inet_pton(), inet_ntop(), strtol().
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from lbsim.config.port_names import PORT_NAMES
from lbsim.model.config import Address

__all__ = [
    "HostNameError",
    "format_endpoint",
    "read_endpoint",
    "read_ipv4",
    "read_number",
]

_NUMBER = re.compile(r"[ \t]*(?P<sign>[+-]?)0*(?P<digits>[0-9]{1,10})")
_HOST_NAME = re.compile(r"(?=.*[A-Za-z])[0-9A-Za-z][0-9A-Za-z._-]*")
_ATON_PART = re.compile(r"0[xX](?P<hex>[0-9a-fA-F]+)|0(?P<octal>[0-7]*)|(?P<decimal>[1-9][0-9]{0,9})")


class HostNameError(ValueError):
    """A host name, which ipvsadm would look up."""


def read_endpoint(text: str, protocol: str | None) -> tuple[Address, int | None]:
    """Address and port; None for the port if the text has none.

    Parameters
    ----------
    protocol : "tcp", "udp" or "sctp", for port names; None if it is not known yet, and then neither are port names.

    Raises
    ------
    ValueError : the message says what was expected. A :class:`HostNameError` for what ipvsadm would look up.
    """
    address, port = _split(text)
    return address, None if port is None else _port(port, protocol)


def read_number(text: str, largest: int, smallest: int = 0) -> int | None:
    """A decimal number, perhaps with blanks, a sign or zeros in front; None if it is none, or not in range."""
    number = _NUMBER.fullmatch(text)
    if number is None:
        return None
    value = int(number["sign"] + number["digits"])
    return value if smallest <= value <= largest else None


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


def _split(text: str) -> tuple[Address, str | None]:
    """Address, and the port as written."""
    if text.startswith("["):
        return _split_bracketed(text)
    ipv6 = _ipv6(text)
    if ipv6 is not None:
        return ipv6, None
    host, colon, port = text.rpartition(":") if ":" in text else (text, "", "")
    ipv4 = None if text.isdigit() else read_ipv4(host)
    if ipv4 is None:
        raise _no_endpoint(text, host)
    return ipv4, port if colon else None


def _split_bracketed(text: str) -> tuple[Address, str | None]:
    inside, _, behind = text[1:].partition("]")
    if not behind.startswith(":"):
        raise _no_endpoint(text, "")
    ipv6 = _ipv6(inside)
    if ipv6 is not None:
        return ipv6, behind[1:]
    ipv4 = read_ipv4(inside)
    if ipv4 is None:
        raise _no_endpoint(text, inside)
    return ipv4, None  # ipvsadm looks for the port of an IPv4 address inside the brackets


def _no_endpoint(text: str, host: str) -> ValueError:
    return (HostNameError if _HOST_NAME.fullmatch(host) else ValueError)(
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


def read_ipv4(text: str) -> IPv4Address | None:
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
        raise ValueError(f"unknown {protocol} port name {text!r}: expected a number, or a name of /etc/services")
    return names[text]
