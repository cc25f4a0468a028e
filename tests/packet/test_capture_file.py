"""PartFile and CaptureFile: complete or absent, one clear line if they cannot be written."""

from __future__ import annotations

import struct
from pathlib import Path
from unittest import mock

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.utils import RawPcapReader

from lbsim.errors import LbsimError
from lbsim.packet.build import build_packet
from lbsim.packet.capture_file import CaptureFile, PartFile

V4 = build_packet(src="198.51.100.1", dst="192.168.1.10", sport=40001, dport=80, flags=2)
V6 = build_packet(src="2001:db8:9::1", dst="2001:db8:1::10", sport=40001, dport=80, flags=2)


def record(seconds: int, nanoseconds: int, data: bytes) -> bytes:
    return struct.pack("<IIII", seconds, nanoseconds, len(data), len(data)) + data


def test_another_reader_finds_packets_and_times(tmp_path: Path) -> None:
    capture = CaptureFile(tmp_path / "out.pcap")
    capture.append(record(0, 0, V4) + record(1, 1, V6))
    capture.append(record(2**32 - 1, 999_999_999, V4))
    capture.keep()
    with RawPcapReader(str(tmp_path / "out.pcap")) as reader:
        assert (reader.nano, reader.linktype) == (True, 101)  # 101: raw IP
        found = [(meta.sec, meta.usec, data) for data, meta in reader]
    assert found == [(0, 0, V4), (1, 1, V6), (2**32 - 1, 999_999_999, V4)]
    assert (IP(found[0][2]).dst, IPv6(found[1][2]).dst) == ("192.168.1.10", "2001:db8:1::10")


def test_the_file_is_the_same_bytes_on_every_machine(tmp_path: Path) -> None:
    CaptureFile(tmp_path / "out.pcap").keep()
    assert (tmp_path / "out.pcap").read_bytes().hex() == "4d3cb2a10200040000000000000000000000040065000000"


def test_a_file_knows_how_much_was_written(tmp_path: Path) -> None:
    file = PartFile(tmp_path / "out", b"abc")
    file.append(memoryview(b"defg"))
    file.keep()
    assert (file.size, (tmp_path / "out").read_bytes()) == (7, b"abcdefg")


def test_the_file_has_its_name_when_it_is_complete(tmp_path: Path) -> None:
    file = PartFile(tmp_path / "out", b"abc")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.part"]
    file.keep()
    file.discard()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"older and longer")
    PartFile(path, b"new").keep()
    assert path.read_bytes() == b"new"


def test_a_part_that_was_left_behind_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "out.part").write_bytes(b"of a run that was killed")
    PartFile(tmp_path / "out", b"new").keep()
    assert (tmp_path / "out").read_bytes() == b"new"


def test_what_is_discarded_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"older")
    PartFile(path, b"new").discard()
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("out", b"older")]


def test_thousands_of_files_are_not_open_at_once(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        files = [CaptureFile(tmp_path / f"{n}.pcap") for n in range(300)]
        for file in files:
            file.append(record(0, 0, V4))
            file.keep()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {entry.stat().st_size for entry in tmp_path.iterdir()} == {24 + 16 + len(V4)}


def test_a_missing_directory_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "out.pcap"
    with pytest.raises(LbsimError) as caught:
        CaptureFile(path)
    assert str(caught.value) == f"{path}: cannot write the capture: No such file or directory"


def test_a_directory_in_the_files_place_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    path.mkdir()
    file = CaptureFile(path)
    with pytest.raises(LbsimError) as caught:
        file.keep()
    assert str(caught.value) == f"{path}: cannot write the capture: Is a directory"


class FullDisk:
    """A file on a disk with little room: what is written stays in the buffer until it is too much or closed."""

    def __init__(self, room: int, at_close: int) -> None:
        self.room = room
        self.at_close = at_close

    def __enter__(self) -> FullDisk:
        return self

    def write(self, data: bytes) -> None:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(28, "No space left on device")

    def __exit__(self, *_error: object) -> None:
        if self.room < self.at_close:
            raise OSError(28, "No space left on device")


@pytest.mark.parametrize(("room", "at_close"), [(0, 0), (24, 0), (90, 100)], ids=["at once", "later", "when closed"])
def test_a_full_disk_is_one_clear_line_and_leaves_nothing_behind(tmp_path: Path, room: int, at_close: int) -> None:
    path = tmp_path / "out.pcap"

    def opened(part: Path, mode: str) -> FullDisk:
        part.touch()
        return FullDisk(room, at_close)

    with mock.patch.object(Path, "open", opened), pytest.raises(LbsimError) as caught:
        CaptureFile(path).append(bytes(30))
    assert str(caught.value) == f"{path}: cannot write the capture: No space left on device"
    assert list(tmp_path.iterdir()) == []
