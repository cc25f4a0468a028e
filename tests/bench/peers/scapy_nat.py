"""Round-robin NAT as one would write it with scapy: dissect each packet, change it, build it anew."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle

from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

__all__ = ["balanced"]


def balanced(frames: Iterable[bytes], vip: str, servers: Iterable[str]) -> list[bytes]:
    """The packets as they leave the director: to the servers in turn, and back to the clients; without states."""
    turn = cycle(servers)
    server_of: dict[tuple[str, int], str] = {}
    out = []
    for frame in frames:
        ip = Ether(frame)[IP]
        tcp = ip[TCP]
        if ip.dst == vip:
            client = ip.src, tcp.sport
            if client not in server_of:
                server_of[client] = next(turn)
            ip.dst = server_of[client]
        del ip.chksum, tcp.chksum
        ip.ttl -= 1
        out.append(bytes(ip))
    return out
