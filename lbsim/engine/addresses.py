"""Addresses as small numbers: four 32-bit words are written once, everybody else passes ids around.

Kernel counterpart: ``union nf_inet_addr``; the fold is what ``ip_vs_sh.c`` and friends start hashing from.
"""

from __future__ import annotations

from lbsim.engine.hashing import hash32
from lbsim.engine.lanes import kernel
from lbsim.engine.numbers import IPV4, IPV6, MANY, NEVER_SOURCE, NEVER_TARGET
from lbsim.engine.records import Packet, Tables

__all__ = [
    "intern_address",
    "intern_addresses",
    "oddity",
    "rehash_addresses",
    "set_address",
    "unicast",
    "wanted",
]

OWN = 1  # AddressRow.local of an address of the director


@kernel
def set_address(t: Tables, a: int, family: int, word0: int, word1: int, word2: int, word3: int) -> None:
    """Write the row of address id ``a``.

    Parameters
    ----------
    family : 4 or 6.
    word0 .. word3 : unsigned 32-bit words, first one first on the wire; an IPv4 address is word3 alone.

    Source
    ------
    facts: schedulers.md section 2, fold().
    """
    row = t.addresses[a]
    row.family = family
    row.word0 = word0
    row.word1 = word1
    row.word2 = word2
    row.word3 = word3
    row.fold = word0 ^ word1 ^ word2 ^ word3
    row.odd = oddity(family, word0, word1, word2, word3)


@kernel
def oddity(family: int, word0: int, word1: int, word2: int, word3: int) -> int:
    """AddressRow.odd of an address: what the IP layer knows of it without looking at routes.

    Of IPv4 0.0.0.0 and 127.0.0.0/8, multicast, 255.255.255.255; of IPv6 multicast and ::1. The rest of 0.0.0.0/8,
    240.0.0.0/4 and :: are addresses like others. Broadcast addresses of the director's own networks are not known here.

    Source
    ------
    seen on 6.1.192 and 6.12.117; route.c ip_route_input_slow(), ip6_input.c ip6_rcv_core().
    """
    if family == IPV4:
        if word3 == 0 or word3 >> 24 == 127:
            return NEVER_SOURCE | NEVER_TARGET
        return NEVER_SOURCE | MANY if word3 >> 28 == 0xE or word3 == 0xFFFFFFFF else 0
    if word0 >> 24 == 0xFF:
        return NEVER_SOURCE | MANY
    return NEVER_SOURCE | NEVER_TARGET if word0 == 0 and word1 == 0 and word2 == 0 and word3 == 1 else 0


@kernel
def intern_address(t: Tables, family: int, word0: int, word1: int, word2: int, word3: int) -> int:
    """The id of the address; the same address has the same id. The caller has made room for one more.

    Source
    ------
    lbsim's own.
    """
    bucket = _bucket(word0 ^ word1 ^ word2 ^ word3, t.director[0].address_mask)
    a = t.address_heads[bucket]
    while a != 0:
        row = t.addresses[a]
        if (
            row.word3 == word3
            and row.word2 == word2
            and row.word1 == word1
            and row.word0 == word0
            and row.family == family
        ):
            return a
        a = row.next_same_hash
    t.director[0].addresses_used += 1
    a = t.director[0].addresses_used
    set_address(t, a, family, word0, word1, word2, word3)
    t.addresses[a].next_same_hash = t.address_heads[bucket]
    t.address_heads[bucket] = a
    return a


@kernel
def _bucket(fold: int, mask: int) -> int:
    """Where an address is looked for."""
    mixed = hash32(fold, 32)
    return (mixed ^ (mixed >> 15)) & mask


@kernel
def intern_addresses(
    t: Tables,
    family: list[int],
    word0: list[int],
    word1: list[int],
    word2: list[int],
    word3: list[int],
    ids: list[int],
) -> None:
    """Write the id of each address of the columns into ``ids``. The caller has made room for all of them.

    Source
    ------
    lbsim's own.
    """
    for i in range(len(ids)):
        ids[i] = intern_address(t, family[i], word0[i], word1[i], word2[i], word3[i])


@kernel
def rehash_addresses(t: Tables) -> None:
    """Put all addresses into the (empty) buckets.

    Source
    ------
    lbsim's own.
    """
    for a in range(1, t.director[0].addresses_used + 1):
        row = t.addresses[a]
        bucket = _bucket(row.fold + 0, t.director[0].address_mask)
        row.next_same_hash = t.address_heads[bucket]
        t.address_heads[bucket] = a


@kernel
def unicast(t: Tables, a: int) -> bool:
    """Whether the kernel accepts the address as that of a new destination.

    Refused are 0.0.0.0, 255.255.255.255 and 224.0.0.0/4; for IPv6 multicast, and unless they are the director's own ::,
    IPv4-mapped and link-local ones. Broadcast addresses of the director's own networks are not known here and pass.

    Source
    ------
    facts: schedulers.md section 6.2 (checked live); ip_vs_ctl.c ip_vs_new_dest(), 6.1 and 6.12.
    """
    row = t.addresses[a]
    if row.family == IPV4:
        return row.word3 != 0 and row.word3 != 0xFFFFFFFF and row.word3 >> 28 != 0xE
    assert row.family == IPV6
    if row.word0 >> 24 == 0xFF:
        return False
    if row.local == OWN:
        return True
    if row.word0 == 0 and row.word1 == 0 and row.word2 == 0xFFFF:
        return False
    unspecified = row.word0 == 0 and row.word1 == 0 and row.word2 == 0 and row.word3 == 0
    return not unspecified and row.word0 >> 22 != 0xFE80 >> 6


@kernel
def wanted(p: Packet) -> int:
    """Whose address a packet was sent to that is to be scheduled.

    While an entry is opened for an ICMP error, the packet that it quotes stands in its place, on its way back. But that
    one was sent to the client.

    Source
    ------
    facts: schedulers.md sections 3.10 and 3.12 (checked live); ip_vs_core.c ip_vs_fill_iph_skb_icmp().
    """
    return p.src if p.quote != 0 else p.dst
