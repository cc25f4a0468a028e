"""A packet that left a kernel, made again from the one that came in and the CRC-32 of what left.

A director can do only so much with a packet: translate it for one of its destinations or services, send it on as it
is, or answer it. Each of these is tried; the checksum says which one it was.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import product

from lbsim.engine_words import CHECKSUMS, TUNNELS
from lbsim.kernel.job import CLIENT, DIRECTOR, REPLY, Job, Packet
from lbsim.kernel.rehearsal import OWN_ADDRESSES
from lbsim.kernel.result import commands_of
from lbsim.kernel.seen import without_picks
from lbsim.model.config import AddDest, Address, AddService, EditDest, ServiceId, Tunnel
from lbsim.model.verdict import Rewrite
from lbsim.packet import answers
from lbsim.packet.headers import parse
from lbsim.packet.rewrite import rewrite
from lbsim.packet.tunnel import Wrapping, wrap

__all__ = ["Rebuilder", "crc_of"]


def crc_of(data: bytes) -> bytes:
    """The CRC-32 of a packet, 4 bytes."""
    return zlib.crc32(data).to_bytes(4)


class Rebuilder:
    """Knows a job's servers and services, and so what its director can make of a packet."""

    def __init__(self, job: Job) -> None:
        self._ports: dict[str, set[int]] = {}
        self._services: dict[tuple[Address, int], None] = {}
        self._own = [ip_address(address) for address in dict.fromkeys((*OWN_ADDRESSES, *job.vips))]
        self._listening = [(end.address, end.port) for end in map(ServiceId.parse, job.listening)]
        self._tunnels: dict[str, dict[Tunnel, None]] = {}
        for command in commands_of(job):
            if isinstance(command, AddDest | EditDest) and command.method == "tunnel":
                self._tunnels.setdefault(f"r:{command.dest.address}", {})[command.tunnel] = None
            if isinstance(command, AddDest):
                self._ports.setdefault(f"r:{command.dest.address}", set()).add(command.dest.port)
            elif isinstance(command, AddService) and not command.service.fwmark:
                self._services[command.service.address, command.service.port] = None

    def rebuilt(self, event: Packet, sent: bytes, where: str, crc: bytes) -> bytes | None:
        """What arrived at ``where``, as :func:`lbsim.kernel.seen.without_picks` has it, or None: nothing of the kind.

        sent : the bytes that were sent; of a reply these are not the event's.
        """
        for candidate in self._candidates(event, sent, where):
            content = without_picks(candidate)
            if crc_of(content) == crc:
                return content
        return None

    def _candidates(self, event: Packet, sent: bytes, where: str) -> Iterator[bytes]:
        """The likely ones first."""
        headers, planned = parse(sent), parse(event.content)
        if headers is None or planned is None:
            return
        if where == DIRECTOR:
            yield sent
            for target, port in self._listening:
                if target.version == headers.version:
                    yield rewrite(sent, Rewrite(dst=target, dport=port, ttl_down=0))
            if event.side == REPLY:
                yield rewrite(sent, Rewrite(src=ip_address(planned.src), sport=planned.sport, ttl_down=0))
        elif where != CLIENT:
            for port in sorted(self._ports.get(where, ())):
                yield rewrite(sent, Rewrite(dst=ip_address(where.removeprefix("r:")), dport=port or headers.dport))
        elif event.side == REPLY:
            for ttl_down in (1, 0):  # 0: a program on the director sent it
                yield rewrite(sent, Rewrite(src=ip_address(planned.src), sport=planned.sport, ttl_down=ttl_down))
        elif event.side != CLIENT:
            for address, port in self._services:
                if address.version == headers.version:
                    yield rewrite(sent, Rewrite(src=address, sport=port or headers.sport))
        yield rewrite(sent, Rewrite())
        if where in self._tunnels:
            yield from self._in_tunnels(rewrite(sent, Rewrite()), where)
        own = [address for address in self._own if address.version == headers.version]
        made = [answers.tcp_reset(sent), answers.port_unreachable(sent), answers.protocol_unreachable(sent)]
        made += [answers.time_exceeded(sent, source=address) for address in own]
        yield from (one for one in made if one is not None)
        yield from (rewrite(sent, Rewrite(src=address)) for address in own)  # masqueraded

    def _in_tunnels(self, packet: bytes, where: str) -> Iterator[bytes]:
        target = ip_address(where.removeprefix("r:"))
        for tunnel, keep_df in product(self._tunnels[where], (1, 0)):
            kind, flags = TUNNELS[tunnel.type], CHECKSUMS[tunnel.checksum]
            wrapping = Wrapping(target.version, kind, tunnel.port, flags, keep_df)
            for source in self._own:
                if source.version == target.version:
                    yield wrap(packet, wrapping, source, target)
