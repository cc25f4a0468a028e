"""What ipvsadm may be asked to show, and the rows of its listings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from lbsim.model.config import AdminCommand, Dest, DestId, Method, Persistence, Service, ServiceId, Tunnel
from lbsim.model.result import Counters

__all__ = [
    "ListConnections",
    "ListDaemons",
    "ListTable",
    "ListTimeouts",
    "ListedDest",
    "ListedService",
    "Rates",
    "Request",
    "SaveTable",
    "ShowVersion",
    "Timeouts",
    "View",
    "as_configured",
]

#: The views of the table that an option asks for; the first of those given wins.
View: TypeAlias = Literal["stats", "rate", "thresholds", "persistent-conn", "tun-info", "plain"]


@dataclass(frozen=True, slots=True)
class ListTable:
    """``ipvsadm -Ln``, perhaps with a view and a service."""

    view: View = "plain"
    service: ServiceId | None = None
    numeric: bool = True
    sort: bool = True
    exact: bool = False


@dataclass(frozen=True, slots=True)
class ListConnections:
    """``ipvsadm -Lnc``; with ``--persistent-conn`` the head names two more columns."""

    numeric: bool = True
    engine_data: bool = False


@dataclass(frozen=True, slots=True)
class ListTimeouts:
    """``ipvsadm -L --timeout``."""


@dataclass(frozen=True, slots=True)
class ListDaemons:
    """``ipvsadm -L --daemon``."""


@dataclass(frozen=True, slots=True)
class SaveTable:
    """``ipvsadm -Sn``."""

    numeric: bool = True


@dataclass(frozen=True, slots=True)
class ShowVersion:
    """``ipvsadm -v``."""


#: What a line asks ipvsadm to do.
Request: TypeAlias = AdminCommand | ListTable | ListConnections | ListTimeouts | ListDaemons | SaveTable | ShowVersion


@dataclass(frozen=True, slots=True)
class Rates:
    """What there is per second, as the kernel's estimator shows it."""

    connections: int = 0
    in_packets: int = 0
    out_packets: int = 0
    in_bytes: int = 0
    out_bytes: int = 0


_NO_TUNNEL = Tunnel()
_NO_COUNTERS = Counters()
_NO_RATES = Rates()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The timeouts that ``--set`` changes, in seconds."""

    tcp: int
    tcpfin: int
    udp: int


@dataclass(frozen=True, slots=True)
class ListedDest:
    """A destination as listings have it."""

    id: DestId
    method: Method
    weight: int
    upper: int = 0
    lower: int = 0
    tunnel: Tunnel = _NO_TUNNEL
    active: int = 0
    inactive: int = 0
    persistent: int = 0  # templates
    counters: Counters = _NO_COUNTERS
    rates: Rates = _NO_RATES


@dataclass(frozen=True, slots=True)
class ListedService:
    """A service as listings have it, its destinations in the kernel's order (newest first)."""

    id: ServiceId
    scheduler: str
    flags: tuple[str, ...] = ()  # as listed: by the scheduler's own names if it has such
    persistence: Persistence | None = None
    engine: str = ""
    one_packet: bool = False
    counters: Counters = _NO_COUNTERS
    rates: Rates = _NO_RATES
    dests: Sequence[ListedDest] = ()


def as_configured(row: ListedService) -> Service:
    """A service as a config has it, without what the kernel counts."""
    dests = tuple(Dest(d.id, d.method, d.weight, d.upper, d.lower, d.tunnel) for d in row.dests)
    return Service(row.id, row.scheduler, row.flags, dests, row.persistence, row.one_packet, row.engine)
