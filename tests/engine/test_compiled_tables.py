"""Tables as compiled code takes them: what it reads and writes is what numpy shows."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.errors import NumbaError

from lbsim.engine import timers
from lbsim.engine.compiled import Compiled
from lbsim.engine.compiled_tables import CompiledTables
from lbsim.engine.lanes import compiled_lane, replaced
from lbsim.engine.records import Conn, Tables
from lbsim.host import EngineHost

NAMES = [field.name for field in fields(Tables)]


def tables() -> Any:
    return EngineHost(lane=compiled_lane()).tables


@numba.njit
def write_conn(t: Any, row: int, port: int) -> int:
    """Write a field; how many rows there are."""
    t.conns[row].cport = port
    return len(t.conns)


def compiled_for(name: str) -> Any:
    """A function that says how many rows a table has, and sums up what it finds there (its last field, or itself)."""
    table = getattr(tables(), name)
    last = f".{table.dtype.names[-1]}" if table.dtype.names else ""
    lines = [
        "def read(t):",
        " total = 0",
        f" for row in t.{name}:",
        f"  total += row{last}",
        f" return len(t.{name}), total",
    ]
    found: dict[str, Any] = {}
    exec("\n".join(lines), found)
    return numba.njit(found["read"])


@pytest.mark.parametrize("name", NAMES)
def test_every_table_is_found_behind_its_name(name: str) -> None:
    t = tables()
    table = getattr(t, name)
    values = table[table.dtype.names[-1]] if table.dtype.names else table
    values[:] = np.arange(len(table)) % 100
    assert compiled_for(name)(t) == (len(table), sum(n % 100 for n in range(len(table))))


def test_what_is_written_there_is_seen_here_and_beyond_the_end_of_the_old_table_in_the_new_one() -> None:
    t = tables()
    rows = len(t.conns)
    assert (write_conn(t, 3, 4711), t.conns[3].cport) == (rows, 4711)
    larger = replaced(compiled_lane(), t, conns=compiled_lane().grown(t.conns, 2 * rows))
    assert (write_conn(larger, 2 * rows - 1, 1), larger.conns[2 * rows - 1].cport) == (2 * rows, 1)
    assert larger.conns[3].cport == 4711
    assert len(write_conn.signatures) == 1  # tables of every size are of one type


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))], ids=["deepcopy", "pickle"])
def test_a_copy_has_tables_of_its_own(copied: Any) -> None:
    t = tables()
    t.conns[1].cport = 7
    other = copied(t)
    write_conn(other, 1, 8)
    assert (t.conns[1].cport, other.conns[1].cport, other.address == t.address) == (7, 8, False)


def test_tables_of_other_numbers_are_of_another_type() -> None:
    t = tables()
    parts = {name: getattr(t, name) for name in NAMES}
    wider = CompiledTables(parts | {"conn_heads": t.conn_heads.astype("i8")})
    assert (wider.kind == t.kind, CompiledTables(parts).kind is t.kind) == (False, True)


def test_a_name_that_no_table_has_does_not_compile() -> None:
    with pytest.raises(NumbaError, match="nobody"):
        numba.njit(lambda t: len(t.nobody))(tables())


def test_the_compiler_is_told_that_the_list_is_there_and_stays() -> None:
    lane = Compiled(checked=False)
    lane.kept_in = None
    entry = lane.function(timers.first_due)
    entry(tables())
    (code,) = entry.inspect_llvm().values()
    (line,) = [
        line for line in code.splitlines() if line.startswith("define") and "first_due" in line and "%arg.t" in line
    ]
    assert f"dereferenceable({2 * 8 * len(NAMES)})" in line


def test_tables_are_not_replaced_in_place() -> None:
    t = tables()
    with pytest.raises(AttributeError, match="conns: tables are not replaced in place"):
        t.conns = t.conns


def test_tables_that_compiled_code_could_not_read_are_refused() -> None:
    t = tables()
    parts = {name: getattr(t, name) for name in NAMES}
    for wrong in (t.conn_heads[::2], t.conn_heads.reshape(2, -1)):
        with pytest.raises(AssertionError):
            CompiledTables(parts | {"conn_heads": wrong})


FRESH = """
from lbsim.engine import timers
from lbsim.engine.lanes import compiled_lane
from lbsim.host import EngineHost
host = EngineHost(lane=compiled_lane())
twin = host.lane.function(timers.first_due)
print(int(twin(host.tables)), sum(twin.stats.cache_hits.values()), sum(twin.stats.cache_misses.values()))
"""


def test_code_that_takes_tables_is_kept_for_the_next_process(tmp_path: Path) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    said = [
        subprocess.run(
            [sys.executable, "-c", FRESH], capture_output=True, text=True, check=True, env=environment
        ).stdout
        for _ in range(2)
    ]
    assert said == ["0 0 1\n", "0 1 0\n"]


def test_rows_keep_their_class() -> None:
    assert type(tables().conns[0]).record is Conn
