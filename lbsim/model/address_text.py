"""Addresses as text, very many at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from ipaddress import IPv6Address
from socket import AF_INET6, inet_ntoa, inet_ntop
from struct import iter_unpack
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from lbsim.model.trace import AddressTable

__all__ = ["AddressTexts", "address_texts"]


class AddressTexts(Sequence[str]):
    """The texts of a table's addresses, made when somebody looks at one. Equal to sequences of equal texts."""

    def __init__(self, addresses: AddressTable) -> None:
        self._addresses = addresses[:]  # the table may grow

    @cached_property
    def _texts(self) -> list[str]:
        return address_texts(self._addresses)

    def __len__(self) -> int:
        return len(self._addresses)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        return self._texts[at]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __eq__(self, other: object) -> bool:
        return self._texts == list(other) if isinstance(other, Sequence) else NotImplemented

    def __repr__(self) -> str:
        return repr(self._texts)


def address_texts(addresses: AddressTable) -> list[str]:
    """``str()`` of every address, several times as fast."""
    if (addresses.family == 4).all():
        packed = addresses.words[:, 3].astype(">u4").tobytes()
        return [inet_ntoa(four) for (four,) in iter_unpack("4s", packed)]
    packed = addresses.words.astype(">u4").tobytes()
    return [
        inet_ntoa(packed[at + 12 : at + 16]) if family == 4 else _ipv6_text(packed[at : at + 16])
        for at, family in zip(range(0, len(packed), 16), addresses.family.tolist(), strict=True)
    ]


def _ipv6_text(packed: bytes) -> str:
    """As the ipaddress module writes it. The C library writes IPv4 addresses inside with dots."""
    if packed[:10] == bytes(10):
        return str(IPv6Address(packed))
    return inet_ntop(AF_INET6, packed)
