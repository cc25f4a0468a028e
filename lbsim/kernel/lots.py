"""The lots of twos: a kernel's are never drawn again, so they are found in where its packets went.

Before a packet is scheduled the engine's random numbers are set so that it picks what the kernel picked; all else is
compared as ever. What twos can never pick is a difference by itself. Whether the kernel picked the rest as often as it
should is a question of chance: the exact chances of every pick are known, and sums of what came more often than was
to be expected stay within bounds (D. A. Freedman: On Tail Probabilities for Martingales, 1975).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from ipaddress import ip_address
from math import exp
from typing import NamedTuple

from lbsim.engine.numbers import IN, OWN
from lbsim.engine.records import Outcome, Tables
from lbsim.engine.records import Packet as Row
from lbsim.engine.schedulers import NUMBERS, twos
from lbsim.engine.schedulers.lc import load
from lbsim.engine.services import find_service
from lbsim.host import EngineHost
from lbsim.kernel.job import CLIENT, Command, Job, Observation, Packet
from lbsim.model.config import AdminCommand

__all__ = ["LEAST_LOADED", "LeadingLots", "Lots", "chances", "has_lots", "likelihood"]

LEAST_LOADED = "one with the least load per weight"
_STRANGE = 1e-7  # what is less likely is no chance: one false alarm in millions of scenarios
_TRIES = 20_000  # states of the random numbers: a destination that is picked once in a thousand times is found


class _Pick(NamedTuple):
    """What is to be picked with the random numbers in this state; usable destination -> its chance and load."""

    host: EngineHost
    state: int
    picked: int
    likely: dict[int, tuple[float, float]]


class Lots:
    """What a kernel drew for one job, lot after lot.

    Attributes
    ----------
    drawn : how many destinations were picked.
    """

    def __init__(self) -> None:
        self.drawn = 0
        self._surplus: dict[str, float] = defaultdict(float)  # who -> how often picked, less how often to be expected
        self._variance: dict[str, float] = defaultdict(float)
        self._led: _Pick | None = None  # until it is settled

    def lead(self, host: EngineHost, p: Row, place: str) -> None:
        """Let the engine draw what sends a client's packet to the place where the kernel sent it, if twos is asked."""
        self._led = None
        t = host.tables
        s = find_service(t, p.proto, p.dst, p.dport, p.mark) if p.direction in (IN, OWN) else 0
        if s == 0 or place == CLIENT or t.services[s].scheduler != NUMBERS["twos"]:
            return
        address = host.intern(ip_address(place.removeprefix("r:")))
        likely = chances(t, s)
        picked = next((d for d in likely if t.dests[d].addr == address), 0)
        if picked == 0 or likely[picked][0] == 0:  # it is known, or cannot be picked
            return
        row = t.director[0]
        for state in range(_TRIES):
            row.random_state = state
            if twos.schedule(t, s, p) == picked:
                row.random_state = state
                self._led = _Pick(host, state, picked, likely)
                return

    def settle(self) -> None:
        """Note the pick, if the packet that was led did need one."""
        pick, self._led = self._led, None
        if pick is None or pick.host.tables.director[0].random_state == pick.state:
            return
        self.drawn += 1
        for d, (chance, _) in pick.likely.items():
            self._add(str(pick.host.address(pick.host.tables.dests[d].addr)), d == pick.picked, chance)
        least = min(load for _, load in pick.likely.values())
        best = {d: chance for d, (chance, load) in pick.likely.items() if load == least}
        self._add(LEAST_LOADED, pick.picked in best, sum(best.values()))

    def _add(self, who: str, picked: bool, chance: float) -> None:
        self._surplus[who] += picked - chance
        self._variance[who] += chance * (1 - chance)

    def differences(self) -> Iterator[str]:
        """Who was picked more often, or less often, than chance does it."""
        for who, surplus in self._surplus.items():
            if likelihood(surplus, self._variance[who]) < _STRANGE:
                how = "more often" if surplus > 0 else "less often"
                yield f"lots: of {self.drawn:,} picks {who} got {abs(surplus):.1f} {how} than twos would let it"


class LeadingLots:
    """Looks on while a run goes (``lbsim.simulate.Watch``), and lets its lots fall as a kernel's did."""

    def __init__(self, job: Job, seen: Observation) -> None:
        self._lots = Lots()
        packets = [row for event, row in zip(job.events, seen.events, strict=True) if isinstance(event, Packet)]
        self._places = {i: row.arrivals[0].where for i, row in enumerate(packets) if row.arrivals}
        self._numbers = list(self._places)

    def next_packet(self, number: int) -> int | None:
        at = bisect_left(self._numbers, number)
        return self._numbers[at] if at < len(self._numbers) else None

    def commanded(self, command: AdminCommand, error: str) -> None:
        """Lots do not depend on commands."""

    def receive(self, host: EngineHost, number: int, time: int, packets: list[Row], outcomes: list[Outcome]) -> None:
        self._lots.lead(host, packets[0], self._places[number])
        host.receive_block(packets, outcomes, 1)
        self._lots.settle()


def has_lots(job: Job) -> bool:
    """Whether a service of the job may draw lots."""
    commands = [*job.setup, *(event.argv for event in job.events if isinstance(event, Command))]
    return any("twos" in argv for argv in commands)


def likelihood(surplus: float, variance: float) -> float:
    """At most how likely it is that something came so much more often, or less, than the sum of its chances."""
    return 1.0 if surplus == 0 else exp(-(surplus**2) / (2 * (variance + abs(surplus) / 3)))


def chances(t: Tables, s: int) -> dict[int, tuple[float, float]]:
    """Usable destination of a service -> how likely twos picks it, and its load per weight.

    Numbers from 0 to the sum of the weights are drawn, and 0 is the first destination's, too.

    Source: facts, schedulers.md section 3.14.
    """
    usable = [d for d in _list(t, s) if t.dests[d].weight > 0 and t.dests[d].overload == 0]
    numbers = sum(t.dests[d].weight for d in usable) + 1
    drawn = {d: (t.dests[d].weight + (d == usable[0])) / numbers for d in usable}
    found = dict.fromkeys(usable, 0.0)
    for one in usable:
        for other in usable:
            found[twos.less_loaded(t, one, other)] += drawn[one] * drawn[other]
    return {d: (found[d], load(t, t.dests[d]) / t.dests[d].weight) for d in usable}


def _list(t: Tables, s: int) -> Iterator[int]:
    """The rows of a service's destinations in the order of its list."""
    d = t.services[s].first
    while d:
        yield d
        d = t.dests[d].next
