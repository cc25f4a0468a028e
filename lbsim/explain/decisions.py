"""A scheduler's decision: what it had before it, and what it answered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from lbsim.engine.thresholds import relief
from lbsim.explain.kinds import KINDS, OWN, Kind, View
from lbsim.model.explanation import Candidate, Decision, Input, StateChange

if TYPE_CHECKING:
    from lbsim.engine.records import Dest
    from lbsim.explain.observing import Call

__all__ = ["Asked"]


class Asked:
    """A scheduler at the moment when it is asked.

    Attributes
    ----------
    picked : what it answered, 0: nobody.
    calls : those of its functions.
    """

    def __init__(self, view: View) -> None:
        self.picked = 0
        self.calls: list[Call] = []
        self._view = view
        self._scheduler, self._flags = view.names.scheduler(view.s)
        self._kind = KINDS.get(self._scheduler, OWN)
        self._before = self._kind.state(view)

    def decided(self, dests: list[Dest]) -> Decision:
        """The decision, told after the packet was received.

        Parameters
        ----------
        dests : all destinations as they were before the packet, which is how the scheduler had them: nothing of what
            it compares changes until an entry is bound.
        """
        kind, picked, calls = self._kind, self.picked, self.calls
        after = kind.state(self._view)
        view = self._view = replace(self._view, t=replace(self._view.t, dests=dests))
        return Decision(
            scheduler=self._scheduler,
            flags=self._flags,
            candidates=tuple(self._candidate(d, d == picked) for d in _listed(view)),
            inputs=tuple(Input(name, value) for name, value in kind.inputs(view, calls).items()),
            state=tuple(StateChange(name, value, after[name]) for name, value in self._before.items()),
            picked=view.dest(picked),
        )

    def _candidate(self, d: int, picked: bool) -> Candidate:
        view, kind, dest = self._view, self._kind, self._view.t.dests[d]
        return Candidate(
            dest=view.dest(d) or "",
            weight=dest.weight,
            active=dest.active,
            inactive=max(dest.total - dest.active, 0),
            total=dest.total,
            upper=dest.upper,
            relief=relief(dest) if dest.upper else 0,
            load=kind.load(view, dest) if kind.load else None,
            share=kind.share(view, d) if kind.share else None,
            skipped=_skipped(kind, view, dest),
            picked=picked,
        )


def _listed(view: View) -> Iterator[int]:
    """The service's destinations, newest first."""
    d = view.service.first
    while d:
        yield d
        d = view.t.dests[d].next


def _skipped(kind: Kind, view: View, dest: Dest) -> str:
    if dest.weight == 0:
        return "weight 0"
    return "overloaded" if dest.overload else kind.skips(view, dest)
