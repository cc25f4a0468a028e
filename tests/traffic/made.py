"""Small made-up traffic, and what it says to a reader."""

from __future__ import annotations

from lbsim.engine.numbers import IN, REPLY
from lbsim.model.scenario import SyntheticTraffic
from lbsim.model.trace import Trace
from lbsim.traffic.synthetic import generate
from tests.oracles.traffic import FLAGS

__all__ = ["MS", "ONE", "ONE_6", "TCP_4", "TCP_6", "UDP_4", "UDP_6", "YEAR", "N", "S", "clients", "made", "story"]

MS = 1_000_000
S = 1000 * MS
YEAR = 366 * 24 * 3600 * S
TCP_4 = "tcp 192.168.1.10:80"
TCP_6 = "tcp [2001:db8:1::10]:80"
UDP_4 = "udp 192.168.1.10:53"
UDP_6 = "udp [2001:db8:1::10]:53"
ONE = {"addresses": ["203.0.113.1"]}
ONE_6 = {"addresses": ["2001:db8::1"]}
N = 10_000  # connections of a sample whose distribution is looked at


def made(service: str = TCP_4, connections: int = 1, seed: int = 1, **keys: object) -> Trace:
    clients = {"clients": ONE if "." in service else ONE_6, "arrivals": {"at_once": True}}
    spec = {"service": service, "connections": connections} | clients | keys
    return generate(SyntheticTraffic.model_validate(spec), seed)


def story(trace: Trace) -> list[tuple[float, str, str, int]]:
    """(ms, who speaks, flags, bytes of the packet) of each packet."""
    who = {IN: "client", REPLY: "server"}
    names = {value: letter for letter, value in FLAGS.items()}
    columns = (trace[name].tolist() for name in ("time", "direction", "flags", "length"))
    return [
        (time / MS, who[direction], "".join(names[1 << i] for i in range(5) if flag >> i & 1), length)
        for time, direction, flag, length in zip(*columns, strict=True)
    ]


def clients(trace: Trace) -> list[str]:
    """The client of each connection (each first packet), in order."""
    first = trace["flags"] == FLAGS["S"]
    return [str(trace.addresses[i]) for i in trace["src"][first].tolist()]
