"""Specs of made-up traffic of every kind, and one number for all that a trace says."""

from __future__ import annotations

import hashlib
from itertools import product

import numpy as np
from hypothesis import strategies as st

from lbsim.model.scenario import SyntheticTraffic
from lbsim.model.trace import COLUMN_TYPES, AddressTable, FlowTable, Trace

__all__ = ["KINDS", "fingerprint", "spec_of", "specs"]

_SERVICE = {4: "192.168.1.10", 6: "[2001:db8:1::10]"}
_NETWORK = {4: "203.0.113.0/27", 6: "2001:db8::/64"}
_LISTED = {
    4: ["203.0.113.9", "192.168.1.10", "198.51.100.1", "203.0.113.9"],
    6: ["2001:db8::9", "2001:db8:1::10", "2001:db8:ffff::1", "2001:db8::9"],
}
_ARRIVALS: dict[str, dict[str, object]] = {
    "every": {"every": "3ms"},
    "poisson": {"poisson": 400},
    "at_once": {"at_once": True},
}
_LIFETIMES: dict[str, dict[str, object] | None] = {
    "none": None,
    "constant": {"constant": "700ms"},
    "exponential": {"exponential": "350ms"},
    "lognormal": {"lognormal": {"median": "200ms", "sigma": 1.7}},
}
_CLIENTS: dict[str, dict[str, object]] = {"cidr": {}, "listed": {}, "gateways": {"hosts": 7}}
_TCP = [
    {"requests": 3, "answer_bytes": 4000, "rtt": "7ms"},
    {"requests": 0, "close": "server"},
    {"requests": 2, "close": "server_rst", "request_bytes": 2000},
    {"close": "client_rst", "rtt": "3ns"},
    {"requests": 5, "close": "never", "rtt": 0},
    {"half_open": True},
]
_UDP = [{"queries": 4, "rtt": "9ms"}, {"queries": 3, "answered": False}, {}, {"rtt": 0}]


def _population(kind: str, version: int, pick: str) -> dict[str, object]:
    among = {"cidr": _NETWORK[version]} if kind == "cidr" else None
    among = among or {"addresses" if kind == "listed" else kind: _LISTED[version]}
    return among | _CLIENTS[kind] | {"pick": pick, "exponent": 0.9}


def _small() -> dict[str, dict[str, object]]:
    """Every arrival with every lifetime, over the other words in turn."""
    kinds = {}
    variants = product(("tcp", "udp"), (4, 6), _ARRIVALS, _LIFETIMES)
    for n, (protocol, version, arrival, lifetime) in enumerate(variants):
        population = list(_CLIENTS)[n % 3]
        pick = ("in_turn", "uniform", "zipf")[n // 3 % 3]
        scripts = _TCP if protocol == "tcp" else _UDP
        kinds[f"{protocol}{version} {arrival} {lifetime} {population} {pick}"] = {
            "service": f"{protocol} {_SERVICE[version]}:80",
            "connections": 150 + n,
            "clients": _population(population, version, pick),
            "arrivals": _ARRIVALS[arrival],
            "lifetime": _LIFETIMES[lifetime],
            "start": ("0s", "1.5s")[n % 2],
            protocol: scripts[n % len(scripts)],
        }
    return kinds


def _large() -> dict[str, dict[str, object]]:
    """More connections than clients have ports, more clients than a small table holds."""
    return {
        "ports used again": {
            "service": "tcp 192.168.1.10:80",
            "connections": 70_000,
            "clients": {"gateways": ["203.0.113.1", "203.0.113.2"], "pick": "zipf", "hosts": 5},
            "arrivals": {"poisson": 30_000},
            "lifetime": {"exponential": "150ms"},
            "tcp": {"requests": 1, "rtt": "1ms"},
        },
        "ports used a third time": {
            "service": "udp [2001:db8:1::10]:53",
            "connections": 60_000,
            "clients": {"addresses": ["2001:db8::1"]},
            "arrivals": {"every": "1us"},
        },
        "millions of IPv4 hosts": {
            "service": "udp 10.0.0.5:53",
            "connections": 50_000,
            "clients": {"cidr": "10.0.0.0/10"},
            "arrivals": {"poisson": 1e6},
            "udp": {"queries": 2},
        },
        "billions of IPv6 hosts": {
            "service": "tcp [2001:db8::5]:80",
            "connections": 40_000,
            "clients": {"cidr": "2001:db8::/32"},
            "arrivals": {"poisson": 1e5},
            "lifetime": {"lognormal": {"median": "50ms", "sigma": 2.0}},
            "tcp": {"requests": 0},
        },
        "a service among few hosts": {
            "service": "udp 10.0.0.5:53",
            "connections": 40_000,
            "clients": {"cidr": "10.0.0.0/29", "pick": "in_turn"},
            "arrivals": {"at_once": True},
        },
    }


#: Name -> the words of a spec.
KINDS = _small() | _large()


def spec_of(kind: str) -> SyntheticTraffic:
    """The spec of that name."""
    return SyntheticTraffic.model_validate(KINDS[kind])


def fingerprint(trace: Trace) -> str:
    """The same for two traces only if they are equal, bit by bit: SHA-256 of all columns and both tables."""
    digest = hashlib.sha256()
    for name, kind in COLUMN_TYPES.items():
        assert trace[name].dtype == np.dtype(kind)
        digest.update(trace[name].astype("<" + kind).tobytes())
    for table, names in ((trace.addresses, AddressTable.TYPES), (trace.flows, FlowTable.TYPES)):
        for name in names:
            digest.update(np.ascontiguousarray(getattr(table, name)).astype("<i8").tobytes())
    digest.update(repr((len(trace.addresses), len(trace.flows), trace.left_out, trace.damage, trace.raw)).encode())
    return digest.hexdigest()


def _tcp_scripts() -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries(
        {
            "requests": st.integers(0, 3),
            "request_bytes": st.sampled_from([1, 1440, 1460, 1461, 5000]),
            "answer_bytes": st.sampled_from([1, 1440, 2880, 2920, 7000]),
            "close": st.sampled_from(["client", "server", "client_rst", "server_rst", "never"]),
            "half_open": st.booleans(),
            "rtt": st.sampled_from(["0s", "3ns", "20ms"]),
        }
    )


@st.composite
def specs(draw: st.DrawFn, protocols: tuple[str, ...] = ("tcp", "udp")) -> SyntheticTraffic:
    """Few connections of any kind."""
    protocol, six = draw(st.sampled_from(protocols)), draw(st.booleans())
    address = "2001:db8:{:x}::{:x}" if six else "198.{}.100.{}"
    listed = [address.format(i % 3, i) for i in draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))]
    population = draw(
        st.sampled_from(
            [{"cidr": "2001:db8::/64" if six else "203.0.113.0/29"}, {"addresses": listed}]
            + [{"gateways": listed, "hosts": hosts} for hosts in (1, 10)]
        )
    )
    duration = st.sampled_from(["1ns", "15ms", "3s"])
    lifetime = st.one_of(
        st.none(),
        st.fixed_dictionaries({"constant": duration}),
        st.fixed_dictionaries({"exponential": duration}),
        st.fixed_dictionaries({"lognormal": st.fixed_dictionaries({"median": duration})}),
    )
    arrivals = st.sampled_from([{"at_once": True}, {"every": "1ms"}, {"poisson": 50}, {"poisson": 1e-3}])
    udp = st.fixed_dictionaries(
        {"queries": st.integers(1, 4), "answered": st.booleans(), "rtt": st.sampled_from(["0s", "9ms"])}
    )
    return SyntheticTraffic.model_validate(
        {
            "service": f"{protocol} " + ("[2001:db8:1::10]:80" if six else "192.168.1.10:80"),
            "connections": draw(st.integers(1, 25)),
            "clients": population | {"pick": draw(st.sampled_from(["in_turn", "uniform", "zipf"]))},
            "arrivals": draw(arrivals),
            "lifetime": draw(lifetime),
            "start": draw(st.sampled_from([0, "1s"])),
            protocol: draw(_tcp_scripts() if protocol == "tcp" else udp),
        }
    )
