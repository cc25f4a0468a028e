"""Columns that were made block by block: each is joined when somebody looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lbsim.model.trace import IntColumn

__all__ = ["JoinedColumns"]


class JoinedColumns(Mapping[str, "IntColumn"]):
    """The columns of several blocks, one behind the other. Of a column that was joined the parts are forgotten.

    Parameters
    ----------
    blocks : mappings with the same names.
    types : name -> numpy type, also of columns of no blocks.
    """

    def __init__(self, blocks: Sequence[Mapping[str, IntColumn]], types: Mapping[str, str]) -> None:
        self._types = types
        self._parts = {name: [block[name] for block in blocks] for name in types}
        self._joined: dict[str, IntColumn] = {}

    def __getitem__(self, name: str) -> IntColumn:
        if name not in self._joined:
            parts = self._parts.pop(name)
            is_one = len(parts) == 1
            self._joined[name] = parts[0] if is_one else np.concatenate([np.zeros(0, self._types[name]), *parts])
        return self._joined[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)
