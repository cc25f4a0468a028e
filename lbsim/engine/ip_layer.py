"""What the director's IP layer does not let pass to IPVS, by a packet's addresses.

An address's own part of it is found once, when its row is written: ``AddressRow.odd``. A packet of this kind never
makes an entry, so packets that find one are not looked at here.

Kernel counterpart: route.c ip_route_input_slow(), fib_frontend.c fib_validate_source(), ip6_input.c ip6_rcv_core().
"""

from __future__ import annotations

from lbsim.engine.forwarding import decide
from lbsim.engine.lanes import seldom
from lbsim.engine.numbers import IPV4, MANY, NEVER_SOURCE, NEVER_TARGET, OWN, REPLY
from lbsim.engine.reasons import DROP, LOCAL, MARTIAN_SOURCE, MARTIAN_TARGET, NOT_UNICAST
from lbsim.engine.records import Outcome, Packet, Tables

__all__ = ["kept_from_ipvs"]


@seldom
def kept_from_ipvs(t: Tables, p: Packet, v: Outcome) -> bool:
    """Whether a packet's addresses keep it from IPVS and from being routed; then its verdict is written.

    Only to many hosts may a packet come from 0.0.0.0: from one that has no address yet. A trace's answers come from
    destinations, which may be the director itself; what it sends does not come in.

    Source
    ------
    seen on 6.1.192 and 6.12.117; route.c ip_route_input_slow(), fib_frontend.c fib_validate_source(), ip6_input.c
    ip6_rcv_core().
    """
    if p.direction == REPLY or p.direction == OWN:
        return False
    source = t.addresses[p.src]
    target = t.addresses[p.dst]
    nameless = source.family == IPV4 and source.word3 == 0 and target.odd & MANY != 0
    mine = source.family == IPV4 and source.local == 1 and t.director[0].accept_local == 0
    if (source.odd & NEVER_SOURCE != 0 and not nameless) or mine:
        decide(v, DROP, MARTIAN_SOURCE, 0)
    elif target.odd & NEVER_TARGET != 0:
        decide(v, DROP, MARTIAN_TARGET, 0)
    elif target.odd & MANY != 0:
        decide(v, LOCAL, NOT_UNICAST, 0)
    else:
        return False
    return True
