"""When made-up connections begin, and how long they last: drawn in order of arrival, some at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lbsim.errors import ScenarioError
from lbsim.model.trace import IntColumn
from lbsim.traffic.draws import Draws, Floats, exp

if TYPE_CHECKING:
    from lbsim.model.scenario import Arrivals, Lifetime

__all__ = ["ArrivalTimes", "check_span", "lifetimes"]

_YEAR = 366 * 24 * 3600 * 10**9
_LONGEST_TRACE = 100 * _YEAR  # three of these still fit into 63 bits of nanoseconds
_LONGEST_DISTANCE = 37 * 2**32  # the smallest number drawn is 2**-53, minus its logarithm is 36.7
_AT_ONCE = 2**20  # numbers that are drawn at once


class ArrivalTimes:
    """When connections begin: ns, never decreasing."""

    def __init__(self, arrivals: Arrivals, start: int, n: int, draws: Draws) -> None:
        self.arrivals, self.start, self.draws = arrivals, start, draws
        self._begun = 0
        self._distances = 0  # summed as integers, so that the order of adding cannot matter: 2**32 is the mean
        self._check(n)

    def next(self, count: int) -> IntColumn:
        """The next ``count`` of them : int64[count]."""
        begin, self._begun = self._begun, self._begun + count
        if self.arrivals.every is not None:
            return self.start + np.arange(begin, begin + count, dtype=np.int64) * self.arrivals.every
        if self.arrivals.poisson is None:
            return np.full(count, self.start, dtype=np.int64)
        distances = self._distances + np.cumsum(self._drawn(begin, count))
        self._distances = int(distances[-1])
        return self.start + _whole_microseconds(self._nanoseconds(distances))

    def _drawn(self, begin: int, count: int) -> IntColumn:
        return (self.draws.exponential("arrivals", count, begin) * 2.0**32).astype(np.int64)

    def _nanoseconds(self, distances: IntColumn) -> Floats:
        assert self.arrivals.poisson is not None
        with np.errstate(over="ignore"):
            time: Floats = distances / (self.arrivals.poisson * 2.0**32) * 1e9
        return time

    def _check(self, n: int) -> None:
        if self.arrivals.every is not None:
            check_span("the connections begin", self.start + (n - 1) * self.arrivals.every)
        if self.arrivals.poisson is not None and self._last(n * _LONGEST_DISTANCE) > _LONGEST_TRACE:
            pieces = range(0, n, _AT_ONCE)
            distances = sum(int(self._drawn(begin, min(_AT_ONCE, n - begin)).sum()) for begin in pieces)
            check_span("the connections begin", self._last(distances))

    def _last(self, distances: int) -> float:
        assert self.arrivals.poisson is not None
        return self.start + distances / (self.arrivals.poisson * 2.0**32) * 1e9


def lifetimes(lifetime: Lifetime | None, begin: int, count: int, draws: Draws) -> IntColumn:
    """How long connections shall last, from number ``begin`` on: int64[count], ns; 0 if nothing is said about it."""
    if lifetime is None or lifetime.constant is not None:
        return np.full(count, lifetime.constant if lifetime else 0, dtype=np.int64)
    if lifetime.exponential is not None:
        drawn = lifetime.exponential * draws.exponential("lifetimes", count, begin)
    else:
        assert lifetime.lognormal is not None
        normal = draws.normal("lifetimes", count, begin)
        with np.errstate(over="ignore"):
            drawn = lifetime.lognormal.median * exp(lifetime.lognormal.sigma * normal)
    return _whole_microseconds(np.minimum(drawn, float(_YEAR)))


def _whole_microseconds(nanoseconds: Floats) -> IntColumn:
    return np.floor(nanoseconds / 1000.0 + 0.5).astype(np.int64) * 1000


def check_span(what: str, nanoseconds: float) -> None:
    if nanoseconds > _LONGEST_TRACE:
        years = nanoseconds / _YEAR
        raise ScenarioError(f"{what} for {years:,.0f} years; expected at most {_LONGEST_TRACE // _YEAR}")
