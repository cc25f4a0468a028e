"""Rows and numbers of the engine as the words of results: ends, services, states, times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lbsim.engine.numbers import (
    AH,
    BYPASS,
    DROUTE,
    ESP,
    FRAGMENT,
    GRE,
    GUE,
    ICMP_ERROR,
    IPIP,
    LOCAL_NODE,
    MASQ,
    NO_PORTS,
    SCTP,
    TCP,
    TUNNEL,
    UDP,
)
from lbsim.engine.records import Packet, Quote, Tables
from lbsim.engine.sctp_chunks import EVENTS
from lbsim.engine_words import PROTOCOL_NAMES, STATES, state_index
from lbsim.host import SECOND

if TYPE_CHECKING:
    from lbsim.engine.records import Conn
    from lbsim.host import EngineHost

__all__ = ["METHODS", "TUNNELS", "Names"]

METHODS = {MASQ: "masq", LOCAL_NODE: "local", TUNNEL: "tunnel", DROUTE: "droute", BYPASS: "bypass"}
TUNNELS = {IPIP: "ipip", GUE: "gue", GRE: "gre"}
_OF_IPSEC = {AH: "ah", ESP: "esp"}
_FLAGS = ((2, "SYN"), (1, "FIN"), (4, "RST"), (8, "PSH"), (16, "ACK"), (32, "URG"))


@dataclass(frozen=True, slots=True)
class Names:
    """What a host's rows are called."""

    host: EngineHost

    @property
    def tables(self) -> Tables:
        """The host's tables, which it replaces when they grow."""
        return self.host.tables

    def end(self, address: int, port: int) -> str:
        """``10.0.0.11:80``; of an address that is not known ``?``."""
        return self.host.endpoint(address, int(port)) if address > 0 else "?"

    def place(self, p: Packet, address: int, port: int) -> str:
        """An end of a packet; of a protocol without ports its address alone."""
        if p.shape != ICMP_ERROR and p.proto in (TCP, UDP, SCTP):
            return self.end(address, port)
        return str(self.host.address(address)) if address > 0 else "?"

    def quoted(self, q: Quote, address: int, port: int) -> str:
        """An end of a packet that an ICMP error quotes, likewise."""
        if q.proto in (TCP, UDP, SCTP) and q.shape not in (NO_PORTS, FRAGMENT):
            return self.end(address, port)
        return str(self.host.address(address)) if address > 0 else "?"

    def dest(self, d: int) -> str | None:
        """A destination row as ``10.0.0.11:80``; None of row 0."""
        dest = self.tables.dests[d]
        return self.end(dest.addr, dest.port) if d else None

    def service(self, s: int) -> str:
        """A service row as ``tcp 192.168.1.10:80``."""
        return self.host.service_name(s)

    def scheduler(self, s: int) -> tuple[str, tuple[str, ...]]:
        """The name of a service's scheduler (or ``none``) and its flags."""
        return self.host.scheduler_of(s)

    def protocol(self, number: int) -> str:
        """``tcp``, ``udp``, ``sctp``, ``ah``, ``esp``, ``ip`` of templates by mark, else ``protocol 47``."""
        return (PROTOCOL_NAMES | _OF_IPSEC).get(number, f"protocol {number}")

    def state(self, conn: Conn) -> str:
        """The state of an entry as listings print it."""
        names = STATES.get(conn.proto, ())
        at = int(state_index(conn.proto, conn.state, conn.marks))
        return names[at] if at < len(names) else str(conn.state)

    def time(self, tick: int) -> int:
        """Nanoseconds from time 0 to the beginning of a tick."""
        return (int(tick) - self.host.start_jiffies) * SECOND // self.host.profile.hz

    def packet_flags(self, proto: int, flags: int) -> str:
        """The flags of a TCP packet as ``SYN+ACK``, the event of an SCTP packet."""
        if proto == TCP:
            return "+".join(name for bit, name in _FLAGS if flags & bit) or "none"
        if proto == SCTP:
            return EVENTS[flags]
        return ""
