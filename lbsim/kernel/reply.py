"""Who answers: the real server that got a flow's last request, on a bench and in the rehearsal alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import ip_address, ip_network
from struct import Struct

from lbsim.engine.numbers import SCTP, TCP, UDP
from lbsim.kernel.job import CLIENT, DIRECTOR, server
from lbsim.model.verdict import Rewrite
from lbsim.packet.checksum import check_after
from lbsim.packet.fragments import Fragments, is_fragment
from lbsim.packet.headers import ICMP, ICMPV6, Headers, parse
from lbsim.packet.rewrite import rewrite
from lbsim.packet.tunnel import unwrap

__all__ = ["Responders", "put_together", "sent_by"]

UNKNOWN = "r:?"  # no known server
_OF_IP = Struct("!H6x3H").unpack_from  # from its length on: that, checksum, source
_OF_TCP = Struct("!H14xH").unpack_from  # source port, checksum
_TWO_WORDS = Struct("!2H").unpack
_PUT_END = Struct("!H4s").pack_into
_PUT_WORD = Struct("!H").pack_into


class Responders:
    """Flow -> the server that got its last request: on which wire it is, and the end that the request was sent to.

    A server that got it with direct routing or through a tunnel answers the client itself: the director never has
    that, nor what comes from, or goes to, the networks of ``straight``.
    """

    def __init__(self, straight: Iterable[str] = ()) -> None:
        self._networks = [ip_network(network) for network in straight]
        self._unread: dict[int, list[tuple[str, bytes]]] = {}  # looked at when a flow's answer is wanted
        self._last: dict[int, tuple[str, bytes, int] | None] = {}  # None: whoever got it answers the client itself

    def note(self, flow: int, arrivals: Iterable[tuple[str, bytes]]) -> None:
        """Note where a client's packet arrived: (place, bytes) of everything that left the director because of it."""
        self._unread.setdefault(flow, []).extend(arrivals)

    def is_straight(self, flow: int) -> bool:
        """Whether the flow's next reply goes straight to the client."""
        self._read(flow)
        return self._last.get(flow, UNKNOWN) is None

    def port_of(self, flow: int) -> int:
        """The port from which the flow's next reply comes; 0 if nobody is there to send it."""
        self._read(flow)
        last = self._last.get(flow)
        return last[2] if last else 0

    def answer(self, flow: int, reply: bytes) -> tuple[str, bytes] | None:
        """The wire and the bytes of the flow's next reply; None if nobody is there to send it."""
        self._read(flow)
        last = self._last.get(flow)
        if last is None:
            return None
        where, address, port = last
        return where, sent_by(reply, address, port)

    def _read(self, flow: int) -> None:
        """Look at what was noted of a flow: the last arrival that tells who got a request counts."""
        unread = self._unread.pop(flow, [])
        if any(is_fragment(content) for _, content in unread):
            unread = list(put_together(unread))
        for where, content in reversed(unread):
            headers = parse(content)
            if where == CLIENT or headers is None or headers.proto in (ICMP, ICMPV6):
                continue
            translated = where in (_wire_of(headers.dst), UNKNOWN) and unwrap(content) is None
            passes = where == DIRECTOR or (translated and not self._pass_by(headers))
            self._last[flow] = (where, headers.dst, headers.dport) if passes else None
            break

    def _pass_by(self, headers: Headers) -> bool:
        ends = [ip_address(headers.src), ip_address(headers.dst)] if self._networks else []
        return any(end in network for network in self._networks for end in ends)


@lru_cache(maxsize=1024)
def _wire_of(address: bytes) -> str:
    return server(str(ip_address(address)))


def put_together(arrivals: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """(place, bytes) of packets that arrived: those that did so in fragments, put together again; the rest as it is."""
    fragments = Fragments()
    for where, content in arrivals:
        if not is_fragment(content):
            yield where, content
        elif datagram := fragments.add(content, 0):
            yield where, datagram.data


def sent_by(reply: bytes, address: bytes, port: int) -> bytes:
    """The reply as this server sends it; a UDP checksum of 0 stays 0, as a server may leave it out."""
    plain = _plainly_sent_by(reply, address, port)
    if plain is not None:
        return plain
    headers = parse(reply)
    if headers is None:
        return reply
    ports = headers.proto in (TCP, UDP, SCTP)
    changed = rewrite(reply, Rewrite(src=ip_address(address), sport=port if ports else None, ttl_down=0))
    at = headers.l4 + 6
    if headers.proto == UDP and headers.l4 and reply[at : at + 2] == b"\0\0":
        return changed[:at] + b"\0\0" + changed[at + 2 :]
    return changed


def _plainly_sent_by(reply: bytes, address: bytes, port: int) -> bytes | None:
    """The same, of what nearly every reply is: IPv4 without options, TCP, whole; None of any other.

    Under emulation, looking at every possibility is half of what a reply costs.
    """
    if len(reply) < 40 or reply[0] != 0x45 or reply[9] != TCP or reply[6] & 0x3F or reply[7]:
        return None
    length, check, *old = _OF_IP(reply, 2)
    sport, check_of_all = _OF_TCP(reply, 20)
    if length != len(reply):
        return None
    before, after = sum(old), sum(_TWO_WORDS(address))
    changed = bytearray(reply)
    _PUT_END(changed, 10, check_after(check, before, after), address)
    _PUT_WORD(changed, 20, port)
    _PUT_WORD(changed, 36, check_after(check_of_all, before + sport, after + port))
    return bytes(changed)
