"""The timer wheel: when a connection's timer really fires, and who is due at a tick.

Kernel counterpart: kernel/time/timer.c. The wheel has nine levels of 64 slots; a slot of level n covers 8**n ticks.
A timeout is put into the finest level that reaches it and then waits for that slot's end, so it fires up to one slot
late: 900 s at HZ=250 up to 16.4 s late. Which slot depends on the absolute tick.

Of two timers of the same tick the kernel takes the one in the coarser slot first, and of one slot the one that came
into it last. Only for templates and what they control does that matter (:func:`note_turn`), and for whether the trash
finds a destination idle in the very tick in which its last connection goes. Several processors are not modelled.

A packet re-arms its connection's timer, almost always to a later tick. Moving the entry each time would be work for
nothing: the entry stays in its slot, and when the slot's turn comes it is put where it now belongs.
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel
from lbsim.engine.records import Tables

__all__ = [
    "LEVELS",
    "SLOTS",
    "arm",
    "arm_trash",
    "disarm",
    "fire_tick",
    "fires_after_trash",
    "first_due",
    "note_turn",
    "take_due",
]

LEVELS = 9
SLOTS = 64
ORDER_BITS = 48  # of Link.order below the level
TRASH_PERIOD = 60  # seconds between two looks at the trash
COARSEST = 3 * (LEVELS - 1)  # slots of the last level cover 2**COARSEST ticks


@kernel
def fire_tick(expires: int, now: int) -> int:
    """The tick at which a timer fires that is armed at ``now`` for ``expires``.

    At least one tick late, at most one slot of its level.

    Source
    ------
    facts: packet-path.md section 8.3 (checked live to the tick); timer.c calc_wheel_index(), 6.1 and 6.12.
    """
    if expires < now:
        return now
    delta = expires - now
    shift = 0
    while delta >= 63 << shift:
        if shift == COARSEST:
            expires = now + (62 << COARSEST)
            break
        shift += 3
    return ((expires >> shift) + 1) << shift


@kernel
def arm(t: Tables, c: int, expires: int) -> None:
    """Set the timer of connection ``c`` to tick ``expires``; pending or not.

    Invariants
    ----------
    A pending entry waits in a slot whose tick ``queued`` is not after the tick at which its timer fires.

    Source
    ------
    timer.c __mod_timer(): re-arming for the very same tick changes nothing.
    """
    conn = t.conns[c]
    if conn.queued != 0 and conn.expires == expires:
        return
    conn.expires = expires
    conn.armed = t.director[0].now
    if conn.queued == 0:
        _enqueue(t, c, fire_tick(expires, conn.armed))
    elif expires < conn.queued:
        fire = fire_tick(expires, conn.armed)
        if fire < conn.queued:
            disarm(t, c)
            _enqueue(t, c, fire)


@kernel
def note_turn(t: Tables, c: int, expires: int) -> None:
    """Note when, and before which others of that tick, the timer fires that is about to be armed for ``expires``.

    An entry that waits in the slot already keeps its place there. Where nothing was noted when it came there, it was
    there before all that matters.

    Source
    ------
    timer.c __mod_timer(), enqueue_timer(), collect_expired_timers(), expire_timers(), 6.1 and 6.12; checked live.
    """
    director = t.director[0]
    conn = t.conns[c]
    link = t.links[c]
    turn = fire_tick(expires, director.now)
    level = level_of(expires - director.now)
    waits = fire_tick(conn.expires, conn.armed) == turn and level_of(conn.expires - conn.armed) == level
    if conn.queued == 0 or not waits:
        director.turns += 1
        link.turn = turn
        link.order = (level << ORDER_BITS) + director.turns
    elif link.turn != turn or link.order >> ORDER_BITS != level:
        link.turn = turn
        link.order = level << ORDER_BITS


@kernel
def arm_trash(t: Tables) -> None:
    """Set the timer after which the trash is looked at.

    Source
    ------
    facts: schedulers.md section 5.3; ip_vs_ctl.c __ip_vs_del_dest(), ip_vs_dest_trash_expire(), 6.1 and 6.12.
    """
    director = t.director[0]
    period = TRASH_PERIOD * director.hz
    director.turns += 1
    director.trash_fire = fire_tick(director.now + period, director.now)
    director.trash_order = (level_of(period) << ORDER_BITS) + director.turns


@kernel
def fires_after_trash(t: Tables, c: int) -> bool:
    """Whether the timer of an entry, which is due now, fires after that of the trash, which is due now, too.

    Source
    ------
    timer.c collect_expired_timers(), expire_timers(), 6.1 and 6.12; seen on both.
    """
    director = t.director[0]
    conn = t.conns[c]
    link = t.links[c]
    order = link.order if link.turn == director.now else level_of(conn.expires - conn.armed) << ORDER_BITS
    return order < director.trash_order


@kernel
def level_of(ticks: int) -> int:
    """The level of the wheel at which a timer waits that is armed for so many ticks.

    Source
    ------
    facts: packet-path.md section 8.3; timer.c calc_wheel_index(), 6.1 and 6.12.
    """
    level = 0
    while level < LEVELS - 1 and ticks >= 63 << (3 * level):
        level += 1
    return level


@kernel
def disarm(t: Tables, c: int) -> None:
    """Take the entry out of the wheel.

    Source
    ------
    timer.c detach_timer().
    """
    timer = t.timers[c]
    if timer.prev != 0:
        t.timers[timer.prev].next = timer.next
    else:
        t.wheel_heads[timer.slot] = timer.next
    if timer.next != 0:
        t.timers[timer.next].prev = timer.prev
    timer.next = 0
    timer.prev = 0
    t.conns[c].queued = 0


@kernel
def _enqueue(t: Tables, c: int, fire: int) -> None:
    """Put the entry into the slot of tick ``fire``: the finest level that reaches it holds it exactly."""
    timer = t.timers[c]
    director = t.director[0]
    shift = 0
    level = 0
    while fire - director.now >= SLOTS << shift:
        shift += 3
        level += SLOTS
    slot = level + ((fire >> shift) & (SLOTS - 1))
    first = t.wheel_heads[slot]
    timer.slot = slot
    timer.next = first
    if first != 0:
        t.timers[first].prev = c
    t.conns[c].queued = fire
    t.wheel_heads[slot] = c
    if director.wheel_next == 0 or fire < director.wheel_next:
        director.wheel_next = fire


@kernel
def take_due(t: Tables) -> int:
    """One connection whose timer fires at this very tick, taken out of the wheel; 0 if there is none left.

    Entries that only waited here on their way are put where they belong now. When the tick has nothing left, the
    wheel looks up when it has work next.

    Source
    ------
    timer.c collect_expired_timers(), expire_timers().
    """
    director = t.director[0]
    now = director.now
    shift = 0
    for level in range(LEVELS):
        if now & ((1 << shift) - 1) != 0:
            break  # only at the end of a slot of this level does it, or a coarser one, have its turn
        slot = level * SLOTS + ((now >> shift) & (SLOTS - 1))
        c = t.wheel_heads[slot]
        while c != 0:
            following = t.timers[c].next
            disarm(t, c)
            fire = fire_tick(t.conns[c].expires, t.conns[c].armed)
            if fire <= now:
                return c
            _enqueue(t, c, fire)
            c = following
        shift += 3
    director.wheel_next = first_due(t)
    return 0


@kernel
def first_due(t: Tables) -> int:
    """The earliest tick after now at which a slot has its turn; 0 if the wheel is empty.

    Source
    ------
    timer.c __next_timer_interrupt(), without its bitmap.
    """
    now = t.director[0].now
    best = 0
    shift = 0
    for level in range(LEVELS):
        turn = now >> shift
        for ahead in range(1, SLOTS + 1):
            if best != 0 and (turn + ahead) << shift >= best:
                break
            if t.wheel_heads[level * SLOTS + ((turn + ahead) & (SLOTS - 1))] != 0:
                best = (turn + ahead) << shift
                break
        shift += 3
    return best
