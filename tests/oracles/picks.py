"""Schedulers over a plain list of destinations, newest first.

A destination is a dict with ``weight``, ``active`` and ``total``; a pick is one of the list, or None.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, TypeAlias

__all__ = ["RoundRobin", "buckets", "fold", "hash32", "least_connections", "load", "source_hashing"]

Dest: TypeAlias = dict[str, Any]


class RoundRobin:
    """Goes round the list; ``last`` is who was picked last, None before the first pick."""

    def __init__(self) -> None:
        self.last: Dest | None = None

    def pick(self, dests: list[Dest]) -> Dest | None:
        """The first with a weight above 0 behind ``last``, round the list, ``last`` itself at the very end."""
        start = 0 if self.last is None else index_of(self.last, dests) + 1
        for dest in dests[start:] + dests[:start]:
            if dest["weight"] > 0:
                self.last = dest
                return dest
        return None

    def before_delete(self, dests: list[Dest], gone: Dest) -> None:
        """If ``last`` goes, its neighbour on the newer side takes its place; the newest has none."""
        if self.last is gone:
            at = index_of(gone, dests)
            self.last = dests[at - 1] if at > 0 else None


def index_of(dest: Dest, dests: list[Dest]) -> int:
    return next(i for i, other in enumerate(dests) if other is dest)


def load(dest: Dest) -> int:
    """An active connection counts 256 on top of the 1 that every connection counts."""
    return 256 * int(dest["active"]) + int(dest["total"])


def least_connections(dests: list[Dest]) -> Dest | None:
    """The least loaded of those with a weight above 0; ``min`` keeps the first of equals, which is the newest."""
    return min((dest for dest in dests if dest["weight"] > 0), key=load, default=None)


def fold(address: str) -> int:
    """The address as 32 bits: IPv4 as it is, IPv6 its four words xored."""
    number = int(ip_address(address))
    folded = 0
    while number:
        folded ^= number & 0xFFFFFFFF
        number >>= 32
    return folded


def hash32(value: int, bits: int) -> int:
    """The upper bits of the product with 0x61C88647, modulo 2**32."""
    return value % 2**32 * 0x61C88647 % 2**32 // 2 ** (32 - bits)


def buckets(dests: list[Dest]) -> list[Dest]:
    """256 buckets dealt out round the list, ``weight`` in a row to each, at least one; none without destinations."""
    one_round = [dest for dest in dests for _ in range(max(1, dest["weight"]))]
    return [one_round[i % len(one_round)] for i in range(256)] if one_round else []


def source_hashing(dests: list[Dest], client: str, port: int, flags: frozenset[str] | set[str]) -> Dest | None:
    """Whoever owns the client's bucket, if it takes connections; with sh-fallback the next who does."""
    table = buckets(dests)
    if not table:
        return None
    own = hash32(fold(client) + (port if "sh-port" in flags else 0), 8)
    tries = [own]
    if "sh-fallback" in flags:
        tries += [(2 * own + step) % 256 for step in range(256)]
    return next((table[i] for i in tries if table[i]["weight"] > 0 and not table[i].get("full")), None)
