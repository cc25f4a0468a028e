"""Shares of two results within a tolerance: for runs that are alike, not equal."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from lbsim.model.share import Measure, amounts_of, share_misses, share_of

if TYPE_CHECKING:
    from lbsim.model.result import Result

__all__ = ["share_distances", "share_misses", "share_of"]


def share_distances(a: Result, b: Result, *, of: Measure = "connections") -> dict[tuple[str, str], float]:
    """(service, destination) -> how much larger its share is in ``b`` than in ``a``, greatest distance first.

    A destination that one of them does not have counts as a share of 0 there.
    """
    services = dict.fromkeys(row.service for result in (a, b) for row in result.destinations)
    distances: dict[tuple[str, str], Fraction] = {}
    for service in services:
        left, right = _exact_shares(a, service, of), _exact_shares(b, service, of)
        for dest in left | right:
            distances[service, dest] = right.get(dest, Fraction(0)) - left.get(dest, Fraction(0))
    ordered = sorted(distances.items(), key=lambda row: -abs(row[1]))
    return {key: float(distance) for key, distance in ordered}


def _exact_shares(result: Result, service: str, of: Measure) -> dict[str, Fraction]:
    amounts = amounts_of(result, service, of)
    total = sum(amounts.values())
    return {dest: Fraction(amount, total) if total else Fraction(0) for dest, amount in amounts.items()}
