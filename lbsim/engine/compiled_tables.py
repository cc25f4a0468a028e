"""A director's tables as compiled code takes them: one address, behind which it finds where each table is.

To numba a named tuple of two dozen arrays is two hundred values. It takes them apart at each call from Python, and
hands all of them on with each call between functions: nine tenths of what the compiler then reads is about nothing
else. Here a function gets the address of a list: of each table its own address and its rows. That list never changes,
and the compiler is told so: what was read of it once is not read again.

Kernel counterpart: none. Imported only when the compiled lane is asked for.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.extending import NativeValue, lower_getattr_generic, models, register_model, typeof_impl, unbox
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.np.arrayobj import populate_array

from lbsim.engine.records import Tables

__all__ = ["CompiledTables", "TablesType", "promise_tables"]

_NAMES = tuple(field.name for field in fields(Tables))
_WORD = np.dtype(np.uintp).itemsize


class CompiledTables:
    """What :class:`lbsim.engine.records.Tables` is in the interpreted lane, of numpy arrays of one dimension.

    Parameters
    ----------
    parts : each table by its name.

    Attributes
    ----------
    address : of the list for compiled code.
    kind : the type of these tables, for numba.
    """

    __slots__ = (*_NAMES, "_places", "address", "kind")
    address: int
    kind: TablesType

    def __init__(self, parts: dict[str, Any]) -> None:
        tables = [parts[name] for name in _NAMES]
        assert all(table.ndim == 1 and table.flags.c_contiguous and table.flags.writeable for table in tables)
        places = np.array([(_address(table), len(table)) for table in tables], dtype=np.uintp)
        more = {"_places": places, "address": _address(places), "kind": _kind_of(tables)}
        for name, value in (*zip(_NAMES, tables, strict=True), *more.items()):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        """Nothing is set anew: compiled code would not see it, and would use the old memory."""
        raise AttributeError(f"{name}: tables are not replaced in place, see lanes.replaced")

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy has tables, and a list, of its own."""
        return CompiledTables, ({name: getattr(self, name) for name in _NAMES},)


def _address(array: Any) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


class TablesType(types.Type):
    """The type of tables; ``kinds`` are those of the arrays, in the order of their names."""

    def __init__(self, kinds: tuple[Any, ...]) -> None:
        self.kinds = kinds
        super().__init__(name=f"Tables({', '.join(map(str, kinds))})")

    @property
    def mangling_args(self) -> tuple[str, tuple[Any, ...]]:
        """In names of functions, where that of the type would be kilobytes long."""
        return "Tables", ()


_MOST_KNOWN = 64  # each copy of a director has dtypes of its own
_known: dict[tuple[int, ...], tuple[TablesType, list[Any]]] = {}  # the dtypes are kept, so that no others get their ids


def _kind_of(tables: list[Any]) -> TablesType:
    """The type of these tables. To ask numba takes a millisecond, and tables grow often."""
    dtypes = [table.dtype for table in tables]
    known = _known.get(tuple(map(id, dtypes)))
    if known is None:
        if len(_known) == _MOST_KNOWN:
            _known.clear()
        known = _known[tuple(map(id, dtypes))] = TablesType(tuple(map(numba.typeof, tables))), dtypes
    return known[0]


@typeof_impl.register(CompiledTables)
def _typeof(tables: CompiledTables, _context: Any) -> TablesType:
    return tables.kind


@register_model(TablesType)
class _OneAddress(models.OpaqueModel):
    """An address of something."""


@unbox(TablesType)
def _unbox(_kind: TablesType, tables: Any, c: Any) -> Any:
    number = c.pyapi.object_getattr_string(tables, "address")
    address = c.pyapi.long_as_voidptr(number)
    c.pyapi.decref(number)
    return NativeValue(address)


@infer_getattr
class _Attributes(AttributeTemplate):
    """The tables by their names."""

    key = TablesType

    def generic_resolve(self, kind: TablesType, name: str) -> Any:
        return kind.kinds[_NAMES.index(name)] if name in _NAMES else None


@lower_getattr_generic(TablesType)
def _table(context: Any, builder: Any, kind: TablesType, address: Any, name: str) -> Any:
    """The array of that name."""
    at = _NAMES.index(name)
    array = context.make_array(kind.kinds[at])(context, builder)
    word = context.get_value_type(types.intp)
    size = word(context.get_abi_sizeof(context.get_data_type(kind.kinds[at].dtype)))
    data = _read(builder, address, 2 * at, array.data.type)
    rows = _read(builder, address, 2 * at + 1, word)
    populate_array(array, data, [rows], [size], size, None)
    return array._getvalue()


def _read(builder: Any, address: Any, at: int, kind: Any) -> Any:
    """Word ``at`` of the list."""
    place = builder.gep(builder.bitcast(address, kind.as_pointer()), [ir.IntType(64)(at)])
    value = builder.load(place)
    value.set_metadata("invariant.load", builder.module.add_metadata([]))
    return value


def promise_tables(module: Any) -> None:
    """Promise for each function of a module that its tables, an argument called ``t``, are there when it is called.

    So the compiler may read the list ahead of a loop, even if the loop perhaps needs nothing of it.

    Source
    ------
    lbsim's own.
    """
    for function in module.functions:
        for argument in function.args:
            if argument.name == "arg.t":
                argument.attributes.dereferenceable = 2 * _WORD * len(_NAMES)
                argument.attributes.align = _WORD
