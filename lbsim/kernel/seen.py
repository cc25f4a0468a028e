"""What was seen, in lbsim's own terms: the texts of the real tools read back into rows.

Sources: facts, ipvsadm.md sections 3.2 to 3.4, packet-path.md section 19.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from lbsim.engine.numbers import ICMP_ERROR, RST, TCP
from lbsim.kernel.job import Arrival, CommandSeen, Observation, PacketSeen, ShowSeen
from lbsim.model.config import Address, Persistence, ServiceId, format_endpoint
from lbsim.model.result import ConnRow, Counters, ServiceOptions
from lbsim.packet.fragments import Fragments, Key, is_fragment, piece_of
from lbsim.packet.headers import ICMP, Headers, parse
from lbsim.packet.tunnel import without_chance

__all__ = [
    "Listing",
    "Step",
    "all_comparable",
    "comparable",
    "conn_rows",
    "listed",
    "listing_of",
    "options_of",
    "profile_of",
    "series_of",
    "steps_of",
    "without_picks",
]

_HEAD_LINES = 3
OWN_TTL = 64  # packets that the director makes itself leave with it, no forwarded packet does
_OF_ERRORS = 0xC0  # in the type of service of the IPv4 errors that a kernel makes


@dataclass(frozen=True, slots=True)
class Listing:
    """Services and destinations as ``ipvsadm -Ln --nosort`` lists them; entries of the connection table.

    services : "tcp 192.168.1.10:80" -> (scheduler, flags); their order is that of a random hash.
    options : service -> what else its line says ("persistent 300 mask 255.255.255.0"), and (service, destination) ->
        its forwarding method ("Masq").
    dests : (service, "10.0.0.11:80") -> (weight, active, inactive), those of a service in the kernel's order.
    counters : (service, destination), or (service, "") for all of it -> counters; None if they were not asked for.
    conns : the entries, sorted.
    """

    services: dict[str, tuple[str, tuple[str, ...]]]
    dests: dict[tuple[str, str], tuple[int, int, int]]
    counters: dict[tuple[str, str], Counters] | None
    conns: tuple[ConnRow, ...]
    options: dict[str | tuple[str, str], str] = field(default_factory=dict)


#: That nothing can be left over.
_NOTHING: Mapping[tuple[str, str], Counters] = {}


class Step(NamedTuple):
    """One event's outcome: packets that left the director, an answer to a command, or a look at the tables.

    near : the engine's tables at the ticks during which the kernel's may have been read.
    leftovers : (service, destination) -> by how much the kernel's counters may be above the engine's.
    """

    at: int
    arrivals: tuple[tuple[str, bytes], ...] = ()
    answer: tuple[int, str] | None = None
    listing: Listing | None = None
    near: tuple[Listing, ...] = ()
    leftovers: Mapping[tuple[str, str], Counters] = _NOTHING


def steps_of(observation: Observation) -> list[Step]:
    """The observation's events as steps."""
    steps = []
    for seen in observation.events:
        arrivals = all_comparable([(arrival.where, arrival.content) for arrival in seen.arrivals])
        match seen:
            case PacketSeen():
                steps.append(Step(seen.at, arrivals))
            case CommandSeen():
                steps.append(Step(seen.at, arrivals, answer=(seen.status, " ".join(seen.output.split()))))
            case ShowSeen():
                steps.append(Step(seen.at, arrivals, listing=listing_of(seen)))
    return steps


def all_comparable(arrivals: Sequence[tuple[str, bytes]]) -> tuple[tuple[str, bytes], ...]:
    """(place, bytes) of packets that left together, as :func:`without_picks` leaves them; some perhaps in fragments."""
    if not any(is_fragment(data) for _, data in arrivals):
        return tuple([(where, without_picks(data)) for where, data in arrivals])
    fragments = Fragments()
    wholes: dict[tuple[str, Key] | None, bytes] = {}
    keys = [_key(where, data) for where, data in arrivals]
    for (_, data), key in zip(arrivals, keys, strict=True):
        if key and (datagram := fragments.add(data, 0)):
            wholes[key] = datagram.data
    return tuple(
        [(where, without_picks(data, wholes.get(key, b""))) for (where, data), key in zip(arrivals, keys, strict=True)]
    )


def _key(where: str, data: bytes) -> tuple[str, Key] | None:
    """What the fragments of one datagram at one place have in common; None: it is no fragment."""
    piece = piece_of(data) if is_fragment(data) else None
    return (where, piece.key) if piece else None


def comparable(arrival: Arrival) -> tuple[str, bytes]:
    """Where it arrived, and its bytes as :func:`without_picks` leaves them."""
    return arrival.where, without_picks(arrival.content)


def without_picks(data: bytes, whole: bytes = b"") -> bytes:
    """A packet that left the director, without what that picks at random in what it makes itself.

    Of its own errors that is the IP id of ICMP (and with it the header checksum), and the flow label over IPv6; of the
    headers of a tunnel the IP id and the source port; of fragments over IPv6 their id. ``whole``: of a fragment, the
    packet that it is a part of.
    """
    headers = parse(data)
    if headers is None or not _made_by_itself(data, headers):
        return without_chance(data, whole)
    if headers.version == 4 and headers.proto == ICMP:
        return data[:4] + b"\0\0" + data[6:10] + b"\0\0" + data[12:]
    if headers.version == 6:
        return data[:1] + bytes([data[1] & 0xF0]) + b"\0\0" + data[4:]
    return data


def _made_by_itself(data: bytes, headers: Headers) -> bool:
    """Whether the director made the packet. Its error or reset because of an answer to itself has gone through IPVS,
    and so lost one of its TTL.
    """
    refuses = headers.shape == ICMP_ERROR or (headers.proto == TCP and headers.flags & RST != 0)
    if refuses and headers.ttl == OWN_TTL - 1:
        return headers.version != 4 or data[1] & _OF_ERRORS == _OF_ERRORS
    return headers.ttl == OWN_TTL


def listing_of(seen: ShowSeen) -> Listing:
    """The tables that the tools printed."""
    counters = _counters(seen.stats) if seen.stats else None
    return listed(seen.listing, counters, conn_rows(seen.conns))


def listed(text: str, counters: dict[tuple[str, str], Counters] | None, conns: tuple[ConnRow, ...]) -> Listing:
    """A listing with what ``ipvsadm -Ln --nosort`` printed."""
    found = Listing({}, {}, counters, conns)
    service = ""
    for line in text.splitlines()[_HEAD_LINES:]:
        words = line.split()
        if words[0] == "->":
            weight, active, inactive = (int(word) for word in words[3:6])
            found.dests[service, words[1]] = weight, active, inactive
            found.options[service, words[1]] = words[2]
        else:
            service, (scheduler, *more) = _service(words)
            flags = more.pop(0)[1:-1].split(",") if more and more[0].startswith("(") else []
            found.services[service] = scheduler, tuple(flag for flag in flags if flag)
            found.options[service] = " ".join(more)
    return found


def _service(words: list[str]) -> tuple[str, list[str]]:
    """The name of a service, and the words behind it; marks are printed as signed numbers."""
    if words[0] != "FWM":
        return f"{words[0].lower()} {words[1]}", words[2:]
    is_ipv6 = words[2:3] == ["IPv6"]
    return str(ServiceId.marked(int(words[1]) & 0xFFFFFFFF, 6 if is_ipv6 else 4)), words[3 if is_ipv6 else 2 :]


def options_of(text: str, version: int) -> ServiceOptions:
    """What the end of a service's line tells: ``persistent 300 mask 255.255.255.0 pe sip ops``, or part of it."""
    words = text.split()
    one_packet = words[-1:] == ["ops"]
    if one_packet:
        del words[-1]
    told = dict(zip(words[::2], words[1::2], strict=True))
    if "persistent" not in told:
        return ServiceOptions(one_packet=one_packet)
    mask = told.get("mask")
    number = Persistence().mask(version) if mask is None else int(IPv4Address(mask)) if version == 4 else int(mask)
    return ServiceOptions(Persistence(int(told["persistent"]), number), told.get("pe", ""), one_packet)


def _counters(text: str) -> dict[tuple[str, str], Counters]:
    counters = {}
    service = ""
    for line in text.splitlines()[_HEAD_LINES:]:
        words = line.split()
        numbers = words[2:]
        if words[0] != "->":
            service, numbers = _service(words)
        key = service, words[1] if words[0] == "->" else ""
        counters[key] = Counters(*map(int, numbers[:5]))
    return counters


def conn_rows(text: str) -> tuple[ConnRow, ...]:
    """The entries of ``/proc/net/ip_vs_conn``, sorted by protocol and ends."""
    rows = []
    for line in text.splitlines()[1:]:
        protocol, *ends, state, expires = line.split()[:9]
        (a, b), (c, d), (e, f) = ((_address(ends[i]), int(ends[i + 1], 16)) for i in (0, 2, 4))
        order = (protocol, int(a), b, int(c), d, int(e), f, state, int(expires))
        names = format_endpoint(a, b), format_endpoint(c, d), format_endpoint(e, f)
        rows.append((order, ConnRow(protocol, *names, state, int(expires))))
    return tuple(row for _, row in sorted(rows, key=lambda pair: pair[0]))


def _address(text: str) -> Address:
    return IPv6Address(text) if ":" in text else IPv4Address(int(text, 16))


def profile_of(release: str) -> str:
    """The profile that answers for a kernel: Debian's current one of the same series, or the oldest."""
    return "linux-6.12.117" if series_of(release) == "6.12" else "linux-6.1.192"


def series_of(release: str) -> str:
    """The first two numbers of a kernel's release: ``6.12`` of ``6.12.117+deb12-cloud-amd64``."""
    return ".".join(release.split(".")[:2])
