"""Numbers, addresses and bytes, written into a packet in network order. All functions run in both lanes."""

from __future__ import annotations

from struct import Struct
from typing import Any, TypeAlias

from lbsim.engine.lanes import COMPILED, kernel
from lbsim.engine.numbers import IPV4
from lbsim.model.address import Address
from lbsim.packet.headers import Bytes

__all__ = ["Words", "move", "put_address", "put_double_word", "put_word", "words_of"]

#: Addresses as 32-bit numbers, four to each, highest first; an IPv4 address is the last of its four.
Words: TypeAlias = Any

_PUT_WORD = Struct("!H").pack_into
_PUT_DOUBLE_WORD = Struct("!I").pack_into


def words_of(address: Address) -> list[int]:
    """The four words of an address."""
    number = int(address)
    if number <= 0xFFFFFFFF:
        return [0, 0, 0, number]
    return [number >> shift & 0xFFFFFFFF for shift in (96, 64, 32, 0)]


@kernel
def put_word(data: Bytes, at: int, value: int) -> None:
    """Write the low 16 bits of ``value``."""
    if not COMPILED:
        _PUT_WORD(data, at, value & 0xFFFF)
        return
    data[at] = value >> 8 & 0xFF
    data[at + 1] = value & 0xFF


@kernel
def put_double_word(data: Bytes, at: int, value: int) -> None:
    """Write the low 32 bits of ``value``."""
    if not COMPILED:
        _PUT_DOUBLE_WORD(data, at, value & 0xFFFFFFFF)
        return
    put_word(data, at, value >> 16)
    put_word(data, at + 2, value)


@kernel
def put_address(data: Bytes, at: int, version: int, words: Words, address: int) -> None:
    """Write address number ``address`` of ``words`` as 4 or 16 bytes."""
    for k in range(3 if version == IPV4 else 0, 4):
        put_double_word(data, at, words[4 * address + k] & 0xFFFFFFFF)
        at += 4


@kernel
def move(into: Bytes, at: int, data: Bytes, begin: int, size: int) -> None:
    """Copy ``size`` bytes of ``data`` to ``into[at:]``."""
    if COMPILED:  # here byte by byte is fast, and slices would need memory of their own
        target = into[at : at + size]
        source = data[begin : begin + size]
        for k in range(size):
            target[k] = source[k]
    else:
        into[at : at + size] = data[begin : begin + size]
