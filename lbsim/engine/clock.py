"""The clock of a director: it moves to a packet's tick, and every timer that is due until then fires.

Kernel counterpart: timer.c (and ip_vs_conn.c, ip_vs_ctl.c, ip_vs_est.c for what the timers do).
"""

from __future__ import annotations

from lbsim.engine.conntable import expire, sweep_removed
from lbsim.engine.destinations import clean_trash
from lbsim.engine.estimator import catch_up
from lbsim.engine.lanes import kernel
from lbsim.engine.numbers import CONTROLS
from lbsim.engine.records import Tables
from lbsim.engine.schedulers import run_timers
from lbsim.engine.timers import take_due

__all__ = ["advance"]


@kernel
def advance(t: Tables, tick: int) -> None:
    """Move the clock to ``tick``; every timer that is due until then fires, in the order of ticks.

    Timers of a tick fire before packets of that tick. The one that copies counters sees nothing of what the others do:
    all its runs come first.

    Source
    ------
    facts: packet-path.md section 8.3; timer.c run_timer_softirq().
    """
    director = t.director[0]
    if director.copy_fire != 0 and director.copy_fire <= tick:
        catch_up(t, tick)
    due = next_event(t)
    while due != 0 and due <= tick:
        if due > director.now:
            director.now = due
        if director.wheel_next != 0 and director.wheel_next <= director.now:
            expire_due(t)
        if director.sweep_fire != 0 and director.sweep_fire <= director.now:
            director.sweep_fire = 0
            sweep_removed(t)
        if director.trash_fire != 0 and director.trash_fire <= director.now:
            clean_trash(t)
        if director.scheduler_fire != 0 and director.scheduler_fire <= director.now:
            run_timers(t)
        due = next_event(t)
    if tick > director.now:
        director.now = tick


@kernel
def expire_due(t: Tables) -> None:
    """Let every timer of this tick fire; those of templates that control others after those of the others, which note
    at their template if the kernel's order is another one.

    Source
    ------
    facts: packet-path.md section 8.2; timer.c expire_timers(), 6.1 and 6.12.
    """
    later = 0
    c = take_due(t)
    while c != 0:
        if t.conns[c].marks & CONTROLS != 0:
            t.timers[c].next = later
            later = c
        else:
            expire(t, c)
        c = take_due(t)
    while later != 0:
        following = t.timers[later].next
        t.timers[later].next = 0
        expire(t, later)
        later = following


@kernel
def next_event(t: Tables) -> int:
    """The next tick at which a timer may fire that changes anything but copies of counters; 0 if none is pending.

    Source
    ------
    lbsim's own.
    """
    director = t.director[0]
    due = director.wheel_next
    if director.sweep_fire != 0 and (due == 0 or director.sweep_fire < due):
        due = director.sweep_fire
    if director.trash_fire != 0 and (due == 0 or director.trash_fire < due):
        due = director.trash_fire
    if director.scheduler_fire != 0 and (due == 0 or director.scheduler_fire < due):
        due = director.scheduler_fire
    return due
