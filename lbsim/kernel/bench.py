"""The bench: a director, its clients and its real servers, each in a fresh network namespace.

::

    clients -- c0 | eth0  director  eth1 | switch | eth0  real server 10.0.0.11
              192.168.1.1/24      10.0.0.1/24     | eth0  real server 10.0.0.12
           2001:db8:1::1/64      fd00::1/64       | ...

The classic picture of LVS-NAT: real servers share the internal network, their default route leads through the director.
Clients sit behind the router 192.168.1.254 (2001:db8:1::fe) and may have any address.

What clients and real servers send is what the job says, nothing else: frames go in and are captured through packet
sockets on their side of the wire. The link-layer addresses by which the director knows them are not those of their
interfaces, so their own stacks take every frame for somebody else's and neither answer nor reset anything. A packet
is seen at the next hop that it was sent to, whatever its IP destination is (direct routing).

All namespaces are held by file descriptors only: they and everything in them are gone when this process is, however
it ends. They have no names that could be left behind.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import CLOCK_MONOTONIC, clock_gettime_ns

from lbsim.kernel.job import CLIENT, DIRECTOR, Arrival, server
from lbsim.kernel.netlink import requests
from lbsim.kernel.programs import Programs
from lbsim.kernel.ring import Ring
from lbsim.kernel.wiring import (
    ETH0,
    ETH1,
    FIRST_NAMESPACE,
    ROUTER,
    Network,
    configure_director,
    configure_server,
    configure_switch,
    link_director,
    link_switch,
    mac_of,
)

__all__ = ["Bench", "set_sysctl"]

_libc = ctypes.CDLL(None, use_errno=True)

_CLONE_NEWNET = 0x40000000
_ETH_P_ALL = 3
_PACKET_IGNORE_OUTGOING = 23
_SOL_PACKET = 263
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCETHTOOL = 0x8913, 0x8914, 0x8946
_IFF_UP, _IFF_NOARP = 1, 0x80
_ETHTOOL_STXCSUM = 0x17
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_NEIGHBOUR_TYPES = range(130, 138)  # ICMPv6: multicast listeners and neighbour discovery
_LISTENER_REPORT = 143

# Inherited from the first namespace (IPv4) or a kernel's default: said explicitly, so that every host gives the same.
_SYSCTLS = (
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.default.send_redirects", "0"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv4.icmp_ratelimit", "0"),
)
_SYSCTLS_IPV6 = (
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv6.conf.default.dad_transmits", "0"),
    ("net.ipv6.conf.default.accept_ra", "0"),
    ("net.ipv6.conf.default.addr_gen_mode", "1"),
    ("net.ipv6.conf.all.forwarding", "1"),
    ("net.ipv6.icmp.ratelimit", "0"),
)
_SYSCTLS_SERVER_IPV6 = (
    ("net.ipv6.conf.default.disable_ipv6", "0"),
    ("net.ipv6.conf.eth0.disable_ipv6", "0"),
    ("net.ipv6.conf.eth0.accept_dad", "0"),
    ("net.ipv6.conf.eth0.accept_ra", "0"),
)


class Bench:
    """One director and its wires; the calling process is inside the director's namespace until :meth:`close`.

    Parameters
    ----------
    vips : further addresses of the director.
    servers : addresses of the real servers.
    mtu : (network, MTU of the director's route to it); all others have 1500.
    listening : where programs listen on the director.
    """

    def __init__(
        self,
        vips: tuple[str, ...],
        servers: tuple[str, ...],
        mtu: tuple[tuple[str, int], ...] = (),
        listening: tuple[str, ...] = (),
    ) -> None:
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.namespaces: dict[str, int] = {}  # place, "switch", "director" -> file descriptor that holds it
        self._wires: dict[str, socket.socket] = {}  # place -> its packet socket; clients first
        self._rings: dict[str, Ring] = {}
        self._programs = Programs(())
        try:
            _build(self.namespaces, vips, servers, mtu, self._plug)
            self._programs = Programs(listening)
        except BaseException:
            self.close()
            raise
        self._packets: dict[int, tuple[str, Callable[[], Iterator[bytes]]]] = {}
        for place, wire in self._wires.items():
            self._packets[wire.fileno()] = place, partial(_packets, self._rings[place])
        for number in self._programs:
            self._packets[number] = DIRECTOR, partial(self._programs.received, number)
        self._heads = {server(address): ETH1 + mac_of(i) for i, address in enumerate(servers)}
        self._heads[CLIENT] = ETH0 + ROUTER
        self._poll = select.poll()
        for number in self._packets:
            self._poll.register(number, select.POLLIN)

    def send(self, side: str, packet: bytes) -> None:
        """Put an IP packet onto the clients' wire (``c``) or a real server's (``r:ADDRESS``), or send it as a program
        on the director does (``d``).
        """
        if side == DIRECTOR:
            self._programs.send(packet)
            return
        kind = _IPV6 if packet[0] >> 4 == 6 else _IPV4
        self._wires[side].send(self._heads[side] + kind + packet)

    def arrivals(self, start: int, quiet: float) -> list[Arrival]:
        """What has left the director since the last call; waits ``quiet`` seconds if that is nothing.

        A packet passes the director within the call that sends it, as far as one processor does both; what is
        deferred shows up within the wait or, at the latest, in the next call.
        """
        return self._ready(start, 0) or (self._ready(start, quiet) if quiet else [])

    def close(self) -> None:
        """Leave the namespaces; the kernel removes them with everything in them.

        Raises
        ------
        OSError : packets that left the director were not seen: too many came at once.
        """
        dropped = sum(ring.dropped() for ring in self._rings.values())
        for ring in self._rings.values():
            ring.close()
        for wire in self._wires.values():
            wire.close()
        self._programs.close()
        _enter(self._home)
        os.close(self._home)
        for namespace in self.namespaces.values():
            os.close(namespace)
        if dropped:
            raise OSError(f"{dropped} packets left the director at once with others and were not seen")

    def _plug(self, place: str, interface: str) -> None:
        """Put a packet socket onto an interface of the namespace that this process is in, which is that of a place."""
        wire = self._wires[place] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        wire.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        self._rings[place] = Ring(wire)
        wire.bind((interface, _ETH_P_ALL))

    def _ready(self, start: int, quiet: float) -> list[Arrival]:
        found: list[Arrival] = []
        for number, _ in self._poll.poll(quiet * 1000):
            place, packets = self._packets[number]
            found += [Arrival(place, packet, clock_gettime_ns(CLOCK_MONOTONIC) - start) for packet in packets()]
        return found


def _packets(ring: Ring) -> Iterator[bytes]:
    """The IP packets of a job that have come over a wire."""
    for frame in ring.frames():
        kind = frame[12:14]
        if kind == _IPV4 or (kind == _IPV6 and not _is_housekeeping(frame)):
            yield frame[14:]


def _build(
    namespaces: dict[str, int],
    vips: Sequence[str],
    servers: Sequence[str],
    mtu: Sequence[tuple[str, int]],
    plug: Callable[[str, str], None],
) -> None:
    """Make the namespaces, wire them up and enter the director's; ``plug(place, interface)`` listens at each place."""
    ipv6 = any(":" in address for address in (*vips, *servers))
    hosts = {server(address): address for address in servers}
    for place in (CLIENT, "switch", *hosts):
        namespaces[place] = _namespace(ipv6=False)
    namespaces["director"] = _namespace(ipv6=ipv6)
    for name, value in (*_SYSCTLS, *(_SYSCTLS_IPV6 if ipv6 else ())):
        set_sysctl(name, value)
    _director(namespaces[CLIENT], namespaces["switch"], Network(vips, servers, mtu), ipv6=ipv6)
    _enter(namespaces[CLIENT])
    _bring_up("c0")
    plug(CLIENT, "c0")
    _enter(namespaces["switch"])
    _switch([namespaces[host] for host in hosts])
    for host, address in hosts.items():
        _enter(namespaces[host])
        _real_server(address)
        plug(host, "eth0")
    _enter(namespaces["director"])


def _namespace(*, ipv6: bool) -> int:
    """A new namespace, entered, and held by a file descriptor."""
    _call(_libc.unshare, _CLONE_NEWNET)
    held = os.open("/proc/self/ns/net", os.O_RDONLY)
    number = fcntl.fcntl(held, fcntl.F_DUPFD_CLOEXEC, FIRST_NAMESPACE)
    os.close(held)
    if not ipv6:
        set_sysctl("net.ipv6.conf.default.disable_ipv6", "1")
    return number


def _enter(namespace: int) -> None:
    _call(_libc.setns, namespace, _CLONE_NEWNET)


def _director(clients: int, switch: int, network: Network, *, ipv6: bool) -> None:
    """Links, addresses, routes and neighbours of the namespace that this process is in."""
    with requests() as ask:
        link_director(ask, clients, switch)
    for name in ("eth0", "eth1"):
        _checksums_on_the_wire(name)
    with requests() as ask:
        configure_director(ask, socket.if_nametoindex, network, ipv6=ipv6)


def _switch(hosts: Sequence[int]) -> None:
    """A switch with a wire to the director and one to each real server."""
    with requests() as ask:
        link_switch(ask, hosts)
    with requests() as ask:
        configure_switch(ask, socket.if_nametoindex, len(hosts))


def _real_server(address: str) -> None:
    """Address and default route of the namespace that this process is in."""
    if ":" in address:
        for name, value in _SYSCTLS_SERVER_IPV6:
            set_sysctl(name, value)
    _bring_up("eth0")
    with requests() as ask:
        configure_server(ask, socket.if_nametoindex, address)


def set_sysctl(name: str, value: str) -> None:
    """Set a tunable of the namespace that this process is in; OSError if the kernel refuses."""
    parts = name.split(".")
    if parts[0] != "net" or any(part in ("", "..") or "/" in part for part in parts):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    Path("/proc/sys", *parts).write_text(value)


def _is_housekeeping(frame: bytes) -> bool:
    """IPv6 neighbour discovery and multicast reports: the director's own, not part of any job."""
    protocol, at = frame[20], 54
    if protocol == 0 and len(frame) > 62:
        protocol, at = frame[54], 62
    return protocol == 58 and len(frame) > at and (frame[at] in _NEIGHBOUR_TYPES or frame[at] == _LISTENER_REPORT)


def _bring_up(*names: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for name in names:
            _checksums_on_the_wire(name)
            request = struct.pack("16sh22x", name.encode(), _IFF_UP | _IFF_NOARP)
            fcntl.ioctl(control, _SIOCSIFFLAGS, request)


def _checksums_on_the_wire(name: str) -> None:
    """Switch the device's checksum offload off: the director's own packets leave with finished checksums."""
    setting = array.array("I", [_ETHTOOL_STXCSUM, 0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCETHTOOL, struct.pack("16sP16x", name.encode(), setting.buffer_info()[0]))


def _call(function: ctypes._NamedFuncPointer, *arguments: int) -> None:
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function.__name__}: {os.strerror(number)}")
