"""Kernel modules in the order in which they must be loaded, read from the modules themselves.

A Debian package brings no ``modules.dep`` (``depmod`` writes it at installation, as root), but every module carries
the names of those it needs.
"""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import subprocess
import zlib
from collections.abc import Iterable
from pathlib import Path

from lbsim.errors import KernelUnavailable

__all__ = ["available", "built_in", "content", "needs", "unsigned", "wants_signatures", "with_needed"]

_SUFFIX = re.compile(r"\.ko(\.(xz|gz|zst))?$")
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
_SIGNED = b"~Module signature appended~\n"  # how a signed module ends, behind 12 bytes whose last four are a length


def available(folder: Path) -> dict[str, Path]:
    """Name -> file of every module below ``folder``; names with ``_``, as the kernel writes them."""
    return {
        _SUFFIX.sub("", path.name).replace("-", "_"): path
        for path in sorted(folder.rglob("*.ko*"))
        if _SUFFIX.search(path.name)
    }


def built_in(folder: Path) -> set[str]:
    """Names of what would be modules and is part of the kernel itself, as its builder noted it."""
    try:
        lines = (folder / "modules.builtin").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    return {_SUFFIX.sub("", Path(line).name).replace("-", "_") for line in lines}


def content(path: Path) -> bytes:
    """The module as the kernel loads it, unpacked if the distribution packs its modules.

    Raises
    ------
    KernelUnavailable : it is damaged, or packed with zstd and there is no ``zstd`` program.
    """
    try:
        return _unpacked(path)
    except (lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError, subprocess.CalledProcessError):
        remedy = "remove its kernel and fetch it again: lbsim kernel fetch"
        raise KernelUnavailable("kernel modules", f"{path} is damaged", remedy) from None


def wants_signatures(config: Path) -> bool:
    """Whether a kernel may refuse modules without a signature; ``config`` : how it was built, if that is there."""
    try:
        return "CONFIG_MODULE_SIG_FORCE=y" in config.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return True


def unsigned(module: bytes) -> bytes:
    """The module without its signature: a kernel that wants none need not verify it, which takes an emulated one long.

    Source: Documentation/admin-guide/module-signing.rst, "Signed modules and stripping".
    """
    if not module.endswith(_SIGNED):
        return module
    end = len(module) - len(_SIGNED) - 12
    return module[: max(end - int.from_bytes(module[end + 8 : end + 12]), 0)]


def _unpacked(path: Path) -> bytes:
    packed = path.read_bytes()
    match path.suffix:
        case ".xz":
            return lzma.decompress(packed)
        case ".gz":
            return gzip.decompress(packed)
        case ".zst":
            program = shutil.which("zstd")
            if program is None:
                raise KernelUnavailable("kernel modules", f"{path.name} is packed with zstd", "install zstd")
            return subprocess.run([program, "-dcq"], input=packed, capture_output=True, check=True).stdout
    return packed


def needs(module: bytes) -> tuple[str, ...]:
    """Names of the modules that must be loaded before this one."""
    found = _DEPENDS.search(b"\0" + module)
    if found is None or not found[1]:
        return ()
    return tuple(name.replace("-", "_") for name in found[1].decode().split(","))


def with_needed(names: Iterable[str], files: dict[str, Path]) -> dict[str, tuple[bytes, tuple[str, ...]]]:
    """Name -> (content, needed names) of the wanted modules and all they need, needed ones first.

    Wanted modules that do not exist are left out: some kernels have them built in, some do not know them.
    """
    ordered: dict[str, tuple[bytes, tuple[str, ...]]] = {}

    def add(name: str) -> None:
        if name in ordered or name not in files:
            return
        module = content(files[name])
        needed = tuple(need for need in needs(module) if need in files)
        for need in needed:
            add(need)
        ordered[name] = (module, needed)

    for name in names:
        add(name)
    return ordered
