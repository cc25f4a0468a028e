"""Where the IP packet begins in a frame: the link types that can be read.

The functions run in both lanes. Source: the link types at tcpdump.org; IEEE 802.1Q and 802.1ad for VLAN tags.
"""

from __future__ import annotations

from lbsim.engine.lanes import COMPILED, kernel
from lbsim.packet.headers import Bytes, word
from lbsim.traffic.frames import ANYWHERE

__all__ = ["ARP", "LINK_TYPES", "NOT_IP", "OTHER_LINK", "UNREADABLE", "find_ip"]

OTHER_LINK = -1  # a link type that is not supported, in a file that has others, too
ARP = -2
NOT_IP = -3  # the link layer says that it carries something else
UNREADABLE = -4  # the frame ends before the link layer says what it carries

NULL, ETHERNET, RAW_BSD, RAW_OPENBSD, RAW, LOOP = 0, 1, 12, 14, 101, 108
LINUX_COOKED, RAW_IPV4, RAW_IPV6, LINUX_COOKED_V2 = 113, 228, 229, 276

LINK_TYPES = frozenset({
    NULL, ETHERNET, RAW_BSD, RAW_OPENBSD, RAW, LOOP, LINUX_COOKED, RAW_IPV4, RAW_IPV6, LINUX_COOKED_V2
})  # fmt: skip


@kernel
def find_ip(raw: Bytes, begin: int, end: int, link: int) -> int:
    """Where the IP packet of the frame in ``raw[begin:end]`` begins, not behind ``end``; or ARP, NOT_IP, ..."""
    if COMPILED:
        begin = begin & ANYWHERE
    if link == ETHERNET:
        if begin + 14 <= end and raw[begin + 12] == 8 and raw[begin + 13] == 0:
            return begin + 14
        return _behind_ethertype(raw, begin + 12, end)
    if link == LINUX_COOKED:
        return _behind_ethertype(raw, begin + 14, end)
    if link == LINUX_COOKED_V2:
        return _linux_cooked_v2(raw, begin, end)
    if link in (NULL, LOOP):
        return _bsd_loopback(raw, begin, end)
    if link in (RAW, RAW_BSD, RAW_OPENBSD, RAW_IPV4, RAW_IPV6):
        return begin
    return OTHER_LINK


@kernel
def _behind_ethertype(raw: Bytes, at: int, end: int) -> int:
    """Where the IP packet begins if ``at`` is where the EtherType is, behind any number of VLAN tags."""
    while at + 2 <= end:
        ethertype = word(raw, at)
        if ethertype == 0x0800 or ethertype == 0x86DD:
            return at + 2
        if not _is_tag(ethertype):
            return _no_ip(ethertype)
        at += 4
    return UNREADABLE


@kernel
def _is_tag(ethertype: int) -> bool:
    """802.1Q, 802.1ad, and what QinQ used before 802.1ad."""
    return ethertype in (0x8100, 0x88A8, 0x9100)


@kernel
def _no_ip(ethertype: int) -> int:
    return ARP if ethertype == 0x0806 else NOT_IP


@kernel
def _linux_cooked_v2(raw: Bytes, at: int, end: int) -> int:
    """The EtherType is the first field of 20 bytes; VLAN tags follow behind them."""
    if at + 20 > end:
        return UNREADABLE
    ethertype = word(raw, at)
    if ethertype == 0x0800 or ethertype == 0x86DD:
        return at + 20
    if _is_tag(ethertype):
        return _behind_ethertype(raw, at + 22, end)
    return _no_ip(ethertype)


@kernel
def _bsd_loopback(raw: Bytes, at: int, end: int) -> int:
    """Four bytes of address family, in the byte order of whichever machine captured."""
    if at + 4 > end:
        return UNREADABLE
    high = word(raw, at)
    low = word(raw, at + 2)
    if low == 0:
        return at + 4 if _is_ip_family(high // 0x100 + high % 0x100 * 0x100) else NOT_IP
    return at + 4 if high == 0 and _is_ip_family(low) else NOT_IP


@kernel
def _is_ip_family(family: int) -> bool:
    """AF_INET, and AF_INET6 of Linux, Windows and the BSDs."""
    return family in (2, 10, 23, 24, 28, 30)
