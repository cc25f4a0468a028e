"""How numbers, times and parts read in every text that lbsim writes."""

from __future__ import annotations

__all__ = ["and_more", "counted", "percent", "seconds"]


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun.

    >>> counted(1, "packet"), counted(12000, "packet"), counted(2, "entry", "entries")
    ('1 packet', '12,000 packets', '2 entries')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def seconds(nanoseconds: int) -> str:
    """A time as seconds, exact.

    >>> seconds(5_000_000_000), seconds(1_500_000), seconds(0)
    ('5s', '0.0015s', '0s')
    """
    whole, rest = divmod(nanoseconds, 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{whole}{fraction}s"


def percent(part: int, total: int) -> str:
    """A part of a total with one decimal, with more if it would read as nothing, or ``-`` if there is no total.

    >>> percent(1, 3), percent(0, 3), percent(2, 100000), percent(1, 10**9), percent(0, 0)
    ('33.3%', '0.0%', '0.002%', '<0.001%', '-')
    """
    if not total:
        return "-"
    value = 100 * part / total
    if value == 0 or value >= 0.05:
        return f"{value:.1f}%"
    return f"{value:.1g}%" if value >= 0.001 else "<0.001%"


def and_more(number: int, noun: str = "", plural: str | None = None) -> str:
    """The line that stands for rows which are not shown.

    >>> and_more(99980), and_more(3, "destination")
    ('and 99,980 more', 'and 3 more destinations')
    """
    return f"and {number:,} more" + (f" {noun if number == 1 else plural or noun + 's'}" if noun else "")
