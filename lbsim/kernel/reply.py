"""Who answers: the real server that got a flow's last request, on a bench and in the rehearsal alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network

from lbsim.engine.records import FRAGMENT, SCTP, TCP, UDP
from lbsim.kernel.job import CLIENT
from lbsim.model.verdict import Rewrite
from lbsim.packet.fragments import Fragments
from lbsim.packet.headers import ICMP, ICMPV6, Headers, parse
from lbsim.packet.rewrite import rewrite
from lbsim.packet.tunnel import unwrap

__all__ = ["Responders", "put_together", "sent_by"]

UNKNOWN = "r:?"  # no known server


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
        for where, content in put_together(arrivals):
            headers = parse(content)
            if where == CLIENT or headers is None or headers.proto in (ICMP, ICMPV6):
                continue
            translated = where in (f"r:{ip_address(headers.dst)}", UNKNOWN) and unwrap(content) is None
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

    def port_of(self, flow: int) -> int:
        """The port from which the flow's next reply comes; 0 if nobody is there to send it."""
        return self._last[flow][2] if flow in self._last else 0

    def answer(self, flow: int, reply: bytes) -> tuple[str, bytes] | None:
        """The wire and the bytes of the flow's next reply; None if nobody is there to send it."""
        last = self._last.get(flow)
        if last is None:
            return None
        where, address, port = last
        return where, sent_by(reply, address, port)


def put_together(arrivals: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """(place, bytes) of packets that arrived: those that did so in fragments, put together again; the rest as it is."""
    fragments = Fragments()
    for where, content in arrivals:
        headers = parse(content)
        if headers is None or headers.shape != FRAGMENT:
            yield where, content
        elif datagram := fragments.add(content, 0):
            yield where, datagram.data


def sent_by(reply: bytes, address: bytes, port: int) -> bytes:
    """The reply as this server sends it; a UDP checksum of 0 stays 0, as a server may leave it out."""
    headers = parse(reply)
    if headers is None:
        return reply
    ports = headers.proto in (TCP, UDP, SCTP)
    changed = rewrite(reply, Rewrite(src=ip_address(address), sport=port if ports else None, ttl_down=0))
    at = headers.l4 + 6
    if headers.proto == UDP and headers.l4 and reply[at : at + 2] == b"\0\0":
        return changed[:at] + b"\0\0" + changed[at + 2 :]
    return changed
