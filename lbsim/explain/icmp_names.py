"""What types and codes of ICMP errors are called."""

from __future__ import annotations

__all__ = ["kind_name"]

#: Type and code -> name; with None every other code of the type. Source: RFC 792, 1122, 1812 and 4443.
_V4: dict[tuple[int, int | None], str] = {
    (3, 0): "network unreachable",
    (3, 1): "host unreachable",
    (3, 2): "protocol unreachable",
    (3, 3): "port unreachable",
    (3, 4): "fragmentation needed",
    (3, 13): "administratively prohibited",
    (3, None): "destination unreachable",
    (4, None): "source quench",
    (5, None): "redirect",
    (11, 1): "reassembly time exceeded",
    (11, None): "time exceeded",
    (12, None): "parameter problem",
}
_V6: dict[tuple[int, int | None], str] = {
    (1, 0): "no route to destination",
    (1, 1): "administratively prohibited",
    (1, 3): "address unreachable",
    (1, 4): "port unreachable",
    (1, None): "destination unreachable",
    (2, None): "packet too big",
    (3, 1): "reassembly time exceeded",
    (3, None): "time exceeded",
    (4, None): "parameter problem",
}


def kind_name(version: int, kind: int, code: int) -> str:
    """``time exceeded``; of a type that has no name ``error``."""
    names = _V4 if version == 4 else _V6
    return names.get((kind, code)) or names.get((kind, None), "error")
