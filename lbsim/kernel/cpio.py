"""A cpio archive in the form that the Linux kernel unpacks as its first file system ("newc").

No cpio program and no root is needed: owner and device numbers are just fields. Archives may be concatenated; of
two files of one name the later wins. So a base archive is made once, and each run appends a small one.

Source: Documentation/driver-api/early-userspace/buffer-format.rst of the Linux kernel.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

__all__ = ["Device", "File", "Link", "archive"]


@dataclass(frozen=True, slots=True)
class File:
    """A regular file."""

    content: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True, slots=True)
class Device:
    """A character device, such as ``/dev/console``, which the kernel opens before anything can be mounted."""

    major: int
    minor: int


def archive(files: Mapping[str, File | Link | Device], *, folders: tuple[str, ...] = ()) -> bytes:
    """The archive's bytes, a multiple of 512; names are paths without a leading slash.

    Folders are made for every file; ``folders`` names further, empty ones. Same files, same bytes: there is no
    time and no owner in it.
    """
    out = bytearray()
    numbers = iter(range(1, 1 << 30))
    for name in sorted({parent for path in (*files, *folders) for parent in _parents(path)} | set(folders)):
        out += _entry(name, next(numbers), stat.S_IFDIR | 0o755, b"")
    for name, file in files.items():
        if isinstance(file, File):
            mode = stat.S_IFREG | (0o755 if file.executable else 0o644)
            out += _entry(name, next(numbers), mode, file.content)
        elif isinstance(file, Link):
            out += _entry(name, next(numbers), stat.S_IFLNK | 0o777, file.target.encode())
        else:
            out += _entry(name, next(numbers), stat.S_IFCHR | 0o600, b"", (file.major, file.minor))
    out += _entry("TRAILER!!!", 0, 0, b"")
    out += bytes(-len(out) % 512)
    return bytes(out)


def _parents(path: str) -> list[str]:
    return [str(parent) for parent in PurePosixPath(path).parents if str(parent) != "."]


def _entry(name: str, number: int, mode: int, content: bytes, device: tuple[int, int] = (0, 0)) -> bytes:
    encoded = name.encode() + b"\0"
    #         inode   mode  uid gid links time size          dev major, minor  rdev           name length   check
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return header + bytes(-len(header) % 4) + content + bytes(-len(content) % 4)
