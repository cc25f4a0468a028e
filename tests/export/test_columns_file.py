"""Files of columns: what is in them whichever their kind, and that they are complete or not there."""

from __future__ import annotations

import errno
import gc
import json
import sys
import weakref
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from lbsim import LbsimError, parse
from lbsim.config import parse_command
from lbsim.export import ENDINGS, columns_file
from lbsim.model.config import TimedCommand
from lbsim.model.result import RESULT_COLUMNS, Result, ResultBlock
from lbsim.model.trace import Trace
from lbsim.simulate import simulate
from tests.traces import EVERY_SHAPE, config_text, in_blocks, random_trace

SECOND = 1_000_000_000
CONFIG = parse(config_text(4, "rr"))
ADDED = [
    TimedCommand(200 * SECOND, parse_command("-a -t 192.0.2.1:80 -r 10.9.9.9:80 -m -w 3")),
    TimedCommand(200 * SECOND, parse_command("-a -u 192.0.2.1:53 -r 10.9.9.9:80 -m -w 3")),
]


def run(path: Path, *, cuts: list[int] | None = None, packets: int = 1200, version: int = 4) -> Result:
    """A run whose packets go to a file; destinations are added on the way."""
    trace = random_trace(5, packets, version=version, shapes=EVERY_SHAPE)
    with columns_file(path) as sink:
        return simulate(
            parse(config_text(version, "rr")),
            in_blocks(trace, cuts or []),
            timeline=ADDED if version == 4 else [],
            sinks=[sink],
            seed=4,
        )


def npz_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of an .npz file with names in place of numbers, by numpy alone."""
    with np.load(path) as file:
        columns = {name: file[name] for name in RESULT_COLUMNS}
        assert {name: column.dtype for name, column in columns.items()} == {
            name: np.dtype(kind) for name, kind in RESULT_COLUMNS.items()
        }
        named = columns | {name: file["addresses"][columns[name]] for name in ("src", "dst", "new_src", "new_dst")}
        named |= {"service": file["services"][columns["dest"]], "dest": file["destinations"][columns["dest"]]}
        named |= {"verdict": file["verdicts"][columns["verdict"]], "reason": file["reasons"][columns["reason"]]}
        named["direction"] = np.array(["in", "out"])[columns["direction"]]
    rows = [dict(zip(named, values, strict=True)) for values in zip(*(c.tolist() for c in named.values()), strict=True)]
    return [
        {name: None if value == "" or is_missing(row, name) else value for name, value in row.items()} for row in rows
    ]


def is_missing(row: dict[str, Any], name: str) -> bool:
    return name in ("new_sport", "new_dport") and row["verdict"] != "FORWARD"


def arrow_rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pyarrow.ipc.open_file(path).read_all().to_pylist()
    return rows


def parquet_rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    return rows


READERS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    ".npz": npz_rows, ".arrow": arrow_rows, ".parquet": parquet_rows
}  # fmt: skip


@pytest.fixture(params=READERS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The name of a file of each kind."""
    return tmp_path / f"columns{request.param}"


def left(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


def test_there_is_a_reader_for_every_kind() -> None:
    assert sorted(READERS) == sorted(ENDINGS)


@pytest.mark.parametrize("cuts", [[], [1], [300, 300, 601, 1100]])
def test_the_file_holds_every_packet_with_its_names(path: Path, cuts: list[int]) -> None:
    result = run(path, cuts=cuts)
    found = READERS[path.suffix](path)
    assert {row["dest"] for row in found} >= {"10.9.9.9:80", "10.0.0.11:80", None}
    assert found == pyarrow.table(result).to_pylist()
    assert left(path) == [path.name]


def test_ipv6_addresses_are_written_in_full(path: Path) -> None:
    result = run(path, version=6, packets=200)
    assert READERS[path.suffix](path) == pyarrow.table(result).to_pylist()


def test_a_run_without_packets_is_a_file_without_rows(path: Path) -> None:
    with columns_file(path) as sink:
        simulate(CONFIG, iter(()), sinks=[sink])
    assert READERS[path.suffix](path) == []


def test_files_of_equal_runs_are_equal(path: Path) -> None:
    run(path)
    once = path.read_bytes()
    run(path)
    assert path.read_bytes() == once


def test_where_the_columns_come_from_is_in_the_file(path: Path) -> None:
    result = run(path)
    if path.suffix == ".npz":
        (text,) = np.load(path)["provenance"]
    else:
        schema = pyarrow.parquet.read_schema if path.suffix == ".parquet" else lambda p: pyarrow.ipc.open_file(p).schema
        text = schema(path).metadata[b"lbsim"]
    assert json.loads(text) == asdict(result.provenance)


def test_folders_are_made(path: Path) -> None:
    deeper = path.parent / "a" / "b" / path.name
    run(deeper)
    assert left(deeper) == [path.name]


# Complete or not there


def test_an_error_or_interrupt_in_mid_run_leaves_nothing(path: Path) -> None:
    for stop in (KeyboardInterrupt, LbsimError):
        with pytest.raises(stop), columns_file(path) as sink:
            simulate(CONFIG, stopping(stop), sinks=[sink])
        assert left(path) == []


def stopping(error: type[BaseException]) -> Any:
    """Two blocks, and then no third."""
    yield from in_blocks(random_trace(5, 100), [50])
    raise error("stop")


def test_an_older_file_stays_until_a_new_one_is_complete(path: Path) -> None:
    path.write_text("older")
    with pytest.raises(KeyboardInterrupt), columns_file(path) as sink:
        simulate(CONFIG, stopping(KeyboardInterrupt), sinks=[sink])
    assert (path.read_text(), left(path)) == ("older", [path.name])
    run(path)
    assert len(READERS[path.suffix](path)) == 1200


class FullDisk:
    """A disk that takes so many bytes, and then no more."""

    def __init__(self, room: int) -> None:
        self.room = room

    def open_file(self) -> Callable[..., Any]:
        """What stands for Path.open."""
        before = Path.open

        def opened(path: Path, mode: str) -> Any:
            file = before(path, mode)
            return Refusing(file, self) if "w" in mode else file

        return opened


class Refusing:
    def __init__(self, file: Any, disk: FullDisk) -> None:
        self.file = file
        self.disk = disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, data: Any) -> int:
        self.disk.room -= memoryview(data).nbytes
        if self.disk.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written: int = self.file.write(data)
        return written


@pytest.mark.parametrize("room", [0, 1000, 20_000])
def test_a_full_disk_is_one_clear_line_and_leaves_nothing(
    path: Path, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(room)
    monkeypatch.setattr(Path, "open", disk.open_file())
    with pytest.raises(LbsimError) as caught:
        run(path, cuts=[400, 800])
    assert str(caught.value) == f"{path}: cannot write the columns: No space left on device"
    assert left(path) == []


def test_a_folder_that_cannot_be_written_is_one_clear_line(path: Path) -> None:
    path.parent.joinpath("file").touch()
    with pytest.raises(LbsimError, match=r"cannot write the columns: (Not a directory|File exists)"):
        run(path.parent / "file" / path.name)


def test_an_error_of_the_traffic_is_not_one_of_the_file(path: Path) -> None:
    def broken() -> Any:
        yield from in_blocks(random_trace(5, 100), [50])
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"), columns_file(path) as sink:
        simulate(CONFIG, broken(), sinks=[sink])
    assert left(path) == []


# What cannot be written


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x.csv", "ending '.csv'; expected one of: .arrow, .npz, .parquet"),
        ("x", "no ending; expected one of: .arrow, .npz, .parquet"),
    ],
)
def test_an_unknown_ending_is_refused_with_the_known_ones(name: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(LbsimError) as caught:
        run(tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}: {says}"


def test_without_pyarrow_there_is_npz(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    if path.suffix == ".npz":
        run(path)
        assert left(path) == [path.name]
        return
    with pytest.raises(LbsimError) as caught:
        run(path)
    remedy = "pip install 'lbsim[arrow]', or a file that ends in .npz"
    assert str(caught.value) == f"{path}: pyarrow is missing; expected it installed: {remedy}"
    assert left(path) == []


def test_a_block_that_was_written_is_forgotten(path: Path) -> None:
    alive: list[weakref.ref[Any]] = []

    class Watch:
        def add(self, _trace: Trace, answers: ResultBlock) -> None:
            gc.collect()
            assert all(column() is None for column in alive)
            alive.append(weakref.ref(answers["verdict"]))

    blocks = in_blocks(random_trace(5, 1000), range(100, 1000, 100))
    with columns_file(path) as sink:
        simulate(CONFIG, blocks, sinks=[sink, Watch()], columns=False)
    assert len(alive) == 10
