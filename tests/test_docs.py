"""The pages: their examples run, their commands work, and no key of a scenario is missing from its page."""

from __future__ import annotations

import doctest
import json
import re
import shlex
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lbsim import parse, simulate
from lbsim.model.result import RESULT_COLUMNS
from lbsim.model.scenario import Scenario
from lbsim.packet.build import build_packet
from lbsim.packet.capture_file import CaptureFile
from tests.notes import complaints
from tests.traces import config_text, random_trace

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/scenarios.md").read_text(encoding="utf-8")
OWN = (ROOT / "docs/own-schedulers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:<!-- complete: (\S+) -->\n)?```yaml\n(.*?)```", PAGE, re.DOTALL)
COMPLETE = {name: text for name, text in BLOCKS if name}
MARKS = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/marks.md").read_text(encoding="utf-8"), re.DOTALL)
FRAGMENTS = [text for name, text in BLOCKS if not name] + MARKS
COMMANDS = "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
SHOWN = re.findall(r"<!-- output: (\S+) -->\n```text\n(.*?)```", PAGE, re.DOTALL)
SYN, ACK = 2, 16


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A script that stops at the first failure, in a folder, with this lbsim."""
    lbsim = f'lbsim() {{ {shlex.quote(sys.executable)} -P -m lbsim "$@"; }}\n'
    return subprocess.run(
        ["sh", "-ec", lbsim + script],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(folder), "LBSIM_PROGRESS_AFTER": "3600"},
        capture_output=True,
        text=True,
        check=False,
    )


def sections(text: str) -> dict[str, str]:
    """Top-level key -> its lines."""
    return {part.partition(":")[0]: part for part in re.split(r"^(?=[a-z_]+:)", text, flags=re.MULTILINE) if part}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that the page's examples refer to."""
    for name, text in COMPLETE.items():
        (tmp_path / f"{name}.lbsim.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "director.ipvs").write_text(yaml.safe_load(COMPLETE["two-servers"])["config"], encoding="utf-8")
    (tmp_path / "more.packets").write_text("0 203.0.113.2:40002 > 192.168.1.10:80 tcp S\n", encoding="utf-8")
    client, server = {"src": "198.51.100.1", "sport": 1001}, {"src": "192.0.2.80", "sport": 8080}
    capture = CaptureFile(tmp_path / "web.pcap")
    for nanoseconds, packet in enumerate(
        (
            build_packet(**client, dst="192.0.2.80", dport=8080, flags=SYN),
            build_packet(**server, dst="198.51.100.1", dport=1001, flags=SYN | ACK),
        )
    ):
        capture.append(struct.pack("<IIII", 0, nanoseconds, len(packet), len(packet)) + packet)
    capture.keep()
    return tmp_path


@pytest.mark.parametrize("name", COMPLETE)
def test_a_complete_example_runs_and_passes(name: str, folder: Path) -> None:
    done = shell(f"lbsim run --no-figures {name}.lbsim.yaml", folder)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize(
    "fragment", FRAGMENTS, ids=[" ".join(sections(text)) + f" {n}" for n, text in enumerate(FRAGMENTS)]
)
def test_a_fragment_runs_and_passes_within_the_first_example(fragment: str, folder: Path) -> None:
    first = sections(COMPLETE["two-servers"])
    del first["expect"]
    (folder / "tried.lbsim.yaml").write_text("\n".join((first | sections(fragment)).values()), encoding="utf-8")
    done = shell("lbsim run --no-figures --json tried.lbsim.yaml", folder)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    result = json.loads(done.stdout)
    assert (result["findings"], result["left_out"]) == ([], {})
    assert result["packets"] > 0


@pytest.mark.parametrize(("name", "shown"), SHOWN)
def test_the_output_that_the_page_shows_is_what_lbsim_prints(name: str, shown: str, folder: Path) -> None:
    assert shown.strip()
    assert shown in shell(f"lbsim run --no-figures {name}.lbsim.yaml", folder).stdout


def test_the_commands_of_the_page_work_one_after_the_other(folder: Path) -> None:
    done = shell(COMMANDS, folder)
    assert (done.returncode, complaints(done.stderr)) == (0, [])
    assert done.stdout.splitlines()[-1] == "identical"
    assert "traffic" in json.loads((folder / "lbsim.schema.json").read_text(encoding="utf-8"))["properties"]
    for written in (
        "reports/two-servers/summary.md",
        "before/two-servers/result.json",
        "captures/clients.pcap",
        "p.npz",
    ):
        assert (folder / written).is_file()


RESULTS = (ROOT / "docs/results.md").read_text(encoding="utf-8")


def keys_in_tables(title: str) -> set[str]:
    """The names in the first column of the table whose head begins with a title."""
    table = re.search(rf"^\| {re.escape(title)} \|.*?\n\n", RESULTS, re.DOTALL | re.MULTILINE)
    assert table
    return {name for row in table[0].split("\n")[2:-2] for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_the_page_about_results_names_every_key_and_column(tmp_path: Path) -> None:
    random_result = simulate(parse(config_text(4, "rr")), random_trace(1, 50))
    random_result.to_json(tmp_path / "result.json")
    document = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert keys_in_tables("key") == set(document)
    assert keys_in_tables("column") == set(document["columns"]) == set(RESULT_COLUMNS)
    assert keys_in_tables("key of `aggregates`") - {"first", "width"} == set(random_result.aggregates.to_document()) - {
        "first"
    }


def test_the_python_of_the_page_about_results_works(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    shell("lbsim run two-servers.lbsim.yaml --no-figures --columns-out packets.npz", folder)
    blocks = re.findall(r"```python\n(.*?)```", RESULTS, re.DOTALL)
    numpy_example, own = (block for block in blocks if "read_parquet" not in block)
    found: dict[str, Any] = {}
    exec(numpy_example, found)
    assert set(found["dests"]) == {"10.0.0.11:80", "10.0.0.12:80"}
    assert "new" in set(found["reasons"])
    exec(own.replace(", polars", "").replace("polars.DataFrame(result)\n", ""), found)
    assert len(found["result"]) == len(found["senders"])


def test_the_python_of_the_page_about_ipvsadm_works() -> None:
    page = str(ROOT / "docs/ipvsadm.md")
    assert doctest.testfile(page, module_relative=False) == doctest.TestResults(failed=0, attempted=12)


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_the_results_of_the_page_about_kernels_are_written_and_identical(kernel: str, tmp_path: Path) -> None:
    text = (ROOT / "docs/kernel.md").read_text(encoding="utf-8")
    found = re.search(r"```sh\n(lbsim verify .* --out reports)\n(lbsim compare .*)\n```", text)
    assert found
    verify, compare = found.groups()
    (tmp_path / "scenarios").symlink_to(ROOT / "scenarios")
    recorded = verify.replace("--kernel vm:6.1", "--recorded")
    assert recorded != verify
    done = shell(f"{recorded}\n{compare.replace('6.1', kernel)}\n", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "identical"


def keys_of(schema: object) -> Iterator[str]:
    """Every key that a scenario can have, at any depth."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for part in schema.values():
            yield from keys_of(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from keys_of(part)


@pytest.mark.parametrize("key", sorted(set(keys_of(Scenario.model_json_schema()))))
def test_every_key_has_an_example(key: str) -> None:
    blocks = [text for _, text in BLOCKS] + MARKS + re.findall(r"```yaml\n(.*?)```", OWN, re.DOTALL)
    assert any(re.search(rf"^[^#\n]*\b{key}:", text, re.MULTILINE) for text in blocks)


def test_the_page_is_read_in_one_go() -> None:
    assert len(BLOCKS) > 10
    assert len(PAGE.splitlines()) <= 250
