"""Two ways to run the same functions: interpreted, and compiled by numba.

A function of the engine is marked ``@kernel``. The interpreted lane calls it as it stands, on lists of slotted records.
The compiled lane calls its *twin*: the same code object with globals in which every marked name stands for the twin
of that function, compiled by numba, on numpy record arrays. Both lanes live in one process; there is one source.

Kernel counterpart: none. numba (extra ``fast``) is imported only when the compiled lane is asked for.
"""

from __future__ import annotations

from collections import namedtuple
from dataclasses import fields
from functools import cache
from importlib import import_module
from itertools import islice
from operator import attrgetter
from types import FunctionType
from typing import Any, Protocol, TypeVar

from lbsim.engine.records import Tables, field_types

__all__ = ["Lane", "compiled_lane", "interpreted_lane", "kernel", "replaced"]

F = TypeVar("F")

_MARKED: list[FunctionType] = []


def kernel(function: F) -> F:
    """The function itself, noted as one that must run in both lanes."""
    assert isinstance(function, FunctionType)
    _MARKED.append(function)
    return function


class Lane(Protocol):
    """A way to run the engine: how tables are made and grown, and which callables work on them."""

    name: str

    def tables(self, parts: dict[str, Any]) -> Tables:
        """All tables of a director, by their names."""

    def table(self, record: type[Any], rows: int) -> Any:
        """A table of ``rows`` zeroed records."""

    def integers(self, values: list[int]) -> Any:
        """A table of plain integers."""

    def grown(self, table: Any, rows: int) -> Any:
        """The same table with at least ``rows`` rows; the old rows keep their content."""

    def rows(self, record: type[Any], columns: dict[str, Any]) -> Any:
        """A table made of columns of equal length (numpy arrays), one per field of the record."""

    def read(self, table: Any, names: tuple[str, ...], rows: int) -> dict[str, Any]:
        """The named fields of the first rows, as columns."""

    def function(self, marked: F) -> F:
        """The callable that works on this lane's tables."""


class _Interpreted:
    """Lists of slotted objects, plain Python calls."""

    name = "interpreted"

    def tables(self, parts: dict[str, Any]) -> Tables:
        return Tables(**parts)

    def table(self, record: type[Any], rows: int) -> Any:
        return [record() for _ in range(rows)]

    def integers(self, values: list[int]) -> Any:
        return list(values)

    def grown(self, table: Any, rows: int) -> Any:
        make = int if isinstance(table[0], int) else type(table[0])
        table.extend([make() for _ in range(rows - len(table))])
        return table

    def rows(self, record: type[Any], columns: dict[str, Any]) -> Any:
        return list(map(record, *(columns[field.name].tolist() for field in fields(record))))

    def read(self, table: Any, names: tuple[str, ...], rows: int) -> dict[str, Any]:
        return {name: list(map(attrgetter(name), islice(table, rows))) for name in names}

    def function(self, marked: F) -> F:
        return marked


class _Compiled:
    """numpy record arrays, functions compiled by numba."""

    name = "compiled"

    def __init__(self) -> None:
        self._numpy: Any = import_module("numpy")
        self._njit = import_module("numba").njit
        self._twins: dict[Any, Any] = {}
        self._tables: Any = _named_tuple([field.name for field in fields(Tables)])

    def tables(self, parts: dict[str, Any]) -> Tables:
        tables: Tables = self._tables(**parts)
        return tables

    def table(self, record: type[Any], rows: int) -> Any:
        return self._numpy.zeros(rows, dtype=field_types(record)).view(self._numpy.recarray)

    def integers(self, values: list[int]) -> Any:
        return self._numpy.array(values, dtype=self._numpy.int64)

    def grown(self, table: Any, rows: int) -> Any:
        if rows <= len(table):
            return table
        larger = self._numpy.zeros(rows, dtype=table.dtype)
        larger[: len(table)] = table
        return larger.view(type(table))

    def rows(self, record: type[Any], columns: dict[str, Any]) -> Any:
        table = self.table(record, len(columns[field_types(record)[0][0]]))
        for name, column in columns.items():
            table[name] = column
        return table

    def read(self, table: Any, names: tuple[str, ...], rows: int) -> dict[str, Any]:
        return {name: table[name][:rows] for name in names}

    def function(self, marked: F) -> F:
        if marked not in self._twins:  # marked by a module that was imported later
            self._twins = _compile_marked(self._njit)
        twin: F = self._twins[marked]
        return twin


def _named_tuple(names: list[str]) -> Any:
    return namedtuple("Tables", names)


def _compile_marked(njit: Any) -> dict[Any, Any]:
    """Marked function -> its compiled twin. Nothing is compiled before a twin is first called."""
    worlds: dict[int, dict[str, Any]] = {}
    twins: dict[Any, Any] = {}
    for function in _MARKED:
        world = worlds.setdefault(id(function.__globals__), dict(function.__globals__))
        twins[function] = njit(FunctionType(function.__code__, world, function.__name__, function.__defaults__))
    for world in worlds.values():
        world.update({
            name: twins[value]
            for name, value in world.items()
            if isinstance(value, FunctionType) and value in twins
        })  # fmt: skip
    return twins


@cache
def interpreted_lane() -> Lane:
    """The lane that runs anywhere Python runs."""
    return _Interpreted()


@cache
def compiled_lane() -> Lane:
    """The lane for large traces; ImportError without numba."""
    return _Compiled()


def replaced(lane: Lane, tables: Tables, **parts: Any) -> Tables:
    """The tables with some of them replaced."""
    names = [field.name for field in fields(Tables)]
    return lane.tables({name: getattr(tables, name) for name in names} | parts)
