"""Counters as the tools show them: a copy that is taken every two seconds, and rates made of two copies.

Packets count in the rows of services and destinations. Nobody is shown these numbers: listings have what the estimator
copied last, less what a command to zero them took as zero. So numbers lag, and traffic between a copy and the command
shows up after it.

Kernel counterpart: ip_vs_est.c. Kernels before 6.2 copy everything in one timer (``Director.common_copy``), later ones
give each service, each destination and the total a turn of its own.

Packets count, nothing else does: between two packets there is nothing to copy but once. So nothing is done per packet,
a long silence takes no longer than the rates need to fall to 0, and runs need not be interleaved with other timers.

Choices: in which turn a kernel puts a row cannot be told; here it is the one that comes two seconds after the row was
added. The whole timer of earlier kernels starts with the director. ``Director.copy_age`` shifts both.
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel, seldom
from lbsim.engine.records import Copy, Tables
from lbsim.engine.timers import fire_tick

__all__ = [
    "AT_ONCE",
    "NEVER",
    "PERIODIC",
    "TOTAL",
    "bytes_per_second",
    "catch_up",
    "new_copy",
    "per_second",
    "period",
    "put_off_copies",
    "set_run_estimation",
    "start_copies",
    "start_copy",
    "start_total",
    "stop_copy",
    "take",
    "zero",
]

# Director.copying
NEVER = 0  # run_estimation=0: all stays as it was
PERIODIC = 1  # as a kernel does
AT_ONCE = 2  # whoever looks sees the numbers of that moment: for runs in which nobody looks before their end

TOTAL = 1  # the row of all services together
SECONDS = 2  # between two copies, which rates take for granted

# A rate is kept as a number of 1/1024 (connections, packets) or 1/32 (bytes) per second; half of it, as of two seconds
COUNT_SHIFT = 9
BYTES_SHIFT = 4


@kernel
def period(t: Tables) -> int:
    """Ticks between two copies: two seconds, which the timer wheel rounds up in kernels with one timer for all.

    Source
    ------
    facts: packet-path.md section 18.2 (checked live); ip_vs_est.c estimation_timer(), 6.1; ip_vs_estimation_kthread(),
    6.12.
    """
    director = t.director[0]
    length = SECONDS * director.hz
    return fire_tick(length, 0) if director.common_copy != 0 else length


@kernel
def set_run_estimation(t: Tables, value: int) -> None:
    """A new value of run_estimation: 0 lets what is shown stay as it is, any other goes on from there.

    One timer for all goes on all the time, and only does nothing. Turns stand still, and all are later afterwards.

    Source
    ------
    facts: packet-path.md section 18.2 (checked live, the shift of turns too); ip_vs_est.c estimation_timer(), 6.1;
    ip_vs_est_reload_start(), 6.12.
    """
    director = t.director[0]
    if value == 0 and director.copying == PERIODIC:
        director.copying = NEVER
        director.copying_stopped = director.now
    elif value != 0 and director.copying == NEVER:
        director.copying = PERIODIC
        if director.common_copy == 0:
            put_off_copies(t, director.now - director.copying_stopped)


@kernel
def put_off_copies(t: Tables, ticks: int) -> None:
    """Take every copy so many ticks later.

    Source
    ------
    lbsim's own.
    """
    director = t.director[0]
    director.copy_fire = 0
    for e in range(TOTAL, director.copies_used + 1):
        copy = t.copies[e]
        if copy.fire != 0:
            copy.fire += ticks
            if director.copy_fire == 0 or copy.fire < director.copy_fire:
                director.copy_fire = copy.fire


@kernel
def start_copies(t: Tables) -> None:
    """Begin with the row of the total. One timer for all runs from now on, turns only once there is a service.

    Source
    ------
    facts: packet-path.md section 18.2; ip_vs_est.c ip_vs_estimator_net_init(), 6.1 and 6.12.
    """
    director = t.director[0]
    director.copies_used = TOTAL
    director.copying_stopped = director.now
    if director.copying != AT_ONCE and director.common_copy != 0:
        made = director.now - director.copy_age
        first = fire_tick(made + SECONDS * director.hz, made)
        every = period(t)
        if first <= director.now:
            first += ((director.now - first) // every + 1) * every
        t.copies[TOTAL].fire = first
        director.copy_fire = first


@kernel
def new_copy(t: Tables, s: int, d: int) -> int:
    """A row for the copies of service ``s`` or destination ``d`` (the other is 0).

    Source
    ------
    lbsim's own.
    """
    director = t.director[0]
    director.copies_used += 1
    e = director.copies_used
    t.copies[e].service = s
    t.copies[e].dest = d
    return e


@kernel
def start_copy(t: Tables, e: int) -> None:
    """Copy row ``e`` from now on.

    Source
    ------
    facts: packet-path.md section 18.2; ip_vs_est.c ip_vs_start_estimator(), 6.1 and 6.12.
    """
    director = t.director[0]
    if director.copying == AT_ONCE:
        return
    fire = t.copies[TOTAL].fire
    if director.common_copy == 0:
        every = period(t)
        since = director.copying_stopped if director.copying == NEVER else director.now
        fire = since + every - director.copy_age % every
    t.copies[e].fire = fire
    if director.copy_fire == 0 or fire < director.copy_fire:
        director.copy_fire = fire


@kernel
def start_total(t: Tables) -> None:
    """Copy the total, now that there is a service; that goes on when there is none any more.

    Source
    ------
    facts: packet-path.md section 18.2; ip_vs_ctl.c ip_vs_add_service(), 6.12.
    """
    if t.copies[TOTAL].fire == 0:
        start_copy(t, TOTAL)


@kernel
def stop_copy(t: Tables, e: int) -> None:
    """Copy row ``e`` no longer: it was removed. What was copied, and the rates, stay as they are.

    Source
    ------
    facts: schedulers.md section 5.3; ip_vs_est.c ip_vs_stop_estimator(), 6.1 and 6.12.
    """
    t.copies[e].fire = 0


@seldom
def catch_up(t: Tables, tick: int) -> None:
    """Take the copies that are due until ``tick``; no packet was received since the last call.

    When a run finds that nothing was counted and all rates are 0, so will the following ones: they are left out.

    Source
    ------
    facts: packet-path.md section 18.2; ip_vs_est.c estimation_timer(), 6.1; ip_vs_estimation_kthread(), 6.12.
    """
    director = t.director[0]
    every = period(t)
    first = 0
    if director.copying == NEVER and director.common_copy == 0:
        director.copy_fire = 0
        return
    for e in range(TOTAL, director.copies_used + 1):
        copy = t.copies[e]
        if copy.fire != 0:
            while copy.fire <= tick:
                copy.fire += every
                if (director.copying == NEVER or not take(t, e)) and copy.fire <= tick:
                    copy.fire += ((tick - copy.fire) // every + 1) * every
            if first == 0 or copy.fire < first:
                first = copy.fire
    director.copy_fire = first


@kernel
def take(t: Tables, e: int) -> bool:
    """Copy row ``e`` and bring its rates up to date; whether there was anything to do.

    The total is the sum of all services, also of those that are gone: what counts for one counts for the other.

    Source
    ------
    facts: packet-path.md sections 18.1 and 18.3; ip_vs_est.c ip_vs_read_cpu_stats(), 6.1 and 6.12.
    """
    copy = t.copies[e]
    if copy.dest != 0:
        dest = t.dests[copy.dest]
        return _note(copy, dest.conns, dest.in_packets, dest.out_packets, dest.in_bytes, dest.out_bytes)
    if copy.service != 0:
        service = t.services[copy.service]
        return _note(copy, service.conns, service.in_packets, service.out_packets, service.in_bytes, service.out_bytes)
    conns = 0
    in_packets = 0
    out_packets = 0
    in_bytes = 0
    out_bytes = 0
    for s in range(1, t.director[0].services_used + 1):
        service = t.services[s]
        conns += service.conns
        in_packets += service.in_packets
        out_packets += service.out_packets
        in_bytes += service.in_bytes
        out_bytes += service.out_bytes
    return _note(copy, conns, in_packets, out_packets, in_bytes, out_bytes)


@kernel
def _note(copy: Copy, conns: int, in_packets: int, out_packets: int, in_bytes: int, out_bytes: int) -> bool:
    """Write down what is counted now; whether that, or a rate, changed.

    Source
    ------
    facts: packet-path.md section 18.3; ip_vs_est.c estimation_timer(), 6.1; ip_vs_chain_estimation(), 6.12.
    """
    counted = (conns - copy.conns) | (in_packets - copy.in_packets) | (out_packets - copy.out_packets)
    rates = copy.conns_rate | copy.in_packets_rate | copy.out_packets_rate | copy.in_bytes_rate | copy.out_bytes_rate
    if counted == 0 and rates == 0:
        return False
    copy.conns_rate = _moved(copy.conns_rate, (conns - copy.conns) << COUNT_SHIFT)
    copy.in_packets_rate = _moved(copy.in_packets_rate, (in_packets - copy.in_packets) << COUNT_SHIFT)
    copy.out_packets_rate = _moved(copy.out_packets_rate, (out_packets - copy.out_packets) << COUNT_SHIFT)
    copy.in_bytes_rate = _moved(copy.in_bytes_rate, (in_bytes - copy.in_bytes) << BYTES_SHIFT)
    copy.out_bytes_rate = _moved(copy.out_bytes_rate, (out_bytes - copy.out_bytes) << BYTES_SHIFT)
    copy.conns = conns
    copy.in_packets = in_packets
    copy.out_packets = out_packets
    copy.in_bytes = in_bytes
    copy.out_bytes = out_bytes
    return True


@kernel
def _moved(rate: int, seen: int) -> int:
    """A rate after two seconds with ``seen``: a quarter of the way there, rounded down.

    Source
    ------
    facts: packet-path.md section 18.3; ip_vs_est.c, 6.1 and 6.12.
    """
    if seen >= rate:
        return rate + ((seen - rate) >> 2)
    return rate - ((rate - seen + 3) >> 2)


@kernel
def per_second(rate: int) -> int:
    """A rate of connections or packets as it is shown.

    Source
    ------
    facts: packet-path.md section 18.3; ip_vs_est.c ip_vs_read_estimator(), 6.1 and 6.12.
    """
    return (rate + 511) >> 10


@kernel
def bytes_per_second(rate: int) -> int:
    """A rate of bytes as it is shown.

    Source
    ------
    facts: packet-path.md section 18.3; ip_vs_est.c ip_vs_read_estimator(), 6.1 and 6.12.
    """
    return (rate + 15) >> 5


@kernel
def zero(t: Tables, e: int) -> None:
    """Let what is shown of row ``e`` begin anew from what was copied last.

    Source
    ------
    facts: packet-path.md section 18.2, schedulers.md section 4.3; ip_vs_ctl.c ip_vs_zero_stats(), 6.1 and 6.12.
    """
    if t.director[0].copying == AT_ONCE:
        take(t, e)
    copy = t.copies[e]
    copy.zero_conns = copy.conns
    copy.zero_in_packets = copy.in_packets
    copy.zero_out_packets = copy.out_packets
    copy.zero_in_bytes = copy.in_bytes
    copy.zero_out_bytes = copy.out_bytes
    copy.conns_rate = 0
    copy.in_packets_rate = 0
    copy.out_packets_rate = 0
    copy.in_bytes_rate = 0
    copy.out_bytes_rate = 0
