"""When a destination is full: facts, schedulers.md section 1.5, for kernels of today and for those before August 2026.

A destination is a dict with ``total``, ``upper``, ``lower`` and ``overload``.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

__all__ = ["bound", "change", "low", "unbound"]


def low(dest: dict[str, Any]) -> Fraction:
    """Below so many connections it takes new ones again."""
    return Fraction(dest["lower"]) if dest["lower"] else Fraction(3, 4) * dest["upper"]


def bound(dest: dict[str, Any], *, old: bool) -> None:
    """``total`` has grown by one."""
    if dest["upper"] and (dest["total"] >= dest["upper"] if old else dest["total"] == dest["upper"]):
        dest["overload"] = True


def unbound(dest: dict[str, Any], *, old: bool) -> None:
    """``total`` has fallen by one."""
    below = dest["total"] < low(dest)
    just_now = below and dest["total"] + 1 >= low(dest)
    if dest["upper"] and (below if old else just_now):
        dest["overload"] = not old and dest["total"] >= dest["upper"]


def change(dest: dict[str, Any], upper: int, lower: int, *, old: bool) -> None:
    """New thresholds."""
    raised, same = upper == 0 or upper > dest["upper"], (upper, lower) == (dest["upper"], dest["lower"])
    dest.update(upper=upper, lower=lower)
    if old:
        dest["overload"] = dest["overload"] and not raised
    elif not same:
        if upper == 0 or dest["total"] < low(dest):
            dest["overload"] = False
        elif dest["total"] >= upper:
            dest["overload"] = True
