"""UDP as the director sees it: one state, 300 idle seconds, never counted as active.

Kernel counterpart: ip_vs_proto_udp.c.
"""

from __future__ import annotations

from lbsim.engine.conntable import assure
from lbsim.engine.lanes import kernel
from lbsim.engine.numbers import CONTROLLED, OUT
from lbsim.engine.records import Tables

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
def step_udp(t: Tables, c: int, direction: int) -> None:
    """Reload the entry's timeout; an answer assures the template that controls the entry.

    Source
    ------
    facts: packet-path.md section 7.2; ip_vs_proto_udp.c udp_state_transition(), 6.1 and 6.12.
    """
    conn = t.conns[c]
    conn.timeout = t.udp_timeouts[conn.state]
    if direction == OUT and conn.marks & CONTROLLED != 0:
        assure(t, c)
