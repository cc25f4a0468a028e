"""UDP as the director sees it: one state, 300 idle seconds, never counted as active.

Kernel counterpart: ip_vs_proto_udp.c.
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel
from lbsim.engine.records import Conn, Tables

__all__ = ["STATES", "step_udp", "timeouts"]

#: State number -> name, as listings print it.
STATES = ("UDP",)

TIMEOUTS = {"UDP": 300}


def timeouts(hz: int) -> list[int]:
    """State number -> idle ticks.

    Source
    ------
    facts: packet-path.md section 7.2.
    """
    return [TIMEOUTS[name] * hz for name in STATES]


@kernel
def step_udp(t: Tables, conn: Conn) -> None:
    """Reload the entry's timeout; there is nothing else to a UDP packet.

    Source
    ------
    facts: packet-path.md section 7.2; ip_vs_proto_udp.c udp_state_transition(), 6.1 and 6.12.
    """
    conn.timeout = t.udp_timeouts[conn.state]
