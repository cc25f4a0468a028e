"""A real kernel's own load balancing, pushed to its limit: packets per second from one namespace to another.

::

    clients 192.168.1.254 -- c0 | eth0  director  eth1 | s0  real servers 10.0.0.11, 10.0.0.12

A program for root, alone in its file, so that it runs on a host and in a guest alike: ``python3 forwarding.py nft 5 1``
or the whole text after ``python3 -c``. It sends one UDP flow through a packet socket, bound to one processor; what a
packet sets off is done before the next one goes, on that same processor. What arrives is counted by the receiving
interface, which takes every frame for somebody else's. Each line of the output is one round: packets sent, arrived,
seconds, seconds of processor time.

``nft`` and ``ipvs`` balance, ``route`` only forwards; ``wire`` sends to nobody, so that it costs what sending costs.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
import time

from lbsim.kernel.bench import set_sysctl
from lbsim.kernel.netlink import requests

_CLONE_NEWNET = 0x40000000
_SOL_PACKET, _PACKET_QDISC_BYPASS = 263, 20
_BATCH = 64
VIP, _CLIENT, SERVERS = "192.168.1.10", "203.0.113.1", ("10.0.0.11", "10.0.0.12")
_ROUTER, _DIRECTOR, _NOBODY = "02:00:00:00:00:fe", "02:00:00:00:00:01", "02:00:00:00:00:99"

_SETUPS = {
    "wire": [],
    "route": [],
    "nft": [
        ["nft", "add table ip t"],
        ["nft", "add chain ip t c { type nat hook prerouting priority dstnat; }"],
        ["nft", f"add rule ip t c ip daddr {VIP} udp dport 53 dnat to numgen inc mod 2 map "
                f"{{ 0 : {SERVERS[0]}, 1 : {SERVERS[1]} }}"],
    ],
    "ipvs": [
        ["ipvsadm", "-A", "-u", f"{VIP}:53", "-s", "rr"],
        *(["ipvsadm", "-a", "-u", f"{VIP}:53", "-r", f"{server}:53", "-m"] for server in SERVERS),
    ],
}  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Measure: what (wire, route, nft or ipvs), how many rounds, seconds of each."""
    what, rounds, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    clients, servers = _namespace(), _namespace()
    _namespace()
    director = _build(clients, servers)
    for argv in _SETUPS[what]:
        subprocess.run(argv, check=True)
    _enter(clients)
    sender = _Sender("c0", _frame(what))
    there, interface = (director, "eth0") if what == "wire" else (servers, "s0")
    _enter(there)
    sender.send_for(seconds / 4)
    for _ in range(rounds):
        before, cpu, start = _received(interface), time.thread_time(), time.monotonic()
        sent = sender.send_for(seconds)
        took, cpu = time.monotonic() - start, time.thread_time() - cpu
        print(json.dumps([sent, _received(interface) - before, took, cpu]), flush=True)


def _namespace() -> int:
    """A new namespace, entered, and held by a file descriptor only."""
    if _libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    set_sysctl("net.ipv6.conf.default.disable_ipv6", "1")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _build(clients: int, servers: int) -> int:
    """The director, in the namespace that this process is in, and its two wires."""
    director = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    with requests() as ask:
        for name, peer, there in (("eth0", "c0", clients), ("eth1", "s0", servers)):
            ask("link", "add", ifname=name, kind="veth", peer={"ifname": peer, "net_ns_fd": there})
    eth0, eth1 = (socket.if_nametoindex(name) for name in ("eth0", "eth1"))
    set_sysctl("net.ipv4.ip_forward", "1")
    with requests() as ask:
        ask("link", "set", index=eth0, address=_DIRECTOR)
        for index, address in ((eth0, "192.168.1.1"), (eth0, VIP), (eth1, "10.0.0.1")):
            ask("addr", "add", index=index, address=address, prefixlen=24)
            ask("link", "set", index=index, state="up")
        # neither the router nor the servers are whom the frames are for: their kernels leave them alone
        ask("neigh", "add", dst="192.168.1.254", lladdr=_ROUTER, ifindex=eth0, state="permanent")
        for address in SERVERS:
            ask("neigh", "add", dst=address, lladdr="02:00:00:00:01:01", ifindex=eth1, state="permanent")
        ask("route", "add", dst="default", gateway="192.168.1.254")
    for there, name in ((clients, "c0"), (servers, "s0")):
        _enter(there)
        with requests() as ask:
            ask("link", "set", index=socket.if_nametoindex(name), state="up")
    _enter(director)
    return director


def _frame(what: str) -> bytes:
    """An Ethernet frame with a UDP packet of 68 bytes, without a UDP checksum: a small DNS query."""
    src, dst = _CLIENT, SERVERS[0] if what == "route" else VIP
    target = _NOBODY if what == "wire" else _DIRECTOR
    ethernet = bytes.fromhex((target + _ROUTER).replace(":", "")) + b"\x08\x00"
    header = struct.pack(">BBHHHBBH", 0x45, 0, 68, 0, 0, 64, 17, 0) + socket.inet_aton(src) + socket.inet_aton(dst)
    total = sum(struct.unpack(">10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack(">H", ~total & 0xFFFF) + header[12:]
    return ethernet + header + struct.pack(">HHHH", 32768, 53, 48, 0) + bytes(40)


def _received(name: str) -> int:
    """Packets that an interface of this namespace has received."""
    with open("/proc/thread-self/net/dev", encoding="ascii") as table:
        return next(int(line.split()[2]) for line in table if line.strip().startswith(f"{name}:"))


class _Sender:
    """Sends a frame again and again, many at each system call."""

    def __init__(self, interface: str, frame: bytes) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
        self._socket.bind((interface, 0))
        self._frame = ctypes.create_string_buffer(frame, len(frame))
        self._vector = struct.pack("@PN", ctypes.addressof(self._frame), len(frame))
        self._vectors = ctypes.create_string_buffer(self._vector, len(self._vector))
        # struct mmsghdr: struct msghdr (name, its length, vectors, their number, control, its length, flags), sent
        one = struct.pack("@PIPNPNi0PI0P", 0, 0, ctypes.addressof(self._vectors), 1, 0, 0, 0, 0)
        self._messages = ctypes.create_string_buffer(one * _BATCH, len(one) * _BATCH)

    def send_for(self, seconds: float) -> int:
        """How many frames were sent in that time."""
        sent, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            count = _libc.sendmmsg(self._socket.fileno(), self._messages, _BATCH, 0)
            if count < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            sent += count
        return sent


if __name__ == "__main__":
    main()
