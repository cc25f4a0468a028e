"""The kernel's timer wheel as one formula."""

from __future__ import annotations

__all__ = ["fire_jiffy", "level"]


def fire_jiffy(expires: int, now: int) -> int:
    """The jiffy in which a timer fires that is set at ``now`` for ``expires`` (HZ above 100: nine levels).

    A slot of level n is 8**n jiffies wide. The level is the finest that reaches ``expires`` within 63 of its slots;
    the timer fires at the end of the slot in which ``expires`` lies.
    """
    if expires < now:
        return now
    widths = [8**level for level in range(9)]
    if expires - now >= 63 * widths[-1]:
        expires = now + 62 * widths[-1]
    width = next(width for width in widths if expires - now < 63 * width)
    return (expires // width + 1) * width


def level(expires: int, now: int) -> int:
    """Which level's slot that is."""
    return next((level for level in range(8) if expires - now < 63 * 8**level), 8)
