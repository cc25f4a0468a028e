"""Windows of a file: what they hold, whatever the file is packed in, and what happens when it is damaged or changes."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from random import Random

import pytest
from isal import igzip

from lbsim.errors import TraceError
from lbsim.traffic.capture_bytes import CaptureBytes, open_bytes

zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")

CONTENT = Random(1).randbytes(50_000) + bytes(50_000)
GZIP = gzip.compress(CONTENT, mtime=0)
ZSTD = zstd.compress(CONTENT)
PACKED = {"plain": CONTENT, "gzip": GZIP, "zstd": ZSTD}


@pytest.fixture
def written(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "capture"
        path.write_bytes(content)
        return path

    return write


@pytest.fixture(params=["isal", "standard library"])
def gzip_by(request, monkeypatch):
    """With isal and without."""
    if request.param != "isal":
        monkeypatch.setitem(sys.modules, "isal.igzip", None)


def all_of(source: CaptureBytes, step: int, least: int = 0) -> bytes:
    """The content, put together of windows of which ``step`` bytes are used each."""
    content = b""
    while True:
        window = source.window(len(content), least)
        assert window.begin == len(content)
        assert window.is_last or window.size >= least
        content += bytes(window.data[: window.size] if window.is_last else window.data[:step])
        if window.is_last:
            return content


@pytest.mark.usefixtures("gzip_by")
@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(("size", "step"), [(1000, 1000), (1000, 600), (4096, 1), (100_000, 99_999), (200_000, 7)])
def test_windows_go_on_where_the_one_before_was_left(written, packing, keep, size, step):
    content = CONTENT[:3000] if step == 1 else CONTENT
    packed = {"plain": content, "gzip": gzip.compress(content), "zstd": zstd.compress(content)}[packing]
    with open_bytes(written(packed), window=size, keep=keep) as source:
        assert all_of(source, step) == content
        assert (source.damage, source.done) == (None, source.size)


@pytest.mark.parametrize("packing", PACKED)
def test_without_a_size_everything_is_one_window(written, packing):
    with open_bytes(written(PACKED[packing]), window=None, keep=True) as source:
        window = source.window(0, 24)
        assert (bytes(window.data), window.size, window.is_last) == (CONTENT, len(CONTENT), True)


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("keep", [True, False])
def test_a_window_is_larger_where_more_is_needed(written, packing, keep):
    with open_bytes(written(PACKED[packing]), window=100, keep=keep) as source:
        assert source.window(0, 10).size == 100
        window = source.window(5, 70_000)
        assert window.size >= 70_000
        assert bytes(window.data[: window.size]) == CONTENT[5 : 5 + window.size]


@pytest.mark.parametrize("packing", PACKED)
def test_kept_windows_stay_as_they_are(written, packing):
    with open_bytes(written(PACKED[packing]), window=1000, keep=True) as source:
        windows = [source.window(at, 0) for at in range(0, 5000, 1000)]
    assert [bytes(window.data[: window.size]) for window in windows] == [
        CONTENT[at : at + 1000] for at in range(0, 5000, 1000)
    ]


@pytest.mark.usefixtures("gzip_by")
@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_packed_pieces_behind_one_another_are_one_content(written, pack):
    with open_bytes(written(pack(b"one, ") + pack(b"") + pack(b"two")), window=3, keep=True) as source:
        assert all_of(source, 3) == b"one, two"


@pytest.mark.usefixtures("gzip_by")
def test_zeros_behind_a_gzip_file_do_not_matter(written):
    with open_bytes(written(gzip.compress(b"content") + bytes(100)), window=None, keep=True) as source:
        assert source.window(0, 1).data == b"content"
        assert source.damage is None


def test_a_zstd_file_may_begin_with_a_frame_that_is_skipped(written):  # pzstd writes such files
    skipped = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    with open_bytes(written(skipped + zstd.compress(b"content")), window=None, keep=True) as source:
        assert source.window(0, 1).data == b"content"


LONG = Random(2).randbytes(400_000)  # zstd: several blocks of up to 128 KiB, of which each can be unpacked or cannot


@pytest.mark.parametrize("left", [0.5, 0.9])
@pytest.mark.parametrize(("packing", "lost"), [("gzip", 100), ("zstd", 128 * 1024)])
@pytest.mark.usefixtures("gzip_by")
def test_of_a_cut_packed_file_everything_before_the_cut_is_read(written, packing, lost, left):
    packed = {"gzip": gzip.compress, "zstd": zstd.compress}[packing](LONG)  # random bytes stay as long as they are
    with open_bytes(written(packed[: int(len(packed) * left)]), window=1000, keep=True) as source:
        content = all_of(source, 1000)
        assert source.damage == f"the {packing} data is cut after {len(content)} unpacked bytes"
    assert LONG.startswith(content)
    assert abs(len(content) - len(LONG) * left) < lost


@pytest.mark.usefixtures("gzip_by")
def test_of_damaged_gzip_data_everything_before_the_damage_is_read(written):
    packed = bytearray(gzip.compress(b"first" * 10_000) + gzip.compress(LONG))
    packed[-200_000:-100_000] = b"\xff" * 100_000
    with open_bytes(written(bytes(packed)), window=1000, keep=True) as source:
        content = all_of(source, 1000)
        assert source.damage is not None
        assert source.damage.startswith(f"the gzip data is damaged after {len(content)} unpacked bytes: Error -3 while")
        assert "\n" not in source.damage
    # random bytes are stored in blocks of up to 64 KiB, and the bytes of a stored block may be anything
    assert content[: 50_000 + 190_000] == b"first" * 10_000 + LONG[:190_000]


@pytest.mark.usefixtures("gzip_by")
def test_a_wrong_gzip_checksum_is_named_and_costs_nothing(written):
    with open_bytes(written(GZIP[:-8] + bytes(4) + GZIP[-4:]), window=None, keep=True) as source:
        assert source.window(0, 1).data == CONTENT
        problem = "Error -3 while decompressing data: incorrect data check"
        assert source.damage == f"the gzip data is damaged after {len(CONTENT)} unpacked bytes: {problem}"


@pytest.mark.usefixtures("gzip_by")
def test_what_stands_behind_gzip_data_is_damage(written):
    with open_bytes(written(gzip.compress(b"content") + b"garbage"), window=None, keep=True) as source:
        assert source.window(0, 1).data == b"content"
        assert source.damage is not None
        assert source.damage.startswith("the gzip data is damaged after 7 unpacked bytes: ")


def test_of_damaged_zstd_data_everything_before_the_damage_is_read(written):
    packed = bytearray(zstd.compress(b"first") + ZSTD)
    packed[-30_000:] = b"\xff" * 30_000
    with open_bytes(written(bytes(packed)), window=1000, keep=True) as source:
        assert all_of(source, 1000) == b"first"
        assert source.damage is not None
        assert source.damage.startswith("the zstd data is damaged after 5 unpacked bytes: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"", mtime=0), "there is nothing in this gzip file; expected a capture"),
        (zstd.compress(b""), "there is nothing in this zstd file; expected a capture"),
        (GZIP[:12], "the gzip data is cut after 0 unpacked bytes"),
        (ZSTD[:5], "the zstd data is cut after 0 unpacked bytes"),
        (b"\x1f\x8b\xff\xff" + bytes(20), "the gzip data is damaged after 0 unpacked bytes: "),
        (b"", "the file is empty; expected a capture"),
    ],
)
def test_a_file_of_which_nothing_can_be_read_is_refused(written, content, message):
    path = written(content)
    with pytest.raises(TraceError) as refusal, open_bytes(path, window=100, keep=True) as source:
        source.window(0, 24)
    assert str(refusal.value).startswith(f"{path}: {message}")


def test_with_isal_gzip_is_read_by_isal(written, monkeypatch):
    opened = []

    class Noted(igzip.IGzipFile):
        def __init__(self, *arguments: object, **options: object) -> None:
            opened.append(options)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(igzip, "IGzipFile", Noted)
    with open_bytes(written(GZIP), window=1000, keep=True) as source:
        assert all_of(source, 1000) == CONTENT
    assert len(opened) == 1


def test_without_a_zstd_library_a_zstd_file_is_refused_and_the_remedy_named(written, monkeypatch):
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    with pytest.raises(
        TraceError, match=r"needs Python 3\.14 or the package backports\.zstd \(pip install 'lbsim\[zstd\]'"
    ):
        open_bytes(written(ZSTD), window=100, keep=True)


@pytest.mark.parametrize("keep", [True, False])
def test_a_file_that_becomes_shorter_while_it_is_read_is_refused(written, keep):
    path = written(CONTENT)
    with open_bytes(path, window=1000, keep=keep) as source:
        source.window(0, 0)
        path.write_bytes(CONTENT[:2500])
        source.window(1000, 0)
        with pytest.raises(TraceError) as refusal:
            source.window(2000, 0)
    was = f"the file became shorter while it was read: 2500 bytes, {len(CONTENT)} before"
    assert str(refusal.value) == f"{path}: {was}"


def test_what_is_appended_while_a_file_is_read_is_left_out(written):
    path = written(CONTENT[:5000])
    with open_bytes(path, window=1000, keep=True) as source:
        source.window(0, 0)
        with path.open("ab") as file:
            file.write(CONTENT[5000:])
        assert all_of(source, 1000) == CONTENT[:5000]


def test_a_disk_that_cannot_be_read_is_named(written, monkeypatch):
    path = written(CONTENT)
    with open_bytes(path, window=1000, keep=True) as source:
        source.window(0, 0)
        with monkeypatch.context() as patched:
            patched.setattr(source, "_file", Broken())
            with pytest.raises(TraceError, match="cannot read the capture: Input/output error"):
                source.window(1000, 0)


def test_a_disk_that_cannot_be_read_is_no_damage_of_a_packed_file(written, monkeypatch):
    with open_bytes(written(GZIP), window=1000, keep=True) as source:
        monkeypatch.setattr(source, "_unpacking", Broken())
        with pytest.raises(TraceError, match="cannot read the capture: Input/output error"):
            source.window(0, 0)


class Broken:
    """A file on a disk that fails."""

    def seek(self, _at: int) -> int:
        return 0

    def read(self, _most: int) -> bytes:
        raise OSError(5, "Input/output error")

    read1 = read
    close = seek
