"""twos, the power of two choices: two destinations are drawn by lot, the less loaded one gets the connection.

Kernel counterpart: ip_vs_twos.c. The kernel draws random numbers that nobody can repeat; here they come from the run's
seed. When a run is compared with a kernel's, they are made to fall as they did there (``lbsim.kernel.lots``).
"""

from __future__ import annotations

from lbsim.engine.integers import signed32
from lbsim.engine.lanes import kernel, seldom
from lbsim.engine.random_numbers import draw
from lbsim.engine.records import Packet, Tables
from lbsim.engine.schedulers.lc import load
from lbsim.engine.schedulers.registry import register


@seldom
def schedule(t: Tables, s: int, p: Packet) -> int:
    """Of two usable destinations, each drawn by weight, the less loaded one.

    Source
    ------
    facts: schedulers.md section 3.14; ip_vs_twos.c ip_vs_twos_schedule(), 6.1 and 6.12.

    Deviates
    --------
    Random numbers are those of a seed.
    """
    total = 0
    d = t.services[s].first
    while d != 0:
        dest = t.dests[d]
        if dest.weight > 0 and dest.overload == 0:
            total += dest.weight
        d = dest.next
    if total == 0:
        return 0
    total &= 0xFFFFFFFF
    first = drawn(t, s, draw(t, total + 1))
    second = drawn(t, s, draw(t, total + 1))
    return less_loaded(t, first, second)


@kernel
def less_loaded(t: Tables, first: int, second: int) -> int:
    """Of two destinations the one with the smaller load / weight, the first of equals.

    The products wrap at 2**31 as the kernel's do: with weight 65535 from a load of 32769 on.

    Source
    ------
    facts: schedulers.md section 3.14; ip_vs_twos.c ip_vs_twos_schedule(), 6.1 and 6.12.
    """
    one = t.dests[first]
    other = t.dests[second]
    if signed32(other.weight * signed32(load(t, one))) > signed32(one.weight * signed32(load(t, other))):
        return second
    return first


@kernel
def drawn(t: Tables, s: int, lot: int) -> int:
    """The usable destination at which the weights, added up in list order, reach the number.

    The first one also has number 0: it is drawn a little more often than its weight says.

    Source
    ------
    facts: schedulers.md section 3.14; ip_vs_twos.c ip_vs_twos_schedule(), 6.1 and 6.12.
    """
    d = t.services[s].first
    while t.dests[d].weight == 0 or t.dests[d].overload != 0 or lot > t.dests[d].weight:
        if t.dests[d].weight > 0 and t.dests[d].overload == 0:
            lot -= t.dests[d].weight
        d = t.dests[d].next
    return d


register("twos", schedule=schedule)
