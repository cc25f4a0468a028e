"""Arithmetic that both lanes and the kernel's C do alike.

Kernel counterpart: lib/math/gcd.c, and the rules of C for an ``int``.
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel

__all__ = ["gcd", "signed32"]


@kernel
def gcd(a: int, b: int) -> int:
    """The greatest common divisor of two numbers that are not negative; of 0 and another one that other one.

    Source
    ------
    lib/math/gcd.c gcd(), 6.1 and 6.12.
    """
    while b != 0:
        rest = a % b
        a = b
        b = rest
    return a


@kernel
def signed32(value: int) -> int:
    """What a 32-bit ``int`` holds of a number: it wraps at 2**31.

    Source
    ------
    facts: schedulers.md sections 1.4 and 3.14.
    """
    return ((value + 0x80000000) & 0xFFFFFFFF) - 0x80000000
