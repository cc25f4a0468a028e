"""A file system in memory for the guest: Python, lbsim's agent, ``ipvsadm`` and the kernel's modules, as one archive.

Everything is taken from this computer and nothing needs root. The agent's imports are found by importing it in a
fresh interpreter, shared libraries by asking the dynamic loader, modules by their own list of needs. Python modules
go in compiled: an emulated processor is thirty times slower, and compiling there would cost seconds.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import marshal
import os
import platform
import subprocess
import sys
from collections.abc import Collection
from contextlib import suppress
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path, PurePosixPath
from struct import unpack_from

import lbsim
from lbsim.errors import KernelUnavailable
from lbsim.kernel import cache, cpio, modules
from lbsim.kernel.images import Image
from lbsim.kernel.process import PACKAGES, which

__all__ = ["base"]

_KEPT = 3  # archives of one kernel: each new agent makes one
_ELF = b"\x7fELF\x02\x01"
_PT_LOAD = 1
_FORMAT = 1  # counts changes of this file that the digest would not see
_AGENT = "lbsim.kernel.agent"
_IMPORTED_LATER = ("encodings.ascii", "encodings.latin_1", "encodings.idna", "stringprep", "traceback", "linecache")
_FOR_A_HOST = ("site", "runpy", "lbsim.kernel.run")  # the guest can do what a host does, too
_NEEDED_TOOLS = ("ipvsadm",)
_INIT = b"#!/bin/python3 -S\nfrom lbsim.kernel.agent import main\n\nmain()\n"
_FOLDERS = ("dev", "proc", "sys", "run", "tmp", "var", "etc")
_WANTED = (
    "ip_vs", "ip_vs_*", "veth", "bridge",
    "iptable_filter", "iptable_nat", "iptable_mangle", "ip6table_filter", "ip6table_nat", "ip6table_mangle",
    "xt_MASQUERADE", "xt_conntrack", "xt_mark", "xt_tcpudp", "xt_sctp",
    "nf_tables", "nft_compat", "nft_chain_nat", "nft_masq",
)  # fmt: skip
_XTABLES = (
    "libxt_standard", "libxt_MASQUERADE", "libipt_MASQUERADE", "libxt_tcp", "libxt_udp", "libxt_sctp",
    "libxt_MARK", "libxt_mark",
)  # fmt: skip
_Entry = cpio.File | cpio.Link | cpio.Device
# In the fresh interpreter: import the agent, then tell what has been loaded.
_COLLECT = """
import json, sys
for name in sys.argv[1:]:
    try:
        __import__(name)
    except ImportError:
        if name == sys.argv[1]: raise
from lbsim.kernel import agent
agent.import_all()
files = {n: [m.__spec__.origin, bool(getattr(m, "__path__", None))] for n, m in list(sys.modules.items())
         if getattr(m, "__spec__", None) and m.__spec__.has_location}
import os  # frozen modules know no file, but the interpreter wants some of them as files
home = os.path.dirname(os.__file__)
for n, m in list(sys.modules.items()):
    if n not in files and n.isidentifier() and os.path.exists(os.path.join(home, n + ".py")):
        files[n] = [os.path.join(home, n + ".py"), False]
with open("/proc/self/maps") as maps:
    mapped = sorted({line.split(maxsplit=5)[5].strip() for line in maps if ".so" in line})
print(json.dumps([files, mapped, os.path.realpath("/proc/self/exe")]))
"""


def base(image: Image, programs: Collection[str] = ()) -> Path:
    """The archive for a kernel from the user's cache folder if it is there.

    Parameters
    ----------
    programs : what the jobs run; of the tools that a guest may have, these must be there.

    Raises
    ------
    KernelUnavailable : this is no Linux on x86-64, a tool is missing, a kernel without ``ip_vs``, no room.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        here = f"its programs are taken from this computer, which is {platform.system()} on {platform.machine()}"
        raise KernelUnavailable(f"the guest for {image.release}", here, "take a computer with Linux on x86-64")
    tools = {name: path for name in PACKAGES if (path := which(name))}
    for name, package in PACKAGES.items():
        if name not in tools and (name in _NEEDED_TOOLS or name in programs):
            what = f"the guest for {image.release}"
            raise KernelUnavailable(what, f"no {name} on this computer", f"apt install {package}")
    target = cache.folder("initramfs") / f"{image.release}-{_digest(image, tools)}.cpio"
    if target.exists():
        with suppress(OSError):  # somebody else's cache
            target.touch()
    else:
        cache.write(target, _build(image, tools))
        cache.drop_older(target.parent, f"{image.release}-*.cpio", _KEPT)
    return target


def _digest(image: Image, tools: dict[str, Path]) -> str:
    digest = hashlib.sha256(repr((_FORMAT, sys.version, sys.executable)).encode())
    digest.update(repr([(name, _stamp(path)) for name, path in tools.items()]).encode())
    digest.update(repr((image.release, _stamp(image.vmlinuz), _stamp(image.modules))).encode())
    spec = importlib.util.find_spec("pyroute2")
    digest.update(repr(spec and spec.origin and _stamp(Path(spec.origin))).encode())
    package = Path(lbsim.__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _stamp(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns


def _build(image: Image, tools: dict[str, Path]) -> bytes:
    files: dict[str, _Entry] = {
        "dev/console": cpio.Device(5, 1),
        "init": cpio.File(_INIT, executable=True),
    }
    files |= _kernel_modules(image)
    files |= _python()
    for name, path in tools.items():
        files |= _program(f"bin/{name}", path)
    if "iptables" in tools:
        files |= _iptables_extensions()
    return cpio.archive(files, folders=_FOLDERS)


def _kernel_modules(image: Image) -> dict[str, _Entry]:
    known = modules.available(image.modules)
    if "ip_vs" not in known and "ip_vs" not in modules.built_in(image.modules):
        raise KernelUnavailable(
            f"the kernel {image.release}", f"no module ip_vs below {image.modules}",
            "take another kernel: lbsim kernel status names those that work",
        )  # fmt: skip
    names = [name for name in known if name.startswith("ip_vs_")] if "ip_vs_*" in _WANTED else []
    wanted = modules.with_needed([*(name for name in _WANTED if "*" not in name), *names], known)
    signed = modules.wants_signatures(image.vmlinuz.with_name(f"config-{image.release}"))
    as_loaded = bytes if signed else modules.unsigned
    files: dict[str, _Entry] = {
        f"lib/lbsim/{name}.ko": cpio.File(as_loaded(module)) for name, (module, _) in wanted.items()
    }
    needed = {name: need for name, (_, need) in wanted.items()}
    return files | {"lib/lbsim/needs.json": cpio.File(json.dumps(needed).encode())}


def _python() -> dict[str, _Entry]:
    """The running interpreter, the compiled modules that the agent imports, and their libraries."""
    home = str(Path(lbsim.__file__).parent.parent)
    environment = {"PYTHONPATH": os.pathsep.join([home, *(part for part in sys.path if part)]), "PATH": "/usr/bin:/bin"}
    found = subprocess.run(
        [sys.executable, "-c", _COLLECT, _AGENT, *_IMPORTED_LATER, *_FOR_A_HOST],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if found.returncode:
        raise KernelUnavailable(
            "the guest's Python", f"the agent cannot be imported: {found.stderr.strip().splitlines()[-1]}",
            "pip install 'lbsim[kernel]'",
        )  # fmt: skip
    imported, mapped, executable = json.loads(found.stdout)
    library = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
    files: dict[str, _Entry] = {}
    extensions = []
    for name, (origin, is_package) in imported.items():
        place = f"{library}/{name.replace('.', '/')}"
        if name in ("__main__", "sitecustomize") or not origin:
            continue
        if origin.endswith(tuple(EXTENSION_SUFFIXES)):
            extensions.append(origin)
            files[place + EXTENSION_SUFFIXES[0]] = cpio.File(_loaded_of(Path(origin)))
        elif origin.endswith(".py"):
            files[place + ("/__init__.pyc" if is_package else ".pyc")] = cpio.File(_compiled(Path(origin), name))
    files |= _program("bin/python3", Path(executable))
    for path in mapped:
        if path not in extensions and not Path(path).name.startswith("ld-"):
            files[f"lib/{_library_name(path)}"] = cpio.File(_loaded_of(Path(path)), executable=True)
    return files


def _loaded_of(path: Path) -> bytes:
    """A program or library without what is never loaded, such as what debuggers read: half of Python's, in some builds.

    Source: elf(5); an ELF file of another kind than 64 bits, lowest byte first, stays as it is.
    """
    elf = path.read_bytes()
    if not elf.startswith(_ELF):
        return elf
    (table,) = unpack_from("<Q", elf, 32)
    size, count = unpack_from("<HH", elf, 54)
    end = table + size * count
    if end > len(elf):
        return elf
    for at in range(table, end, size):
        kind, begin, length = unpack_from("<I4xQ16xQ", elf, at)
        if kind == _PT_LOAD:
            end = max(end, begin + length)
    return elf[:40] + bytes(8) + elf[48:58] + bytes(6) + elf[64:end]  # there is no table of sections any more


def _library_name(path: str) -> str:
    """The name that the loader looks for: libcrypto.so.3, also if the file is called libcrypto.so.3.0.1."""
    name = PurePosixPath(path).name
    folder = Path(path).parent
    for other in sorted(folder.glob(name.split(".so")[0] + ".so.*"), key=lambda link: len(link.name)):
        if other.resolve() == Path(path).resolve():
            return other.name
    return name


def _compiled(path: Path, name: str) -> bytes:
    code = compile(path.read_bytes(), f"{name}.py", "exec", dont_inherit=True, optimize=2)
    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code)


def _program(name: str, path: Path) -> dict[str, _Entry]:
    """A program, its dynamic loader and its libraries."""
    files: dict[str, _Entry] = {name: cpio.File(_loaded_of(path), executable=True)}
    for library in _libraries(path):
        if library.name.startswith("ld-"):
            files[str(library).lstrip("/")] = cpio.File(_loaded_of(library), executable=True)
        else:
            files[f"lib/{library.name}"] = cpio.File(_loaded_of(library), executable=True)
    return files


def _libraries(path: Path) -> list[Path]:
    loader = which("ldd")
    if loader is None:
        raise KernelUnavailable("the guest's libraries", "no ldd on this computer", "apt install libc-bin")
    said = subprocess.run([str(loader), str(path)], capture_output=True, text=True, check=False).stdout
    words = (word for line in said.splitlines() for word in line.split())
    return [Path(word) for word in words if word.startswith("/")]


def _iptables_extensions() -> dict[str, _Entry]:
    files: dict[str, _Entry] = {}
    for folder in (*Path("/usr/lib").glob("*/xtables"), Path("/usr/lib/xtables"), Path("/usr/lib64/xtables")):
        for name in _XTABLES:
            if (extension := folder / f"{name}.so").exists():
                files[f"lib/xtables/{name}.so"] = cpio.File(_loaded_of(extension), executable=True)
    return files
