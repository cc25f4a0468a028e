"""Programs that run on the director itself: they take what comes to their ends, and say only what a job has them say.

A socket that listens keeps the director's stack from refusing what comes. A filter that lets nothing through keeps the
socket from answering: neither handshake nor reset. What would have come through is seen by a raw socket, which gets
every packet that IPVS has let in, as IPVS has left it. Answers are sent by a raw socket, too, header and all.

Source: net/ipv4/tcp_ipv4.c tcp_v4_rcv(), udp.c udp_queue_rcv_one_skb(), raw.c raw_local_deliver(), raw_send_hdrinc();
seen on 6.1.192 and 6.12.117.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import ip_address

from lbsim.packet.headers import parse
from lbsim.packet.offload import with_checksum

__all__ = ["Programs"]

_KINDS = {"tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP), "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP)}
_SO_ATTACH_FILTER = 26
_NOTHING = struct.pack("=HBBI", 0x06, 0, 0, 0)  # one instruction: accept 0 bytes
_IPV6_HEADER = struct.Struct("!IHBB16s16s").pack
_IPV6_FLOWINFO, _IPV6_RECVPKTINFO, _IPV6_PKTINFO, _IPV6_RECVHOPLIMIT, _IPV6_HOPLIMIT = 11, 49, 50, 51, 52
_IPV6_RECVTCLASS, _IPV6_TCLASS = 66, 67
_LONGEST = 1 << 16


class Programs:
    """The programs of the network namespace that this process is in.

    Parameters
    ----------
    listening : where they listen, as a job has it; TCP and UDP only.

    Raises
    ------
    OSError : the kernel refuses a socket.
    """

    def __init__(self, listening: Sequence[str]) -> None:
        ends = [_end(text) for text in listening]
        self._ends = {(_KINDS[proto][1], ip_address(address).packed, port) for proto, address, port in ends}
        self._silent: list[socket.socket] = []
        self._seeing: dict[int, tuple[socket.socket, int]] = {}  # file descriptor -> raw socket, its protocol
        self._sending: dict[int, socket.socket] = {}
        try:
            for family, number in {(_family(address), _KINDS[proto][1]) for proto, address, _ in ends}:
                self._see(family, number)
            for proto, address, port in ends:
                self._silent.append(_silent(proto, address, port))
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[int]:
        """The file descriptors that can be read when something has come."""
        return iter(self._seeing)

    def received(self, number: int) -> Iterator[bytes]:
        """The IP packets that came to the ends since the last call, as far as this file descriptor tells."""
        seeing, proto = self._seeing[number]
        while True:
            try:
                data, more, _, sender = seeing.recvmsg(_LONGEST, 256)
            except BlockingIOError:
                return
            packet = data if seeing.family == socket.AF_INET else _with_header(data, proto, sender[0], more)
            headers = parse(packet)
            if headers is not None and (proto, headers.dst, headers.dport) in self._ends:
                yield with_checksum(packet)  # the kernel leaves it out where no wire is

    def send(self, packet: bytes) -> None:
        """Send an IP packet as one of the programs; nothing leaves if IPVS does not let it."""
        headers = parse(packet)
        assert headers is not None, "a job sends IP packets only"
        target = str(ip_address(headers.dst))
        family = _family(target)
        if family not in self._sending:
            self._sending[family] = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
        with suppress(PermissionError):
            self._sending[family].sendto(packet, (target, 0))

    def close(self) -> None:
        """End all of them."""
        for one in (*self._silent, *(seeing for seeing, _ in self._seeing.values()), *self._sending.values()):
            one.close()

    def _see(self, family: int, proto: int) -> None:
        seeing = socket.socket(family, socket.SOCK_RAW, proto)
        self._seeing[seeing.fileno()] = seeing, proto
        seeing.setblocking(False)
        if family == socket.AF_INET6:  # the header does not come with the packet: what is in it must be asked for
            for option in (_IPV6_FLOWINFO, _IPV6_RECVPKTINFO, _IPV6_RECVHOPLIMIT, _IPV6_RECVTCLASS):
                seeing.setsockopt(socket.IPPROTO_IPV6, option, 1)


def _end(text: str) -> tuple[str, str, int]:
    proto, _, end = text.partition(" ")
    address, _, port = end.rpartition(":")
    return proto, address.strip("[]"), int(port)


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _silent(proto: str, address: str, port: int) -> socket.socket:
    """A socket that listens, and lets nothing through."""
    kind, _ = _KINDS[proto]
    listening = socket.socket(_family(address), kind)
    try:
        code = ctypes.create_string_buffer(_NOTHING, len(_NOTHING))
        program = struct.pack("HP", 1, ctypes.addressof(code))
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        listening.bind((address, port))
        if kind == socket.SOCK_STREAM:
            listening.listen()
    except BaseException:
        listening.close()
        raise
    return listening


def _with_header(data: bytes, proto: int, sender: str, more: Sequence[tuple[int, int, bytes]]) -> bytes:
    """The IPv6 packet of which a raw socket gave the content and, beside it, what its header says."""
    said = {kind: value for level, kind, value in more if level == socket.IPPROTO_IPV6}
    (first,) = struct.unpack("!I", said.get(_IPV6_FLOWINFO, bytes(4)))
    (limit,) = struct.unpack("=i", said[_IPV6_HOPLIMIT])
    (traffic_class,) = struct.unpack("=i", said[_IPV6_TCLASS])
    first = 6 << 28 | traffic_class << 20 | first & 0xFFFFF
    source = socket.inet_pton(socket.AF_INET6, sender.partition("%")[0])
    return _IPV6_HEADER(first, len(data), proto, limit, source, said[_IPV6_PKTINFO][:16]) + data
