"""What was seen, in lbsim's own terms: the texts of the real tools read back into rows.

Sources: facts, ipvsadm.md sections 3.2 to 3.4, packet-path.md section 19.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from lbsim.kernel.job import Arrival, CommandSeen, Observation, PacketSeen, ShowSeen
from lbsim.model.config import format_endpoint
from lbsim.model.result import ConnRow, Counters
from lbsim.packet.headers import ICMP, parse

__all__ = ["Listing", "Step", "as_shown", "comparable", "conn_rows", "listing_of", "steps_of"]

_HEAD_LINES = 3
_UNITS = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
OWN_TTL = 64  # packets that the director makes itself leave with it, no forwarded packet does


@dataclass(frozen=True, slots=True)
class Listing:
    """Services and destinations as ``ipvsadm -Ln`` lists them, without an order; entries of the connection table.

    services : "tcp 192.168.1.10:80" -> (scheduler, flags).
    dests : (service, "10.0.0.11:80") -> (weight, active, inactive).
    counters : (service, destination), or (service, "") for all of it -> counters, large ones without the digits that
        ipvsadm leaves out; None if they were not asked for.
    conns : the entries, sorted.
    """

    services: dict[str, tuple[str, tuple[str, ...]]]
    dests: dict[tuple[str, str], tuple[int, int, int]]
    counters: dict[tuple[str, str], Counters] | None
    conns: tuple[ConnRow, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One event's outcome: packets that left the director, an answer to a command, or a look at the tables."""

    at: int
    arrivals: tuple[tuple[str, bytes], ...] = ()
    answer: tuple[int, str] | None = None
    listing: Listing | None = None
    near: tuple[Listing, ...] = ()  # the engine's tables at the ticks during which the kernel's may have been read


def steps_of(observation: Observation) -> list[Step]:
    """The observation's events as steps."""
    steps = []
    for seen in observation.events:
        arrivals = tuple(comparable(arrival) for arrival in seen.arrivals)
        match seen:
            case PacketSeen():
                steps.append(Step(seen.at, arrivals))
            case CommandSeen():
                steps.append(Step(seen.at, arrivals, answer=(seen.status, " ".join(seen.output.split()))))
            case ShowSeen():
                steps.append(Step(seen.at, arrivals, listing=listing_of(seen)))
    return steps


def comparable(arrival: Arrival) -> tuple[str, bytes]:
    """Where it arrived, and its bytes without what the director picks at random in an error of its own.

    That is the IP id of ICMP errors (and with it the header checksum), and the flow label over IPv6.
    """
    data = arrival.content
    headers = parse(data)
    if headers is None or headers.ttl != OWN_TTL:
        return arrival.where, data
    if headers.version == 4 and headers.proto == ICMP:
        data = data[:4] + b"\0\0" + data[6:10] + b"\0\0" + data[12:]
    elif headers.version == 6:
        data = data[:1] + bytes([data[1] & 0xF0]) + b"\0\0" + data[4:]
    return arrival.where, data


def listing_of(seen: ShowSeen) -> Listing:
    """The tables that the tools printed."""
    services: dict[str, tuple[str, tuple[str, ...]]] = {}
    dests: dict[tuple[str, str], tuple[int, int, int]] = {}
    service = ""
    for line in seen.listing.splitlines()[_HEAD_LINES:]:
        words = line.split()
        if words[0] == "->":
            weight, active, inactive = (int(word) for word in words[3:6])
            dests[service, words[1]] = weight, active, inactive
        else:
            service = f"{words[0].lower()} {words[1]}"
            flags = words[3][1:-1].split(",") if len(words) > 3 else []
            services[service] = words[2], tuple(flags)
    return Listing(services, dests, _counters(seen.stats) if seen.stats else None, conn_rows(seen.conns))


def _counters(text: str) -> dict[tuple[str, str], Counters]:
    counters = {}
    service = ""
    for line in text.splitlines()[_HEAD_LINES:]:
        words = line.split()
        if words[0] != "->":
            service = f"{words[0].lower()} {words[1]}"
        key = service, words[1] if words[0] == "->" else ""
        counters[key] = Counters(*map(_number, words[2:7]))
    return counters


def _number(word: str) -> int:
    """A number of ``--stats``: ``123K`` is 123,000."""
    return int(word[:-1]) * _UNITS[word[-1]] if word[-1] in _UNITS else int(word)


def as_shown(counters: Counters) -> Counters:
    """The counters without the digits that ``ipvsadm -Ln --stats`` leaves out.

    Source: facts, ipvsadm.md section 3.4.
    """
    values = (counters.connections, counters.in_packets, counters.out_packets, counters.in_bytes, counters.out_bytes)
    return Counters(*map(_cut, values))


def _cut(number: int) -> int:
    for limit, unit in ((10**8, 1), (10**9, 10**3), (10**11, 10**6), (10**14, 10**9)):
        if number < limit:
            return number - number % unit
    return number - number % 10**12


def conn_rows(text: str) -> tuple[ConnRow, ...]:
    """The entries of ``/proc/net/ip_vs_conn``, sorted."""
    rows = []
    for line in text.splitlines()[1:]:
        protocol, *ends, state, expires = line.split()[:9]
        client, virtual, destination = (_endpoint(ends[i], ends[i + 1]) for i in (0, 2, 4))
        rows.append(ConnRow(protocol, client, virtual, destination, state, int(expires)))
    return tuple(sorted(rows, key=_row_order))


def _row_order(row: ConnRow) -> tuple[str, str, str, str, str, int]:
    return row.protocol, row.client, row.virtual, row.destination, row.state, row.expires


def _endpoint(address: str, port: str) -> str:
    parsed = IPv6Address(address) if ":" in address else ip_address(int(address, 16))
    return format_endpoint(parsed, int(port, 16))
