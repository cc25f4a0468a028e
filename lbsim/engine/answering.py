"""A packet looked at as the answer of a real server, wherever it is met: on its way, as it is delivered to a program
on the director, or as such a program sends it.

Kernel counterpart: ip_vs_core.c ip_vs_out(), handle_response().
"""

from __future__ import annotations

from lbsim.engine.conntable import find_out, put
from lbsim.engine.counting import count_out
from lbsim.engine.forwarding import decide, unmasquerade
from lbsim.engine.ipsec import reply_of_ipsec
from lbsim.engine.lanes import kernel, seldom
from lbsim.engine.numbers import AH, CUT_HEADER, ESP, MASQ, NO_PORTS, OUT, RST, SCTP, TCP, TEMPLATE, UDP
from lbsim.engine.reasons import (
    DROP,
    HEADER_CUT,
    NO_CONNECTION,
    NOT_BALANCED,
    REJECT,
    ROUTE,
    SERVER_REFUSED,
    TEMPLATE_ANSWERED,
    UNMODELLED,
)
from lbsim.engine.records import Outcome, Packet, Tables
from lbsim.engine.sctp import step_sctp
from lbsim.engine.sctp_chunks import ABORT
from lbsim.engine.services import hooked_in
from lbsim.engine.tcp import step_tcp
from lbsim.engine.udp import step_udp

__all__ = ["answer", "step_state"]


@kernel
def answer(t: Tables, p: Packet, v: Outcome) -> None:
    """A packet from a real server that the director forwards, or from a socket of the director itself.

    Source
    ------
    facts: packet-path.md sections 12 and 15; ip_vs_core.c ip_vs_out(), handle_response(), 6.1 and 6.12.
    """
    hooked = hooked_in(t, p.src)
    if not hooked or (p.proto != TCP and p.proto != UDP and p.proto != SCTP):
        if hooked and (p.proto == AH or p.proto == ESP):
            reply_of_ipsec(t, p, v)
        else:
            decide(v, ROUTE, NOT_BALANCED, 0)
        return
    c = find_out(t, p) if p.shape != NO_PORTS else 0
    if c == 0:
        reply_without_entry(t, p, v)
        return
    conn = t.conns[c]
    if conn.marks & TEMPLATE != 0:
        decide(v, UNMODELLED, TEMPLATE_ANSWERED, conn.dest)
        return
    if p.shape == CUT_HEADER:
        decide(v, DROP, HEADER_CUT, conn.dest)
        put(t, c)
        return
    count_out(t, conn.dest, p.length)
    step_state(t, c, p, OUT)
    unmasquerade(p, conn, v)
    put(t, c)


@kernel
def reply_without_entry(t: Tables, p: Packet, v: Outcome) -> None:
    """A real server's packet that belongs to no entry: routed, unless nat_icmp_send has it refused.

    Source
    ------
    facts: packet-path.md section 12; ip_vs_core.c ip_vs_out(), 6.1 and 6.12.
    """
    if t.director[0].nat_icmp_send == 0 or p.shape == NO_PORTS or not refused(t, p, v):
        decide(v, ROUTE, NO_CONNECTION, 0)


@seldom
def refused(t: Tables, p: Packet, v: Outcome) -> bool:
    """Whether a packet that belongs to no entry is refused because a real server sends it; then its verdict is written.

    One to the director itself is looked at as an answer, too, before it is looked at as a request.

    Source
    ------
    facts: packet-path.md sections 2 and 12; ip_vs_core.c ip_vs_out(), hooks FORWARD and LOCAL_IN, 6.1 and 6.12.
    """
    last = (p.proto == TCP and p.tcp_flags & RST != 0) or (p.proto == SCTP and p.tcp_flags == ABORT)
    if last or not from_real_server(t, p):
        return False
    decide(v, REJECT, SERVER_REFUSED, 0)
    return True


@kernel
def from_real_server(t: Tables, p: Packet) -> bool:
    """Whether a packet comes from a destination over NAT of some service of its protocol, or by firewall mark.

    Source
    ------
    facts: packet-path.md section 12; ip_vs_ctl.c ip_vs_has_real_service(), 6.1 and 6.12.
    """
    for d in range(1, t.director[0].dests_used + 1):
        dest = t.dests[d]
        if dest.available != 0 and dest.addr == p.src and dest.port == p.sport and dest.method == MASQ:
            service = t.services[dest.service]
            if service.proto == p.proto or service.fwmark != 0:
                return True
    return False


@kernel
def step_state(t: Tables, c: int, p: Packet, direction: int) -> None:
    """Let the packet move the entry's state and timeout.

    Source
    ------
    facts: packet-path.md section 7; ip_vs_core.c ip_vs_set_state().
    """
    if p.proto == TCP:
        step_tcp(t, c, p.tcp_flags, direction)
    elif p.proto == UDP:
        step_udp(t, c, direction)
    else:
        step_sctp(t, c, p.tcp_flags, direction)
