"""Fetching kernels, with programs that play apt and dpkg."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lbsim.errors import KernelUnavailable
from lbsim.kernel import cache, images

RELEASE = "6.1.0-56-cloud-amd64"
KNOWN = "\n".join(
    f"linux-image-{name} - Linux (signed)"
    for name in (
        "6.1.0-9-cloud-amd64",
        RELEASE,
        "6.1.0-57-cloud-amd64-dbg",
        "6.12.9+deb12-cloud-amd64",
        "6.1.0-48-arm64",
    )
)
DPKG = f'mkdir -p "$3/boot" "$3/lib/modules/{RELEASE}"; echo k > "$3/boot/vmlinuz-{RELEASE}"'


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with apt-cache, apt-get and dpkg-deb that succeed, and an empty cache."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    program(folder, "apt-cache", f"cat <<'END'\n{KNOWN}\nEND")
    program(folder, "apt-get", 'echo deb > "$2_1.deb"')
    program(folder, "dpkg-deb", DPKG)
    return folder


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def left() -> list[str]:
    return sorted(path.name for path in cache.folder("kernels").iterdir() if path.name != ".lock")


def test_the_newest_signed_package_of_the_series_is_fetched() -> None:
    image = images.fetch("6.1")
    assert image.release == RELEASE
    assert image.vmlinuz.read_text() == "k\n"
    assert left() == [f"linux-image-{RELEASE}"]
    assert images.installed() == [image]
    assert images.find("6.1") == image


def test_a_kernel_that_is_there_is_not_fetched_again(programs: Path) -> None:
    image = images.fetch("6.1")
    program(programs, "apt-get", "exit 1")
    assert images.fetch("6.1") == image


def test_a_package_file_is_unpacked(tmp_path: Path) -> None:
    package = tmp_path / f"linux-image-{RELEASE}_6.1.192-2_amd64.deb"
    package.write_text("deb")
    assert images.fetch(str(package)).release == RELEASE


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "apt-get",
            'echo half > "$2_1.deb"; echo "E: Failed to fetch" >&2; exit 100',
            "download failed: E: Failed to fetch",
        ),
        ("apt-get", "kill -9 $$", "download failed"),
        ("dpkg-deb", f"{DPKG}; echo 'dpkg-deb: error: No space left on device' >&2; exit 2", "make room in the cache"),
        ("dpkg-deb", 'mkdir -p "$3/usr"', "holds no boot/vmlinuz"),
        ("apt-cache", "", "apt knows no package .* run 'apt-get update'"),
    ],
)
def test_a_failed_fetch_is_one_line_and_leaves_nothing(programs: Path, name: str, text: str, message: str) -> None:
    program(programs, name, text)
    with pytest.raises(KernelUnavailable) as caught:
        images.fetch("6.1")
    assert re.search(message, str(caught.value))
    assert "\n" not in str(caught.value)
    assert left() == []


def test_without_apt_the_remedy_is_a_package_file(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(programs.parent))
    with pytest.raises(KernelUnavailable, match=r"no apt-cache on this computer; .*lbsim kernel fetch PATH\.deb"):
        images.fetch("6.1")


def test_a_kernel_that_is_not_there_names_the_command_that_fetches_it() -> None:
    with pytest.raises(KernelUnavailable, match=r"none in the cache folder; lbsim kernel fetch 6\.12"):
        images.find("6.12")


def test_an_unknown_series_lists_the_known_ones() -> None:
    with pytest.raises(KernelUnavailable, match=r"unknown kernel '6\.2'.*6\.1, 6\.12"):
        images.fetch("6.2")


def test_a_kernel_on_disk_finds_the_modules_beside_it(tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/vmlinuz-6.9").write_text("k")
    (tmp_path / "lib/modules/6.9").mkdir(parents=True)
    assert images.named(tmp_path / "boot/vmlinuz-6.9").modules == tmp_path / "lib/modules/6.9"


def test_a_kernel_on_disk_without_modules_says_where_it_looked(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz-6.9").write_text("k")
    with pytest.raises(KernelUnavailable, match=r"no modules in .*/lib/modules/6\.9; name the folder"):
        images.named(tmp_path / "vmlinuz-6.9")
