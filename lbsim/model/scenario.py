"""A scenario: config, traffic, timeline and expectations, as a YAML file says them.

These are pydantic models, so that one text is the schema (``lbsim schema``), the validation and the error messages.
Every key is documented here once. Times are given as ``5s``, ``200ms``, ``15m`` or as a number of seconds and are
nanoseconds inside.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    WithJsonSchema,
    model_validator,
)

from lbsim.engine.numbers import LEAST_V4, MOST_MTU
from lbsim.model.address import address_of, network_of
from lbsim.model.config import Address, DestId, ServiceId
from lbsim.model.verdict import REASONS, SEEN

__all__ = [
    "Arrivals",
    "CaptureTraffic",
    "Clients",
    "Command",
    "Expectation",
    "FileReference",
    "Lifetime",
    "LogNormal",
    "PacketTraffic",
    "ReasonsExpectation",
    "Scenario",
    "SctpScript",
    "SequenceExpectation",
    "ShareExpectation",
    "SyntheticTraffic",
    "TableExpectation",
    "TcpScript",
    "TotalsExpectation",
    "Traffic",
    "UdpScript",
    "parse_duration",
]

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ns|us|ms|s|m|h)?", re.ASCII)
_LONGEST = 366 * 24 * 3600 * 10**9


def parse_duration(value: object) -> int:
    """Nanoseconds of ``5s``, ``1.5ms``, ``15m``, ``2h`` or a plain number of seconds; exact, without floats.

    >>> parse_duration("1.5ms"), parse_duration(0.1), parse_duration(3)
    (1500000, 100000000, 3000000000)
    """
    text = "" if isinstance(value, bool) else str(value).strip()
    found = _DURATION.fullmatch(text)
    if not found:
        if text.startswith("-") and _DURATION.fullmatch(text[1:]):
            raise ValueError(f"{text} is negative; time begins at 0")
        raise ValueError(f"{value!r} is no time; expected 5s, 200ms, 15m or a number of seconds")
    whole, _, fraction = found[1].partition(".")
    unit = _UNITS[found[2] or "s"]
    nanoseconds = int(whole or 0) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
    if nanoseconds > _LONGEST:
        raise ValueError(f"{value!r} is longer than a year")
    return nanoseconds


def _service(value: object) -> ServiceId:
    return value if isinstance(value, ServiceId) else ServiceId.parse(str(value))


def _dest(value: object) -> DestId:
    return value if isinstance(value, DestId) else DestId.parse(str(value))


Time: TypeAlias = Annotated[
    int,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "examples": ["5s", "200ms", "15m"]}, {"type": "number", "minimum": 0}]}
    ),
]
_SERVICE_SCHEMA = WithJsonSchema({"type": "string", "examples": ["tcp 192.168.1.10:80", "udp [2001:db8::10]:53"]})
_DEST_SCHEMA = WithJsonSchema({"type": "string", "examples": ["10.0.0.11:80", "[fd00::11]:80"]})
ServiceText: TypeAlias = Annotated[ServiceId, BeforeValidator(_service), _SERVICE_SCHEMA]
DestText: TypeAlias = Annotated[DestId, BeforeValidator(_dest), _DEST_SCHEMA]
AddressText: TypeAlias = Annotated[
    Address,
    BeforeValidator(address_of),
    WithJsonSchema({"type": "string", "examples": ["198.51.100.1", "2001:db8::1"]}),
]
NetworkText: TypeAlias = Annotated[
    IPv4Network | IPv6Network,
    BeforeValidator(network_of),
    WithJsonSchema({"type": "string", "examples": ["198.51.100.0/24", "2001:db8::/64"]}),
]


class _Model(BaseModel):
    # strict: "seed: true" is not 1, and a quoted number is text
    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, strict=True, allow_inf_nan=False
    )


def _exactly_one(model: BaseModel, *names: str) -> None:
    given = [name for name in names if (value := getattr(model, name)) is not None and value is not False]
    if len(given) != 1:
        raise ValueError(f"expected exactly one of {', '.join(names)}; found {', '.join(given) or 'none'}")


class FileReference(_Model):
    """A file beside the scenario."""

    file: str
    """Path, relative to the scenario's folder."""


class Clients(_Model):
    """Who connects. One of ``cidr``, ``addresses``, ``gateways``."""

    cidr: NetworkText | None = None
    """A network; its hosts are the clients."""
    addresses: list[AddressText] | None = Field(default=None, min_length=1)
    """A fixed list."""
    gateways: list[AddressText] | None = Field(default=None, min_length=1)
    """NAT gateways: many hosts, but the director only sees these addresses, each with many source ports."""
    hosts: PositiveInt = 100
    """How many hosts are behind the gateways, spread over them in turn."""
    pick: Literal["in_turn", "uniform", "zipf"] = "uniform"
    """Who connects next: one after the other, anyone, or few of them most of the time."""
    exponent: PositiveFloat = 1.1
    """Of the Zipf distribution: the client of rank k is picked with probability proportional to 1 / k**exponent."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        _exactly_one(self, "cidr", "addresses", "gateways")
        return self


class Arrivals(_Model):
    """When connections begin. One of ``every``, ``poisson``, ``at_once``."""

    every: Time | None = None
    """Constant distance."""
    poisson: PositiveFloat | None = None
    """Connections per second on average, independent of each other."""
    at_once: bool = False
    """All at the same instant."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        _exactly_one(self, "every", "poisson", "at_once")
        return self


class LogNormal(_Model):
    """A log-normal distribution of times."""

    median: Time
    sigma: PositiveFloat = 1.0
    """Standard deviation of the logarithm."""


class Lifetime(_Model):
    """How long a connection lasts, from its first packet to its close. One of ``constant``, ``exponential``,
    ``lognormal``.
    """

    constant: Time | None = None
    exponential: Time | None = None
    """The mean."""
    lognormal: LogNormal | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        _exactly_one(self, "constant", "exponential", "lognormal")
        return self


class TcpScript(_Model):
    """What a TCP connection does."""

    requests: NonNegativeInt = 1
    """Requests, each followed by an answer; spread evenly over the connection's lifetime."""
    request_bytes: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    answer_bytes: Annotated[int, Field(ge=1, le=10_000_000)] = 1000
    """Cut into segments of at most 1460 bytes (1440 for IPv6)."""
    close: Literal["client", "server", "client_rst", "server_rst", "never"] = "client"
    """Who ends it, and how. ``never``: it stays open and silent."""
    half_open: bool = False
    """Only SYN and SYN/ACK: the client never answers, nothing else of the script happens."""
    rtt: Time = 20_000_000
    """Round-trip time between client and real server."""


class UdpScript(_Model):
    """What a UDP conversation does."""

    queries: PositiveInt = 1
    query_bytes: Annotated[int, Field(ge=0, le=1472)] = 40
    answer_bytes: Annotated[int, Field(ge=0, le=1472)] = 120
    answered: bool = True
    rtt: Time = 20_000_000


class SctpScript(_Model):
    """What an SCTP association does."""

    requests: NonNegativeInt = 1
    """Requests, each followed by an answer; spread evenly over the association's lifetime."""
    request_bytes: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    answer_bytes: Annotated[int, Field(ge=1, le=10_000_000)] = 1000
    """Cut into chunks of at most 1452 bytes (1432 for IPv6)."""
    close: Literal["client", "server", "client_abort", "server_abort", "never"] = "client"
    """Who ends it: by SHUTDOWN, or at once by ABORT. ``never``: it stays open and silent."""
    half_open: bool = False
    """Only INIT and INIT-ACK: the client never answers, nothing else of the script happens."""
    rtt: Time = 20_000_000


class SyntheticTraffic(_Model):
    """Made-up connections of a population of clients to one service."""

    service: ServiceText
    """The protocol, address and port that clients call. Of a service of port 0 or by firewall mark: any that is its."""
    connections: Annotated[int, Field(ge=1, le=100_000_000)]
    clients: Clients
    arrivals: Arrivals
    lifetime: Lifetime | None = None
    """Without one, a connection lasts as long as its packets need."""
    start: Time = 0
    tcp: TcpScript | None = None
    udp: UdpScript | None = None
    sctp: SctpScript | None = None

    @model_validator(mode="after")
    def _script_fits_service(self) -> Self:
        scripts = {"tcp": self.tcp, "udp": self.udp, "sctp": self.sctp}
        if any(script is not None for name, script in scripts.items() if name != self.service.protocol):
            raise ValueError(f"the service is {self.service.protocol}; expected a '{self.service.protocol}:' script")
        if self.udp and self.service.address.version == 6 and max(self.udp.query_bytes, self.udp.answer_bytes) > 1452:
            raise ValueError("a UDP packet over IPv6 carries at most 1452 bytes (an MTU of 1500 without the headers)")
        clients = self.clients
        versions = {a.version for a in clients.addresses or clients.gateways or []}
        versions |= {clients.cidr.version} if clients.cidr else set()
        if versions != {self.service.address.version}:
            raise ValueError(f"clients and service are of different address families (service {self.service.endpoint})")
        return self


class PacketTraffic(_Model):
    """Packets one by one: a packet script."""

    packets: str | FileReference
    """One line per packet: TIME SOURCE > DESTINATION PROTOCOL [FLAGS] [WORD=VALUE ...], see
    ``lbsim.traffic.script``.
    """
    start: Time = 0


class CaptureTraffic(_Model):
    """A capture: pcap or pcapng."""

    capture: str
    """Path, relative to the scenario's folder."""
    services: dict[str, ServiceText] | None = None
    """Server ends in the capture (``192.150.187.43:80``) -> the virtual service they stand for. Without it, packets
    count for the service whose address and port they carry."""
    start: Time = 0
    """When the capture's first packet is sent."""


def _keys(value: object) -> Collection[str]:
    if isinstance(value, BaseModel):
        return type(value).model_fields
    return value if isinstance(value, dict) else ()


def _traffic_kind(value: object) -> str:
    keys = _keys(value)
    if "packets" in keys:
        return "packets"
    return "capture" if "capture" in keys else "synthetic"


Traffic: TypeAlias = Annotated[
    Annotated[SyntheticTraffic, Tag("synthetic")]
    | Annotated[PacketTraffic, Tag("packets")]
    | Annotated[CaptureTraffic, Tag("capture")],
    Discriminator(_traffic_kind),
]


class Command(_Model):
    """An admin command in mid-run."""

    at: Time
    run: str
    """In the tool's own words: ``ipvsadm -e -t 192.168.1.10:80 -r 10.0.0.11 -m -w 0``, or
    ``sysctl -w net.ipv4.vs.expire_quiescent_template=1``."""


class SequenceExpectation(_Model):
    """Exactly these destinations for the first connections of a service, in order."""

    sequence: list[DestText] = Field(min_length=1)
    service: ServiceText | None = None
    """May be left out if there is only one."""
    complete: bool = False
    """There are no further connections."""


class ShareExpectation(_Model):
    """Each destination's part of the service's total."""

    share: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(min_length=1)
    """``10.0.0.11:80`` -> between 0 and 1."""
    tolerance: Annotated[float, Field(ge=0, le=1)] = 0.0
    of: Literal["connections", "packets", "bytes"] = "connections"
    service: ServiceText | None = None


class Totals(_Model):
    """Counters of one destination at the end; those not given are not checked."""

    connections: NonNegativeInt | None = None
    packets: NonNegativeInt | None = None
    bytes: NonNegativeInt | None = None
    in_packets: NonNegativeInt | None = None
    out_packets: NonNegativeInt | None = None
    in_bytes: NonNegativeInt | None = None
    out_bytes: NonNegativeInt | None = None
    active: NonNegativeInt | None = None
    inactive: NonNegativeInt | None = None


class TotalsExpectation(_Model):
    """Counters per destination at the end of the run."""

    totals: dict[str, Totals] = Field(min_length=1)
    service: ServiceText | None = None


class TableExpectation(_Model):
    """Rows of the connection table at a moment."""

    table: Time
    """The moment; it need not be listed under ``show``."""
    rows: list[str] = Field(default_factory=list)
    """``TCP CLIENT:PORT VIRTUAL:PORT DESTINATION:PORT STATE [SECONDS]``; ``*`` stands for any one word."""
    complete: bool | None = None
    """There are no other rows; default: true, unless ``count`` is given."""
    count: NonNegativeInt | None = None
    """Number of rows."""


if TYPE_CHECKING:
    ReasonName: TypeAlias = str
else:
    ReasonName = Literal[tuple(reason.name for reason in REASONS if reason not in SEEN)]


class ReasonsExpectation(_Model):
    """How many packets had a named reason."""

    reasons: dict[ReasonName, NonNegativeInt] = Field(min_length=1)


def _expectation_kind(value: object) -> str:
    keys = _keys(value)
    return next((kind for kind in ("sequence", "share", "totals", "table", "reasons") if kind in keys), "sequence")


Expectation: TypeAlias = Annotated[
    Annotated[SequenceExpectation, Tag("sequence")]
    | Annotated[ShareExpectation, Tag("share")]
    | Annotated[TotalsExpectation, Tag("totals")]
    | Annotated[TableExpectation, Tag("table")]
    | Annotated[ReasonsExpectation, Tag("reasons")],
    Discriminator(_expectation_kind),
]


class Scenario(_Model):
    """A scenario file: ``*.lbsim.yaml``."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")]
    """Also the folder's name under ``reports/``."""
    description: str = ""
    profile: str = "linux-6.1.192"
    """Which kernel; ``lbsim profiles`` lists them."""
    seed: NonNegativeInt = 1
    start_jiffies: Annotated[int, Field(ge=0, lt=2**62)] | None = None
    """The kernel's tick at time 0: timers are rounded on absolute ticks. Default: a freshly booted kernel's."""
    schedulers: list[str] = Field(default_factory=list)
    """Schedulers of one's own: Python files, which are run, or installed entry points."""
    config: str | FileReference
    """The director's config: ``ipvsadm`` commands or a saved dump, tunables, and the router's iptables lines."""
    marks: str | FileReference | None = None
    """Which packets get which firewall mark: iptables or nft lines, and routing rules about marks; for services by mark
    (``ipvsadm -A -f 1``). The single addresses in them are the director's."""
    straight_replies: list[NetworkText] = Field(default_factory=list)
    """Real servers whose default route does not lead through the director, and clients that real servers reach by
    themselves: answers from the ones or to the others do not pass the director."""
    mtu: dict[NetworkText, Annotated[int, Field(ge=LEAST_V4, le=MOST_MTU)]] = Field(default_factory=dict)
    """The MTU of the director's route to a network; where several fit, the smallest network counts. Once one is given,
    all others are 1500; without any, packets of every length get through."""
    sysctls: dict[str, int] = Field(default_factory=dict)
    """``net.ipv4.vs.conn_reuse_mode: 1``; the prefix may be left out."""
    traffic: list[Traffic] = Field(default_factory=list)
    timeline: list[Command] = Field(default_factory=list)
    show: list[Time] = Field(default_factory=list)
    """Moments at which the tables are shown."""
    until: Time | None = None
    """When the run ends; default: with the last packet, command or shown moment."""
    expect: list[Expectation] = Field(default_factory=list)
