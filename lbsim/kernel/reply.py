"""Who answers: the real server that got a flow's last request, on a bench and in the rehearsal alike."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network

from lbsim.engine.records import SCTP, TCP, UDP
from lbsim.kernel.job import CLIENT, server
from lbsim.model.verdict import Rewrite
from lbsim.packet.headers import ICMP, ICMPV6, Headers, parse
from lbsim.packet.rewrite import rewrite
from lbsim.packet.tunnel import unwrap

__all__ = ["Responders", "sent_by"]

UNKNOWN = "r:?"  # no known server
_address_of = lru_cache(maxsize=4096)(ip_address)


class Responders:
    """Flow -> the server that got its last request: on which wire it is, and the end that the request was sent to.

    A server that got it with direct routing or through a tunnel answers the client itself: the director never has
    that, nor what comes from, or goes to, the networks of ``straight``.
    """

    def __init__(self, straight: Iterable[str] = ()) -> None:
        self._networks = [ip_network(network) for network in straight]
        self._last: dict[int, tuple[str, bytes, int]] = {}
        self._straight: set[int] = set()

    def note(self, flow: int, arrivals: Iterable[tuple[str, bytes]]) -> None:
        """Note where a client's packet arrived: (place, bytes) of everything that left the director because of it."""
        for where, content in arrivals:
            headers = parse(content)
            if where == CLIENT or headers is None or headers.proto in (ICMP, ICMPV6):
                continue
            translated = where in (_wire_of(headers.dst), UNKNOWN) and unwrap(content) is None
            if translated and not self._pass_by(headers):
                self._last[flow] = where, headers.dst, headers.dport
                self._straight.discard(flow)
            else:
                self._last.pop(flow, None)
                self._straight.add(flow)

    def _pass_by(self, headers: Headers) -> bool:
        ends = [ip_address(headers.src), ip_address(headers.dst)] if self._networks else []
        return any(end in network for network in self._networks for end in ends)

    def is_straight(self, flow: int) -> bool:
        """Whether the flow's next reply goes straight to the client."""
        return flow in self._straight

    def answer(self, flow: int, reply: bytes) -> tuple[str, bytes] | None:
        """The wire and the bytes of the flow's next reply; None if nobody is there to send it."""
        last = self._last.get(flow)
        if last is None:
            return None
        where, address, port = last
        return where, sent_by(reply, address, port)


def sent_by(reply: bytes, address: bytes, port: int) -> bytes:
    """The reply as this server sends it; a UDP checksum of 0 stays 0, as a server may leave it out."""
    headers = parse(reply)
    if headers is None:
        return reply
    ports = headers.proto in (TCP, UDP, SCTP)
    changed = rewrite(reply, Rewrite(src=_address_of(address), sport=port if ports else None, ttl_down=0))
    at = headers.l4 + 6
    if headers.proto == UDP and headers.l4 and reply[at : at + 2] == b"\0\0":
        return changed[:at] + b"\0\0" + changed[at + 2 :]
    return changed


@lru_cache(maxsize=4096)
def _wire_of(address: bytes) -> str:
    """The wire of the server with this address."""
    return server(str(ip_address(address)))
