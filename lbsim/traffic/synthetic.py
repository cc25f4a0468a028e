"""Made-up connections of a population of clients to one service: a scenario's words -> a trace.

The same spec and seed give the same columns on every machine (``draws`` says how). A spec with more
connections begins with the same ones. Two specs with the same seed draw the same numbers: give each its
own.

**Time.** A packet's time is when it passes the director, half-way between client and real server: whenever
the other side speaks, it is half a round-trip time later. A TCP connection is

* the opening: SYN, half a round trip later SYN/ACK, another half later ACK;
* the requests: the first at the same moment as the ACK, half a round trip later the answer, another half
  later the client's ACK. All segments of a request or an answer pass at the same moment;
* the close: FIN or RST; after a FIN, FIN/ACK and ACK half a round trip apart. A server that closes does so
  half a round trip after it last heard of the client.

The first packet of the close is sent when the connection's lifetime is over, or as soon as its requests are
done if they need longer. Requests begin in even distances between opening and close; without a lifetime,
each when the one before is done. A UDP answer passes a whole round-trip time after its query, and queries
begin in even distances over the lifetime.

Poisson arrivals and random lifetimes are whole microseconds. Lifetimes end at a year, however long the tail
of their distribution is. Packets of the same moment: in the order of the script, then of the connections.

**Clients.** The hosts of an IPv4 network are those without network and broadcast address; the hosts of an
IPv6 network count from ``::1`` on, 2**32 of them at most. In a Zipf distribution the first host is the most
frequent one, and only the first 2**20 hosts get anything. Each address uses its source ports 32768 to 60999
in turn, so that none is used again before all were; connections with the same client end belong to the same
flow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lbsim.engine.records import ACK, FIN, IN, REPLY, RST, SYN, TCP, UDP
from lbsim.errors import ScenarioError
from lbsim.model.config import Address
from lbsim.model.trace import AddressTable, FlowTable, IntColumn, Trace, in_order_of_appearance
from lbsim.traffic.draws import Draws, Floats, exp

if TYPE_CHECKING:
    from lbsim.model.scenario import Arrivals, Clients, Lifetime, SyntheticTraffic, TcpScript, UdpScript

__all__ = ["PORTS", "generate"]

#: Source ports of every client, used in turn: Linux's ephemeral ports.
PORTS = range(32768, 61000)

_PSH = 8
_SERVICE = 0  # its index in the addresses
_IP_HEADER = {4: 20, 6: 40}
_TCP_HEADER = 20
_UDP_HEADER = 8
_MTU = 1500
_MOST_HOSTS = 2**32
_MOST_RANKS = 2**20
_MOST_STEPS = 10_000_000
_MOST_PACKETS = 250_000_000
_YEAR = 366 * 24 * 3600 * 10**9
_LONGEST_TRACE = 100 * _YEAR  # three of these still fit into 63 bits of nanoseconds


class _Step(NamedTuple):
    """One packet of a script."""

    round: int  # how many of the script's rounds have begun before it
    at: int  # ns after that
    direction: int
    flags: int
    length: int  # bytes of the IP packet
    seq: int  # counted from the sender's initial sequence number
    ack: int  # counted from the other side's


class _Script(NamedTuple):
    """What every connection does: packets in ``rounds`` that are spread evenly over its lifetime."""

    steps: list[_Step]
    rounds: int
    round_needs: int  # ns
    around: int  # ns of the lifetime that belong to no round

    def column(self, field: str) -> IntColumn:
        """One field of all steps."""
        return np.array([getattr(step, field) for step in self.steps], dtype=np.int64)


class _Connections(NamedTuple):
    """int columns with one element per connection, and what they point into."""

    start: IntColumn  # ns
    client: IntColumn  # index into addresses
    port: IntColumn
    flow: IntColumn  # index into flows
    addresses: AddressTable
    flows: FlowTable


def generate(spec: SyntheticTraffic, seed: int) -> Trace:
    """The packets of ``spec`` in time order, without raw bytes; flows numbered by their first packet.

    Replies carry the virtual service as source: who really sends them is known when the trace is simulated.
    Lengths are those of whole IP packets without options. Sequence numbers begin at random and are right.

    Parameters
    ----------
    spec : a checked part of a scenario.
    seed : any integer.

    Raises
    ------
    ScenarioError : the spec would make more packets than memory holds, or a trace longer than 100 years.
    """
    draws = Draws(seed)
    script = _script(spec)
    connections = _connections(spec, draws)
    times = _times(script, connections.start, _lifetimes(spec.lifetime, spec.connections, draws))
    order = np.argsort(times, kind="stable")
    columns = _columns(spec, script, connections, order, draws)
    columns["time"] = times[order]
    return Trace(columns=columns, addresses=connections.addresses, flows=connections.flows)


# ---- who connects, and when ----


def _connections(spec: SyntheticTraffic, draws: Draws) -> _Connections:
    start = _starts(spec.arrivals, spec.start, spec.connections, draws)
    numbers, address = _picked(spec.clients, spec.connections, draws)
    firsts, client = in_order_of_appearance(numbers)
    ids = {spec.service.address: _SERVICE}
    id_of = np.array([ids.setdefault(address(k), len(ids)) for k in numbers[firsts].tolist()])
    client = id_of[client]
    turn = _turns(client)
    port = PORTS[0] + turn % len(PORTS)
    firsts = flow = np.arange(len(start))
    if turn.max() >= len(PORTS):
        firsts, flow = in_order_of_appearance(client * 2**16 + port)
    proto = TCP if spec.service.protocol == "tcp" else UDP
    flows = FlowTable()
    flows.extend_columns(
        proto=proto,
        client=client[firsts],
        client_port=port[firsts],
        server=_SERVICE,
        server_port=spec.service.port,
    )
    return _Connections(start, client, port, flow, AddressTable(ids), flows)


def _starts(arrivals: Arrivals, start: int, n: int, draws: Draws) -> IntColumn:
    """When connections begin: int64[n], ns, never decreasing."""
    if arrivals.every is not None:
        _check_span("the connections begin", start + (n - 1) * arrivals.every)
        return start + np.arange(n, dtype=np.int64) * arrivals.every
    if arrivals.poisson is not None:
        # summed as integers, so that the order of adding cannot matter: 2**32 is the mean distance
        distances = (draws.exponential("arrivals", n) * 2.0**32).astype(np.int64)
        with np.errstate(over="ignore"):
            begin = np.cumsum(distances) / (arrivals.poisson * 2.0**32) * 1e9
        _check_span("the connections begin", start + float(begin[-1]))
        return start + _whole_microseconds(begin)
    return np.full(n, start, dtype=np.int64)


def _lifetimes(lifetime: Lifetime | None, n: int, draws: Draws) -> IntColumn:
    """How long connections shall last: int64[n], ns; 0 if nothing is said about it."""
    if lifetime is None or lifetime.constant is not None:
        return np.full(n, lifetime.constant if lifetime else 0, dtype=np.int64)
    if lifetime.exponential is not None:
        drawn = lifetime.exponential * draws.exponential("lifetimes", n)
    else:
        assert lifetime.lognormal is not None
        normal = draws.normal("lifetimes", n)
        with np.errstate(over="ignore"):
            drawn = lifetime.lognormal.median * exp(lifetime.lognormal.sigma * normal)
    return _whole_microseconds(np.minimum(drawn, float(_YEAR)))


def _whole_microseconds(nanoseconds: Floats) -> IntColumn:
    return np.floor(nanoseconds / 1000.0 + 0.5).astype(np.int64) * 1000


def _picked(clients: Clients, n: int, draws: Draws) -> tuple[IntColumn, Callable[[int], Address]]:
    """Who connects: int64[n] of numbers, and the function that says which address a number stands for.

    Only addresses that are asked for are made: a network may have more hosts than memory.
    """
    if clients.cidr:
        network = clients.cidr
        bare = network.max_prefixlen - network.prefixlen <= 1  # neither a network nor a broadcast address
        edges = 0 if bare else 1 if network.version == 6 else 2
        hosts = _hosts(clients, min(network.num_addresses - edges, _MOST_HOSTS), n, draws)
        return hosts, lambda number: network[number + (not bare)]
    listed = clients.addresses or clients.gateways or []
    hosts = _hosts(clients, min(clients.hosts, _MOST_HOSTS) if clients.gateways else len(listed), n, draws)
    return hosts % len(listed), listed.__getitem__


def _hosts(clients: Clients, population: int, n: int, draws: Draws) -> IntColumn:
    """Which host makes each connection: int64[n] from 0 to ``population`` - 1."""
    if clients.pick == "in_turn":
        return np.arange(n, dtype=np.int64) % population
    if clients.pick == "uniform":
        return draws.below("clients", n, population)
    return draws.zipf("clients", n, min(population, _MOST_RANKS), clients.exponent)


def _turns(values: IntColumn) -> IntColumn:
    """How often each value was there before: 7 7 9 7 -> 0 1 0 2."""
    order = np.argsort(values, kind="stable")
    group = values[order]
    place = np.arange(len(group))
    begins = np.concatenate([[True], group[1:] != group[:-1]])
    turns = np.empty_like(place)
    turns[order] = place - np.maximum.accumulate(np.where(begins, place, 0))
    return turns


# ---- what a connection does ----


def _script(spec: SyntheticTraffic) -> _Script:
    from lbsim.model.scenario import TcpScript, UdpScript

    ip_header = _IP_HEADER[spec.service.address.version]
    if spec.service.protocol == "tcp":
        return _tcp_script(spec.tcp or TcpScript(), ip_header + _TCP_HEADER, spec.connections)
    return _udp_script(spec.udp or UdpScript(), ip_header + _UDP_HEADER, spec.connections)


def _tcp_script(script: TcpScript, headers: int, connections: int) -> _Script:
    segment = _MTU - headers
    per_request = -(-script.request_bytes // segment) - (-script.answer_bytes // segment) + 1
    _check_size(connections, 0 if script.half_open else script.requests * per_request)
    half = script.rtt // 2
    talk = _Talk(headers)
    talk.say(0, 0, IN, SYN)
    talk.say(0, half, REPLY, SYN | ACK)
    if script.half_open:
        return _Script(talk.steps, rounds=1, round_needs=0, around=0)
    talk.say(0, 2 * half, IN, ACK)
    for request in range(script.requests):
        talk.say_bytes(request, 2 * half, IN, script.request_bytes, segment)
        talk.say_bytes(request, 3 * half, REPLY, script.answer_bytes, segment)
        talk.say(request, 4 * half, IN, ACK)
    rounds = max(script.requests, 1)
    around = 2 * half + (half if script.close in ("server", "server_rst") else 0)
    _close(talk, script.close, rounds, around, half)
    return _Script(talk.steps, rounds, round_needs=2 * half if script.requests else 0, around=around)


def _close(talk: _Talk, close: str, rounds: int, at: int, half: int) -> None:
    first, second = (IN, REPLY) if close in ("client", "client_rst") else (REPLY, IN)
    if close in ("client_rst", "server_rst"):
        talk.say(rounds, at, first, RST)
    elif close in ("client", "server"):
        talk.say(rounds, at, first, FIN | ACK)
        talk.say(rounds, at + half, second, FIN | ACK)
        talk.say(rounds, at + 2 * half, first, ACK)


def _udp_script(script: UdpScript, headers: int, connections: int) -> _Script:
    _check_size(connections, script.queries * (1 + script.answered))
    steps = []
    for query in range(script.queries):
        steps.append(_Step(query, 0, IN, 0, headers + script.query_bytes, 0, 0))
        if script.answered:
            steps.append(_Step(query, script.rtt, REPLY, 0, headers + script.answer_bytes, 0, 0))
    return _Script(steps, rounds=script.queries, round_needs=script.rtt, around=0)


class _Talk:
    """The steps of a TCP connection so far, and how much each side has said."""

    def __init__(self, headers: int) -> None:
        self.headers = headers
        self.steps: list[_Step] = []
        self.said = {IN: 0, REPLY: 0}

    def say(self, round_: int, at: int, who: int, flags: int, payload: int = 0) -> None:
        """A packet that acknowledges all that was heard."""
        heard = self.said[REPLY if who == IN else IN] if flags & ACK else 0
        self.steps.append(_Step(round_, at, who, flags, self.headers + payload, self.said[who], heard))
        self.said[who] += payload + bool(flags & (SYN | FIN))

    def say_bytes(self, round_: int, at: int, who: int, count: int, segment: int) -> None:
        """Data in segments, the last one pushed."""
        while count > segment:
            self.say(round_, at, who, ACK, segment)
            count -= segment
        self.say(round_, at, who, _PSH | ACK, count)


# ---- both together ----


def _times(script: _Script, start: IntColumn, lifetime: IntColumn) -> IntColumn:
    """When packets pass the director: ns, the first step of all connections, then the second, and so on."""
    needs = script.rounds * script.round_needs
    _check_span("a connection lasts", script.around + needs)
    spread = np.maximum(lifetime - script.around, needs)
    # round * spread // rounds, of which the product does not fit into 63 bits
    whole, rest = np.divmod(spread, script.rounds)
    begun = script.column("round")[:, np.newaxis]
    times = begun * rest
    times //= script.rounds
    times += begun * whole
    times += script.column("at")[:, np.newaxis]
    times += start
    every_packet: IntColumn = times.ravel()
    return every_packet


def _columns(
    spec: SyntheticTraffic, script: _Script, connections: _Connections, order: IntColumn, draws: Draws
) -> dict[str, IntColumn]:
    """All columns but the time, for the packets that ``order`` names as in :func:`_times`."""
    step, connection = np.divmod(order, spec.connections)
    from_client = (script.column("direction") == IN)[step]
    client, port = connections.client[connection], connections.port[connection]
    columns = Trace.empty_columns(len(order))
    columns["proto"][:] = TCP if spec.service.protocol == "tcp" else UDP
    for name in ("direction", "flags", "length"):
        columns[name][:] = script.column(name)[step]
    columns["flow"][:] = connections.flow[connection]
    columns["src"][:] = np.where(from_client, client, _SERVICE)
    columns["dst"][:] = np.where(from_client, _SERVICE, client)
    columns["sport"][:] = np.where(from_client, port, spec.service.port)
    columns["dport"][:] = np.where(from_client, spec.service.port, port)
    if spec.service.protocol == "tcp":
        first = draws.words("sequence numbers", spec.connections)
        of_client = (first >> np.uint64(32)).astype(np.int64)[connection]
        of_server = (first & np.uint64(0xFFFFFFFF)).astype(np.int64)[connection]
        sent = np.where(from_client, of_client, of_server) + script.column("seq")[step]
        heard = np.where(from_client, of_server, of_client) + script.column("ack")[step]
        acknowledges = (script.column("flags") & ACK != 0)[step]
        columns["seq"][:] = sent & 0xFFFFFFFF
        columns["ack"][:] = np.where(acknowledges, heard & 0xFFFFFFFF, 0)
    return columns


def _check_size(connections: int, packets: int) -> None:
    if packets > _MOST_STEPS or connections * packets > _MOST_PACKETS:
        raise ScenarioError(
            f"requests and answers would be {packets:,} packets in each connection, "
            f"{connections * packets:,} in all; expected at most {_MOST_STEPS:,} and {_MOST_PACKETS:,}"
        )


def _check_span(what: str, nanoseconds: float) -> None:
    if nanoseconds > _LONGEST_TRACE:
        years = nanoseconds / _YEAR
        raise ScenarioError(f"{what} for {years:,.0f} years; expected at most {_LONGEST_TRACE // _YEAR}")
