"""PcapWriter: files that another reader opens, complete or absent."""

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
from lbsim.packet.capture_file import PcapWriter

V4 = build_packet(src="198.51.100.1", dst="192.168.1.10", sport=40001, dport=80, flags=2)
V6 = build_packet(src="2001:db8:9::1", dst="2001:db8:1::10", sport=40001, dport=80, flags=2)


def test_another_reader_finds_packets_and_times(tmp_path: Path) -> None:
    with PcapWriter(tmp_path / "out.pcap") as capture:
        capture.write(0, V4)
        capture.write(1_000_000_001, V6)
        capture.write(86_400_999_999_999, V4)
    with RawPcapReader(str(tmp_path / "out.pcap")) as reader:
        assert reader.nano
        found = [(meta.sec, meta.usec, meta.wirelen, data) for data, meta in reader]
    assert found == [
        (0, 0, 40, V4),
        (1, 1, 60, V6),
        (86_400, 999_999_999, 40, V4),
    ]


def test_the_link_type_says_raw_ip(tmp_path: Path) -> None:
    with PcapWriter(tmp_path / "out.pcap"):
        pass
    with RawPcapReader(str(tmp_path / "out.pcap")) as reader:
        assert reader.linktype == 101


def test_the_file_is_the_same_bytes_on_every_machine(tmp_path: Path) -> None:
    with PcapWriter(tmp_path / "out.pcap") as capture:
        capture.write(2_000_000_003, b"abc")
    head = "4d3cb2a10200040000000000000000000000040065000000"
    record = "02000000030000000300000003000000616263"
    assert (tmp_path / "out.pcap").read_bytes().hex() == head + record


def test_a_packet_captured_in_part_keeps_its_length_on_the_wire(tmp_path: Path) -> None:
    with PcapWriter(tmp_path / "out.pcap") as capture:
        capture.write(0, V4[:30], length=40)
        capture.write(0, V4, length=30)
    with RawPcapReader(str(tmp_path / "out.pcap")) as reader:
        assert [(meta.caplen, meta.wirelen) for _, meta in reader] == [(30, 40), (40, 40)]


def test_what_was_written_dissects_as_ip(tmp_path: Path) -> None:
    with PcapWriter(tmp_path / "out.pcap") as capture:
        capture.write(0, V4)
        capture.write(0, V6)
    with RawPcapReader(str(tmp_path / "out.pcap")) as reader:
        first, second = (data for data, _ in reader)
    assert (IP(first).dst, IPv6(second).dst) == ("192.168.1.10", "2001:db8:1::10")


def test_the_file_appears_at_the_end_of_the_block(tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    with PcapWriter(path) as capture:
        capture.write(0, V4)
        assert [entry.name for entry in tmp_path.iterdir()] == ["out.pcap.part"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.pcap"]


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    path.write_bytes(b"older")
    with PcapWriter(path):
        pass
    assert len(path.read_bytes()) == 24


def write_and_stop(path: Path, reason: BaseException) -> None:
    with PcapWriter(path) as capture:
        capture.write(0, V4)
        raise reason


def test_an_exception_in_the_block_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_and_stop(tmp_path / "out.pcap", KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []


def test_an_exception_in_the_block_keeps_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    path.write_bytes(b"older")
    with pytest.raises(ValueError, match="stop"):
        write_and_stop(path, ValueError("stop"))
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("out.pcap", b"older")]


def test_a_time_that_no_record_can_hold_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(struct.error), PcapWriter(tmp_path / "out.pcap") as capture:
        capture.write(-1, V4)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_directory_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "out.pcap"
    with pytest.raises(LbsimError) as caught, PcapWriter(path):
        pass
    assert str(caught.value) == f"{path}: cannot write the capture: No such file or directory"


def test_a_directory_in_the_files_place_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    path.mkdir()
    with pytest.raises(LbsimError) as caught, PcapWriter(path) as capture:
        capture.write(0, V4)
    assert str(caught.value) == f"{path}: cannot write the capture: Is a directory"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.pcap"]


class FullDisk:
    """A file on a disk with little room: what is written stays in the buffer until it is too much."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.closed = 0

    def write(self, data: bytes) -> None:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(28, "No space left on device")

    def close(self) -> None:
        self.closed += 1
        if self.room < 100:
            raise OSError(28, "No space left on device")


@pytest.mark.parametrize("room", [0, 24, 90], ids=["at the header", "at a packet", "at the end"])
def test_a_full_disk_is_one_clear_line_and_leaves_nothing_behind(tmp_path: Path, room: int) -> None:
    path = tmp_path / "out.pcap"

    def opened(part: Path, mode: str) -> FullDisk:
        part.touch()
        return FullDisk(room)

    with (
        mock.patch.object(Path, "open", opened),
        pytest.raises(LbsimError) as caught,
        PcapWriter(path) as capture,
    ):
        capture.write(0, V4)
    assert str(caught.value) == f"{path}: cannot write the capture: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_writing_outside_the_block_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="inside the with block"):
        PcapWriter(tmp_path / "out.pcap").write(0, V4)
