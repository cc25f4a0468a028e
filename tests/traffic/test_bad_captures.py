"""Captures that are damaged, or no captures: what is read of them, and what is said."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsim.engine.lanes import interpreted_lane
from lbsim.engine.numbers import IN, REPLY
from lbsim.errors import TraceError
from lbsim.model.trace import Trace
from lbsim.traffic import pcap
from tests.traffic.captures import (
    EVERYTHING,
    EVERYTHING_NG,
    NG,
    NG_START,
    REQUEST,
    SERVICE,
    THREE,
    Reader,
    Record,
    ethernet,
    pcap_file,
    times,
)  # fmt: skip

# --- bad files ------------------------------------------------------------------------------------

LINK_TYPES_KNOWN = r"expected 1 \(Ethernet\), 113 or 276 \(Linux cooked\), 12, 14, 101, 228 or 229 \(raw IP\)"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty; expected a capture"),
        (b"GET / HTTP/1.1", "no capture, it begins with 47455420; expected d4c3b2a1.*a1b2c3d4.*0a0d0d0a"),
        (b"\xd4", "no capture, it begins with d4;"),
        (b"\xfd7zXZ\x00rest", r"begins with fd377a58 \(xz: unpack it first\)"),
        (b"BZh91AY", r"begins with 425a6839 \(bzip2: unpack it first\)"),
        (b"PK\x03\x04rest", r"begins with 504b0304 \(zip: unpack it first\)"),
        (pcap_file()[:23], "the file header is cut after 23 bytes; expected 24"),
        (pcap_file()[:4] + b"\x03\x00" + pcap_file()[6:], "pcap version 3.4 is not supported; expected 2.4"),
        (pcap_file(link=127), f"link type 127 is not supported; {LINK_TYPES_KNOWN}"),
        (NG.section() + NG.interface(195) + NG.interface(127), "link type 127 is not supported"),
        (NG.section() + NG.interface(127) + NG.packet(b"radio")[:-1], "link type 127 is not supported"),
        (NG.section()[:8], "byte-order magic is missing; expected 4d3c2b1a, 1a2b3c4d"),
        (NG.section()[:8] + b"abcd" + NG.section()[12:], "byte-order magic is 61626364; expected"),
    ],
)
def test_what_is_no_readable_capture_is_refused_in_one_line_that_names_the_file(read, content, message):
    with pytest.raises(TraceError, match=message) as refusal:
        read(content)
    assert str(refusal.value).startswith(f"{read.path}: ")
    assert "\n" not in str(refusal.value)


def test_a_file_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(TraceError, match=r"missing\.pcap: cannot read the capture: No such file or directory"):
        pcap.read(tmp_path / "missing.pcap", services=[])


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(TraceError, match="is a directory; expected a capture file"):
        pcap.read(tmp_path, services=[])


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TraceError, match="is no regular file; expected a capture file"):
        pcap.read(tmp_path / "pipe", services=[])


def test_a_path_that_cannot_be_is_refused():
    with pytest.raises(TraceError, match="cannot read the capture: embedded null byte"):
        pcap.read(Path("a\0b"), services=[])


def test_a_file_without_permission_is_refused(read, monkeypatch):
    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    os.close(os.open(read.path, os.O_CREAT))
    with pytest.raises(TraceError, match="cannot read the capture: Permission denied"):
        pcap.read(read.path, services=[])


# --- damaged files --------------------------------------------------------------------------------


def test_a_cut_pcap_gives_every_packet_before_the_cut(read):
    content = pcap_file(*THREE)
    ends = [24, 24 + 16 + 54, 24 + 32 + 54 + 42, 24 + 48 + 54 + 42 + 54]  # frames of 54, 42 and 54 bytes
    assert len(content) == ends[3]
    for size in range(24, len(content) + 1):
        trace = read(content[:size])
        whole = sum(end <= size for end in ends[1:])
        assert len(trace) + sum(trace.left_out.values()) == whole
        assert trace.damage == (None if size in ends else f"cut in packet {whole + 1} at byte {size}")


def test_a_cut_pcapng_gives_every_packet_before_the_cut(read):
    start = NG_START
    blocks = [NG.packet(frame) for frame in THREE]
    content = start + b"".join(blocks)
    ends = [len(start)]
    for block in blocks:
        ends.append(ends[-1] + len(block))
    for size in range(len(start), len(content) + 1):
        trace = read(content[:size])
        whole = sum(end <= size for end in ends[1:])
        assert len(trace) + sum(trace.left_out.values()) == whole
        assert trace.damage == (None if size in ends else f"cut at byte {size}, after packet {whole}")


def test_a_record_that_claims_more_than_the_file_has_is_a_cut(read):
    content = pcap_file(ethernet(REQUEST), Record(ethernet(REQUEST), claims=1000), ethernet(REQUEST))
    trace = read(content)
    assert (len(trace), trace.damage) == (1, f"cut in packet 2 at byte {len(content)}")


def test_a_record_that_claims_a_byte_of_the_next_one_damages_only_what_follows(read):
    content = pcap_file(ethernet(REQUEST), Record(ethernet(REQUEST), claims=55), b"")
    trace = read(content)
    # 15 bytes are left of the third record's header
    assert (len(trace), trace.damage) == (2, f"cut in packet 3 at byte {len(content)}")


def test_a_record_of_impossible_length_is_named(read):
    trace = read(pcap_file(ethernet(REQUEST), Record(ethernet(REQUEST), claims=0xFFFFFFF0)))
    assert len(trace) == 1
    assert trace.damage == "packet 2 at byte 94 claims 4294967280 bytes"  # 24 + 16 + 54


def test_a_record_may_be_longer_than_the_snapshot_length(read):
    trace = read(pcap_file(ethernet(REQUEST), snaplen=20))
    assert (len(trace), trace.damage) == (1, None)


@pytest.mark.parametrize(("nanoseconds", "fraction"), [(False, 1_000_000), (True, 1_000_000_000)])
def test_a_record_with_an_impossible_time_ends_the_capture(read, nanoseconds, fraction):
    content = bytearray(pcap_file(*THREE, nanoseconds=nanoseconds))
    content[94 + 4 : 94 + 8] = struct.pack("<I", fraction)
    trace = read(bytes(content))
    assert len(trace) == 1
    assert trace.damage == f"packet 2 at byte 94 has no time, its fraction of a second is {fraction}"


def body(packet: bytes, at: int, value: bytes) -> bytes:
    """``packet`` with ``value`` written at ``at``."""
    return packet[:at] + value + packet[at + len(value) :]


GOOD = NG.packet(ethernet(REQUEST))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (body(GOOD, 4, b"\x00\x00\x00\x00"), "claims 0 bytes"),
        (body(GOOD, 4, b"\x0d\x00\x00\x00"), "claims 13 bytes"),
        (body(GOOD, 4, b"\xfc\xff\xff\xff"), "claims 4294967292 bytes"),
        (GOOD[:-4] + b"\x10\x00\x00\x00", "claims 88 bytes where it begins and 16 where it ends"),
        (body(GOOD, 8, b"\x02\x00\x00\x00"), "names interface 2 of 1"),
        (body(GOOD, 20, b"\x39\x00\x00\x00"), "claims a packet of 57 bytes, more than it has"),  # 54 + 2
        (body(GOOD, 12, b"\xff\xff\xff\xff"), "has no time between 1970 and 2116"),
        (NG.block(6, bytes(16)), "is too short for a packet"),
        (NG.block(3, b""), "is too short for a packet"),
        (NG.block(1, bytes(4)), "is too short for an interface"),
        (
            NG.interface(1, NG.option(9, b"\x06\x06")),
            "has a time resolution or a time offset of a wrong size",
        ),
        (NG.interface(1, NG.option(14, b"\x06")), "has a time resolution or a time offset of a wrong size"),
        (
            NG.interface(1, struct.pack("<HH", 9, 5) + b"\x06\x00\x00\x00"),
            "claims an option of 5 bytes, more than it has",
        ),
        (
            NG.interface(1, NG.option(14, struct.pack("<q", -(2**40)))) + NG.packet(b"", interface=1),
            "has no time between 1970 and 2116",
        ),
        (body(NG.section(), 8, b"abcd"), "begins a section, but has no byte order"),
        (NG.section() + NG.packet(b""), "names interface 0 of 0"),
        (NG.section() + NG.simple_packet(ethernet(REQUEST)), "names interface 0 of 0"),
    ],
)
def test_a_damaged_block_ends_the_capture_and_is_named(read, bad, message):
    trace = read(NG_START + GOOD + bad + GOOD)
    assert (len(trace), trace.left_out) == (1, {})
    assert trace.damage is not None
    assert trace.damage.startswith("the block at byte ")
    assert trace.damage.endswith(f"after packet 1, {message}")


def test_the_place_of_a_damaged_block_is_where_it_begins(read):
    trace = read(NG_START + GOOD + body(GOOD, 4, bytes(4)))
    # section 28, interface 20, packet 32 + 56 bytes (54, padded)
    assert trace.damage == "the block at byte 136, after packet 1, claims 0 bytes"


changes = st.lists(
    st.tuples(st.integers(0, 700), st.sampled_from(["set", "insert", "delete", "cut"]), st.binary(max_size=8)),
    min_size=1,
    max_size=6,
)


def changed(content: bytes, edits: list[tuple[int, str, bytes]]) -> bytes:
    for at, how, value in edits:
        rest = {"set": at + len(value), "insert": at, "delete": at + 4, "cut": len(content)}[how]
        content = content[:at] + value + content[rest:]
    return content


def check_trace(trace: Trace, content: bytes) -> None:
    """What holds of every trace, whatever the file was."""
    n = len(trace)
    assert n + sum(trace.left_out.values()) <= len(content) // 12  # the shortest record
    assert all(a <= b for a, b in zip(times(trace), times(trace)[1:], strict=False))
    assert times(trace)[:1] >= [0][:n]
    assert ((trace["raw_at"] >= 0) & (trace["raw_at"] + trace["raw_len"] <= len(content))).all()
    assert (trace["raw_len"] <= trace["length"]).all()
    assert sorted(set(trace["flow"].tolist())) == list(range(len(trace.flows)))
    assert set(trace["direction"].tolist()) <= {IN, REPLY}
    assert "\n" not in (trace.damage or "")


@pytest.fixture(scope="module")
def read_again(tmp_path_factory) -> Reader:
    return Reader(tmp_path_factory.mktemp("mutations") / "capture", interpreted_lane())


@pytest.mark.parametrize("original", [EVERYTHING, EVERYTHING_NG], ids=["pcap", "pcapng"])
@settings(deadline=None)
@given(edits=changes)
def test_a_capture_with_random_changes_is_a_trace_or_refused(read_again, original, edits):
    content = changed(original, edits)
    try:
        trace = read_again(content, SERVICE, "tcp [2001:db8::10]:80")
    except TraceError:
        return
    check_trace(trace, content)


@pytest.mark.parametrize("begin", [pcap_file(), NG_START], ids=["pcap", "pcapng"])
@settings(deadline=None)
@given(rest=st.binary(max_size=300))
def test_a_capture_of_random_bytes_is_a_trace(read_again, begin, rest):
    trace = read_again(begin + rest)
    check_trace(trace, begin + rest)


def test_the_unchanged_captures_of_the_random_tests_are_sound(read):
    assert [len(read(content)) for content in (EVERYTHING, EVERYTHING_NG)] == [6, 4]
