"""Everything in which two results differ, row by row.

``comparison`` says what comes out; ``columns`` does packets and flows, ``tables`` counters and listings.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lbsim.compare import columns, tables
from lbsim.compare.comparison import Comparison

if TYPE_CHECKING:
    from lbsim.model.result import Result

__all__ = ["compare"]


def compare(a: Result, b: Result, *, limit: int = 20) -> Comparison:
    """What differs between two results: counts complete, at most ``limit`` rows of each kind.

    Works for any two results: the same traffic under two schedulers, the engine and a kernel, or different
    traffic; then flows that both have are compared, and packets not at all. What only one of them tells is left out;
    the comparison says what that is.
    """
    sides = columns.Sides.of(a, b)
    reasons = tables.reasons(a, b, limit)
    not_compared = tables.not_compared(a, b)
    if not sides.tell_alike():
        reasons = replace(reasons, total=0, rows=())
        not_compared = ["reasons", *not_compared]
    return Comparison(
        a=a.provenance,
        b=b.provenance,
        packets=(len(a), len(b)),
        same_traffic=sides.same_traffic(),
        flows_only_in=sides.flows_only_in(),
        sections=(
            tables.services(a, b, limit),
            tables.shares(a, b, limit),
            columns.moved(sides, limit),
            columns.packets(sides, limit),
            reasons,
            tables.destinations(a, b, limit),
            tables.moments(a, b, limit),
            tables.listings(a, b, limit),
            tables.connection_entries(a, b, limit),
        ),
        not_compared=tuple(not_compared),
    )
