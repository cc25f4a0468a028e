"""What the engine does with one packet, seen while it does it.

The interpreted lane's functions are plain Python functions, so Python can tell when one begins and ends
(``sys.setprofile``). From that follows what an outcome does not say: which entry was found, whether the scheduler was
asked and what it had before it, which of its own functions it called and what they answered. Nothing is computed a
second time, and the engine does not know that somebody looks on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from lbsim.engine import (
    address_cache,
    answering,
    conntable,
    defence,
    director,
    persistence,
    random_numbers,
    schedulers,
    services,
    tcp,
)
from lbsim.engine.numbers import SCTP, TCP
from lbsim.engine.records import Conn, Dest, Packet, Service, Tables
from lbsim.engine.schedulers import lblcr, mh, sh, twos, wlc
from lbsim.explain.decisions import Asked
from lbsim.explain.kinds import View

if TYPE_CHECKING:
    from lbsim.explain.names import Names
    from lbsim.model.explanation import Decision

__all__ = ["Call", "Observed", "observe"]

#: Functions that schedulers call on their way: what they answer is part of the decision.
OF_SCHEDULERS = (
    address_cache.find_cached,
    address_cache.new_cached,
    address_cache.overtaxed,
    lblcr.least_member,
    lblcr.most_loaded,
    mh.stand_in,
    random_numbers.draw,
    sh.stand_in,
    twos.drawn,
    wlc.least_for_weight,
)

#: Functions of a packet's way; what is noted of them is written in :class:`_Watcher`.
OF_PACKETS = (
    conntable.expire,
    conntable.expire_now,
    conntable.find_in,
    conntable.find_out,
    conntable.new_bypass,
    conntable.new_conn,
    conntable.put,
    persistence.find_template,
    persistence.schedule_persistent,
    answering.step_state,
    director.to_reschedule,
    defence.to_drop,
    schedulers.schedule,
    services.find_service,
    tcp.viewed,
)


@dataclass(slots=True)
class Call:
    """A function that a scheduler called, its arguments and its answer."""

    name: str
    arguments: dict[str, Any]
    answer: Any = None


@dataclass(slots=True)
class Step:
    """How one packet moved an entry's state; ``table`` 0 in, 1 out, 2 in only."""

    before: Conn
    table: int
    after: Conn | None = None


@dataclass
class Observed:
    """What was seen of one packet.

    Attributes
    ----------
    packet : as the engine received it, its sender known.
    dests, services : copies of all rows as they were before.
    found : row of the entry that was found, and a copy of it as it was; 0 and None if there was none.
    made : row of the entry that was made.
    service_port : the port with which a service was looked for; of an ICMP error that of the quoted packet's sender.
    last : copies of entries that went while the packet was received.
    armed : rows whose timers were set.
    drop_counter, dropped_every : those of drop_packet before the packet, which is asked only of one that may open a
        connection.
    """

    packet: Packet
    dests: list[Dest]
    services: list[Service]
    found: int = 0
    entry: Conn | None = None
    looked_for_entry: bool = False
    made: int = 0
    bypass: bool = False
    last: dict[int, Conn] = field(default_factory=dict)
    armed: set[int] = field(default_factory=set)
    service: int = 0
    looked_for_service: bool = False
    service_port: int = 0
    given_up: Conn | None = None
    by_state: bool = False
    template: int = 0
    template_key: tuple[int, int, int, int] | None = None
    template_before: Conn | None = None
    asked: Asked | None = None
    decision: Decision | None = None
    step: Step | None = None
    drop_counter: int = 0
    dropped_every: int = 0


def observe(t: Tables, p: Packet, names: Names, receive: Callable[[], None]) -> Observed:
    """What is seen while ``receive`` lets the engine receive packet ``p``."""
    used = t.director[0]
    seen = Observed(
        packet=p,
        dests=[copy(dest) for dest in t.dests[: used.dests_used + 1]],
        services=[copy(service) for service in t.services[: used.services_used + 1]],
    )
    watcher = _Watcher(t, names, seen)
    before = sys.getprofile()
    sys.setprofile(watcher.event)
    try:
        receive()
    finally:
        sys.setprofile(before)
    if seen.asked is not None:
        seen.decision = seen.asked.decided(seen.dests)
    return seen


class _Watcher:
    """Told of every function that begins or ends.

    What is noted of a function of :data:`OF_PACKETS` stands in the method ``_call_NAME`` (at its beginning) or
    ``_return_NAME`` (at its end): they get its variables and its answer.
    """

    def __init__(self, t: Tables, names: Names, seen: Observed) -> None:
        self.t, self.names, self.seen = t, names, seen
        self._codes: dict[CodeType, str] = {f.__code__: f.__name__ for f in OF_PACKETS}
        self._inner: dict[CodeType, str] = {f.__code__: f.__name__ for f in OF_SCHEDULERS}
        self._calls: list[Call] | None = None  # while the scheduler is asked
        self._open: list[Call] = []

    def event(self, frame: FrameType, event: str, answer: Any) -> None:
        """A function begins (``call``) or ends (``return``)."""
        code = frame.f_code
        if code in self._codes:
            known = getattr(self, f"_{event}_{self._codes[code]}", None)
            if known is not None:
                known(frame.f_locals, answer)
        elif code in self._inner and self._calls is not None:
            if event == "call":
                call = Call(self._inner[code], dict(frame.f_locals))
                self._calls.append(call)
                self._open.append(call)
            elif event == "return":
                self._open.pop().answer = answer

    # Entries

    def _return_find_in(self, local: dict[str, Any], c: int) -> None:
        self.seen.looked_for_entry = True
        if c:
            self.seen.found, self.seen.entry = c, copy(self.t.conns[c])

    _return_find_out = _return_find_in

    def _return_to_reschedule(self, local: dict[str, Any], answer: bool) -> None:
        self.seen.by_state = answer

    def _call_expire_now(self, local: dict[str, Any], _: None) -> None:
        self.seen.given_up = self.seen.entry
        self.seen.found, self.seen.entry = 0, None

    def _call_to_drop(self, local: dict[str, Any], _: None) -> None:
        director = self.t.director[0]
        self.seen.drop_counter, self.seen.dropped_every = int(director.drop_counter), int(director.dropped_every)

    def _return_new_conn(self, local: dict[str, Any], c: int) -> None:
        self.seen.made = c

    def _return_new_bypass(self, local: dict[str, Any], c: int) -> None:
        self.seen.made, self.seen.bypass = c, True

    def _call_expire(self, local: dict[str, Any], _: None) -> None:
        self.seen.last[local["c"]] = copy(self.t.conns[local["c"]])

    def _call_put(self, local: dict[str, Any], _: None) -> None:
        self.seen.armed.add(local["c"])

    # State

    def _call_step_state(self, local: dict[str, Any], _: None) -> None:
        table = 1 if local["direction"] else 0
        self.seen.step = Step(copy(self.t.conns[local["c"]]), table)

    def _return_viewed(self, local: dict[str, Any], table: int) -> None:
        if self.seen.step is not None and self.seen.packet.proto in (TCP, SCTP):
            self.seen.step.table = table

    def _return_step_state(self, local: dict[str, Any], _: None) -> None:
        assert self.seen.step is not None
        self.seen.step.after = copy(self.t.conns[local["c"]])

    # Services and templates

    def _return_find_service(self, local: dict[str, Any], s: int) -> None:
        self.seen.service, self.seen.looked_for_service = s, True
        self.seen.service_port = local["port"]

    def _return_find_template(self, local: dict[str, Any], ct: int) -> None:
        self.seen.template_key = local["proto"], local["net"], local["vaddr"], local["vport"]
        if ct:
            self.seen.template, self.seen.template_before = ct, copy(self.t.conns[ct])

    def _return_schedule_persistent(self, local: dict[str, Any], c: int) -> None:
        self.seen.template = int(self.t.links[c].control) if c else 0

    # The scheduler

    def _call_schedule(self, local: dict[str, Any], _: None) -> None:
        # a copy of the packet: of one that an ICMP error quotes, the ends are exchanged only for a while
        self.seen.asked = Asked(View(self.t, local["s"], copy(local["p"]), self.names))
        self._calls = self.seen.asked.calls

    def _return_schedule(self, local: dict[str, Any], d: int) -> None:
        assert self.seen.asked is not None
        self.seen.asked.picked = d
        self._calls = None
