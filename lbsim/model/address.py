"""An address of either family. In a module of its own, because guests import it and little else of the model."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

__all__ = ["Address", "address_of", "network_of"]

Address: TypeAlias = IPv4Address | IPv6Address


def address_of(value: object) -> Address:
    """The address that somebody wrote; ValueError says what was expected."""
    try:
        address = ip_address(str(value))
    except ValueError:
        address = None
    if address is None or "%" in str(value):  # a packet has no zone
        raise ValueError(f"{value!r} is no address; expected 198.51.100.1 or 2001:db8::1")
    return address


def network_of(value: object) -> IPv4Network | IPv6Network:
    """The network that somebody wrote, an address is one of its own; ValueError says what was expected."""
    text = str(value)
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is no network; expected 198.51.100.0/24 or 2001:db8::/64") from None
    if "/" in text and str(network.network_address) != str(ip_address(text.partition("/")[0])):
        raise ValueError(f"{text!r} is an address within a network; expected the network, {network}")
    return network
