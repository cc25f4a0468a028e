"""Random traces made of columns, for what reads whole traces: lanes, blocks, live against simulated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address
from itertools import pairwise
from random import Random

from lbsim.engine.numbers import (
    BAD_IP_HEADER,
    CUT_HEADER,
    FRAGMENT,
    ICMP_ERROR,
    IN,
    NO_PORTS,
    OUT,
    REPLY,
    TCP,
    UDP,
    WHOLE,
)
from lbsim.model.trace import Flow, Trace

__all__ = ["EVERY_SHAPE", "config_text", "in_blocks", "random_trace"]

VIPS = {4: "192.0.2.1", 6: "2001:db8::1"}
SERVER = {4: "10.0.0.{}", 6: "fd00::{}"}
CLIENT = {4: "203.0.113.{}", 6: "2001:db8:c::{}"}
EVERY_SHAPE = (WHOLE,) * 8 + (CUT_HEADER, NO_PORTS, FRAGMENT, ICMP_ERROR, BAD_IP_HEADER)
FLAGS = (2, 2, 16, 16, 24, 17, 4, 18, 0)


def config_text(version: int, scheduler: str) -> str:
    """A TCP service on port 80 and a UDP service on port 53 with four destinations each, of weights 2, 0, 1, 2."""
    around = "{}" if version == 4 else "[{}]"
    vip = around.format(VIPS[version])
    lines = [f"-A -t {vip}:80 -s {scheduler}", f"-A -u {vip}:53 -s {scheduler}"]
    for n in range(11, 15):
        server = around.format(SERVER[version].format(n))
        for kind, port in (("-t", 80), ("-u", 53)):
            lines.append(f"-a {kind} {vip}:{port} -r {server}:{port} -m -w {n % 3}")
    return "\n".join(lines)


def random_trace(
    seed: int, packets: int, *, version: int = 4, shapes: tuple[int, ...] = (WHOLE,), seconds: float = 400
) -> Trace:
    """Packets of 60 flows over ``seconds``: requests, answers of whoever got them, answers of named servers."""
    random = Random(seed)
    clients = [CLIENT[version].format(n) for n in range(1, 21)]
    servers = [SERVER[version].format(n) for n in range(11, 16)]
    addresses = [VIPS[version], *clients, *servers]
    flows = [
        Flow(UDP if n % 3 == 0 else TCP, 1 + n % 20, 1000 + n // 20, 0, 53 if n % 3 == 0 else 80) for n in range(60)
    ]
    columns = Trace.empty_columns(packets)
    times = sorted(random.randrange(int(seconds * 1e9)) for _ in range(packets))
    for i in range(packets):
        flow = random.randrange(len(flows))
        f = flows[flow]
        direction = random.choice((IN, IN, IN, REPLY, REPLY, OUT))
        shape = random.choice(shapes)
        ends = (f.client, f.client_port, f.server, f.server_port)
        if direction != IN:
            ends = (f.server, f.server_port, f.client, f.client_port)
        if direction == OUT:
            ends = (random.randrange(21, 26), f.server_port, f.client, f.client_port)
        header = 20 if f.proto == TCP else 8
        header = {CUT_HEADER: 4 + random.randrange(header - 4), NO_PORTS: random.randrange(4)}.get(shape, header)
        row = {
            "time": times[i],
            "flow": flow,
            "direction": direction,
            "proto": f.proto,
            "flags": random.choice(FLAGS) if f.proto == TCP and shape == WHOLE else 0,
            "length": (20 if version == 4 else 40) + header + (random.randrange(100) if shape == WHOLE else 0),
            "ttl": random.choice((64, 64, 64, 2, 1)),
            "shape": shape,
        } | dict(zip(("src", "sport", "dst", "dport"), ends, strict=True))
        if shape == NO_PORTS:
            row |= {"sport": 0, "dport": 0}
        for name, value in row.items():
            columns[name][i] = value
    return Trace(columns, tuple(ip_address(a) for a in addresses), tuple(flows))


def in_blocks(trace: Trace, cuts: Sequence[int]) -> Iterator[Trace]:
    """The trace in blocks that end at the cuts; each knows only the addresses and flows that have occurred so far."""
    for start, stop in pairwise([0, *sorted(cuts), len(trace)]):
        last = stop == len(trace)
        addresses = 1 + max((int(trace[name][:stop].max()) for name in ("src", "dst") if stop), default=-1)
        flows = 1 + (int(trace["flow"][:stop].max()) if stop else -1)
        yield replace(
            trace,
            columns={name: column[start:stop] for name, column in trace.columns.items()},
            addresses=trace.addresses if last else trace.addresses[:addresses],
            flows=trace.flows if last else trace.flows[:flows],
        )
