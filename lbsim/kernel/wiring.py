"""What a bench asks the kernel for: links, addresses, routes and neighbours of each of its namespaces.

Everything asked for follows from the job, given the numbers that a kernel hands out to interfaces and file descriptors.
In a fresh namespace these are always the same, so whoever boots a guest can make the messages for it beforehand.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from typing import NamedTuple, TypeAlias

from lbsim.kernel.job import ROUTING, Job
from lbsim.kernel.netlink import Ask, collected

__all__ = [
    "ETH0",
    "ETH1",
    "FIRST_NAMESPACE",
    "ROUTER",
    "Network",
    "configure_director",
    "configure_server",
    "configure_switch",
    "link_director",
    "link_switch",
    "mac_of",
    "messages_for",
    "route_to_director",
]

ETH0, ETH1 = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
ROUTER = bytes.fromhex("0200000000fe")
FIRST_NAMESPACE = 64  # file descriptors from here on hold the namespaces: clients, switch, real servers

_LO = 1
_NO_PREFIX_ROUTE = 0x200
_SCOPE_LINK, _SCOPE_HOST, _LOCAL_TABLE = 253, 254, 255
_NUD_STATIC, _NTF_MASTER = 0x40, 0x04  # NUD_NOARP: an entry that the switch never forgets

#: The number of an interface of a namespace, by its name.
Index: TypeAlias = Callable[[str], int]


def mac_of(i: int) -> bytes:
    """The link-layer address by which the director knows the i-th real server."""
    return bytes.fromhex("020000") + (0x000101 + i).to_bytes(3, "big")


def link_director(ask: Ask, clients: int, switch: int) -> None:
    """The director's interfaces, each one end of a wire to another namespace (of that file descriptor)."""
    for name, mac, peer in (
        ("eth0", ETH0, {"ifname": "c0", "address": ROUTER.hex(":"), "net_ns_fd": clients}),
        ("eth1", ETH1, {"ifname": "uplink", "net_ns_fd": switch}),
    ):
        ask("link", "add", ifname=name, kind="veth", address=mac.hex(":"), peer=peer)


class Network(NamedTuple):
    """What the director has to know of a job's network: as the job says it."""

    vips: Sequence[str]
    servers: Sequence[str]
    mtu: Sequence[tuple[str, int]] = ()

    def metrics(self, network: str) -> dict[str, dict[str, int]]:
        """What the route to a network (or address) is asked for besides its way: its MTU, if it has one."""
        first, bits = ip_network(network)[0], ip_network(network).prefixlen
        around = [(ip_network(text), size) for text, size in self.mtu]
        fitting = [(one.prefixlen, size) for one, size in around if one.prefixlen <= bits and first in one]
        return {"metrics": {"mtu": max(fitting)[1]}} if fitting else {}


def configure_director(ask: Ask, index: Index, network: Network, *, ipv6: bool) -> None:
    """The director's addresses and routes, and the neighbours that it knows from the start."""
    vips, servers, mtu = network
    lo, eth0, eth1 = index("lo"), index("eth0"), index("eth1")
    for number in (lo, eth0, eth1):
        ask("link", "set", index=number, state="up")
    own = [(eth0, "192.168.1.1", 24), (eth1, "10.0.0.1", 24)]
    own += [(eth0, "2001:db8:1::1", 64), (eth1, "fd00::1", 64)] if ipv6 else []
    own += [(eth0, vip, _bits(vip)) for vip in vips if vip not in {row[1] for row in own}]
    for number, address, bits in own:
        # No route to the subnet: whoever is not a known server is reached through the router.
        ask("addr", "add", index=number, address=address, prefixlen=bits, flags=_NO_PREFIX_ROUTE)
    for number, address, mac in [
        (eth0, "192.168.1.254", ROUTER),
        *([(eth0, "2001:db8:1::fe", ROUTER)] if ipv6 else []),
        *((eth1, address, mac_of(i)) for i, address in enumerate(servers)),
    ]:
        to = f"{address}/{_bits(address)}"
        ask("route", "add", dst=to, oif=number, scope=_SCOPE_LINK, **network.metrics(to))
        ask("neigh", "add", dst=address, lladdr=mac.hex(":"), ifindex=number, state="permanent")
    known = {f"{address}/{_bits(address)}" for address in servers}
    far = {"0.0.0.0/0", *(["::/0"] if ipv6 else []), *(to for to, _ in mtu)}
    for to in sorted(far - known):
        gateway = "2001:db8:1::fe" if ":" in to else "192.168.1.254"
        ask("route", "add", dst=to, gateway=gateway, oif=eth0, **network.metrics(to))


def link_switch(ask: Ask, hosts: Sequence[int]) -> None:
    """A switch, and its ends of the wires to the real servers' namespaces (of these file descriptors)."""
    ask("link", "add", ifname="switch", kind="bridge", br_mcast_snooping=0)
    for i, host in enumerate(hosts):
        ask("link", "add", ifname=_port(i), kind="veth", peer={"ifname": "eth0", "net_ns_fd": host})


def configure_switch(ask: Ask, index: Index, hosts: int) -> None:
    """The switch's wires to the director and to each real server; it knows from the start who sits where."""
    bridge, uplink = index("switch"), index("uplink")
    ports = [index(_port(i)) for i in range(hosts)]
    for number in (uplink, *ports):
        ask("link", "set", index=number, master=bridge, state="up")
    ask("link", "set", index=bridge, state="up")
    for number, mac in ((uplink, ETH1), *((port, mac_of(i)) for i, port in enumerate(ports))):
        ask("fdb", "append", ifindex=number, lladdr=mac.hex(":"), state=_NUD_STATIC, flags=_NTF_MASTER)


def configure_server(ask: Ask, index: Index, address: str) -> None:
    """A real server's address and default route."""
    ipv6 = ":" in address
    eth0 = index("eth0")
    ask("addr", "add", index=eth0, address=address, prefixlen=64 if ipv6 else 24)
    ask("route", "add", dst="::/0" if ipv6 else "default", gateway="fd00::1" if ipv6 else "10.0.0.1", oif=eth0)


def route_to_director(ask: Ask, argv: Sequence[str]) -> bool:
    """Ask for what a line of ``ip`` does that brings packets to the director; False: the line is another one."""
    match argv:
        case ["ip", "rule", "add", "fwmark", mark, "lookup", table]:
            for family in (socket.AF_INET, socket.AF_INET6):
                ask("rule", "add", family=family, fwmark=int(mark), table=int(table))
        case ["ip", "route", "add", "local", network, "dev", "lo", *table]:
            place = {"table": int(table[1])} if table else {"table": _LOCAL_TABLE}
            ask("route", "add", dst=network, type="local", scope=_SCOPE_HOST, oif=_LO, **place)
        case _:
            return False
    return True


def messages_for(jobs: Sequence[Job]) -> dict[str, str]:
    """The messages that guests will send for these jobs: what is asked for -> bytes in hexadecimal.

    Raises
    ------
    ModuleNotFoundError : there is no pyroute2.
    """
    with collected() as (ask, messages):
        for job in jobs:
            hosts = range(FIRST_NAMESPACE + 2, FIRST_NAMESPACE + 2 + len(job.servers))
            ports = {_port(i): 4 + i for i in range(len(hosts))}
            link_director(ask, FIRST_NAMESPACE, FIRST_NAMESPACE + 1)
            ipv6 = any(":" in address for address in (*job.vips, *job.servers))
            director = {"lo": _LO, "eth0": 2, "eth1": 3}
            network = Network(job.vips, job.servers, job.mtu)
            configure_director(ask, director.__getitem__, network, ipv6=ipv6)
            link_switch(ask, hosts)
            configure_switch(ask, ({"uplink": 2, "switch": 3} | ports).__getitem__, len(hosts))
            for address in job.servers:
                configure_server(ask, {"eth0": 2}.__getitem__, address)
            for argv in job.commands():
                if argv[:2] in ROUTING:
                    route_to_director(ask, argv)
    return {words: message.hex() for words, message in messages.items()}


def _port(i: int) -> str:
    return f"port{i}"


def _bits(address: str) -> int:
    return 128 if ":" in address else 32
