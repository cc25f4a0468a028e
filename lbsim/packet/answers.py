"""What the director's own network stack answers: ICMP errors for rejected packets, resets for unwanted TCP.

Left at 0 is what the kernel picks at random: the IP id and the IPv6 flow label of ICMP errors. Not modelled:
rate limits of ICMP errors, and IP options (the kernel echoes a recorded route, a time stamp, a source route and
CIPSO; here the error has none).

Every function gives None where no answer is sent: to bytes that are no IP packet, to a packet from or to an
address that is not one host's, and where it says so itself.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address

from lbsim.engine.numbers import ACK, FIN, IPV4, RST, SYN, TCP, UDP, WHOLE
from lbsim.errors import TraceError
from lbsim.model.address import Address
from lbsim.packet import checksum
from lbsim.packet.build import ip_packet
from lbsim.packet.headers import FRAGMENT_HEADER, ICMP, ICMPV6, Headers, is_extension, parse, word
from lbsim.packet.options import fault_of_options

__all__ = [
    "bad_option",
    "echo_reply",
    "error_passed_on",
    "nobody_listens",
    "port_unreachable",
    "protocol_unreachable",
    "tcp_reset",
    "time_exceeded",
    "too_big",
    "unreachable",
]

_QUOTE_V4 = 576 - 20 - 8  # an ICMP error fills at most the 576 bytes that every host accepts
_QUOTE_V6 = 1280 - 40 - 8  # ... and an ICMPv6 error the least MTU of IPv6
_ERRORS_V4 = frozenset({3, 4, 5, 11, 12})
_FIRST_INFORMATIONAL_V6 = 128
_REDIRECT_V6 = 137
_KNOWN = {4: frozenset({ICMP, 2, 103, 136}), 6: frozenset({ICMPV6, 59, 103, 136})}  # to the director's own stack
UDP_HEADER = 8
ECHO_V4 = 8
ECHO_V6 = 128
_BROADCAST = b"\xff\xff\xff\xff"
_INTERNETWORK_CONTROL = 0xC0


def port_unreachable(data: bytes, *, source: Address | None = None) -> bytes | None:
    """The ICMP error 3/3 (ICMPv6 1/4) about the packet ``data``, to its sender.

    Parameters
    ----------
    data : the rejected IP packet.
    source : who sends the error; None: the address to which the packet was sent.

    Returns
    -------
    The IP packet; None about ICMP errors and about later fragments, where no error may be sent.

    Raises
    ------
    TraceError : ``source`` is of the other family than the packet.

    Source: packet-path facts, sections 4.3 and 14 (icmp.c, ip6_icmp.c as observed, 6.1 and 6.12).
    """
    return _icmp_error(data, source, v4=(3, 3), v6=(1, 4))


def nobody_listens(data: bytes, *, source: Address | None = None) -> bytes | None:
    """The ICMP error about a UDP packet to a port of the director where nobody listens.

    The stack looks at the packet first: what is behind the length that UDP says is cut off, and not quoted.

    Returns
    -------
    The IP packet; None also to a UDP length that cannot be, to a wrong checksum, and over IPv6 to none at all.

    Source: as observed (udp.c __udp4_lib_rcv(), ipv6/udp.c __udp6_lib_rcv(), 6.1 and 6.12).
    """
    headers = parse(data)
    if headers is None or headers.proto != UDP or headers.shape != WHOLE:
        return None
    there = headers.length - headers.l4
    told = word(data, headers.l4 + 4)
    length = there if told == 0 and headers.version != IPV4 else told  # 0: as long as the packet (jumbograms)
    if not UDP_HEADER <= length <= there:
        return None
    end = headers.l4 + length
    without = word(data, headers.l4 + 6) == 0
    right = headers.version == IPV4 if without else _holds(headers, data, end)
    return port_unreachable(data[:end], source=source) if right else None


def _holds(headers: Headers, data: bytes, end: int) -> bool:
    """Whether the checksum of the transport segment that ends there is right; of one that was captured only in part it
    counts as such.
    """
    segment = data[headers.l4 : end]
    return len(data) < end or checksum.transport(headers.src, headers.dst, headers.proto, segment) == 0


def time_exceeded(data: bytes, *, source: Address) -> bytes | None:
    """The ICMP error 11/0 (ICMPv6 3/0) about the packet ``data``, to its sender.

    ``data`` is the packet as it came, its TTL not lowered. Parameters, None and errors as for
    :func:`port_unreachable`.

    Source: packet-path facts, section 13.1 (ip_vs_xmit.c decrement_ttl(), 6.1 and 6.12).
    """
    return _icmp_error(data, source, v4=(11, 0), v6=(3, 0))


def unreachable(data: bytes, *, source: Address, host: bool) -> bytes | None:
    """The ICMP error 3/1 (ICMPv6 1/3) about the packet ``data``, whose target's ``host`` cannot be reached, or 3/0
    (1/0): there is no route at all.

    Source: packet-path facts, section 13.1 (ip_vs_xmit.c __ip_vs_get_out_rt(), 6.1 and 6.12).
    """
    return _icmp_error(data, source, v4=(3, int(host)), v6=(1, 3 if host else 0))


def protocol_unreachable(data: bytes, *, source: Address | None = None) -> bytes | None:
    """The ICMP error 3/2 about the packet ``data``, of whose protocol the director's own stack knows nothing.

    Of ICMPv6 it is 4/1, which points to the field that names the protocol. None about what the stack knows and does
    not answer (ICMP, IGMP, PIM, UDP-Lite; "no next header"), and about a chain of extension headers that is cut.

    Source: as observed for 26 protocols (ip_input.c, ip6_input.c, 6.1 and 6.12; the module sctp was not loaded).
    """
    headers = parse(data)
    if headers is None or headers.proto in _KNOWN[headers.version]:
        return None
    if headers.version == 4:
        return _icmp_error(data, source, v4=(3, 2), v6=(4, 1))
    if is_extension(headers.proto):
        return None
    return _icmp_error(data, source, v4=(3, 2), v6=(4, 1), rest=_protocol_at(data, headers.l4))


def _protocol_at(data: bytes, end: int) -> int:
    """Where the protocol is named of what begins at ``end``: in the header, or in the last extension header."""
    field, at = 6, 40
    while at < end:
        length = 8 if data[field] == FRAGMENT_HEADER else 8 + data[at + 1] * 8
        field, at = at, at + length
    return field


def too_big(data: bytes, *, source: Address, limit: int) -> bytes | None:
    """The ICMP error 3/4 (ICMPv6 2/0) about the packet ``data``: it must not be longer than ``limit``.

    Source: packet-path facts, section 13.1 (ip_vs_xmit.c ensure_mtu_is_adequate(), 6.1 and 6.12).
    """
    return _icmp_error(data, source, v4=(3, 4), v6=(2, 0), rest=limit)


def bad_option(data: bytes, *, source: Address) -> bytes | None:
    """The ICMP error 12/0 about the IPv4 packet ``data``, which points to what is wrong with its options.

    Deviates: behind a source route that is sound, the kernel sends the error along that; behind a record route or time
    stamp that it cannot echo, none.

    Source: as observed, 6.1 and 6.12 (ip_options.c __ip_options_compile()).
    """
    place = fault_of_options(data, 0, (data[0] & 15) * 4)
    return _icmp_error(data, source, v4=(12, 0), v6=(4, 2), rest=place << 24)


def error_passed_on(data: bytes, *, source: Address, kind: int, code: int, limit: int) -> bytes | None:
    """The ICMP error of this type about ``data``, what is known of an IPv4 packet that went through a tunnel.

    Source: packet-path facts, section 14 (ip_vs_core.c ip_vs_in_icmp(), 6.1 and 6.12).
    """
    return _icmp_error(data, source, v4=(kind, code), v6=(kind, code), rest=limit)


def echo_reply(data: bytes) -> bytes | None:
    """The answer to a ping; None to anything else, and to one whose checksum is wrong.

    Source: packet-path facts, section 2 (icmp.c icmp_echo(), ip6_icmp.c icmpv6_echo_reply(); as observed).
    """
    headers = parse(data)
    if headers is None or headers.shape != WHOLE or headers.length - headers.l4 < 8 or not _of_single_hosts(headers):
        return None
    content = bytearray(data[headers.l4 : headers.length])
    request, reply = (ECHO_V4, 0) if headers.version == 4 else (ECHO_V6, ECHO_V6 + 1)
    if (headers.version, headers.proto, content[0]) not in ((4, ICMP, request), (6, ICMPV6, request)):
        return None
    if _icmp_check(headers.version, headers.src, headers.dst, content) != 0:
        return None
    content[0] = reply
    content[2:4] = b"\0\0"
    content[2:4] = _icmp_check(headers.version, headers.dst, headers.src, content).to_bytes(2, "big")
    tos = _tos(data, headers)
    return ip_packet(headers.dst, headers.src, headers.proto, content, tos=tos, dont_fragment=False)


def _icmp_check(version: int, src: bytes, dst: bytes, content: bytes | bytearray) -> int:
    return checksum.full(content) if version == 4 else checksum.transport(src, dst, ICMPV6, content)


def tcp_reset(data: bytes) -> bytes | None:
    """The TCP reset for a packet that belongs to no connection of the director's own stack.

    To a packet with ACK: flags R, sequence number from its ack. To one without: flags RA, sequence number 0,
    ack behind everything that the packet used up (payload, SYN, FIN).

    Returns
    -------
    The IP packet; None to a RST, to fragments, to a wrong checksum, and to a TCP header that is cut or whose length
    cannot be.

    Source: packet-path facts, section 4.4, and as observed, 6.1 and 6.12 (IPv4). Not observed: IPv6, and that
    the DSCP is the packet's and ECN cleared (tcp_ipv4.c, tcp_ipv6.c).
    """
    headers = parse(data)
    if headers is None or headers.proto != TCP or headers.shape != WHOLE or headers.flags & RST:
        return None
    payload = headers.length - headers.l4 - (data[headers.l4 + 12] >> 4) * 4
    offset_fits = data[headers.l4 + 12] >> 4 >= 5 and payload >= 0
    if not offset_fits or not _of_single_hosts(headers) or not _holds(headers, data, headers.length):
        return None
    if headers.flags & ACK:
        seq, ack, flags = headers.ack, 0, RST
    else:
        used = payload + bool(headers.flags & SYN) + bool(headers.flags & FIN)
        seq, ack, flags = 0, (headers.seq + used) & 0xFFFFFFFF, RST | ACK
    ports = (headers.dport, headers.sport)
    segment = bytearray(struct.pack("!HHIIBBHHH", *ports, seq, ack, 5 << 4, flags, 0, 0, 0))
    segment[16:18] = checksum.transport(headers.dst, headers.src, TCP, segment).to_bytes(2, "big")
    return ip_packet(headers.dst, headers.src, TCP, segment, tos=_tos(data, headers) & 0xFC)


def _icmp_error(
    data: bytes, source: Address | None, *, v4: tuple[int, int], v6: tuple[int, int], rest: int = 0
) -> bytes | None:
    headers = parse(data)
    if headers is None or not _of_single_hosts(headers) or _never_reported(data, headers):
        return None
    if source is not None and source.version != headers.version:
        raise TraceError(f"an error about an IPv{headers.version} packet cannot come from {source}")
    sender = headers.dst if source is None else source.packed
    quoted = data[: headers.length]
    if headers.version == 4:
        content = _with_rest_of_header(v4, rest, quoted[:_QUOTE_V4])
        content[2:4] = checksum.full(content).to_bytes(2, "big")
        tos = _INTERNETWORK_CONTROL | data[1] & 0x1E
        return ip_packet(sender, headers.src, ICMP, content, tos=tos, dont_fragment=False)
    content = _with_rest_of_header(v6, rest, quoted[:_QUOTE_V6])
    content[2:4] = checksum.transport(sender, headers.src, ICMPV6, content).to_bytes(2, "big")
    return ip_packet(sender, headers.src, ICMPV6, content)


def _with_rest_of_header(type_and_code: tuple[int, int], rest: int, quoted: bytes) -> bytearray:
    return bytearray(struct.pack("!BBHI", *type_and_code, 0, rest)) + quoted


def _never_reported(data: bytes, headers: Headers) -> bool:
    """Whether the packet is itself an ICMP error, or an IPv4 fragment other than the first."""
    if headers.version == 4 and headers.l4 == 0:
        return True
    kind = data[headers.l4 : headers.l4 + 1]
    if headers.proto == ICMP and headers.version == 4:
        return not kind or kind[0] in _ERRORS_V4
    if headers.proto == ICMPV6 and headers.version == 6:
        return not kind or kind[0] < _FIRST_INFORMATIONAL_V6 or kind[0] == _REDIRECT_V6
    return False


def _of_single_hosts(headers: Headers) -> bool:
    ends = [ip_address(headers.src), ip_address(headers.dst)]
    if any(end.is_multicast or end.is_unspecified for end in ends):
        return False
    return _BROADCAST not in (headers.src, headers.dst)


def _tos(data: bytes, headers: Headers) -> int:
    return data[1] if headers.version == 4 else (data[0] & 15) << 4 | data[1] >> 4
