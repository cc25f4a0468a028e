"""Hashes: the kernel's multiplicative one, on which scheduling depends, and our own for finding rows.

Kernel counterpart: ``hash_32`` of include/linux/hash.h (the multiplier and the kept upper bits are facts of the ABI
that sh, dh, lblc and lblcr expose). Where rows are found (service, destination, connection tables) the kernel uses
random keys, so nothing depends on that order and ours is free to be simple.
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel

GOLDEN_RATIO_32 = 0x61C88647


@kernel
def hash32(value: int, bits: int) -> int:
    """The upper ``bits`` bits of value * 0x61C88647 modulo 2**32.

    Parameters
    ----------
    value : int, 0 .. 2**32 - 1.
    bits : int, 1 .. 32.

    Source
    ------
    facts: schedulers.md section 2; include/linux/hash.h, 6.1 and 6.12.
    """
    return ((value * GOLDEN_RATIO_32) & 0xFFFFFFFF) >> (32 - bits)


@kernel
def row_bucket(address: int, port: int, salt: int, mask: int) -> int:
    """The bucket, 0 .. mask, in which a row with this address id and port is looked for.

    The products stay below 2**63, so both lanes agree without masking.

    Source
    ------
    lbsim's own; the kernel's order is random.
    """
    mixed = address * 0x9E3779B1 + port * 0x85EBCA6B + salt
    return (mixed ^ (mixed >> 17)) & mask
