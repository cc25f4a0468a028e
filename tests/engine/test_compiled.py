"""The compiled lane's own affairs: where compiled code is kept, large tables, checked indices."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lbsim
from lbsim.engine import addresses, compiled, director, hashing
from lbsim.engine.compiled import Compiled, cache_folder
from lbsim.engine.lanes import compiled_lane, interpreted_lane, prefetch
from lbsim.engine.records import Conn
from lbsim.host import EngineHost
from lbsim.model.trace import Trace
from lbsim.simulate import simulate
from tests.bench.traffic import config_of, web

PACKAGE = Path(lbsim.__file__).parent
ONE_TWIN = """
from lbsim.engine import hashing
from lbsim.engine.lanes import compiled_lane
twin = compiled_lane().function(hashing.hash32)
print(twin(0x0A000001, 8), sum(twin.stats.cache_hits.values()), sum(twin.stats.cache_misses.values()))
"""


def answers(home: Path | str) -> list[int]:
    """Of a fresh process with this cache folder: a hash, how often code was found there, how often it was not."""
    environment = dict(os.environ, XDG_CACHE_HOME=str(home))
    done = subprocess.run([sys.executable, "-c", ONE_TWIN], capture_output=True, text=True, check=True, env=environment)
    return [int(word) for word in done.stdout.split()]


def test_the_second_start_finds_compiled_code_in_the_cache(tmp_path: Path) -> None:
    expected = hashing.hash32(0x0A000001, 8)
    assert answers(tmp_path) == [expected, 0, 1]
    assert answers(tmp_path) == [expected, 1, 0]


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    no_folder = tmp_path / "file"
    no_folder.write_text("")
    assert answers(no_folder) == answers(no_folder) == [hashing.hash32(0x0A000001, 8), 0, 1]


def test_without_a_place_for_compiled_code_there_is_a_lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    lane = Compiled(checked=False)
    assert (lane.kept_in, lane.at_hand("receive_block")) == (None, False)
    assert lane.function(hashing.hash32)(0x0A000001, 8) == hashing.hash32(0x0A000001, 8)


def test_a_disk_that_is_full_costs_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = Compiled(checked=False).function(hashing.hash32)
    assert hasattr(twin, "_cache")

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(twin._cache), "save_overload", full)
    assert Compiled(checked=False).function(hashing.row_bucket)(1, 2, 3, 1023) == hashing.row_bucket(1, 2, 3, 1023)


@pytest.mark.parametrize("part", ["engine/tcp.py", "engine/schedulers/lc.py", "packet/rewrite.py", "traffic/pcap.py"])
def test_a_changed_source_has_another_cache(part: str, tmp_path: Path) -> None:
    copy = tmp_path / "lbsim"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = cache_folder(copy)
    (copy / part).write_text((copy / part).read_text() + "\n")
    assert before == cache_folder(PACKAGE)
    assert cache_folder(copy) != before


def test_of_older_sources_only_the_newest_stay(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        os.utime(tmp_path / str(number), (number, number))
    assert compiled._prepared(tmp_path / "new") == tmp_path / "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4", "new"]


# From a megabyte on a table has pages of its own: 64-byte rows then never lie across two cache lines.
@pytest.mark.parametrize("rows", [3, 100_000])
def test_new_tables_are_zero_and_grow(rows: int) -> None:
    lane = compiled_lane()
    table: Any = lane.table(Conn, rows)
    assert table.dtype.itemsize == 64
    assert not table.tobytes().strip(b"\0")
    table[rows - 1].cport = 65535
    larger: Any = lane.grown(table, 2 * rows)
    assert (len(larger), larger[rows - 1].cport, larger[rows].cport) == (2 * rows, 65535, 0)
    if table.nbytes > 1 << 20:
        assert table.ctypes.data % 64 == 0


def test_a_checked_lane_refuses_a_row_outside_its_table() -> None:
    host = EngineHost(lane=compiled_lane(checked=True))
    write = host.lane.function(addresses.set_address)
    rows = len(host.tables.addresses)
    write(host.tables, rows - 1, 4, 0, 0, 0, 1)
    with pytest.raises(IndexError):
        write(host.tables, rows, 4, 0, 0, 0, 1)


def test_prefetching_is_nothing_in_the_interpreted_lane() -> None:
    assert interpreted_lane().function(prefetch) is prefetch
    prefetch([1], 0)


# It only names rows that it would be good to have; here for once by the interpreter.
def test_looking_ahead_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = Trace.joined(web(40, 100, 1))
    plain = simulate(config_of("rr"), trace)
    monkeypatch.setattr(director, "COMPILED", True)
    looking = simulate(config_of("rr"), trace)
    assert len(plain) > 40
    assert all(np.array_equal(plain[name], looking[name]) for name in plain.columns)


ROWS = 20_000  # of 64 bytes: more than a megabyte


def a_table() -> Any:
    """A large table with something in its last row."""
    table = Compiled(checked=False).table(Conn, ROWS)
    table["serial"][-1] = 7
    return table


# A table of some ten thousand entries becomes one of millions without ever being there twice.
@pytest.mark.parametrize("times", [3, 60])
def test_a_large_table_grows_in_place_and_further_rows_are_zeros(times: int) -> None:
    table = a_table()
    grown = Compiled(checked=False).grown(table, times * ROWS)
    assert np.shares_memory(table, grown)
    assert (len(grown), grown.dtype, type(grown)) == (times * ROWS, table.dtype, type(table))
    assert grown["serial"].nonzero()[0].tolist() == [ROWS - 1]


def test_a_table_that_outgrows_its_place_is_copied() -> None:
    table = a_table()
    grown = Compiled(checked=False).grown(table, 65 * ROWS)
    assert not np.shares_memory(table, grown)
    assert grown["serial"].nonzero()[0].tolist() == [ROWS - 1]


@pytest.mark.parametrize("lacking", ["memory", "flags"])
def test_where_no_pages_can_be_set_aside_tables_grow_by_copying(monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    def refused(*_arguments: object, **_options: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    if lacking == "memory":
        monkeypatch.setattr(compiled.mmap, "mmap", type("Refused", (), {"__new__": refused}))
    else:
        monkeypatch.delattr(compiled.mmap, "MAP_PRIVATE")
    table = a_table()
    grown = Compiled(checked=False).grown(table, 3 * ROWS)
    assert not np.shares_memory(table, grown)
    assert grown["serial"].nonzero()[0].tolist() == [ROWS - 1]
