"""Thresholds of connections: when a destination is full, and when it takes connections again.

Kernel counterpart: ip_vs.h and ip_vs_ctl.c. A destination is full from the connection on that makes it ``upper`` many;
that one still gets in. It takes connections again once it has fewer than :func:`relief`. Kernels before August 2026
(``Director.late_thresholds``) give the same answers as long as nobody edits thresholds: an edit there sets nothing.
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel
from lbsim.engine.records import Dest, Tables

__all__ = ["filled", "relief", "set_thresholds", "vacated"]


@kernel
def relief(dest: Dest) -> int:
    """How many connections an overloaded destination must be below to get new ones: its lower threshold, or three
    quarters of the upper one, rounded up.

    Source
    ------
    facts: schedulers.md section 1.5; ip_vs.h ip_vs_dest_update_overload(), 6.1.192 and 6.12.117.
    """
    return dest.lower if dest.lower != 0 else dest.upper - (dest.upper >> 2)


@kernel
def filled(t: Tables, dest: Dest) -> None:
    """An entry was bound to a destination that has an upper threshold. A template is none of ``total``: only kernels
    before August 2026 may see something new then.

    Source
    ------
    facts: schedulers.md section 1.5; ip_vs_conn.c ip_vs_bind_dest(), 6.1.192 and 6.12.117, and before August 2026.
    """
    if dest.total == dest.upper or (dest.total > dest.upper and t.director[0].late_thresholds != 0):
        dest.overload = 1


@kernel
def vacated(t: Tables, dest: Dest) -> None:
    """An entry of a destination that has an upper threshold is gone; of templates the same holds.

    Source
    ------
    facts: schedulers.md section 1.5; ip_vs_conn.c ip_vs_unbind_dest(), 6.1.192 and 6.12.117, and before August 2026.
    """
    if t.director[0].late_thresholds != 0:
        if dest.total < relief(dest):
            dest.overload = 0
    elif dest.total + 1 == relief(dest):
        dest.overload = 1 if dest.total >= dest.upper else 0


@kernel
def set_thresholds(t: Tables, dest: Dest, upper: int, lower: int) -> None:
    """Give a destination new thresholds; the same ones as before leave its overload flag alone.

    Source
    ------
    facts: schedulers.md section 1.5, packet-path.md section 6; ip_vs_ctl.c __ip_vs_update_dest(), 6.1.192 and 6.12.117,
    and before August 2026.
    """
    if dest.upper == upper and dest.lower == lower:
        return
    raised = upper == 0 or upper > dest.upper
    dest.upper = upper
    dest.lower = lower
    if t.director[0].late_thresholds != 0:
        if raised:
            dest.overload = 0
    elif upper == 0 or dest.total < relief(dest):
        dest.overload = 0
    elif dest.total >= upper:
        dest.overload = 1
