"""drop_packet: of the packets that would open a connection, each so many-th is dropped.

Kernel counterpart: ip_vs.h ip_vs_todrop(), ip_vs_ctl.c update_defense_level().
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel
from lbsim.engine.records import Tables
from lbsim.engine.timers import fire_tick

__all__ = ["set_am_droprate", "take_over", "to_drop"]

DEFENCE_ON = 3  # of drop_packet; 1 and 2 are on only when memory runs short, which it never does here


@kernel
def to_drop(t: Tables) -> bool:
    """Whether drop_packet drops this packet, that would have opened a connection: the first one and then each n-th.

    While it is off nothing is counted: on again, it goes on where it was.

    Source
    ------
    facts: packet-path.md section 20 (checked live, as is the change of n in mid-run); ip_vs.h ip_vs_todrop().
    """
    director = t.director[0]
    if director.drop_packet != DEFENCE_ON:
        return False
    every = rate(t)
    if every == 0:
        return False
    director.drop_counter -= 1
    if director.drop_counter > 0:
        return False
    director.drop_counter = every
    director.dropped_every = every
    return True


@kernel
def rate(t: Tables) -> int:
    """The n of which each n-th packet is dropped: am_droprate, as soon as the kernel has taken that over.

    Source
    ------
    facts: packet-path.md section 20; ip_vs_ctl.c update_defense_level().
    """
    director = t.director[0]
    return director.am_droprate if director.now >= director.droprate_due else director.old_droprate


@kernel
def take_over(t: Tables) -> None:
    """One of the defences (drop_entry, drop_packet, secure_tcp) got another value: am_droprate is taken over at once.

    Source
    ------
    facts: packet-path.md section 20; ip_vs_ctl.c proc_do_defense_mode() (that the same value does nothing: live).
    """
    t.director[0].droprate_due = 0


@kernel
def set_am_droprate(t: Tables, value: int) -> None:
    """A new value of am_droprate: the kernel takes it over when it looks at its memory next, once a second.

    That is a timer of a second, which the timer wheel rounds up. In which turn it is, nobody can tell; here it fires on
    the multiples of that.

    Source
    ------
    facts: packet-path.md section 20; ip_vs_ctl.c defense_work_handler().
    """
    director = t.director[0]
    director.old_droprate = rate(t)
    director.am_droprate = value
    every = fire_tick(director.hz, 0)
    director.droprate_due = (director.now // every + 1) * every
