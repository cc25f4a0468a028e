"""Timers of schedulers: one for each service.

Kernel counterpart: ``struct timer_list`` in the private state of a scheduler (lblc and lblcr have one).
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel
from lbsim.engine.records import Tables
from lbsim.engine.timers import fire_tick

__all__ = ["first_scheduler_timer", "set_timer", "stop_timer"]


@kernel
def set_timer(t: Tables, s: int, expires: int) -> None:
    """Let the scheduler of service ``s`` be called (its hook ``timer_fired``) when the wheel reaches tick ``expires``.

    Source
    ------
    facts: packet-path.md section 8.3; timer.c mod_timer().
    """
    director = t.director[0]
    service = t.services[s]
    service.timer_fire = fire_tick(expires, director.now)
    if director.scheduler_fire == 0 or service.timer_fire < director.scheduler_fire:
        director.scheduler_fire = service.timer_fire


@kernel
def stop_timer(t: Tables, s: int) -> None:
    """Let the timer of service ``s`` not fire.

    Source
    ------
    timer.c timer_shutdown_sync().
    """
    t.services[s].timer_fire = 0


@kernel
def first_scheduler_timer(t: Tables) -> int:
    """The earliest tick at which a scheduler's timer fires; 0 if none is pending.

    Source
    ------
    lbsim's own.
    """
    first = 0
    for s in range(1, t.director[0].services_used + 1):
        fire = t.services[s].timer_fire
        if fire != 0 and (first == 0 or fire < first):
            first = fire
    return first
