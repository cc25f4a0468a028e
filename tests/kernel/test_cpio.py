"""The archive writer against the cpio program's own reading of it."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

from lbsim.kernel.cpio import Device, File, Link, archive


def unpacked(data: bytes, folder: Path) -> Path:
    subprocess.run(["cpio", "-i", "-d", "--quiet", "--no-preserve-owner"], input=data, cwd=folder, check=True)
    return folder


def test_files_folders_and_links_come_out_as_they_went_in(tmp_path: Path) -> None:
    tree = unpacked(
        archive(
            {"bin/tool": File(b"\x7fELF", executable=True), "a": File(b""), "bin/link": Link("tool")}, folders=("x/y",)
        ),
        tmp_path,
    )
    assert (tree / "bin/tool").read_bytes() == b"\x7fELF"
    assert stat.S_IMODE((tree / "bin/tool").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "a").stat().st_mode) == 0o644
    assert os.readlink(tree / "bin/link") == "tool"
    assert (tree / "x/y").is_dir()


def test_content_of_every_length_up_to_eight_is_padded_right(tmp_path: Path) -> None:
    contents = {f"f{n}": bytes(range(n)) for n in range(9)}
    tree = unpacked(archive({name: File(content) for name, content in contents.items()}), tmp_path)
    assert {name: (tree / name).read_bytes() for name in contents} == contents


def test_a_device_carries_its_numbers() -> None:
    listing = subprocess.run(
        ["cpio", "-t", "-v", "--quiet"], input=archive({"dev/console": Device(5, 1)}), capture_output=True, check=True
    ).stdout.decode()
    assert "crw-------" in listing
    assert "5,   1" in listing


def test_archives_are_whole_blocks_so_that_another_can_follow() -> None:
    assert len(archive({"a": File(b"x")})) % 512 == 0


def test_the_same_files_make_the_same_bytes() -> None:
    assert archive({"a/b": File(b"1"), "c": Link("a")}) == archive({"a/b": File(b"1"), "c": Link("a")})
