"""Round robin as one would write it in plain Python: a dict of flows, no states, no timers."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle

__all__ = ["decided"]


def decided(packets: Iterable[tuple[int, int, int, int]], vip: int, servers: Iterable[int]) -> list[int]:
    """The server that each packet goes to or comes from.

    Parameters
    ----------
    packets : source, port, destination, port of each, addresses as numbers.
    """
    turn = cycle(servers)
    server_of: dict[tuple[int, int], int] = {}
    out = []
    for src, sport, dst, dport in packets:
        client = (src, sport) if dst == vip else (dst, dport)
        server = server_of.get(client)
        if server is None:
            server = server_of[client] = next(turn)
        out.append(server)
    return out
