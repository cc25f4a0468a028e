"""The trace that is measured: connections of five packets each, over a few minutes."""

from __future__ import annotations

from ipaddress import ip_address

import numpy as np

from lbsim.config import parse
from lbsim.engine.records import IN, REPLY, TCP
from lbsim.model.config import DirectorConfig
from lbsim.model.trace import Flow, Trace

__all__ = ["config_of", "trace_of"]

CLIENTS = 5000
#: Milliseconds after the SYN, direction and flags of a connection's packets.
SCRIPT = ((0, IN, 2), (20, REPLY, 18), (40, IN, 16), (2000, IN, 17), (2020, REPLY, 17))


def trace_of(connections: int) -> Trace:
    """A TCP connection every millisecond, from 5000 clients to one service; packets in time order."""
    columns = Trace.empty_columns(connections * len(SCRIPT))
    times = np.add.outer(np.arange(connections), [after for after, _, _ in SCRIPT]).ravel()
    order = np.argsort(times, kind="stable").astype("i4")  # row -> connection * 5 + line of the script
    columns["time"][:] = times[order] * 1_000_000
    flow = columns["flow"]
    flow[:] = order // len(SCRIPT)
    line = order % len(SCRIPT)
    columns["direction"][:] = np.array([direction for _, direction, _ in SCRIPT], dtype="i1")[line]
    columns["flags"][:] = np.array([flags for _, _, flags in SCRIPT], dtype="i2")[line]
    columns["proto"][:] = TCP
    columns["length"][:] = 40
    for end, port, of_client in (("src", "sport", IN), ("dst", "dport", REPLY)):
        is_client = columns["direction"] == of_client
        columns[end][:] = is_client * (1 + flow % CLIENTS)
        columns[port][:] = np.where(is_client, 1024 + flow // CLIENTS, 80)
    addresses = (ip_address("192.0.2.1"), *(ip_address(0x0B000000 + n) for n in range(CLIENTS)))
    flows = tuple(Flow(TCP, 1 + n % CLIENTS, 1024 + n // CLIENTS, 0, 80) for n in range(connections))
    return Trace(columns, addresses, flows)


def config_of(scheduler: str) -> DirectorConfig:
    """One service with eight destinations."""
    dests = "".join(f"-a -t 192.0.2.1:80 -r 10.0.0.{n}:80 -m\n" for n in range(11, 19))
    return parse(f"-A -t 192.0.2.1:80 -s {scheduler}\n{dests}")
