"""The order in which ipvsadm lists: by the sign of differences in 32 bits, through glibc's merge sort.

Numbers are compared by the sign of their difference as a signed 32-bit integer, so 192.168.1.10 comes before 10.0.0.1,
and addresses from all around the circle have no order: then it counts in which order they were before, and how the
sort goes about it.

Source: ipvsadm 1.31; glibc 2.36 qsort(), a top-down merge sort; facts: ipvsadm.md section 3.8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias, TypeVar

from lbsim.model.config import Address, ServiceId

__all__ = ["endpoint_key", "service_key", "sorted_as_listed"]

_Item = TypeVar("_Item")
_Key: TypeAlias = tuple[int, ...]
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}


def endpoint_key(address: Address, port: int) -> _Key:
    """What is compared of a real server, one after the other: the 32-bit words of the address, and the port."""
    value = int(address)
    shifts = (0,) if address.version == 4 else (96, 64, 32, 0)
    return (*((value >> shift) & 0xFFFFFFFF for shift in shifts), port)


def service_key(service: ServiceId) -> _Key:
    """What is compared of a service: the mark (0 of one by address), the family, the protocol, and then its end."""
    version = service.address.version
    if service.protocol == "fwm":
        return service.fwmark, version
    return (0, version, _PROTOCOLS[service.protocol], *endpoint_key(service.address, service.port))


def sorted_as_listed(items: Iterable[_Item], key: Callable[[_Item], _Key]) -> list[_Item]:
    """The items in the order in which ipvsadm lists them; ``items`` come in the kernel's order."""
    return [item for _, item in _merged([(key(item), item) for item in items])]


def _merged(items: Sequence[tuple[_Key, _Item]]) -> Sequence[tuple[_Key, _Item]]:
    if len(items) < 2:
        return items
    half = len(items) // 2
    left, right = _merged(items[:half]), _merged(items[half:])
    merged: list[tuple[_Key, _Item]] = []
    at_left = at_right = 0
    while at_left < len(left) and at_right < len(right):
        if _not_after(left[at_left][0], right[at_right][0]):
            merged.append(left[at_left])
            at_left += 1
        else:
            merged.append(right[at_right])
            at_right += 1
    return [*merged, *left[at_left:], *right[at_right:]]


def _not_after(a: _Key, b: _Key) -> bool:
    # Keys of two lengths differ in what comes before the address.
    difference = next((x - y for x, y in zip(a, b, strict=False) if x != y), 0)
    return difference == 0 or difference & 0x80000000 != 0  # negative as a 32-bit integer
