"""What part of the connections each destination would get if its scheduler met its aim exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lbsim.model.config import DirectorConfig
    from lbsim.model.result import Result

__all__ = ["Ideal", "ideal_of", "ideal_shares", "sh_buckets"]

SH_TABLE = 256
BY_WEIGHT = ("wrr", "wlc", "sed", "nq", "mh", "twos")


@dataclass(frozen=True, slots=True)
class Ideal:
    """``meaning`` in words, and destination -> part between 0 and 1; those that should get nothing have 0."""

    meaning: str
    shares: Mapping[str, float]


def ideal_of(config: DirectorConfig, result: Result, service: str) -> Ideal:
    """The ideal of a service as the run began with it, or as it ended if it was added later.

    If its scheduler, destinations or weights changed in between, the meaning says so.
    """
    begins = {
        str(row.id): (row.scheduler, [(str(dest.id), dest.weight) for dest in row.dests]) for row in config.services()
    }
    ends = {
        row.service: (row.scheduler, [(dest.dest, dest.weight) for dest in reversed(row.dests)])
        for row in result.final.services
    }
    if service not in begins and service not in ends:
        return Ideal("unknown: the service came and went", {})
    scheduler, dests = begins.get(service) or ends[service]
    ideal = ideal_shares(scheduler, dests)
    unchanged = begins.get(service) == ends.get(service)
    return ideal if unchanged else Ideal(f"{ideal.meaning}, before the config changed", ideal.shares)


def ideal_shares(scheduler: str, dests: Sequence[tuple[str, int]]) -> Ideal:
    """The ideal of a scheduler for (destination, weight) in the order in which they were added."""
    if scheduler in ("rr", "lc"):
        parts = {name: int(weight > 0) for name, weight in dests}
        meaning = "equal parts among destinations with weight above 0"
    elif scheduler == "sh":
        buckets = sh_buckets(dests)
        parts = {name: buckets[name] if weight else 0 for name, weight in dests}
        meaning = f"each destination's part of sh's {SH_TABLE} buckets"
    elif scheduler == "fo":
        parts = dict.fromkeys((name for name, _ in dests), 0)
        heaviest = max(reversed(dests), key=lambda dest: dest[1], default=("", 0))  # of equals the newest
        parts |= {heaviest[0]: 1} if heaviest[1] else {}
        meaning = "everything to the destination with the largest weight"
    elif scheduler in BY_WEIGHT:
        parts = dict(dests)
        meaning = "parts by weight"
    else:
        return Ideal(f"unknown: {scheduler} does not aim at parts", {})
    total = sum(parts.values())
    return Ideal(meaning, {name: part / total if total else 0.0 for name, part in parts.items()})


def sh_buckets(dests: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Destination -> its number of buckets in sh's table, for (destination, weight) in order of adding.

    Source
    ------
    ip_vs_sh.c ip_vs_sh_reassign(): newest destination first, each as many buckets in a row as its weight (at
    least one), round after round until the table is full.
    """
    buckets = {name: 0 for name, _ in dests}
    left = SH_TABLE if dests else 0
    round_size = sum(max(weight, 1) for _, weight in dests)
    rounds, left = divmod(left, round_size) if dests else (0, 0)
    for name, weight in reversed(dests):
        last = min(max(weight, 1), left)
        buckets[name] = rounds * max(weight, 1) + last
        left -= last
    return buckets
