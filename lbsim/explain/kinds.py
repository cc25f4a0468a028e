"""What there is to say of each scheduler: what it remembers, compares and looks up.

Every number comes from the scheduler's own file. A scheduler that is not in :data:`KINDS` (a user's own) is described
by its destinations and the numbers that such schedulers may keep.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from lbsim.engine.address_cache import find_cached
from lbsim.engine.addresses import wanted
from lbsim.engine.hashing import hash32
from lbsim.engine.integers import signed32
from lbsim.engine.numbers import MH_PORT, SH_PORT
from lbsim.engine.records import Dest, Packet, Service, Tables
from lbsim.engine.schedulers import dh, lc, mh, ovf, sed, sh

if TYPE_CHECKING:
    from lbsim.explain.names import Names
    from lbsim.explain.observing import Call
    from lbsim.model.explanation import Value

__all__ = ["KINDS", "OWN", "Kind", "View"]

State: TypeAlias = "dict[str, Value]"


@dataclass(frozen=True, slots=True)
class View:
    """A scheduler that is asked about a packet of service ``s``."""

    t: Tables
    s: int
    p: Packet
    names: Names

    @property
    def service(self) -> Service:
        return self.t.services[self.s]

    def dest(self, d: int) -> str | None:
        return self.names.dest(d)


def _nothing(view: View) -> State:
    return {}


def _no_skip(view: View, dest: Dest) -> str:
    return ""


def _no_inputs(view: View, calls: Sequence[Call]) -> State:
    return {}


@dataclass(frozen=True, slots=True)
class Kind:
    """How a scheduler is described.

    Attributes
    ----------
    state : what it remembers, read before and after the decision.
    load : what it compares of a destination.
    share : how many buckets or slots of its table a destination has.
    skips : why it passes over a destination that has a weight and is not overloaded; ``""`` if it does not.
    inputs : what else the decision depends on; the calls are those of its own functions.
    """

    state: Callable[[View], State] = _nothing
    load: Callable[[View, Dest], int] | None = None
    share: Callable[[View, int], int] | None = None
    skips: Callable[[View, Dest], str] = _no_skip
    inputs: Callable[[View, Sequence[Call]], State] = _no_inputs


def _answers(calls: Sequence[Call], name: str) -> list[int]:
    return [int(call.answer) for call in calls if call.name == name]


def _cursor(view: View) -> State:
    return {"cursor": view.dest(view.service.cursor)}


def _laps(view: View) -> State:
    return _cursor(view) | {"lap": view.service.lap}


def _lap_plan(view: View, _: Sequence[Call]) -> State:
    return {"top_lap": view.service.top_lap, "lap_step": view.service.lap_step}


def _below_the_lap(view: View, dest: Dest) -> str:
    return "lap" if dest.weight < view.service.lap else ""


def _formula(view: View, _: Sequence[Call]) -> State:
    older = view.t.director[0].load_of_inactive
    return {"load": "256 x active + inactive" if older else "256 x active + all connections"}


def _load(view: View, dest: Dest) -> int:
    return lc.load(view.t, dest)


def _signed_load(view: View, dest: Dest) -> int:
    return signed32(lc.load(view.t, dest))


def _delay(view: View, dest: Dest) -> int:
    return sed.load(dest)


def _overflowed(view: View, dest: Dest) -> str:
    return "overflowed" if ovf.overflowed(dest) else ""


def _buckets(view: View, d: int) -> int:
    first = view.service.buckets
    return view.t.hash_buckets[first : first + sh.BUCKETS].count(d)


def _slots(view: View, d: int) -> int:
    first = view.service.mh_slots
    return view.t.mh_slots[first : first + mh.SLOTS].count(d)


def _source_bucket(view: View, calls: Sequence[Call]) -> State:
    key = sh.hash_key(view.t, view.s, view.p)
    bucket = hash32(key, sh.BITS)
    tried = _answers(calls, "stand_in")
    table = view.t.hash_buckets[view.service.buckets :]
    return {
        "port_hashed": view.service.sched_flags & SH_PORT != 0,
        "key": key,
        "bucket": bucket,
        "owner": view.dest(table[bucket]),
        "tried": tuple(tried),
        "tried_dests": tuple(view.dest(table[i]) or "" for i in tried),
    }


def _target_bucket(view: View, _: Sequence[Call]) -> State:
    bucket = dh.bucket_of(view.t, view.p)
    return {
        "key": view.t.addresses[wanted(view.p)].fold,
        "bucket": bucket,
        "owner": view.dest(view.t.hash_buckets[view.service.buckets + bucket]),
    }


def _slot(view: View, calls: Sequence[Call]) -> State:
    key = mh.hash_key(view.t, view.s, view.p)
    slot = mh.slot_of(key)
    tried = _answers(calls, "stand_in")
    table = view.t.mh_slots[view.service.mh_slots :]
    return {
        "port_hashed": view.service.sched_flags & MH_PORT != 0,
        "key": key & 0xFFFFFFFF,
        "slot": slot,
        "owner": view.dest(table[slot]),
        "tried": tuple(tried),
        "tried_dests": tuple(view.dest(table[i]) or "" for i in tried),
    }


def _cached_dest(view: View) -> State:
    e = find_cached(view.t, view.s, wanted(view.p))
    return {"cached": view.dest(view.t.cached[e].dest) if e else None}


def _members(view: View) -> State:
    e = find_cached(view.t, view.s, wanted(view.p))
    found: list[str] = []
    m = view.t.cached[e].member if e else 0
    while m:
        found.append(view.dest(view.t.members[m].dest) or "")
        m = view.t.members[m].next
    return {"members": tuple(found)}


def _of_cache(view: View, calls: Sequence[Call]) -> State:
    """What lblc and lblcr asked on their way; None of what they did not need to ask."""
    asked = {name: _answers(calls, name) for name in ("least_member", "overtaxed", "most_loaded", "least_for_weight")}
    first = {name: answers[0] if answers else None for name, answers in asked.items()}
    overtaxed, member, least = first["overtaxed"], first["least_member"], first["least_for_weight"]
    return _formula(view, calls) | {
        "address": str(view.names.host.address(wanted(view.p))),
        "member": None if member is None else view.dest(member),
        "overtaxed": None if overtaxed is None else bool(overtaxed),
        "least": None if least is None else view.dest(least),
        "full": any(call.answer == 0 for call in calls if call.name == "new_cached"),
    }


def _lots(view: View, calls: Sequence[Call]) -> State:
    counts = [call.arguments["count"] for call in calls if call.name == "draw"]
    return _formula(view, calls) | {
        "total_weight": counts[0] - 1 if counts else 0,
        "lots": tuple(_answers(calls, "draw")),
        "drawn": tuple(view.dest(d) or "" for d in _answers(calls, "drawn")),
    }


def _own_numbers(view: View) -> State:
    return {name: getattr(view.service, name) for name in ("own_1", "own_2", "own_3", "own_4")}


#: Scheduler -> how it is described.
KINDS: dict[str, Kind] = {
    "none": Kind(),
    "rr": Kind(state=_cursor),
    "wrr": Kind(state=_laps, inputs=_lap_plan, skips=_below_the_lap),
    "lc": Kind(load=_load, inputs=_formula),
    "wlc": Kind(load=_signed_load, inputs=_formula),
    "sed": Kind(load=_delay),
    "nq": Kind(load=_delay),
    "sh": Kind(share=_buckets, inputs=_source_bucket),
    "dh": Kind(share=_buckets, inputs=_target_bucket),
    "mh": Kind(share=_slots, inputs=_slot),
    "lblc": Kind(state=_cached_dest, load=_signed_load, inputs=_of_cache),
    "lblcr": Kind(state=_members, load=_signed_load, inputs=_of_cache),
    "fo": Kind(),
    "ovf": Kind(skips=_overflowed),
    "twos": Kind(load=_signed_load, inputs=_lots),
}

#: A scheduler of one's own.
OWN = Kind(state=_own_numbers)
