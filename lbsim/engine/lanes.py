"""Two ways to run the same functions: interpreted, and compiled by numba.

A function of the engine is marked ``@kernel``. The interpreted lane calls it as it stands, on lists of slotted records.
The compiled lane calls its twin, the same code compiled, on numpy record arrays (see ``compiled.py``). Both lanes live
in one process; there is one source.

Kernel counterpart: none. numba (extra ``fast``) is imported only when the compiled lane is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from itertools import islice, repeat
from operator import attrgetter
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:  # a guest has no tables
    from lbsim.engine.records import Tables


__all__ = [
    "COMPILED",
    "Lane",
    "compiled_lane",
    "interpreted_lane",
    "is_seldom",
    "kernel",
    "marked_functions",
    "prefetch",
    "renewals",
    "renewed",
    "replaced",
    "seldom",
]

F = TypeVar("F")

COMPILED = False  # True for a function that runs in the compiled lane, if its module imports this name

_MARKED: dict[FunctionType, None] = {}
_SELDOM: set[object] = set()
_RENEWALS: list[None] = []


def kernel(function: F) -> F:
    """The function itself, noted as one that must run in both lanes."""
    assert isinstance(function, FunctionType)
    _MARKED[function] = None
    return function


def renewed() -> None:
    """Note that marked functions got other code: what was compiled of them is out of date."""
    _RENEWALS.append(None)


def renewals() -> int:
    """How often marked functions got other code."""
    return len(_RENEWALS)


def seldom(function: F) -> F:
    """The function itself, noted as one of both lanes that is not needed for most packets.

    The compiled lane calls it, instead of putting its code in place of each call: that saves the compiler time.
    """
    kernel(function)
    _SELDOM.add(function)
    return function


def is_seldom(function: object) -> bool:
    """Whether a function was marked so."""
    return function in _SELDOM


@kernel
def prefetch(table: Any, row: int) -> None:
    """Nothing; in the compiled lane the processor begins to fetch the row, so that it is at hand a little later."""


def marked_functions() -> tuple[FunctionType, ...]:
    """Every function that must run in both lanes, of all modules imported so far."""
    return tuple(_MARKED)


class Lane(Protocol):
    """A way to run the engine: how tables are made and grown, and which callables work on them."""

    name: str
    spare: int  # a table that is too small and has fewer rows becomes four times as large, else half as large again

    def tables(self, parts: dict[str, Any]) -> Tables:
        """All tables of a director, by their names."""

    def table(self, record: type[Any], rows: int) -> Any:
        """A table of ``rows`` zeroed records."""

    def integers(self, values: Sequence[int]) -> Any:
        """A table of plain integers."""

    def heads(self, rows: int) -> Any:
        """A table of ``rows`` zeros that will hold row numbers."""

    def column(self, values: Any) -> Any:
        """A numpy column as this lane's functions read it."""

    def grown(self, table: Any, rows: int) -> Any:
        """The same table with at least ``rows`` rows; the old rows keep their content."""

    def rows(self, record: type[Any], columns: dict[str, Any]) -> Any:
        """A table made of columns of equal length (numpy arrays), named as fields of the record, the first one among
        them; a field without column is 0.
        """

    def read(self, table: Any, names: tuple[str, ...], rows: int) -> dict[str, Any]:
        """The named fields of the first rows, as columns."""

    def function(self, marked: F) -> F:
        """The callable that works on this lane's tables."""

    def refusal(self, marked: F, *arguments: Any) -> str:
        """Why this lane cannot run a function on such arguments; "" if it can."""

    def at_hand(self, name: str) -> bool:
        """Whether a function of that name can run without being compiled first."""


class _Interpreted:
    """Lists of slotted objects, plain Python calls."""

    name = "interpreted"
    spare = 0  # each row costs

    def tables(self, parts: dict[str, Any]) -> Tables:
        return _tables_class()(**parts)

    def table(self, record: type[Any], rows: int) -> Any:
        return [record() for _ in range(rows)]

    def integers(self, values: Sequence[int]) -> Any:
        return list(values)

    def heads(self, rows: int) -> Any:
        return [0] * rows

    def column(self, values: Any) -> Any:
        return values.tolist()

    def grown(self, table: Any, rows: int) -> Any:
        make = int if isinstance(table[0], int) else type(table[0])
        table.extend([make() for _ in range(rows - len(table))])
        return table

    def rows(self, record: type[Any], columns: dict[str, Any]) -> Any:
        names: tuple[str, ...] = record.__slots__
        return list(map(record, *(columns[name].tolist() if name in columns else repeat(0) for name in names)))

    def read(self, table: Any, names: tuple[str, ...], rows: int) -> dict[str, Any]:
        return {name: list(map(attrgetter(name), islice(table, rows))) for name in names}

    def function(self, marked: F) -> F:
        return marked

    def refusal(self, marked: F, *arguments: Any) -> str:
        return ""

    def at_hand(self, name: str) -> bool:
        return True


@cache
def interpreted_lane() -> Lane:
    """The lane that runs anywhere Python runs."""
    return _Interpreted()


def compiled_lane(*, checked: bool = False) -> Lane:
    """The lane for large traces; ImportError without numba.

    Parameters
    ----------
    checked : every index is checked and IndexError raised if it is outside its table: slower, for tests.
    """
    return _compiled_lane(checked)


@cache
def _compiled_lane(checked: bool) -> Lane:
    lane: Lane = import_module("lbsim.engine.compiled").Compiled(checked=checked)
    return lane


@cache
def _tables_class() -> type[Tables]:
    from lbsim.engine.records import Tables

    return Tables


def replaced(lane: Lane, tables: Tables, **parts: Any) -> Tables:
    """The tables with some of them replaced."""
    names: tuple[str, ...] = _tables_class().__slots__
    return lane.tables({name: getattr(tables, name) for name in names} | parts)
