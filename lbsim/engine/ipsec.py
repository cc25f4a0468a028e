"""AH and ESP packets: they go where the key exchange of their two ends goes.

Kernel counterpart: ip_vs_proto_ah_esp.c.
"""

from __future__ import annotations

from lbsim.engine.conntable import expire_now, find_in, find_out, put
from lbsim.engine.counting import count_in, count_out
from lbsim.engine.forwarding import decide, transmit, unmasquerade
from lbsim.engine.lanes import kernel
from lbsim.engine.numbers import UDP
from lbsim.engine.reasons import DEST_REMOVED, DROP, KNOWN, LOCAL, NO_CONNECTION, NO_IKE, ROUTE
from lbsim.engine.records import Outcome, Packet, Tables

__all__ = ["ike_entry", "reply_of_ipsec", "request_of_ipsec"]

IKE = 500  # the UDP port of IPsec's key exchange: its entry is that of AH and ESP packets, too


@kernel
def request_of_ipsec(t: Tables, p: Packet, v: Outcome) -> None:
    """An AH or ESP packet from a client: it goes where the key exchange of the two ends goes, on UDP port 500.

    The entry's timer is armed anew, nothing else happens to it. Only addresses are translated: there are no ports.

    Source
    ------
    facts: packet-path.md sections 5.2 and 7.4; ip_vs_proto_ah_esp.c ah_esp_conn_in_get(), 6.1 and 6.12.
    """
    c = ike_entry(t, p, False)
    if c != 0 and t.dests[t.conns[c].dest].available == 0 and t.conns[c].dest != 0:
        if t.director[0].expire_nodest_conn == 0:
            decide(v, DROP, DEST_REMOVED, t.conns[c].dest)
            return
        expire_now(t, c)
        c = 0
    if c == 0:
        decide(v, LOCAL, NO_IKE, 0)
        return
    count_in(t, t.conns[c].dest, p.length)
    transmit(t, p, t.conns[c], KNOWN, v)
    v.new_sport = 0
    v.new_dport = 0
    put(t, c)


@kernel
def reply_of_ipsec(t: Tables, p: Packet, v: Outcome) -> None:
    """An AH or ESP packet from a real server; see :func:`request_of_ipsec`.

    Source
    ------
    facts: packet-path.md sections 7.4 and 12; ip_vs_proto_ah_esp.c ah_esp_conn_out_get(), 6.1 and 6.12.
    """
    c = ike_entry(t, p, True)
    if c == 0:
        decide(v, ROUTE, NO_CONNECTION, 0)
        return
    count_out(t, t.conns[c].dest, p.length)
    unmasquerade(p, t.conns[c], v)
    v.new_sport = 0
    put(t, c)


@kernel
def ike_entry(t: Tables, p: Packet, backward: bool) -> int:
    """The entry of the key exchange between the packet's ends, or 0.

    Parameters
    ----------
    backward : the packet is an answer.

    Source
    ------
    facts: packet-path.md section 5.2; ip_vs_proto_ah_esp.c ah_esp_conn_fill_param_proto().
    """
    proto = p.proto
    p.proto = UDP
    p.sport = IKE
    p.dport = IKE
    c = find_out(t, p) if backward else find_in(t, p)
    p.proto = proto
    p.sport = 0
    p.dport = 0
    return c
