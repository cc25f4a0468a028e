"""What goes into a guest's archive of this computer's programs; the archive itself is booted in test_boot.py."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lbsim.kernel.initramfs import _loaded_of


@pytest.mark.parametrize("name", ["ls", "sh"])
def test_a_program_runs_without_what_is_never_loaded(name: str, tmp_path: Path) -> None:
    found = shutil.which(name)
    assert found
    less = _loaded_of(Path(found))
    assert len(less) < Path(found).stat().st_size
    (tmp_path / "program").write_bytes(less)
    (tmp_path / "program").chmod(0o755)
    argv = ["-c", "echo ran"] if name == "sh" else ["-d", str(tmp_path)]
    said = subprocess.run([tmp_path / "program", *argv], capture_output=True, text=True, check=True).stdout
    assert said.strip() == ("ran" if name == "sh" else str(tmp_path))


@pytest.mark.parametrize("content", [b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(90), b"\x7fELF\x02\x01" + b"\xff" * 90])
def test_what_is_no_such_file_stays_as_it_is(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    assert _loaded_of(tmp_path / "file") == content
