"""The examples of facts, schedulers.md, behind section 3.8: who is picked in which situation.

Destinations are added in the order A, B, C: the list is C, B, A.
"""

from __future__ import annotations

from lbsim.engine.lanes import Lane
from tests.engine.schedulers.rig import Rig

__all__ = ["SITUATIONS", "expected_of", "picked_by"]

#: Destination -> (weight, active, total, overload); then who each scheduler picks.
SITUATIONS = [
    ({"A": (1, 0, 0, 0), "B": (5, 0, 0, 0), "C": (3, 0, 0, 0)}, "lc C, wlc C, sed B, nq C, fo B, ovf B"),
    ({"A": (1, 1, 1, 0), "B": (1, 0, 256, 0)}, "lc B, wlc B, sed B, nq B, fo B, ovf B"),
    ({"A": (1, 0, 256, 0), "B": (1, 1, 1, 0)}, "lc A, wlc A, sed A, nq A, fo B, ovf B"),
    ({"A": (2, 2, 2, 0), "B": (1, 1, 1, 0), "C": (3, 3, 3, 0)}, "lc B, wlc C, sed C, nq C, fo C, ovf C"),
    ({"A": (4, 4, 9, 0), "B": (1, 1, 3, 0), "C": (0, 0, 0, 0)}, "lc B, wlc A, sed A, nq A, fo A, ovf A"),
    ({"A": (9, 0, 0, 1), "B": (2, 5, 5, 0), "C": (2, 5, 6, 0)}, "lc B, wlc B, sed C, nq C, fo C, ovf -"),
    ({"A": (4, 5, 5, 0), "B": (2, 2, 2, 0), "C": (1, 1, 1, 0)}, "lc C, wlc C, sed B, nq B, fo A, ovf B"),
    ({"A": (4, 5, 5, 0), "B": (2, 3, 3, 0), "C": (1, 2, 2, 0)}, "lc C, wlc A, sed A, nq A, fo A, ovf -"),
]


def picked_by(
    scheduler: str, situation: dict[str, tuple[int, int, int, int]], lane: Lane, profile: str = "linux-6.1.192"
) -> str:
    """Who the engine's scheduler picks."""
    rig = Rig(scheduler, {name: values[0] for name, values in situation.items()}, lane=lane, profile=profile)
    for name, (_, active, total, overload) in situation.items():
        row = rig.row(name)
        row.active, row.total, row.overload = active, total, overload
    return rig.pick()


def expected_of(scheduler: str) -> list[tuple[dict[str, tuple[int, int, int, int]], str]]:
    """The situations with this scheduler's pick."""
    return [(situation, dict(p.split() for p in picks.split(", "))[scheduler]) for situation, picks in SITUATIONS]
