"""Standard error without lines that say how far a command is: they come after two seconds, on a busy machine only."""

from __future__ import annotations

import re

__all__ = ["complaints"]

_NOTE = re.compile(r"\S+: (compile the engine, once|traffic|simulate|report|captures|scenarios|kernel)\b")


def complaints(stderr: str) -> list[str]:
    """The lines that are no such notes."""
    return [line for line in stderr.splitlines() if not _NOTE.match(line)]
