"""mh, Maglev hashing: the client's address decides, through a table in which few slots move if destinations change.

Kernel counterpart: ip_vs_mh.c (4093 slots, the build's default; SipHash as on 64-bit machines). Each destination has
an order of its own in which it wants the slots; they take turns, each as many slots in a row as its weight. The weight
that counts is the last one that was not 0: a quiesced destination keeps its slots, its clients are refused unless
mh-fallback is set. One that was added with weight 0 has none.
"""

from __future__ import annotations

from lbsim.engine.hashing import siphash
from lbsim.engine.integers import gcd
from lbsim.engine.lanes import kernel, seldom
from lbsim.engine.numbers import IPV4, MH_FALLBACK, MH_PORT
from lbsim.engine.records import Dest, Packet, Tables
from lbsim.engine.schedulers.registry import register
from lbsim.engine.schedulers.sh import usable

SLOTS = 4093  # a prime
TURN_BITS = 6  # turns have at most so many bits
PLACE_KEY = 2654435761
SKIP_KEY = 2654446892
EINVAL = -22


@kernel
def init_service(t: Tables, s: int) -> int:
    """Give the service a table of slots (a service keeps its own) and fill it; an error with too many destinations.

    The caller has made room for 4093 more slots.

    Source
    ------
    facts: schedulers.md sections 1.6 and 3.11; ip_vs_mh.c ip_vs_mh_init_svc(), 6.1 and 6.12.
    """
    service = t.services[s]
    if service.mh_slots == 0:
        t.director[0].mh_slots_used += SLOTS
        service.mh_slots = t.director[0].mh_slots_used
    return fill(t, s)


@kernel
def dest_changed(t: Tables, s: int, d: int) -> None:
    """Fill the slots anew after any change of a destination; with too many of them all stays as it was.

    Source
    ------
    facts: schedulers.md section 3.11; ip_vs_mh.c ip_vs_mh_dest_changed(), 6.1 and 6.12.
    """
    fill(t, s)


@seldom
def fill(t: Tables, s: int) -> int:
    """Let the destinations take slots in turns until all are taken; an error if there are more of them than slots.

    Source
    ------
    facts: schedulers.md section 3.11; ip_vs_mh.c ip_vs_mh_reassign(), ip_vs_mh_populate(), 6.1 and 6.12.
    """
    service = t.services[s]
    count = 0
    divisor = 0
    largest = 0
    d = service.first
    while d != 0:
        dest = t.dests[d]
        count += 1
        divisor = gcd(divisor, dest.last_weight)
        if dest.last_weight > largest:
            largest = dest.last_weight
        d = dest.next
    if count > SLOTS:
        return EINVAL
    for i in range(SLOTS):
        t.mh_slots[service.mh_slots + i] = 0
    if largest == 0:
        return 0
    shift = shift_for(largest // divisor)
    start(t, s)
    left = SLOTS
    while left > 0:
        d = service.first
        while d != 0 and left > 0:
            dest = t.dests[d]
            if dest.last_weight > 0:
                turns = min(max((dest.last_weight // divisor) >> shift, 1), left)
                take(t, service.mh_slots, d, turns)
                left -= turns
            d = dest.next
    return 0


@kernel
def shift_for(largest: int) -> int:
    """How many low bits weights lose, so that the largest one makes no more than 63 turns.

    Source
    ------
    facts: schedulers.md section 3.11; ip_vs_mh.c ip_vs_mh_shift_weight(), 6.1 and 6.12.
    """
    shift = 0
    while largest >> shift >= 1 << TURN_BITS:
        shift += 1
    return shift


@kernel
def start(t: Tables, s: int) -> None:
    """Note for each destination where it begins in the table, and by how much it goes on.

    Source
    ------
    facts: schedulers.md section 3.11; ip_vs_mh.c ip_vs_mh_permutate(), 6.1 and 6.12.
    """
    service = t.services[s]
    d = service.first
    while d != 0:
        dest = t.dests[d]
        key = (folded(t, dest, service.family) + dest.port) & 0xFFFFFFFF
        dest.mh_slot = siphash(key, PLACE_KEY) % SLOTS
        dest.mh_skip = siphash(key, SKIP_KEY) % (SLOTS - 1) + 1
        d = dest.next


@kernel
def folded(t: Tables, dest: Dest, family: int) -> int:
    """The destination's address as 32 bits, folded as one of the service's family: an IPv4 service sees only the first
    four bytes of an IPv6 address.

    Source
    ------
    facts: schedulers.md sections 3.11 and 5.5; ip_vs_mh.c ip_vs_mh_hashkey(), read, not run.
    """
    address = t.addresses[dest.addr]
    if family == IPV4 and address.family != IPV4:
        return address.word0 + 0
    return address.fold + 0


@kernel
def take(t: Tables, slots: int, d: int, turns: int) -> None:
    """Give the destination its next slots; the caller knows that so many are free.

    Source
    ------
    facts: schedulers.md section 3.11; ip_vs_mh.c ip_vs_mh_populate(), 6.1 and 6.12.
    """
    dest = t.dests[d]
    for _ in range(turns):
        while t.mh_slots[slots + dest.mh_slot] != 0:
            dest.mh_slot = (dest.mh_slot + dest.mh_skip) % SLOTS
        t.mh_slots[slots + dest.mh_slot] = d


@kernel
def hash_key(t: Tables, s: int, p: Packet) -> int:
    """What is hashed: the client's address folded to 32 bits, with mh-port its port added.

    Source
    ------
    facts: schedulers.md section 3.11; ip_vs_mh.c ip_vs_mh_get_port(), ip_vs_mh_hashkey(), 6.1 and 6.12.
    """
    port = p.sport if t.services[s].sched_flags & MH_PORT != 0 else 0
    return t.addresses[p.src].fold + port


@kernel
def slot_of(key: int) -> int:
    """The slot that belongs to what is hashed.

    Source
    ------
    facts: schedulers.md section 3.11; ip_vs_mh.c ip_vs_mh_hashkey(), 6.1 and 6.12.
    """
    return siphash(key & 0xFFFFFFFF, PLACE_KEY) % SLOTS


@kernel
def stand_in(key: int, slot: int, i: int) -> int:
    """The slot that is tried as number ``i`` in place of the client's own.

    Source
    ------
    facts: schedulers.md section 3.11; ip_vs_mh.c ip_vs_mh_get_fallback(), 6.1 and 6.12.
    """
    return slot_of(key + (slot + i) % SLOTS)


@seldom
def schedule(t: Tables, s: int, p: Packet) -> int:
    """The destination of the client's slot, or 0 if it takes no connections and nobody stands in for it.

    The stand-ins (mh-fallback) are found by hashing on, each with a larger number added; an empty slot ends the search.

    Source
    ------
    facts: schedulers.md section 3.11; ip_vs_mh.c ip_vs_mh_schedule(), ip_vs_mh_get_fallback(), 6.1 and 6.12.
    """
    service = t.services[s]
    key = hash_key(t, s, p)
    slot = slot_of(key)
    d = t.mh_slots[service.mh_slots + slot]
    if d == 0 or usable(t, d):
        return d
    if service.sched_flags & MH_FALLBACK != 0:
        for i in range(SLOTS):
            d = t.mh_slots[service.mh_slots + stand_in(key, slot, i)]
            if d == 0 or usable(t, d):
                return d
    return 0


register(
    "mh",
    init_service=init_service,
    add_dest=dest_changed,
    del_dest=dest_changed,
    upd_dest=dest_changed,
    schedule=schedule,
)
