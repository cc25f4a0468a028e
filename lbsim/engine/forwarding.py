"""Forwarding as header changes: what the packet looks like when it leaves.

Kernel counterpart: ip_vs_xmit.c (requests), ip_vs_core.c handle_response() (replies). Only addresses and ports are
decided here; bytes and checksums are the business of ``lbsim.packet``.

Modelled: masquerading (NAT). Not yet: direct routing, tunnels, local destinations (said by their verdict), MTU.
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel
from lbsim.engine.reasons import DROP, FORWARD, HEADER_CUT, METHOD_SEEN, REJECT, TRANSLATED, TTL_EXCEEDED, UNMODELLED
from lbsim.engine.records import MASQ, WHOLE, Conn, Outcome, Packet

__all__ = ["decide", "masquerade", "unmasquerade"]


@kernel
def decide(v: Outcome, verdict: int, reason: int, dest: int) -> None:
    """Write a verdict without header changes.

    Source
    ------
    lbsim's own.
    """
    v.verdict = verdict
    v.reason = reason
    v.dest = dest
    v.new_src = 0
    v.new_sport = 0
    v.new_dst = 0
    v.new_dport = 0


@kernel
def masquerade(p: Packet, conn: Conn, reason: int, v: Outcome) -> None:
    """Send a client's packet to the entry's destination: the virtual end becomes the destination end.

    A TTL that is used up and a transport header that is cut end the packet here, after it was counted.

    Source
    ------
    facts: packet-path.md sections 4.4, 13.1 and 13.2; ip_vs_xmit.c ip_vs_nat_xmit(), 6.1 and 6.12.
    """
    if conn.method != MASQ:
        decide(v, UNMODELLED, METHOD_SEEN, conn.dest)
    elif p.ttl <= 1:
        decide(v, REJECT, TTL_EXCEEDED, conn.dest)
    elif p.shape != WHOLE:
        decide(v, DROP, HEADER_CUT, conn.dest)
    else:
        v.verdict = FORWARD
        v.reason = reason
        v.dest = conn.dest
        v.new_src = p.src
        v.new_sport = p.sport
        v.new_dst = conn.daddr
        v.new_dport = conn.dport


@kernel
def unmasquerade(p: Packet, conn: Conn, v: Outcome) -> None:
    """Send a real server's packet to the client: the destination end becomes the virtual end.

    Source
    ------
    facts: packet-path.md sections 12 and 13.2; ip_vs_core.c handle_response(), 6.1 and 6.12.
    """
    v.verdict = FORWARD
    v.reason = TRANSLATED
    v.dest = conn.dest
    v.new_src = conn.vaddr
    v.new_sport = conn.vport
    v.new_dst = p.dst
    v.new_dport = p.dport
