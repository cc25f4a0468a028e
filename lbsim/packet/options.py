"""The options of an IPv4 header, as the director's IP layer reads them before anybody else sees the packet.

Not modelled: what a kernel writes into options on a packet's way (its address and the time into record route and time
stamps that have room, zeros behind the end of the list). Here they leave as they came.

The functions marked ``@kernel`` run in both lanes.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from lbsim.engine.lanes import kernel

__all__ = ["ROUTED", "fault_of_options"]

Bytes: TypeAlias = Any  # as in ``headers``

ROUTED = -1  # instead of a place: the options are sound and tell a way

_END = 0
_NOTHING = 1
_RECORD_ROUTE = 7
_TIMESTAMP = 68
_LOOSE_ROUTE = 131
_CIPSO = 134
_STRICT_ROUTE = 137
_ROUTER_ALERT = 148
_SEEN_ROUTE, _SEEN_RECORD, _SEEN_TIME, _SEEN_CIPSO = 1, 2, 4, 8


@kernel
def fault_of_options(data: Bytes, begin: int, end: int) -> int:
    """Where in the header in ``data[begin:end]`` the first fault of its options is; 0: none; ROUTED: a source route.

    That is the place to which parameter problem points. What stands behind an end of the list is not looked at.

    Source: as observed, 6.1 and 6.12 (ip_options.c __ip_options_compile()).
    """
    at = begin + 20
    seen = 0
    while at < end:
        kind = data[at] + 0
        if kind == _END:
            break
        size = 1
        if kind != _NOTHING:
            if end - at < 2:
                return at - begin
            size = data[at + 1] + 0
            if size < 2 or size > end - at:
                return at - begin
            bit = _seen_once(kind)
            fault = _fault(data, at, kind, size, seen & bit != 0)
            if fault >= 0:
                return at + fault - begin
            seen |= bit
        at += size
    return ROUTED if seen & _SEEN_ROUTE != 0 else 0


@kernel
def _seen_once(kind: int) -> int:
    """The bit of an option that may come only once; 0 for others."""
    if kind in (_LOOSE_ROUTE, _STRICT_ROUTE):
        return _SEEN_ROUTE
    if kind == _RECORD_ROUTE:
        return _SEEN_RECORD
    if kind == _TIMESTAMP:
        return _SEEN_TIME
    return _SEEN_CIPSO if kind == _CIPSO else 0


@kernel
def _fault(data: Bytes, at: int, kind: int, size: int, again: bool) -> int:
    """Which byte of the option at ``at`` is wrong; -1: none. Its pointer counts from 1."""
    if kind in (_LOOSE_ROUTE, _STRICT_ROUTE):
        if size < 3:
            return 1
        if data[at + 2] < 4:
            return 2
        return 0 if again else -1
    if again:
        return 0
    if kind == _RECORD_ROUTE:
        if size < 3:
            return 1
        return 2 if data[at + 2] < 4 or size - 3 < data[at + 2] <= size else -1
    if kind == _TIMESTAMP:
        return _fault_of_time(data, at, size)
    if kind == _CIPSO:  # its labels mean something only to a kernel that was told about them
        return 1 if size < 8 else 2
    return 1 if kind == _ROUTER_ALERT and size < 4 else -1


@kernel
def _fault_of_time(data: Bytes, at: int, size: int) -> int:
    """Likewise of a time stamp option, whose entries have four bytes, with addresses (1 and 3) eight."""
    if size < 4:
        return 1
    pointer = data[at + 2] + 0
    if pointer < 5:
        return 2
    if pointer > size:  # full: hosts are counted instead, up to 15
        return 3 if data[at + 3] // 16 == 15 else -1
    kind = data[at + 3] % 16
    entry = 8 if kind == 1 or kind == 3 else 4
    return 2 if pointer + entry - 1 > size else -1
