"""What must hold in the engine's tables after every step, whatever the step was."""

from __future__ import annotations

from collections import Counter

from lbsim.engine import sctp, tcp
from lbsim.engine.numbers import CONTROLLED, CONTROLS, INACTIVE, SCTP, TCP, TEMPLATE
from lbsim.engine.records import Tables
from tests.oracles.tcp import ACTIVE

__all__ = ["audit"]


def audit(t: Tables) -> None:
    """Raise AssertionError at the first thing that does not fit together."""
    used = [c for c in range(1, t.director[0].conns_used + 1) if t.conns[c].serial != 0]
    _counters_are_those_of_the_entries(t, used)
    _chains_hold_each_entry_once(t, used)
    _timers_are_in_the_wheel_once(t, used)
    _free_rows_are_the_rest(t, used)
    _lists_lead_both_ways(t)
    _links_lead_both_ways(t, used)


def _counters_are_those_of_the_entries(t: Tables, used: list[int]) -> None:
    templates = Counter(t.conns[c].dest for c in used if t.conns[c].marks & TEMPLATE != 0)
    total = Counter(t.conns[c].dest for c in used)
    total.subtract(templates)
    active = Counter(t.conns[c].dest for c in used if _is_active(t, c))
    for d in range(1, t.director[0].dests_used + 1):
        dest = t.dests[d]
        assert (dest.total, dest.active, dest.persist) == (total[d], active[d], templates[d]), f"destination {d}"
        assert 0 <= dest.active <= dest.total
    for c in used:
        assert t.conns[c].dest == 0 or (t.conns[c].marks & INACTIVE != 0) == (not _is_active(t, c))


def _is_active(t: Tables, c: int) -> bool:
    conn = t.conns[c]
    if conn.marks & TEMPLATE != 0:
        return False
    if conn.proto == SCTP:
        return sctp.STATES[conn.state] == "ESTABLISHED"
    return conn.proto == TCP and tcp.STATES[conn.state] in ACTIVE


def _chains_hold_each_entry_once(t: Tables, used: list[int]) -> None:
    found = []
    for head in t.conn_heads:
        c = head
        while c != 0:
            found.append(c)
            c = t.conns[c].next_same_hash
    assert sorted(found) == used


def _timers_are_in_the_wheel_once(t: Tables, used: list[int]) -> None:
    found = []
    for slot, head in enumerate(t.wheel_heads):
        before, c = 0, head
        while c != 0:
            assert (t.timers[c].slot, t.timers[c].prev) == (slot, before)
            assert t.conns[c].queued > t.director[0].now
            assert t.conns[c].queued >= t.director[0].wheel_next > 0
            found.append(c)
            before, c = c, t.timers[c].next
    assert sorted(found) == used


def _free_rows_are_the_rest(t: Tables, used: list[int]) -> None:
    free = []
    c = t.director[0].free_conn
    while c != 0:
        free.append(c)
        c = t.conns[c].next_same_hash
    assert sorted(free + used) == list(range(1, t.director[0].conns_used + 1))


def _lists_lead_both_ways(t: Tables) -> None:
    heads = [t.services[s].first for s in range(1, t.director[0].services_used + 1) if t.services[s].exists]
    for head, there in [*((head, 1) for head in heads), (t.director[0].trash_first, 0)]:
        before, d = 0, head
        while d != 0:
            assert (t.dests[d].prev, t.dests[d].available) == (before, there)
            before, d = d, t.dests[d].next


def _links_lead_both_ways(t: Tables, used: list[int]) -> None:
    controls = Counter(t.links[c].control for c in used if t.conns[c].marks & CONTROLLED != 0)
    assert set(controls) <= {c for c in used if t.conns[c].marks & TEMPLATE != 0}
    for c in used:
        marks = t.conns[c].marks
        assert (marks & CONTROLS != 0) == (controls[c] > 0)
        if marks & CONTROLS != 0:
            assert t.links[c].controls == controls[c]
