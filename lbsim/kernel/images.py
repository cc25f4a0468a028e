"""Linux kernels on this computer: fetched as Debian packages into the user's cache folder, or named by their file.

Nothing is installed and nothing needs root: ``apt-get download`` brings the package, ``dpkg-deb -x`` unpacks it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lbsim.errors import KernelUnavailable, expected_one_of
from lbsim.kernel import cache, process

__all__ = ["SERIES", "Image", "fetch", "find", "installed", "named"]

#: Kernel series that can be fetched by name, and how Debian 12 calls the package.
SERIES = {"6.1": r"linux-image-6\.1\.\d+-\d+-cloud-amd64", "6.12": r"linux-image-6\.12\.\d+\S*-cloud-amd64"}

#: Called now and then with a step's name, how much of it is done, and how much there is (0: not known).
Progress = Callable[[str, int, int], object]

_FULL = re.compile("No space left|enough free space|quota exceeded|File too large")
_LEAST_ROOM = 1 << 16  # bytes
_PATIENCE = 120.0  # seconds without a byte after which a download counts as stalled


@dataclass(frozen=True, slots=True)
class Image:
    """A kernel that can be booted: its release (``uname -r``), its file, the folder of its modules."""

    release: str
    vmlinuz: Path
    modules: Path

    @property
    def series(self) -> str:
        """The first two numbers of the release: ``6.1``."""
        return ".".join(re.findall(r"\d+", self.release)[:2])


def installed() -> list[Image]:
    """The kernels in the cache folder, newest first."""
    folder = cache.folder("kernels")
    found = [image for path in folder.iterdir() if not path.name.startswith(".") and (image := _unpacked(path))]
    return sorted(found, key=lambda image: _numbers(image.release), reverse=True)


def find(series: str) -> Image:
    """The newest kernel of a series in the cache folder.

    Raises
    ------
    KernelUnavailable : there is none; the remedy names the command that fetches it.
    """
    for image in installed():
        if image.series == series:
            return image
    raise KernelUnavailable(f"a kernel {series}", "there is none in the cache folder", f"lbsim kernel fetch {series}")


def named(vmlinuz: Path, modules: Path | None = None) -> Image:
    """A kernel that is on disk already: its file and the folder of its modules.

    The modules are looked for in ``../lib/modules/RELEASE`` and ``/lib/modules/RELEASE`` if not named; the release is
    what follows ``vmlinuz-`` in the file's name, or the name of the modules' folder.
    """
    release = modules.name if modules else vmlinuz.name.removeprefix("vmlinuz-")
    places = [modules] if modules else [vmlinuz.parent.parent / "lib/modules" / release, Path("/lib/modules") / release]
    if not os.access(vmlinuz, os.R_OK):
        step = "it does not exist or cannot be read"
        raise KernelUnavailable(f"the kernel {vmlinuz}", step, "name a readable vmlinuz")
    for place in places:
        if place.is_dir():
            return Image(release, vmlinuz, place)
    tried = ", ".join(str(place) for place in places)
    raise KernelUnavailable(f"the kernel {vmlinuz}", f"no modules in {tried}", "name the folder of its modules")


def fetch(which: str, progress: Progress = lambda _step, _done, _total: None) -> Image:
    """A kernel from a Debian mirror (``"6.1"``, ``"6.12"``) or from a package file (``.deb``), unpacked in the cache.

    A kernel that is there already is not fetched again. However this ends, what it started ends with it.

    Raises
    ------
    KernelUnavailable : the step that failed (find, download, unpack) and its remedy.
    """
    folder = cache.folder("kernels")

    def waiting() -> None:
        progress("wait for another lbsim that fetches", 0, 0)

    if which.endswith(".deb"):
        package = Path(which)
        if not package.is_file():
            raise KernelUnavailable(f"the kernel package {which}", "no such file", "name a linux-image-*.deb")
        with cache.locked(folder, waiting):
            return _unpack(package.resolve(), folder, progress)
    if which not in SERIES:
        raise KernelUnavailable(
            "lbsim kernel fetch", expected_one_of(which, list(SERIES), "kernel"), "or name a linux-image-*.deb"
        )
    with cache.locked(folder, waiting), cache.temporary(folder) as scratch:
        try:
            name = _package_of(which, scratch, progress)
        except KernelUnavailable:
            if there := next((image for image in installed() if image.series == which), None):
                return there
            raise
        if known := _unpacked(folder / name):
            return known
        step = _Step(
            "the download", f"the kernel {which}", "look at the network and at apt's sources, then try again", progress
        )
        _run(["apt-get", "download", name], scratch, step)
        package = next(scratch.glob("*.deb"), scratch / "nothing.deb")
        return _unpack(package, folder, progress, name)


def _package_of(series: str, scratch: Path, progress: Progress) -> str:
    """The newest package of a series that apt knows and that holds a signed kernel."""
    search = ["apt-cache", "search", "--names-only", "^linux-image-[0-9.]+.*-cloud-amd64$"]
    said = _run(
        search, scratch, _Step("the search", f"the kernel {series}", "look at apt's sources, then try again", progress)
    )
    names = [name for line in said.splitlines() if re.fullmatch(SERIES[series], name := line.split(" ", 1)[0])]
    if not names:
        raise KernelUnavailable(
            f"a kernel {series}", f"apt knows no package {SERIES[series]}",
            "run 'apt-get update' as root, or name a package file: lbsim kernel fetch PATH.deb",
        )  # fmt: skip
    return max(names, key=_numbers)


def _unpack(package: Path, folder: Path, progress: Progress, name: str = "") -> Image:
    target = folder / (name or package.name.removesuffix(".deb").split("_")[0])
    if known := _unpacked(target):
        return known
    with cache.temporary(folder) as scratch:
        tree = scratch / "tree"
        step = _Step("unpacking", f"the kernel package {package.name}", "name a whole linux-image-*.deb", progress)
        _run(["dpkg-deb", "-x", str(package), str(tree)], scratch, step)
        if _unpacked(tree) is None:
            raise KernelUnavailable(
                f"the kernel package {package.name}", "it holds no boot/vmlinuz-* with modules",
                "name a linux-image-*.deb",
            )  # fmt: skip
        if target.exists():  # and is no kernel any more: somebody removed parts of it
            target.rename(scratch / "old")
        tree.rename(target)
    image = _unpacked(target)
    assert image is not None
    return image


def _unpacked(tree: Path) -> Image | None:
    for vmlinuz in sorted(tree.glob("boot/vmlinuz-*")):
        release = vmlinuz.name.removeprefix("vmlinuz-")
        for modules in (tree / "lib/modules" / release, tree / "usr/lib/modules" / release):
            if modules.is_dir():
                return Image(release, vmlinuz, modules)
    return None


@dataclass(frozen=True, slots=True)
class _Step:
    """A step of fetching: its name, of what, and what helps if it fails."""

    name: str
    of: str
    remedy: str
    progress: Progress


def _run(argv: list[str], scratch: Path, step: _Step) -> str:
    """What a program of Debian's said; it works in ``scratch``."""
    if shutil.which(argv[0]) is None:
        elsewhere = "fetch a linux-image-*.deb elsewhere, then: lbsim kernel fetch PATH.deb"
        remedy = elsewhere if argv[0].startswith("apt") else "install dpkg"
        raise KernelUnavailable(step.of, f"no {argv[0]} on this computer", remedy)
    try:
        done = process.finished(argv, scratch, patience=_PATIENCE, waiting=lambda: step.progress(step.name, 0, 0))
    except TimeoutError:
        stalled = f"{step.name} stalled: nothing more came for {_PATIENCE:g} s"
        raise KernelUnavailable(step.of, stalled, "look at the network, then try again") from None
    if done.returncode == 0:
        return done.stdout
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith(("E:", "dpkg-deb:"))] or lines
    last = (said or ["no message"])[-1]
    full = next((line for line in lines if _FULL.search(line)), None)
    if not full and _is_full(scratch):  # tar, for one, only says how much of a block it could write
        full = f"{last}: {os.strerror(errno.ENOSPC)}"
    remedy = f"make room in {scratch.parent}, or name another folder in XDG_CACHE_HOME" if full else step.remedy
    raise KernelUnavailable(step.of, f"{step.name} failed: {full or last}", remedy)


def _is_full(folder: Path) -> bool:
    """Whether there is no room for another file."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize < _LEAST_ROOM or (disk.f_files > 0 and disk.f_favail == 0)


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", name))
