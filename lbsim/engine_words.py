"""The engine's numbers and the words for them: protocols, forwarding methods, tunnels, flags, states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lbsim.config.options import SCHEDULER_FLAGS
from lbsim.engine import sctp, tcp, udp
from lbsim.engine.numbers import (
    DROUTE,
    GRE,
    GUE,
    IP_ANY,
    IPIP,
    MASQ,
    SCHED_1,
    SCHED_2,
    SCHED_3,
    SCTP,
    TCP,
    TEMPLATE,
    TUN_CSUM,
    TUN_REMCSUM,
    TUNNEL,
    UDP,
)
from lbsim.model.config import Method, Protocol, TunnelChecksum, TunnelType

__all__ = [
    "ANY_FLAGS",
    "CHECKSUMS",
    "CHECKSUM_NAMES",
    "FLAGS",
    "METHODS",
    "METHOD_NAMES",
    "OWN_FLAGS",
    "PROTOCOLS",
    "PROTOCOL_NAMES",
    "SERVICE_PROTOCOLS",
    "STATES",
    "TEMPLATE_STATES",
    "TUNNELS",
    "TUNNEL_NAMES",
    "state_index",
]

PROTOCOLS: Mapping[Protocol, int] = {"tcp": TCP, "udp": UDP, "sctp": SCTP}
METHODS: Mapping[Method, int] = {"masq": MASQ, "droute": DROUTE, "tunnel": TUNNEL}
TUNNELS: Mapping[TunnelType, int] = {"ipip": IPIP, "gue": GUE, "gre": GRE}
CHECKSUMS: Mapping[TunnelChecksum, int] = {"nocsum": 0, "csum": TUN_CSUM, "remcsum": TUN_REMCSUM}
METHOD_NAMES = {number: name for name, number in METHODS.items()}
TUNNEL_NAMES = {number: name for name, number in TUNNELS.items()}
CHECKSUM_NAMES = {number: name for name, number in CHECKSUMS.items()}
ANY_FLAGS = {"flag-1": SCHED_1, "flag-2": SCHED_2, "flag-3": SCHED_3}
OWN_FLAGS = {
    scheduler: dict(zip(names, ANY_FLAGS.values(), strict=False)) for scheduler, names in SCHEDULER_FLAGS.items()
}
SERVICE_PROTOCOLS = {number: name for name, number in PROTOCOLS.items()}
PROTOCOL_NAMES = {number: str(name) for number, name in SERVICE_PROTOCOLS.items()} | {IP_ANY: "ip"}
TEMPLATE_STATES = ("NONE", "ASSURED")
STATES = {  # of a protocol's entries, and behind them those of its templates
    number: (*names, *TEMPLATE_STATES)
    for number, names in {TCP: tcp.STATES, UDP: udp.STATES, SCTP: sctp.STATES, IP_ANY: ()}.items()
}
_OWN_STATES = np.array([max(len(STATES.get(n, ())) - len(TEMPLATE_STATES), 0) for n in range(256)])
FLAGS = {name: bit for flags in (ANY_FLAGS, *OWN_FLAGS.values()) for name, bit in flags.items()}


def state_index(proto: Any, state: Any, marks: Any) -> Any:
    """Where the name of an entry's state stands in STATES; of one entry, or of columns of them."""
    return state + _OWN_STATES[proto] * ((marks & TEMPLATE) != 0)
