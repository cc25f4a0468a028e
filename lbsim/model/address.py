"""An address of either family. In a module of its own, because guests import it and little else of the model."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

__all__ = ["Address"]

Address: TypeAlias = IPv4Address | IPv6Address
