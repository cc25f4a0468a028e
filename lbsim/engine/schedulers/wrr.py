"""wrr, weighted round robin: laps over the list, each asks for a smaller weight than the one before.

Kernel counterpart: ip_vs_wrr.c. A service that was built by adding destinations one by one starts with the lap of the
smallest weight: the first destination sets it, and adding others leaves it (``wrr-w00`` of the recorded cases).
"""

from __future__ import annotations

from lbsim.engine.integers import gcd
from lbsim.engine.lanes import kernel
from lbsim.engine.records import Packet, Tables
from lbsim.engine.schedulers.registry import register


@kernel
def init_service(t: Tables, s: int) -> int:
    """Start before the head of the list, with the highest lap.

    Source
    ------
    facts: schedulers.md section 3.2; ip_vs_wrr.c ip_vs_wrr_init_svc(), 6.1 and 6.12.
    """
    plan_laps(t, s)
    t.services[s].lap = t.services[s].top_lap
    return 0


@kernel
def plan_laps(t: Tables, s: int) -> None:
    """Compute the first lap and the step from the weights, and go back before the head of the list.

    Laps end with 1: the step is what all weights are multiples of.

    Source
    ------
    facts: schedulers.md section 3.2; ip_vs_wrr.c ip_vs_wrr_gcd_weight(), ip_vs_wrr_max_weight(), 6.1 and 6.12.
    """
    service = t.services[s]
    step = 0
    largest = 0
    d = service.first
    while d != 0:
        weight = t.dests[d].weight
        step = gcd(step, weight)
        if weight > largest:
            largest = weight
        d = t.dests[d].next
    if step == 0:
        step = 1
    service.cursor = 0
    service.lap_step = step
    service.top_lap = largest - (step - 1)


@kernel
def dest_changed(t: Tables, s: int, d: int) -> None:
    """After any change of a destination: begin at the head again, with the lap that was on if there still is such.

    Source
    ------
    facts: schedulers.md section 3.2; ip_vs_wrr.c ip_vs_wrr_dest_changed(), 6.1 and 6.12.
    """
    plan_laps(t, s)
    service = t.services[s]
    if service.lap > service.top_lap or service.lap == 0:
        service.lap = service.top_lap
    elif service.lap_step > 1:
        service.lap = service.lap // service.lap_step * service.lap_step + 1


@kernel
def schedule(t: Tables, s: int, p: Packet) -> int:
    """The next usable destination whose weight is enough for this lap; 0 if no lap has one.

    A failed search goes through all laps once and leaves cursor and lap where it stopped.

    Source
    ------
    facts: schedulers.md section 3.2; ip_vs_wrr.c ip_vs_wrr_schedule(), 6.1 and 6.12.
    """
    service = t.services[s]
    if service.top_lap == 0:
        return 0
    start = service.cursor
    d = t.dests[start].next if start != 0 else service.first
    give_up_after = 0
    last_lap = False
    wrapped = False
    while True:
        while d != 0:
            dest = t.dests[d]
            if dest.overload == 0 and dest.weight >= service.lap:
                service.cursor = d
                return d
            if d == give_up_after:
                service.cursor = d
                return 0
            d = dest.next
        d = service.first
        service.lap -= service.lap_step
        if service.lap <= 0:
            service.lap = service.top_lap
            if last_lap or start == 0:
                service.cursor = 0
                return 0
            wrapped = True
        last_lap = service.lap <= service.lap_step
        if last_lap and wrapped:
            give_up_after = start


register(
    "wrr",
    init_service=init_service,
    add_dest=dest_changed,
    del_dest=dest_changed,
    upd_dest=dest_changed,
    schedule=schedule,
)
