"""Shares: each destination's part of what its service handled."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Literal, TypeAlias

from lbsim.model.config import DestId
from lbsim.model.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lbsim.model.result import Result

__all__ = ["Measure", "amounts_of", "share_misses", "share_of"]

Measure: TypeAlias = Literal["connections", "packets", "bytes"]


def amounts_of(result: Result, service: str, of: Measure = "connections") -> dict[str, int]:
    """Destination -> its connections, packets or bytes under ``service``, removed destinations included.

    Packets and bytes count both directions. A service that the result does not know gives an empty dict;
    destinations whose counters a kernel did not tell are not in it.
    """
    rows = (row for row in result.destinations if row.service == service and row.counters.told)
    return {row.dest: getattr(row.counters, of) for row in rows}


def share_of(result: Result, service: str, of: Measure = "connections") -> dict[str, float]:
    """Destination -> its part of the service's total, between 0 and 1; all 0 if the total is 0."""
    amounts = amounts_of(result, service, of)
    total = sum(amounts.values())
    return {dest: amount / total if total else 0.0 for dest, amount in amounts.items()}


def share_misses(
    result: Result,
    service: str,
    wanted: Mapping[str, float],
    *,
    tolerance: float = 0.0,
    of: Measure = "connections",
) -> list[str]:
    """One line per destination whose share is more than ``tolerance`` away from the wanted one.

    Parameters
    ----------
    wanted : destination -> between 0 and 1; destinations that are not named are not checked.
    tolerance : greatest distance that still passes; distances are exact: 0.2 is 0.05 away from 0.15.
    """
    amounts = amounts_of(result, service, of)
    total = sum(amounts.values())
    lines = []
    for name, part in wanted.items():
        dest = _as_written_by_lbsim(name)
        if dest not in amounts:
            lines.append(f"{dest} is no destination of {service}; expected one of: {', '.join(amounts) or 'none'}")
            continue
        share = Fraction(amounts[dest], total) if total else Fraction(0)
        if abs(share - _decimal(part)) > _decimal(tolerance):
            found = f"{float(share):.4f} ({amounts[dest]:,} of {counted(total, of[:-1])})"
            lines.append(f"{dest}: {found}, expected {_range(part, tolerance)}")
    return lines


def _decimal(number: float) -> Fraction:
    return Fraction(repr(float(number)))


def _range(part: float, tolerance: float) -> str:
    return f"{part:g} within {tolerance:g}" if tolerance else f"{part:g}"


def _as_written_by_lbsim(name: str) -> str:
    try:
        return str(DestId.parse(name))
    except ValueError:
        return name
