"""The compiled lane: the engine's own functions, compiled by numba, on numpy arrays of rows.

Each marked function gets a *twin*: the same code object with globals in which every marked name stands for the twin of
that function; and, if Python calls it, an *entry*, one more such copy. They are compiled when they are first called,
and kept in the user's cache folder under a digest of all sources that they are made of: a changed line anywhere makes
them anew (numba itself looks at one file only).

Kernel counterpart: none. Imported only when the compiled lane is asked for.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from copyreg import pickle as pickle_by
from functools import cache, partial
from operator import itemgetter
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar, cast

import llvmlite
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.errors import NumbaError
from numba.core.extending import intrinsic

from lbsim.engine.compiled_tables import CompiledTables, TablesType, promise_tables
from lbsim.engine.lanes import compiled_lane, is_seldom, marked_functions, prefetch, renewals
from lbsim.engine.records import Tables, field_types

__all__ = ["Compiled", "cache_folder"]

F = TypeVar("F")

_LARGE = 1 << 20  # bytes from which on a table has pages of its own
_ROOM = 64  # so many times as many pages are set aside: until they are full, a table grows without being copied
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0  # set aside only addresses, not memory
_SOURCES = ("engine", "packet", "traffic")  # the parts of lbsim that mark functions
_KEPT = 3  # digests whose compiled code stays in the cache


class Compiled:
    """The lane; see :class:`lbsim.engine.lanes.Lane`.

    Parameters
    ----------
    checked : every index is checked.
    """

    name = "compiled"
    spare = 1 << 18  # rows that are never written take no memory

    def __init__(self, *, checked: bool) -> None:
        self._checked = checked
        self._begin()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, made by :mod:`copy` or :mod:`pickle`, is the lane itself: what it has compiled is there once."""
        return partial(compiled_lane, checked=self._checked), ()

    def _begin(self) -> None:
        """Forget all twins: there are none yet, or they are of code that was replaced since."""
        self._renewals = renewals()
        self._twins: dict[Any, Any] = {prefetch: _fetch}
        self._entries: dict[Any, Any] = {prefetch: _fetch}
        self._worlds: dict[int, dict[str, Any]] = {}
        self.kept_in = _prepared(cache_folder(Path(__file__).parent.parent, checked=self._checked))
        if self.kept_in:
            numba.config.CACHE_DIR = str(self.kept_in)

    def _copy(self, function: FunctionType) -> FunctionType:
        """The function in a world of twins."""
        world = self._worlds.setdefault(id(function.__globals__), dict(function.__globals__))
        copy = FunctionType(function.__code__, world, function.__name__, function.__defaults__)
        copy.__module__ = function.__module__
        return copy

    def _njit(self, function: FunctionType, *, entry: bool = False, inline: bool = False) -> Any:
        """The function for numba, without reference counting.

        Parameters
        ----------
        entry : Python calls it, and its machine code is kept, that of all it calls included. Others have no such way
            in, which would have to be compiled as well.
        inline : its code is put in place of each call.
        """
        keep = entry and self.kept_in is not None and Path(function.__code__.co_filename).is_file()
        decorate = numba.njit(
            _nrt=False,
            forceinline=inline,
            nogil=True,
            boundscheck=self._checked,
            cache=keep,
            no_cpython_wrapper=not entry,
            no_cfunc_wrapper=True,
            pipeline_class=_EntryCompiler if entry else _PartCompiler,
        )
        if entry:
            return _forgiving(decorate(function)) if keep else decorate(function)
        return _of_wide_numbers(decorate(function))

    def tables(self, parts: dict[str, Any]) -> Tables:
        made: Any = CompiledTables(parts)
        return cast("Tables", made)

    def table(self, record: type[Any], rows: int) -> Any:
        return _zeros(rows, _row_type(cast("Any", record)))

    def integers(self, values: Sequence[int]) -> Any:
        return np.array(values, dtype=np.int64)

    def heads(self, rows: int) -> Any:
        return _zeros(rows, np.dtype("i4"))

    def column(self, values: Any) -> Any:
        return np.ascontiguousarray(values, dtype=np.int64)

    def grown(self, table: Any, rows: int) -> Any:
        if rows <= len(table):
            return table
        memory = _memory_of(table)
        if memory is not None and rows * table.dtype.itemsize <= len(memory):
            return np.frombuffer(memory, dtype=table.dtype, count=rows)
        larger = _zeros(rows, table.dtype)
        larger[: len(table)] = table
        return larger

    def rows(self, record: type[Any], columns: dict[str, Any]) -> Any:
        table = self.table(record, len(columns[_row_type(cast("Any", record)).names[0]]))
        for name, column in columns.items():
            table[name] = column
        return table

    def read(self, table: Any, names: tuple[str, ...], rows: int) -> dict[str, Any]:
        return {name: table[name][:rows] for name in names}

    def function(self, marked: F) -> F:
        if self._renewals != renewals():
            self._begin()
        if marked not in self._twins:
            self._make_twins()
        if marked not in self._entries:
            original = cast("FunctionType", marked)
            self._entries[marked] = self._njit(self._copy(original), entry=True)
        entry: F = self._entries[marked]
        return entry

    def refusal(self, marked: F, *arguments: Any) -> str:
        twin: Any = self.function(marked)
        try:
            twin.compile(tuple(numba.typeof(argument) for argument in arguments))
        except NumbaError as error:
            return " ".join(str(error).split())[:300]
        return ""

    def at_hand(self, name: str) -> bool:
        return self.kept_in is not None and any(self.kept_in.glob(f"*/*.{name}-*.nbc"))

    def _make_twins(self) -> None:
        """Twins of all functions that were marked since; nothing is compiled before a twin is first called."""
        for function in marked_functions():
            if function in self._twins:
                continue
            copy = self._copy(function)
            copy.__qualname__ = f"{function.__name__}_twin"  # in the cache's names, where entries have theirs
            self._twins[function] = self._njit(copy, inline=not is_seldom(function))
        for world in self._worlds.values():
            world["COMPILED"] = True
            world.update({
                name: self._twins[value]
                for name, value in world.items()
                if isinstance(value, FunctionType) and value in self._twins
            })  # fmt: skip


def _forgiving(twin: Any) -> Any:
    """The twin, for which a full disk is no reason to stop: then it is compiled again next time."""
    save = twin._cache.save_overload

    def save_if_possible(*arguments: Any) -> None:
        with suppress(OSError):
            save(*arguments)

    twin._cache.save_overload = save_if_possible
    return twin


class _Part(JITCodeLibrary):
    """Code of a twin on its way into entries. It is optimized there, once, and never becomes machine code by itself.

    By itself numba does both to every function, each time with all that is called from it.
    """

    @property
    def codegen(self) -> Any:
        return _NoEnvironments()

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class _EntryOfTables(JITCodeLibrary):
    """Code of an entry that gets tables."""

    def add_ir_module(self, module: Any) -> None:
        promise_tables(module)
        super().add_ir_module(module)


class _EntryCompiler(Compiler):
    """Makes entries."""

    def __init__(self, typing: Any, target: Any, library: Any, *others: Any) -> None:
        kinds = others[0]
        if library is None and any(isinstance(kind, TablesType) for kind in kinds):
            library = _EntryOfTables(target.codegen(), "entry")
            library.enable_object_caching()
        super().__init__(typing, target, library, *others)


class _NoEnvironments:
    """For a twin's Python objects, of which it has none, there is no place outside machine code."""

    def set_env(self, name: str, env: Any) -> None:
        pass


class _PartCompiler(Compiler):
    """Makes parts."""

    def __init__(self, typing: Any, target: Any, library: Any, *others: Any) -> None:
        super().__init__(typing, target, library or _Part(target.codegen(), "part"), *others)


def _of_wide_numbers(twin: Any) -> Any:
    """The twin, which takes all numbers as 64 bits; numba would make one for each width, and for each constant."""
    template = twin.get_call_template

    def get_call_template(arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return template(tuple(map(_wide, arguments)), named)

    twin.get_call_template = get_call_template
    return twin


def _wide(kind: Any) -> Any:
    plain = getattr(kind, "literal_type", kind)
    return types.int64 if isinstance(plain, types.Integer) and plain != types.uint64 else plain


class _RowClass(type):
    """The class of the rows of a record, whose fields are attributes as in the interpreted lane.

    Those of a ``np.recarray`` are, too, but are looked for in Python, which takes five times as long.
    """

    record: type[Any]


@cache
def _row_class(record: Any) -> _RowClass:
    attributes = {name: property(itemgetter(name), partial(_put, name)) for name, _ in field_types(record)}
    made = _RowClass(record.__name__, (np.void,), {"__slots__": (), **attributes})
    made.record = record
    return made


def _put(name: str, row: Any, value: int) -> None:
    row[name] = value


def _made_again(row_class: _RowClass) -> tuple[Any, ...]:
    return _row_class, (row_class.record,)


pickle_by(_RowClass, _made_again)


@cache
def _row_type(record: Any) -> Any:
    return np.dtype((_row_class(record), np.dtype(field_types(record), align=True)))


def _zeros(rows: int, kind: Any) -> Any:
    """Zeros that begin at a page, in large pages if there are: rows of 64 bytes then cost one fetch each.

    What is never written takes no memory.
    """
    size = rows * kind.itemsize
    if size < _LARGE:
        return np.zeros(rows, dtype=kind)
    try:
        memory = mmap.mmap(-1, _ROOM * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE)
    except (AttributeError, OSError):  # other systems have no such flags; or there is a limit
        return np.zeros(rows, dtype=kind)
    with suppress(AttributeError, OSError):  # an advice only; shared pages would not be large
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype=kind, count=rows)


def _memory_of(table: Any) -> mmap.mmap | None:
    """The pages of its own in which a table is, if it has such."""
    while isinstance(table, np.ndarray):
        table = table.base
    pages = table.obj if isinstance(table, memoryview) else table
    return pages if isinstance(pages, mmap.mmap) else None


def _fetch_code(_context: Any, table: Any, row: Any) -> Any:
    """:func:`prefetch` for numba: the processor's own instruction for it."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        array = context.make_array(kind)(context, builder, arguments[0])
        index = context.cast(builder, arguments[1], signature.args[1], types.intp)
        place = cgutils.get_item_pointer(context, builder, kind, array, [index], wraparound=False)
        place = builder.bitcast(place, ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        does = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, does, "llvm.prefetch.p0")
        builder.call(function, [place, number(0), number(3), number(1)])  # to read, keep it, data
        return context.get_dummy_value()

    return types.void(table, row), code


_fetch: Any = intrinsic(_fetch_code)


def cache_folder(package: Path, *, checked: bool = False) -> Path:
    """Where compiled code of exactly these sources is kept, by this numba, in the user's cache folder.

    Functions that do not come with lbsim (schedulers of a user's own) are told apart by their code.

    Source
    ------
    lbsim's own.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(repr((sys.version, numba.__version__, llvmlite.__version__, np.__version__)).encode())
    for part in _SOURCES:
        for path in sorted((package / part).rglob("*.py")):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    digest.update(_outside_code())
    return home / "lbsim" / "compiled" / (digest.hexdigest()[:16] + ("-checked" if checked else ""))


def _outside_code() -> bytes:
    """What marked functions from outside lbsim are: their code, and the constants that it takes from their module."""
    parts = []
    for function in marked_functions():
        if not function.__module__.startswith("lbsim."):
            code, world = function.__code__, function.__globals__
            constants = [(name, world[name]) for name in code.co_names if isinstance(world.get(name), int)]
            parts.append(repr((function.__name__, code.co_code, code.co_consts, code.co_names, constants)))
    return "\n".join(parts).encode()


def _prepared(folder: Path) -> Path | None:
    """The folder, made if it is not there, older ones removed; None if nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        others = sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)
        for old in others[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None
