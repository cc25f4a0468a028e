"""Fetching kernels, with programs that play apt and dpkg."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lbsim.errors import KernelUnavailable
from lbsim.kernel import cache, images
from tests.kernel.processes import ENDS, gone, lbsim, on_a_small_disk, program, running, until

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
# A download that comes to a halt half-way, in a process of its own as apt's methods are.
STALLS = 'echo half > "$2_1.deb"\nsh -c "echo \\$\\$ > ../../apt.part; mv ../../apt.part ../../apt; sleep 1000" &\nwait'


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
            "^the kernel 6.1: the download failed: E: Failed to fetch; look at the network and at apt's sources",
        ),
        ("apt-get", "kill -9 $$", "the download failed: no message; look at the network"),
        ("apt-get", "exit 0", "unpacking failed: dpkg-deb: error: no such file; name a whole linux-image"),
        (
            "dpkg-deb",
            "echo 'dpkg-deb: error: not a Debian format archive' >&2; exit 2",
            r"^the kernel package linux-image-.*\.deb: unpacking failed: .*; name a whole linux-image-\*\.deb$",
        ),
        ("dpkg-deb", 'mkdir -p "$3/usr"', "holds no boot/vmlinuz"),
        ("apt-cache", "", "apt knows no package .* run 'apt-get update'"),
        ("apt-cache", "echo 'E: no lists' >&2; exit 100", "the search failed: E: no lists; look at apt's sources"),
    ],
)
def test_a_failed_fetch_is_one_line_and_leaves_nothing(programs: Path, name: str, text: str, message: str) -> None:
    program(programs, "dpkg-deb", f'[ -e "$2" ] || {{ echo "dpkg-deb: error: no such file" >&2; exit 2; }}\n{DPKG}')
    program(programs, name, text)
    with pytest.raises(KernelUnavailable) as caught:
        images.fetch("6.1")
    assert re.search(message, str(caught.value))
    assert "\n" not in str(caught.value)
    assert left() == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "apt-get",
            'dd if=/dev/zero of="$2_1.deb" bs=1M count=9 2>/dev/null || { echo "E: No space left" >&2; exit 100; }',
        ),
        ("dpkg-deb", f'{DPKG}; dd if=/dev/zero of="$3/boot/big" bs=1M count=9'),
        ("dpkg-deb", 'mkdir "$3"; dd if=/dev/zero of="$3/x" bs=1M count=9 2>/dev/null || { echo half >&2; exit 2; }'),
    ],
)
def test_a_full_disk_is_one_line_that_names_the_folder_and_nothing_is_left(
    programs: Path, tmp_path: Path, name: str, text: str
) -> None:
    program(programs, name, text)
    (tmp_path / "cache").mkdir()
    done = on_a_small_disk(tmp_path / "cache", lbsim("kernel", "fetch", "6.1"), "size=1m")
    kernels = tmp_path / "cache/lbsim/kernels"
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr
    assert done.stderr.endswith(f"; make room in {kernels}, or name another folder in XDG_CACHE_HOME\n")
    assert done.stdout.splitlines() == [str(path) for path in (kernels.parent, kernels, kernels / ".lock")]


@pytest.mark.parametrize("how", ENDS)
def test_an_interrupted_download_leaves_no_process_and_the_next_start_no_half_file(
    programs: Path, tmp_path: Path, how: str
) -> None:
    program(programs, "apt-get", STALLS)
    method = cache.folder("kernels").parent / "apt"
    with running(lbsim("kernel", "fetch", "6.1"), terminal=how == "Ctrl-C") as fetching:
        until("the download has begun", method.exists)
        status = fetching.end(how)
    assert status == ENDS[how]
    assert gone(int(method.read_text()))
    if status == 130:
        assert fetching.said.splitlines()[-1].endswith("interrupted")
        assert left() == []
    assert images.installed() == []
    assert left() == []


def test_a_download_can_be_done_again_after_an_interruption(programs: Path) -> None:
    program(programs, "apt-get", STALLS)
    method = cache.folder("kernels").parent / "apt"
    with running(lbsim("kernel", "fetch", "6.1")) as fetching:
        until("the download has begun", method.exists)
        fetching.end("SIGKILL")
    program(programs, "apt-get", 'echo deb > "$2_1.deb"')
    assert images.fetch("6.1").release == RELEASE
    assert left() == [f"linux-image-{RELEASE}"]


def test_a_download_that_stalls_ends_at_the_limit(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(programs, "apt-get", STALLS)
    monkeypatch.setattr(images, "_PATIENCE", 1.0)
    with pytest.raises(KernelUnavailable, match="the download stalled: nothing more came for 1 s; look at the network"):
        images.fetch("6.1")
    method = cache.folder("kernels").parent / "apt"
    assert gone(int(method.read_text()))
    assert left() == []


def test_each_step_is_told(programs: Path) -> None:
    told: list[str] = []
    program(programs, "apt-get", 'echo deb > "$2_1.deb"; sleep 1')
    program(programs, "dpkg-deb", f"{DPKG}; sleep 1")
    images.fetch("6.1", lambda step, _done, _total: told.append(step))
    assert list(dict.fromkeys(told)) == ["the download", "unpacking"]


def test_who_waits_for_another_fetch_says_so(programs: Path, tmp_path: Path) -> None:
    with cache.locked(cache.folder("kernels")), running(lbsim("kernel", "fetch", "6.1")) as waiting:
        until("it says so", lambda: "fetch: wait for another lbsim that fetches" in waiting.said)


def test_without_apt_the_remedy_is_a_package_file(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(programs.parent))
    with pytest.raises(KernelUnavailable, match=r"no apt-cache on this computer; .*lbsim kernel fetch PATH\.deb"):
        images.fetch("6.1")


def test_without_apt_a_kernel_that_is_there_is_enough(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = images.fetch("6.1")
    monkeypatch.setenv("PATH", str(programs.parent))
    assert images.fetch("6.1") == image


def test_without_dpkg_the_remedy_is_to_install_it(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (programs / "dpkg-deb").unlink()
    for name in ("sh", "echo", "cat"):
        (programs / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(KernelUnavailable, match="no dpkg-deb on this computer; install dpkg"):
        images.fetch("6.1")


def test_a_kernel_of_which_parts_were_removed_is_fetched_anew() -> None:
    image = images.fetch("6.1")
    image.vmlinuz.unlink()
    (image.modules / "kept").write_text("")
    assert images.installed() == []
    assert images.fetch("6.1") == image
    assert not (image.modules / "kept").exists()
    assert left() == [f"linux-image-{RELEASE}"]


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
