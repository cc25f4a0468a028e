"""A finding: something worth saying about a config or a run that stops nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Finding", "Severity"]

Severity: TypeAlias = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, where, and why it matters.

    ``error`` means that the kernel refused something, ``warning`` that the outcome is probably not what was meant,
    ``note`` that something was left out or is not modelled.
    """

    severity: Severity
    place: str
    text: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.severity}: {self.place}: {self.text}" + (f" ({self.why})" if self.why else "")
