"""Random numbers that come out the same on every machine and with every version of Python and numpy.

Neither numpy's distributions nor the last bit of a platform's ``log`` and ``exp`` are promised to stay. So
everything here is made of two things that are: SplitMix64 (integers modulo 2**64) and those operations that
IEEE 754 rounds in exactly one way (``+ - * /``, square root, whole parts, powers of two).

Each use of random numbers has its own stream, named by its purpose: drawing more of one changes nothing of
another, and a number of a stream depends only on its place there, not on how many are drawn or in which pieces.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from hashlib import sha256
from math import factorial
from typing import TypeAlias

import numpy as np

from lbsim.model.trace import IntColumn

__all__ = ["Draws", "Floats", "Words", "exp", "log", "sin_turns", "splitmix64", "zipf"]

Words: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.uint64]]"
Floats: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.float64]]"

_LN_2 = 0.6931471805599453
_SQRT_HALF = 0.7071067811865476
_TWO_PI = 6.283185307179586

# Taylor coefficients; each series ends where the next term is below the last bit of the result
_ATANH = [1.0 / (2 * k + 1) for k in range(12)]  # of atanh(s) / s in s**2, for |s| < 0.172
_EXP = [1.0 / factorial(k) for k in range(15)]  # for |x| < 0.347
_SIN = [(-1.0) ** k / factorial(2 * k + 1) for k in range(12)]  # of sin(x) / x in x**2, for |x| <= pi / 2


@dataclass(frozen=True, slots=True)
class Draws:
    """Streams of random numbers of one seed; methods take a stream's name, how many numbers are wanted, and how many
    come before them in the stream.

    Parameters
    ----------
    seed : any integer.
    """

    seed: int

    def words(self, purpose: str, n: int, begin: int = 0) -> Words:
        """uint64[n], each value equally likely."""
        return self.words_at(purpose, np.arange(begin, begin + n, dtype=np.int64))

    def words_at(self, purpose: str, places: IntColumn) -> Words:
        """uint64[n], the words at these places of the stream, each value equally likely."""
        digest = sha256(f"lbsim {self.seed} {purpose}".encode()).digest()
        return splitmix64(int.from_bytes(digest[:8], "little"), places)

    def uniform(self, purpose: str, n: int, begin: int = 0) -> Floats:
        """float64[n], above 0 and up to 1 inclusive, in steps of 2**-53."""
        return _unit_interval(self.words(purpose, n, begin))

    def below(self, purpose: str, n: int, size: int, begin: int = 0) -> IntColumn:
        """int64[n] from 0 to ``size`` - 1, each equally likely."""
        return (np.ceil(self.uniform(purpose, n, begin) * size) - 1).astype(np.int64)

    def exponential(self, purpose: str, n: int, begin: int = 0) -> Floats:
        """float64[n], exponentially distributed with mean 1: the inverse of the distribution function."""
        return -log(self.uniform(purpose, n, begin))

    def normal(self, purpose: str, n: int, begin: int = 0) -> Floats:
        """float64[n], normally distributed with mean 0 and deviation 1: Box and Muller's method."""
        words = self.words(purpose, 2 * n, 2 * begin)
        radius = np.sqrt(-2.0 * log(_unit_interval(words[0::2])))
        return radius * sin_turns(_unit_interval(words[1::2]))

    def ranks(self, purpose: str, n: int, shares: Floats, begin: int = 0) -> IntColumn:
        """int64[n] from 0 to ``len(shares)`` - 1, distributed as ``shares`` says, which are heaped up to 1."""
        return np.searchsorted(shares, self.uniform(purpose, n, begin)).astype(np.int64)


def zipf(ranks: int, exponent: float) -> Floats:
    """The heaped shares of ``ranks`` ranks: that of rank k is proportional to 1 / k**exponent.

    ``ranks`` is at most 2**20, as there is a table of them.
    """
    assert 1 <= ranks <= 2**20
    steepness = min(exponent, 1000.0)  # beyond that, rank 1 gets everything anyway
    weights = exp(-steepness * log(np.arange(1, ranks + 1, dtype=np.float64)))
    # the sum of integers does not depend on the order of adding; 2**20 weights of 2**42 fit into 63 bits
    heaped = np.cumsum((weights * 2.0**42).astype(np.int64))
    shares: Floats = heaped / heaped[-1]
    return shares


def splitmix64(key: int, places: IntColumn) -> Words:
    """uint64[n]: words of the SplitMix64 generator that is seeded with ``key`` (0 to 2**64 - 1), the first is at 0.

    Word i is a mix of ``key + (i + 1) * gamma``; see Steele, Lea, Flood: Fast splittable pseudorandom number
    generators (2014).
    """
    z = places.astype(np.uint64)
    z += np.uint64(1)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(key)
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def log(x: Floats) -> Floats:
    """Natural logarithm of positive numbers: ``x = m * 2**e``, ``log(m) = 2 atanh((m - 1) / (m + 1))``."""
    mantissa, exponent = np.frexp(x)
    small = mantissa < _SQRT_HALF
    mantissa = np.where(small, mantissa * 2.0, mantissa)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    return (exponent - small) * _LN_2 + 2.0 * s * _series(_ATANH, s * s)


def exp(x: Floats) -> Floats:
    """e**x: ``x = k log(2) + r``, ``e**x = 2**k * e**r``. Beyond +-700 as at +-700."""
    x = np.clip(x, -700.0, 700.0)
    k = np.floor(x / _LN_2 + 0.5)
    return np.ldexp(_series(_EXP, x - k * _LN_2), k.astype(np.int32))


def sin_turns(turns: Floats) -> Floats:
    """Sine of an angle that is given as a part of a full turn, 0 to 1."""
    # sin(pi - x) = sin(x): fold the second and third quarter onto the first and fourth
    folded = 0.25 - np.abs(turns - np.floor(turns + 0.25) - 0.25)
    x = folded * _TWO_PI
    return x * _series(_SIN, x * x)


def _unit_interval(words: Words) -> Floats:
    return ((words >> np.uint64(11)).astype(np.float64) + 1.0) * 2.0**-53


def _series(coefficients: list[float], x: Floats) -> Floats:
    highest = np.full_like(x, coefficients[-1])
    return reduce(lambda value, c: value * x + c, reversed(coefficients[:-1]), highest)
