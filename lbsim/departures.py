"""What leaves a live director because of a packet: the engine's decision, made into bytes.

Packets that the director itself sends belong here, too: errors, and what its own network stack answers. Unless somebody
listens there, that is resets, port unreachable and answers to pings.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, NamedTuple

from lbsim.engine import reasons
from lbsim.engine.numbers import BY_ROUTING, BYPASS, ICMP_ERROR, IN, IPV4, MASQ, OWN, TCP, TUNNEL, UDP
from lbsim.engine.records import Outcome, Packet
from lbsim.host import EngineHost
from lbsim.model.config import Address
from lbsim.model.verdict import Rewrite, Verdict
from lbsim.packet import answers, checksum
from lbsim.packet.fragments import Datagram, split, split_again
from lbsim.packet.headers import Headers, word
from lbsim.packet.headers import parse as parse_headers
from lbsim.packet.offload import with_checksum
from lbsim.packet.quoted import Quoted, quoted
from lbsim.packet.rewrite import rewrite
from lbsim.packet.tunnel import Wrapping, wrap

__all__ = ["CLIENTS", "DIRECTOR", "Arrived", "Departure", "Departures", "Sent", "may_split", "note", "valid_headers"]

CLIENTS = "clients"
DIRECTOR = "director"  # programs that run on it

_WITHOUT_ANSWER = (reasons.ICMP_UNRELATED, reasons.FRAGMENT_KEPT, reasons.NOT_UNICAST)
_TO_CLIENT = (reasons.TRANSLATED, reasons.ICMP_TO_CLIENT)


@dataclass(frozen=True, slots=True)
class Departure:
    """A packet that leaves the director: towards ``"clients"`` or the real server with that address; or that comes to a
    program on it: ``"director"``.

    With direct routing and tunnels that is the destination's address, and the packet is still for the virtual address.
    """

    to: str
    packet: Any  # bytes or a scapy packet, whichever was received


class Arrived(NamedTuple):
    """A packet that was received.

    Attributes
    ----------
    direction : as the engine has it.
    quoted : of an ICMP error.
    came : of a datagram that came in fragments, what is known of these.
    """

    data: bytes
    headers: Headers
    via: str
    direction: int
    quoted: Quoted | None = None
    came: Datagram | None = None


class Sent(NamedTuple):
    """What became of a packet that the director itself sent: the engine's outcome, and what left because of it."""

    verdict: int
    reason: int
    dest: int
    departures: tuple[Departure, ...]


def valid_headers(data: bytes) -> Headers | None:
    """The packet's headers, or None where the kernel's IP layer drops it.

    A length of 0 is only seen in captures, where the sender's network card writes it.

    Source: as observed, 6.1 and 6.12 (ip_input.c ip_rcv_core()).
    """
    headers = parse_headers(data)
    if headers is None or headers.length > len(data):
        return None
    if headers.version == IPV4 and (word(data, 2) == 0 or checksum.full(data[: (data[0] & 15) * 4]) != 0):
        return None
    return headers


def may_split(data: bytes) -> bool:
    """Whether a router may send the packet in fragments."""
    return data[0] >> 4 == IPV4 and not data[6] & 0x40


def note(host: EngineHost, p: Packet, headers: Headers, direction: int) -> None:
    """Write what the headers say into the engine's row for the packet."""
    p.direction = direction
    p.mark = 0
    p.quote = 0
    p.may_split = 0
    p.src = host.intern_packed(headers.src)
    p.dst = host.intern_packed(headers.dst)
    p.sport = headers.sport
    p.dport = headers.dport
    p.proto = headers.proto
    p.tcp_flags = headers.flags
    p.shape = headers.shape
    p.length = headers.length
    p.ttl = headers.ttl


class Departures:
    """Makes what leaves a director.

    Parameters
    ----------
    own : addresses of the director; one of them is the source of what it sends by itself.
    listening : protocol, address and port where a program listens on it.
    """

    def __init__(
        self, host: EngineHost, own: Sequence[Address], listening: Collection[tuple[int, bytes, int]] = ()
    ) -> None:
        self._host = host
        self._own = own
        self._listening = listening
        self._packet = host.lane.table(Packet, 1)
        self._outcome = host.lane.table(Outcome, 1)

    def of(self, arrived: Arrived, v: Outcome) -> tuple[Departure, ...]:
        """What leaves because of the packet."""
        match v.verdict:
            case Verdict.FORWARD if v.reason == reasons.TUNNEL_ERROR:
                return self._passed_on(arrived, v)
            case Verdict.FORWARD if v.reason == reasons.ICMP_ROUTED:
                return self._to_destination(arrived, v, ttl_down=2)
            case Verdict.FORWARD if v.reason in _TO_CLIENT:
                return self._to_client(arrived, v)
            case Verdict.FORWARD:
                return self._to_destination(arrived, v)
            case Verdict.REJECT:
                return _one(arrived.via, self._rejection(arrived, v))
            case Verdict.LOCAL if v.reason in reasons.TO_PROGRAM:
                return self._to_local_destination(arrived, v)
            case Verdict.LOCAL if v.reason not in _WITHOUT_ANSWER:
                return self._delivered(arrived.data, arrived.via)
            case Verdict.ROUTE:
                return self._routed(arrived)
            case _:
                return ()

    # To destinations

    def _to_destination(self, arrived: Arrived, v: Outcome, ttl_down: int = 1) -> tuple[Departure, ...]:
        if v.method == MASQ:
            packet = rewrite(arrived.data, self._change(v, ttl_down))
            return self._sent(v.new_dst, packet, arrived.came)
        packet = rewrite(arrived.data, Rewrite(ttl_down=ttl_down))
        if v.method == BYPASS:
            return self._sent(v.new_dst, packet, arrived.came)
        addr = int(self._host.tables.dests[v.dest].addr)
        if v.method == TUNNEL:
            return self._sent(addr, self._wrapped(packet, v.dest), arrived.came)
        return self._sent(addr, packet, arrived.came)

    def _change(self, v: Outcome, ttl_down: int = 1) -> Rewrite:
        src, dst = self._host.address(v.new_src), self._host.address(v.new_dst)
        return Rewrite(src, int(v.new_sport), dst, int(v.new_dport), ttl_down)

    def _wrapped(self, packet: bytes, d: int) -> bytes:
        dest = self._host.tables.dests[d]
        target = self._host.address(dest.addr)
        keep_df = int(self._host.tables.director[0].pmtu_disc)
        wrapping = Wrapping(target.version, int(dest.tun_type), int(dest.tun_port), int(dest.tun_flags), keep_df)
        return wrap(packet, wrapping, self._nearest(target) or _own_end(packet, target), target)

    def _sent(self, a: int, packet: bytes, came: Datagram | None, to: str = "") -> tuple[Departure, ...]:
        """The packet on its way to an address, in as many pieces as that takes."""
        limit = self._host.limit(int(a), 0)
        pieces = split_again(packet, limit, came) if came else split(packet, limit)
        return tuple([Departure(to or self._host.address_name(a), piece) for piece in pieces])

    # To clients

    def _to_client(self, arrived: Arrived, v: Outcome) -> tuple[Departure, ...]:
        if self._local(arrived.headers.dst):
            return self._delivered(rewrite(arrived.data, self._change(v, ttl_down=0)), arrived.via)
        return self._sent(v.new_dst, rewrite(arrived.data, self._change(v)), arrived.came, CLIENTS)

    def _passed_on(self, arrived: Arrived, v: Outcome) -> tuple[Departure, ...]:
        """The error about a tunnel's packet, as one about the packet inside."""
        q = arrived.quoted
        assert q is not None
        inside = arrived.data[q.at : arrived.headers.length]
        source = self._host.address(v.new_src)
        error = answers.error_passed_on(inside, source=source, kind=q.kind, code=q.code, limit=int(v.new_dport))
        return _one(CLIENTS, error)

    def _to_local_destination(self, arrived: Arrived, v: Outcome) -> tuple[Departure, ...]:
        if not v.new_src:  # an ICMP error
            return ()
        return self._delivered(rewrite(arrived.data, self._change(v, ttl_down=0)), arrived.via)

    # To and from the director itself

    def _delivered(self, data: bytes, back: str) -> tuple[Departure, ...]:
        """A packet that comes to a program on the director; or what the director's stack answers, as nobody listens
        there. IPVS sees that, too.

        Parameters
        ----------
        back : where its sender is, if not on the director.
        """
        headers = parse_headers(data)
        if headers is None or headers.shape == ICMP_ERROR:
            return ()
        if self._listens(headers):
            return _one(DIRECTOR, data)
        answer = self._of_own_stack(data, headers)
        made = parse_headers(answer) if answer else None
        if answer is None or made is None:
            return ()
        return self.sent_by_itself(answer, made, back).departures

    def _of_own_stack(self, data: bytes, headers: Headers) -> bytes | None:
        """What the director's own stack answers.

        From an address that only a routing rule brought to it, nothing can leave over IPv4; over IPv6 only errors come
        from another one.
        """
        if self._local(headers.dst) != BY_ROUTING:
            return _own_stack(data, headers)
        if headers.version == IPV4:
            return None
        return _own_stack(data, headers, self._nearest(ip_address(headers.src)))

    def _listens(self, headers: Headers) -> bool:
        """Whether a program gets what comes to the packet's target."""
        return (headers.proto, headers.dst, headers.dport) in self._listening

    def sent_by_itself(self, data: bytes, headers: Headers, to: str = CLIENTS) -> Sent:
        """What becomes of a packet that the director itself sends.

        Where IPVS refuses it, the sender is told, and that is the director.

        Parameters
        ----------
        to : who is meant, if no destination and not the director.
        """
        p, v = self._packet[0], self._outcome[0]
        note(self._host, p, headers, OWN)
        p.may_split = int(may_split(data))
        quote = quoted(data, headers, self._host.has_tunnel) if headers.shape == ICMP_ERROR else None
        p.quote = self._host.note_quote(quote) if quote else 0
        self._host.send_itself(self._packet, self._outcome)
        said = int(v.verdict), int(v.reason), int(v.dest)
        return Sent(*said, self._of_itself(Arrived(data, headers, to, OWN, quote), v))

    def _of_itself(self, arrived: Arrived, v: Outcome) -> tuple[Departure, ...]:
        """What leaves because of a packet that the director itself sends; it is not routed, only what IPVS sends is."""
        data, target = arrived.data, arrived.headers.dst
        match v.verdict:
            case Verdict.FORWARD if v.reason in _TO_CLIENT:
                data = rewrite(data, self._change(v, ttl_down=0))
            case Verdict.FORWARD:
                return self._to_destination(arrived, v)
            case Verdict.LOCAL if v.reason in reasons.TO_PROGRAM:
                return self._to_local_destination(arrived, v)
            case Verdict.LOCAL | Verdict.ROUTE:
                pass
            case _:
                return ()
        if self._local(target):
            return self._delivered(data, arrived.via)
        a = self._host.intern_packed(target)
        return _one(self._host.address_name(a) if self._host.is_dest(a) else arrived.via, data)

    # Back to the sender

    def _rejection(self, arrived: Arrived, v: Outcome) -> bytes | None:
        data, headers = arrived.data, arrived.headers
        if v.reason == reasons.NO_NEXT_HOP:
            return self._no_next_hop(data, headers)
        source = self._source_of_errors(headers)
        if source is None:
            return None
        if v.reason == reasons.NO_DEST:
            return answers.port_unreachable(data, source=source)
        local = self._local(headers.dst)
        inward = arrived.direction == IN and (local == 1 or (local == BY_ROUTING and v.dest != 0))
        if v.reason == reasons.BAD_OPTION:
            return answers.bad_option(data, source=source)
        if v.reason == reasons.SERVER_REFUSED:  # what is forwarded has its new TTL by then
            return answers.port_unreachable(data if inward else rewrite(data, Rewrite()), source=source)
        if v.reason == reasons.NO_ROUTE:
            return answers.unreachable(data, source=source, host=inward)
        if v.reason == reasons.MTU_EXCEEDED:
            return self._too_big(arrived, v, source, inward)
        return answers.time_exceeded(data, source=source)

    def _too_big(self, arrived: Arrived, v: Outcome, source: Address, inward: bool) -> bytes | None:
        """The error about a packet that is too large. IPVS has lowered its TTL before it looks at its length."""
        if not inward or not v.dest:
            limit = self._host.limit(self._host.intern_packed(arrived.headers.dst), 0)
            return answers.too_big(arrived.data, source=source, limit=limit)
        dest = self._host.tables.dests[v.dest]
        tunnel = int(v.dest) if v.method == TUNNEL else 0
        limit = self._host.limit(int(dest.addr), tunnel)
        return answers.too_big(rewrite(arrived.data, Rewrite()), source=source, limit=limit)

    def _no_next_hop(self, data: bytes, headers: Headers) -> bytes | None:
        """The error about a packet that was already on its way. Over IPv4 it is not from the packet's own target."""
        source = self._nearest(ip_address(headers.src)) if headers.version == IPV4 else ip_address(headers.dst)
        return answers.unreachable(rewrite(data, Rewrite()), source=source, host=True) if source else None

    def _source_of_errors(self, headers: Headers) -> Address | None:
        """The packet's own target if that is the director's, else its address nearest the sender."""
        if self._local(headers.dst) == 1:
            return ip_address(headers.dst)
        return self._nearest(ip_address(headers.src))

    def _local(self, address: bytes) -> int:
        return int(self._host.tables.addresses[self._host.intern_packed(address)].local)

    def _nearest(self, to: Address) -> Address | None:
        """The director's address that shares most of its first bits with another one, of equals the first."""
        same_family = [address for address in self._own if address.version == to.version]
        return min(same_family, key=lambda own: (int(own) ^ int(to)).bit_length()) if same_family else None

    def _routed(self, arrived: Arrived) -> tuple[Departure, ...]:
        """What a router sends on."""
        a = self._host.intern_packed(arrived.headers.dst)
        to = self._host.address_name(a) if arrived.via == CLIENTS else CLIENTS
        return self._sent(a, rewrite(arrived.data, Rewrite()), arrived.came, to)


def _one(to: str, packet: bytes | None) -> tuple[Departure, ...]:
    return (Departure(to, packet),) if packet is not None else ()


def _own_end(packet: bytes, target: Address) -> Address:
    """The source of a tunnel's packet, if nothing is known of the director but the services: the virtual address, or
    for the other family the destination's.
    """
    headers = parse_headers(packet)
    virtual = ip_address(headers.dst) if headers else target
    return virtual if virtual.version == target.version else target


def _own_stack(data: bytes, headers: Headers, source: Address | None = None) -> bytes | None:
    """What the director's own stack answers; nobody listens there. ``source``: of errors, if not the packet's target.

    A checksum that was left to the sender's network card counts as what that would have written: on a wire nobody sees
    such packets, but captures have them.
    """
    if headers.proto == TCP:
        return answers.tcp_reset(with_checksum(data))
    if headers.proto == UDP:
        return answers.nobody_listens(with_checksum(data), source=source)
    return answers.echo_reply(data) or answers.protocol_unreachable(data, source=source)
