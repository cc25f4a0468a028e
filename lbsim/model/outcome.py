"""What became of one expectation of a scenario."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether an expectation was met.

    ``title`` says what was expected, ``detail`` in one line what was found, ``place`` where the expectation
    stands: ``file:line``.
    """

    passed: bool
    title: str
    detail: str
    place: str
