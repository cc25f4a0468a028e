"""Of reasons that have several cases or a limit: what holds of a packet, and what its sender is told."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from lbsim.config.iptables import format_settings
from lbsim.engine import reasons
from lbsim.engine.forwarding import overhead
from lbsim.engine.numbers import IN, IPV4, RST, TCP, TUNNEL
from lbsim.engine.sctp_chunks import ABORT
from lbsim.model.config import INTERFACES, RouterSettings
from lbsim.model.explanation import Cause

if TYPE_CHECKING:
    from lbsim.engine.records import Outcome
    from lbsim.explain.names import Names
    from lbsim.explain.observing import Observed

__all__ = ["cause_of"]

#: Reason -> the ICMP error that tells it, and the ICMPv6 error.
_ERRORS = {
    reasons.TTL_EXCEEDED: ("time exceeded (ICMP 11/0)", "time exceeded (ICMPv6 3/0)"),
    reasons.MTU_EXCEEDED: ("fragmentation needed (ICMP 3/4)", "packet too big (ICMPv6 2/0)"),
}
_NO_SUCH_PROTOCOL = ("protocol unreachable (ICMP 3/2)", "unrecognized next header (ICMPv6 4/1)")


def cause_of(seen: Observed, v: Outcome, names: Names) -> Cause | None:
    """Which case of its reason a packet is; None if there is only one."""
    match v.reason:
        case reasons.NOT_SYN:
            return _not_opening(seen, names)
        case reasons.TTL_EXCEEDED | reasons.TTL_UNTOLD:
            return Cause(case=_looked(seen), answer=_told(seen, v, names))
        case reasons.MTU_EXCEEDED | reasons.MTU_UNTOLD:
            return _too_large(seen, v, names)
        case reasons.FORWARD_DROPPED:
            return _kept_back(seen, names)
    return None


def _family(seen: Observed, names: Names) -> int:
    return int(names.tables.addresses[seen.packet.dst].family)


def _of_family(seen: Observed, names: Names, pair: tuple[str, str]) -> str:
    return pair[0] if _family(seen, names) == IPV4 else pair[1]


def _told(seen: Observed, v: Outcome, names: Names) -> str:
    """The error that the sender gets, if it gets one."""
    return _of_family(seen, names, _ERRORS[v.reason]) if v.reason in _ERRORS else ""


def _looked(seen: Observed) -> str:
    """Who found that a packet cannot go on: IPVS does so only after it has an entry."""
    return "ipvs" if seen.found or seen.made else "router"


def _not_opening(seen: Observed, names: Names) -> Cause:
    p = seen.packet
    if p.proto == TCP:
        return Cause(case="rst") if p.tcp_flags & RST else Cause(case="no syn", answer="RST")
    answer = _of_family(seen, names, _NO_SUCH_PROTOCOL)
    return Cause(case="abort" if p.tcp_flags == ABORT else "no init", answer=answer)


def _too_large(seen: Observed, v: Outcome, names: Names) -> Cause:
    t, looked = names.tables, _looked(seen)
    target = t.dests[v.dest].addr if v.dest and looked == "ipvs" else seen.packet.dst
    mtu = int(t.addresses[target].mtu)
    in_front = int(overhead(t, v.dest)) if v.method == TUNNEL and v.dest else 0
    return Cause(
        case=looked,
        target=str(names.host.address(target)),
        mtu=mtu,
        overhead=in_front,
        limit=mtu - in_front,
        answer=_told(seen, v, names),
    )


def _kept_back(seen: Observed, names: Names) -> Cause:
    """The chain FORWARD knows clients and real servers by the interfaces of the classic set-up."""
    p = seen.packet
    source = names.host.address(p.src)
    assert isinstance(source, IPv4Address), "there are no rules for IPv6"
    rule = names.host.router.rule_for(INTERFACES[0] if p.direction == IN else INTERFACES[1], source)
    if rule is not None:
        return Cause(case="rule", rule=format_settings(RouterSettings(forward=(rule,)))[0])
    return Cause(case="policy", rule=format_settings(RouterSettings(policies=(("FORWARD", "DROP"),)))[0])
