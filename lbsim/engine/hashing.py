"""Hashes: the kernel's multiplicative one and SipHash, on which scheduling depends, and our own for finding rows.

Kernel counterpart: ``hash_32`` of include/linux/hash.h (the multiplier and the kept upper bits are facts of the ABI
that sh, dh, lblc and lblcr expose), ``hsiphash`` of lib/siphash.c on 64-bit machines (mh). Where rows are found
(service, destination, connection tables) the kernel uses random keys, so nothing depends on that order and ours is free
to be simple.
"""

from __future__ import annotations

from lbsim.engine.lanes import kernel, seldom

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


@kernel
def rotated(half: int, other: int, bits: int) -> int:
    """One 32-bit half of a 64-bit number after a rotation to the left: the half itself, filled up from the other one.

    Source
    ------
    facts: schedulers.md section 2.
    """
    return ((half << bits) | (other >> (32 - bits))) & 0xFFFFFFFF


@seldom
def siphash(word: int, key: int) -> int:
    """The low 32 bits of SipHash-1-3 over a 32-bit word; both words of the key are the same 32-bit number.

    Its 64-bit numbers a, b, c, d are held as two halves each, so that both lanes agree.

    Source
    ------
    facts: schedulers.md section 2; lib/siphash.c __hsiphash_unaligned() on 64-bit machines, 6.1 and 6.12.
    """
    last_high = 4 << 24  # the length, in bytes; below it is the word itself
    a_high = 0x736F6D65
    a_low = 0x70736575 ^ key
    b_high = 0x646F7261
    b_low = 0x6E646F6D ^ key
    c_high = 0x6C796765
    c_low = 0x6E657261 ^ key
    d_high = 0x74656462 ^ last_high
    d_low = 0x79746573 ^ key ^ word
    for i in range(4):
        total = a_low + b_low
        a_high = (a_high + b_high + (total >> 32)) & 0xFFFFFFFF
        a_low = total & 0xFFFFFFFF
        turned = rotated(b_high, b_low, 13) ^ a_high
        b_low = rotated(b_low, b_high, 13) ^ a_low
        b_high = turned
        total = c_low + d_low
        c_high = (c_high + d_high + (total >> 32)) & 0xFFFFFFFF
        c_low = total & 0xFFFFFFFF
        turned = rotated(d_high, d_low, 16) ^ c_high
        d_low = rotated(d_low, d_high, 16) ^ c_low
        d_high = turned
        total = a_high + d_low  # from here on a is turned by 32 bits: its halves have changed places
        turned = (a_low + d_high + (total >> 32)) & 0xFFFFFFFF
        a_low = total & 0xFFFFFFFF
        a_high = turned
        turned = rotated(d_high, d_low, 21) ^ a_high
        d_low = rotated(d_low, d_high, 21) ^ a_low
        d_high = turned
        total = c_low + b_low
        c_high = (c_high + b_high + (total >> 32)) & 0xFFFFFFFF
        c_low = total & 0xFFFFFFFF
        turned = rotated(b_high, b_low, 17) ^ c_high
        b_low = rotated(b_low, b_high, 17) ^ c_low
        b_high = turned
        turned = c_high  # and so is c
        c_high = c_low
        c_low = turned
        if i == 0:
            a_high ^= last_high
            a_low ^= word
            c_low ^= 0xFF
    return a_low ^ b_low ^ c_low ^ d_low
