"""The bench: a director in a fresh network namespace, with speakers instead of clients and real servers.

::

    clients -- c0 | eth0  director  eth1 | s0 -- real servers
              192.168.1.1/24      10.0.0.1/24
           2001:db8:1::1/64      fd00::1/64

Clients sit behind the router 192.168.1.254 (2001:db8:1::fe) and may have any address. Both wire ends lie in a second
namespace that has no addresses and answers nothing: what comes from there is what the job says. Real servers share
one wire and are told apart by their MAC addresses, so that a packet is seen at the next hop it was sent to, whatever
its IP destination is (direct routing), and the number of servers costs nothing.

Both namespaces are held by file descriptors only: they and everything in them are gone when this process is,
however it ends.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import importlib.util
import os
import select
import socket
import struct
import sys
from pathlib import Path
from time import CLOCK_MONOTONIC, clock_gettime_ns
from typing import Any

from lbsim.kernel.job import CLIENT, Arrival, server

__all__ = ["Bench", "ip_route", "set_sysctl"]

_libc = ctypes.CDLL(None, use_errno=True)

_CLONE_NEWNET = 0x40000000
_ETH_P_ALL = 3
_PACKET_IGNORE_OUTGOING = 23
_SOL_PACKET = 263
_SO_RCVBUFFORCE = 33
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCETHTOOL = 0x8913, 0x8914, 0x8946
_IFF_UP, _IFF_NOARP = 1, 0x80
_ETHTOOL_STXCSUM = 0x17
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_NO_PREFIX_ROUTE = 0x200
_SCOPE_LINK = 253
_RECEIVE_BUFFER = 64 << 20
_NEIGHBOUR_TYPES = range(130, 138)  # ICMPv6: multicast listeners and neighbour discovery
_LISTENER_REPORT = 143

_ETH0, _ETH1 = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
_ROUTER, _SERVERS = bytes.fromhex("0200000000fe"), bytes.fromhex("020000000100")

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


class Bench:
    """One director and its wires; the calling process is inside the director's namespace until :meth:`close`.

    Parameters
    ----------
    vips : further addresses of the director.
    servers : addresses of the real servers.
    """

    def __init__(self, vips: tuple[str, ...], servers: tuple[str, ...]) -> None:
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            self._build(vips, servers)
        except BaseException:
            self._leave()
            raise
        self._names = {_mac(i): server(address) for i, address in enumerate(servers)}
        self._source = {server(address): _ETH1 + _mac(i) for i, address in enumerate(servers)}

    def send(self, side: str, packet: bytes) -> None:
        """Put an IP packet onto the clients' wire (``c``) or a real server's (``r:ADDRESS``)."""
        kind = _IPV6 if packet[0] >> 4 == 6 else _IPV4
        if side == CLIENT:
            self._client.send(_ETH0 + _ROUTER + kind + packet)
        else:
            self._server.send(self._source[side] + kind + packet)

    def arrivals(self, start: int, quiet: float) -> list[Arrival]:
        """What has left the director since the last call; waits ``quiet`` seconds if that is nothing.

        A packet passes the director within the call that sends it, as far as one processor does both; what is
        deferred shows up within the wait or, at the latest, in the next call.
        """
        found: list[Arrival] = []
        self._drain(start, found)
        if not found and quiet and self._poll.poll(quiet * 1000):
            self._drain(start, found)
        return found

    def close(self) -> None:
        """Leave the namespaces; the kernel removes them with everything in them."""
        self._client.close()
        self._server.close()
        self._leave()

    def _drain(self, start: int, found: list[Arrival]) -> None:
        for wire in (self._client, self._server):
            while True:
                try:
                    frame = wire.recv(65600)
                except BlockingIOError:
                    break
                kind = frame[12:14]
                if kind == _IPV4 or (kind == _IPV6 and not _is_housekeeping(frame)):
                    where = CLIENT if wire is self._client else self._names.get(frame[:6], "r:?")
                    found.append(Arrival(where, frame[14:], clock_gettime_ns(CLOCK_MONOTONIC) - start))

    def _build(self, vips: tuple[str, ...], servers: tuple[str, ...]) -> None:
        ipv6 = any(":" in address for address in (*vips, *servers))
        _call(_libc.unshare, _CLONE_NEWNET)
        outside = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            set_sysctl("net.ipv6.conf.default.disable_ipv6", "1")
            _call(_libc.unshare, _CLONE_NEWNET)
            inside = os.open("/proc/self/ns/net", os.O_RDONLY)
            try:
                for name, value in (*_SYSCTLS, *(_SYSCTLS_IPV6 if ipv6 else ())):
                    set_sysctl(name, value)
                if not ipv6:
                    set_sysctl("net.ipv6.conf.default.disable_ipv6", "1")
                self._links(outside, vips, servers, ipv6)
                _call(_libc.setns, outside, _CLONE_NEWNET)
                _bring_up("c0", "s0")
                self._client, self._server = _wire("c0"), _wire("s0")
                _call(_libc.setns, inside, _CLONE_NEWNET)
            finally:
                os.close(inside)
        finally:
            os.close(outside)
        self._poll = select.poll()
        self._poll.register(self._client, select.POLLIN)
        self._poll.register(self._server, select.POLLIN)

    def _links(self, outside: int, vips: tuple[str, ...], servers: tuple[str, ...], ipv6: bool) -> None:
        with ip_route() as ip:
            for name, mac, peer, other in (("eth0", _ETH0, "c0", _ROUTER), ("eth1", _ETH1, "s0", _SERVERS)):
                ip.link("add", ifname=name, kind="veth", address=mac.hex(":"),
                        peer={"ifname": peer, "address": other.hex(":"), "net_ns_fd": outside})  # fmt: skip
                _checksums_on_the_wire(name)
            lo, eth0, eth1 = (socket.if_nametoindex(name) for name in ("lo", "eth0", "eth1"))
            for index in (lo, eth0, eth1):
                ip.link("set", index=index, state="up")
            own = [(eth0, "192.168.1.1", 24), (eth1, "10.0.0.1", 24)]
            own += [(eth0, "2001:db8:1::1", 64), (eth1, "fd00::1", 64)] if ipv6 else []
            own += [(eth0, vip, _bits(vip)) for vip in vips if vip not in {row[1] for row in own}]
            for index, address, bits in own:
                # No route to the subnet: whoever is not a known server is reached through the router.
                ip.addr("add", index=index, address=address, prefixlen=bits, flags=_NO_PREFIX_ROUTE)
            for index, address, mac in [
                (eth0, "192.168.1.254", _ROUTER),
                *([(eth0, "2001:db8:1::fe", _ROUTER)] if ipv6 else []),
                *((eth1, address, _mac(i)) for i, address in enumerate(servers)),
            ]:
                ip.route("add", dst=f"{address}/{_bits(address)}", oif=index, scope=_SCOPE_LINK)
                ip.neigh("add", dst=address, lladdr=mac.hex(":"), ifindex=index, state="permanent")
            ip.route("add", dst="default", gateway="192.168.1.254", oif=eth0)
            if ipv6:
                ip.route("add", dst="::/0", gateway="2001:db8:1::fe", oif=eth0)

    def _leave(self) -> None:
        _call(_libc.setns, self._home, _CLONE_NEWNET)
        os.close(self._home)


def set_sysctl(name: str, value: str) -> None:
    """Set a tunable of the namespace that this process is in; OSError if the kernel refuses."""
    parts = name.split(".")
    if parts[0] != "net" or any(part in ("", "..") or "/" in part for part in parts):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    Path("/proc/sys", *parts).write_text(value)


def ip_route() -> Any:
    """pyroute2's rtnetlink socket, without all the rest of it that its package imports.

    Under emulation that rest takes a second of every boot, so the package is known here but not executed.
    """
    if "pyroute2" not in sys.modules:
        spec = importlib.util.find_spec("pyroute2")
        if spec is None:
            raise ModuleNotFoundError("no pyroute2: pip install 'lbsim[kernel]'")
        sys.modules["pyroute2"] = importlib.util.module_from_spec(spec)
    return importlib.import_module("pyroute2.iproute.linux").IPRoute()


def _mac(i: int) -> bytes:
    return _SERVERS[:3] + (0x000101 + i).to_bytes(3, "big")


def _bits(address: str) -> int:
    return 128 if ":" in address else 32


def _is_housekeeping(frame: bytes) -> bool:
    """IPv6 neighbour discovery and multicast reports: the director's own, not part of any job."""
    protocol, at = frame[20], 54
    if protocol == 0 and len(frame) > 62:
        protocol, at = frame[54], 62
    return protocol == 58 and len(frame) > at and (frame[at] in _NEIGHBOUR_TYPES or frame[at] == _LISTENER_REPORT)


def _wire(name: str) -> socket.socket:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    wire.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    wire.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    wire.setblocking(False)
    wire.bind((name, _ETH_P_ALL))
    return wire


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
