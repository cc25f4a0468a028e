"""Kernel modules and their order."""

from __future__ import annotations

import gzip
import lzma
import os
from pathlib import Path

import pytest

from lbsim.errors import KernelUnavailable
from lbsim.kernel import modules
from tests.kernel.processes import program


def module(folder: Path, name: str, needs: str) -> None:
    path = folder / f"{name}.ko"
    path.write_bytes(b"\x7fELF....\0license=GPL\0depends=" + needs.encode() + b"\0retpoline=Y\0")


def test_needed_modules_come_before_those_that_need_them(tmp_path: Path) -> None:
    module(tmp_path, "ip_vs", "nf_conntrack,libcrc32c")
    module(tmp_path, "nf_conntrack", "nf_defrag_ipv4")
    module(tmp_path, "nf_defrag_ipv4", "")
    module(tmp_path, "libcrc32c", "")
    names = list(modules.with_needed(["ip_vs"], modules.available(tmp_path)))
    assert names == ["nf_defrag_ipv4", "nf_conntrack", "libcrc32c", "ip_vs"]


def test_a_wanted_module_that_is_built_in_is_left_out(tmp_path: Path) -> None:
    module(tmp_path, "ip_vs", "libcrc32c")
    assert list(modules.with_needed(["af_packet", "ip_vs"], modules.available(tmp_path))) == ["ip_vs"]


def test_dashes_in_file_names_are_the_kernels_underscores(tmp_path: Path) -> None:
    module(tmp_path, "ip-vs", "nf-x")
    module(tmp_path, "nf_x", "")
    assert list(modules.with_needed(["ip_vs"], modules.available(tmp_path))) == ["nf_x", "ip_vs"]


@pytest.mark.parametrize(("suffix", "pack"), [(".xz", lzma.compress), (".gz", gzip.compress), ("", bytes)])
def test_packed_modules_are_unpacked(tmp_path: Path, suffix: str, pack) -> None:
    (tmp_path / f"veth.ko{suffix}").write_bytes(pack(b"\x7fELF veth"))
    assert modules.content(modules.available(tmp_path)["veth"]) == b"\x7fELF veth"


def test_zstd_without_the_zstd_program_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "veth.ko.zst").write_bytes(b"....")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KernelUnavailable, match="packed with zstd; install zstd"):
        modules.content(tmp_path / "veth.ko.zst")


@pytest.mark.parametrize(
    ("suffix", "packed"), [(".xz", b"7zXZ"), (".gz", b"....."), (".gz", gzip.compress(b"veth", mtime=0)[:-9])]
)
def test_a_damaged_module_is_one_line(tmp_path: Path, suffix: str, packed: bytes) -> None:
    (tmp_path / f"veth.ko{suffix}").write_bytes(packed)
    with pytest.raises(KernelUnavailable, match=r"veth\.ko\.\w+ is damaged; remove its kernel and fetch it again"):
        modules.content(tmp_path / f"veth.ko{suffix}")


def test_a_module_that_its_program_cannot_unpack_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "zstd", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "veth.ko.zst").write_bytes(b"....")
    with pytest.raises(KernelUnavailable, match="is damaged"):
        modules.content(tmp_path / "veth.ko.zst")


def test_what_is_built_in_is_named_by_the_builders_list(tmp_path: Path) -> None:
    (tmp_path / "modules.builtin").write_text("kernel/net/netfilter/ipvs/ip_vs.ko\nkernel/net/core/af-packet.ko\n")
    assert modules.built_in(tmp_path) == {"ip_vs", "af_packet"}
    assert modules.built_in(tmp_path / "nowhere") == set()


SIGNATURE = b"0" * 300 + bytes([0, 0, 2, 0, 0, 0, 0, 0]) + (300).to_bytes(4) + b"~Module signature appended~\n"


def test_a_signature_is_taken_off_and_nothing_else() -> None:
    assert modules.unsigned(b"\x7fELF veth" + SIGNATURE) == b"\x7fELF veth"
    assert modules.unsigned(b"\x7fELF veth") == b"\x7fELF veth"


@pytest.mark.parametrize(
    ("config", "wanted"),
    [("CONFIG_MODULE_SIG=y\n# CONFIG_MODULE_SIG_FORCE is not set\n", False), ("CONFIG_MODULE_SIG_FORCE=y\n", True)],
)
def test_a_kernels_config_says_whether_it_wants_signatures(config: str, wanted: bool, tmp_path: Path) -> None:
    (tmp_path / "config-6.1").write_text(config)
    assert modules.wants_signatures(tmp_path / "config-6.1") is wanted


def test_without_its_config_a_kernel_may_want_signatures(tmp_path: Path) -> None:
    assert modules.wants_signatures(tmp_path / "config-6.1")
