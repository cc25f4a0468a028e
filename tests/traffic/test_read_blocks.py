"""Captures in blocks: the same trace as in one piece, however it is cut, and what happens when it cannot be."""

from __future__ import annotations

import gzip
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsim.errors import OutOfOrder, TraceError
from lbsim.model.config import ServiceId
from lbsim.model.trace import COLUMN_TYPES, Trace
from lbsim.traffic import pcap
from lbsim.traffic.pcap import read_blocks
from tests.traffic.captures import (
    ANSWER,
    ARP,
    CURL_NGINX,
    EVERYTHING,
    EVERYTHING_NG,
    NG,
    NG_START,
    REQUEST,
    REQUEST_V6,
    SERVICE,
    VIRTUAL,
    Record,
    ethernet,
    ip,
    pcap_file,
    tcp,
    udp,
)  # fmt: skip

SERVICES = [ServiceId.parse(text) for text in (SERVICE, "udp 192.168.1.10:53", "tcp [2001:db8::10]:80")]


def captured(trace: Trace) -> list[bytes]:
    """The captured bytes of each row."""
    return [
        trace.raw[at : at + size]
        for at, size in zip(trace["raw_at"].tolist(), trace["raw_len"].tolist(), strict=True)
    ]  # fmt: skip


def assert_same(joined: Trace, whole: Trace, *, raw: bool = True) -> None:
    """The traces are equal; where the captured bytes lie may differ."""
    for name in COLUMN_TYPES:
        if name not in ("raw_at", "raw_len"):
            np.testing.assert_array_equal(joined[name], whole[name], err_msg=name)
    assert joined.addresses == whole.addresses
    assert joined.flows == whole.flows
    assert joined.quotes == whole.quotes
    assert (joined.left_out, joined.damage) == (whole.left_out, whole.damage)
    assert captured(joined) == (captured(whole) if raw else [b""] * len(whole))


def random_capture(seed: int, packets: int, *, back: int = 0, clients: int = 50) -> bytes:
    """Packets of a few flows, some of no service; time runs backwards by up to ``back`` ns between some."""
    random = Random(seed)
    records = []
    now = 10**12
    for _ in range(packets):
        now += random.randrange(3) * 1000
        client, port = f"203.0.113.{random.randrange(clients)}", 1024 + random.randrange(5)
        frame = random.choice((
            ethernet(ip(tcp(port, payload=bytes(random.randrange(40))), client)),
            ethernet(ip(tcp(80, port), VIRTUAL, client)),
            ethernet(ip(udp(port), client, proto=17)),
            ethernet(REQUEST_V6), ethernet(ip(b"\x03\x01" + bytes(6) + ANSWER[:28], client, proto=1)), ARP,
        ))  # fmt: skip
        records.append(Record(frame, now - random.randrange(back + 1)))
    return pcap_file(*records, nanoseconds=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "capture"


@pytest.fixture
def windows(monkeypatch):
    """Sets how many bytes of a file are in memory at a time."""

    def set_size(size: int) -> None:
        monkeypatch.setattr(pcap, "WINDOW", size)
        monkeypatch.setattr(pcap, "KEPT_WINDOW", size)

    return set_size


def blocks(path: Path, **options: Any) -> list[Trace]:
    with read_blocks(path, services=SERVICES, **options) as found:
        return list(found)


@pytest.mark.parametrize("block_packets", [1, 3, 1000])
@pytest.mark.parametrize("window", [100, 400, 100_000])
@pytest.mark.parametrize("survey", [True, False])
@pytest.mark.parametrize(
    "original", [EVERYTHING, EVERYTHING_NG, random_capture(1, 300)], ids=["pcap", "pcapng", "random"]
)
def test_the_blocks_joined_are_the_trace_in_one_piece(path, windows, lane, original, block_packets, window, survey):
    windows(window)
    survey = survey or original is EVERYTHING_NG  # whose time runs backwards by 50 years
    path.write_bytes(original)
    whole = pcap.read(path, services=SERVICES)
    options = {"block_packets": block_packets, "lane": lane, "survey": survey}
    assert_same(Trace.joined(blocks(path, **options)), whole)
    assert_same(Trace.joined(blocks(path, **options, keep_raw=False)), whole, raw=False)


@pytest.mark.parametrize("block_packets", [7, 64])
@pytest.mark.parametrize("back", [2_000, 100_000, 10**9])
@pytest.mark.parametrize("window", [1000, 100_000])
def test_time_that_runs_backwards_is_mended_across_blocks(path, windows, lane, block_packets, back, window):
    windows(window)
    path.write_bytes(random_capture(2, 500, back=back))
    whole = pcap.read(path, services=SERVICES, start=17)
    found = blocks(path, block_packets=block_packets, lane=lane, survey=True, start=17)
    assert_same(Trace.joined(found), whole)
    lasts = [block["time"][-1] for block in found if len(block)]
    firsts = [block["time"][0] for block in found if len(block)]
    assert all(last <= first for last, first in zip(lasts, firsts[1:], strict=False))


def test_blocks_of_a_damaged_clock_are_mended_without_a_survey_if_a_block_is_enough(path, windows, lane):
    windows(100_000)
    path.write_bytes(random_capture(3, 500, back=20_000))  # packets are 1000 ns apart in the mean
    whole = pcap.read(path, services=SERVICES)
    assert whole.damage is not None
    assert whole.damage.startswith("time runs backwards, first at packet ")
    assert_same(Trace.joined(blocks(path, block_packets=100, lane=lane)), whole)


def test_time_that_runs_backwards_too_far_is_refused_without_a_survey(path, lane):
    late = [Record(ethernet(REQUEST), 10**9 + k) for k in range(10)]
    path.write_bytes(pcap_file(*late, Record(ethernet(ANSWER), 5)))
    with (
        pytest.raises(OutOfOrder) as refusal,
        read_blocks(path, services=SERVICES, block_packets=3, lane=lane) as found,
    ):
        list(found)
    by = 10**9 - 0  # microseconds: 9 ns and 5 ns are 0
    assert str(refusal.value) == (
        f"{path}: time runs backwards, first at packet 11 by {by} ns: too far to be sorted while it is read in blocks"
    )


def test_a_packet_that_is_left_out_but_earlier_than_what_was_given_is_refused_without_a_survey(path, lane):
    late = [Record(ethernet(REQUEST), 10**9) for _ in range(10)]
    path.write_bytes(pcap_file(*late, Record(ARP, 5)))  # times count from it
    with pytest.raises(OutOfOrder):
        blocks(path, block_packets=3, lane=lane)
    survey = Trace.joined(blocks(path, block_packets=3, survey=True, lane=lane))
    assert survey["time"].tolist() == [10**9] * 10


def test_only_what_an_earlier_packet_follows_waits(path, monkeypatch):
    """A clock that is set back by 5 of 1000 s: what was given is never more than 5 s behind what was read."""
    monkeypatch.setattr(pcap, "_SURVEYED", 10)
    times = [10**9 * k for k in range(500)] + [10**9 * k for k in range(495, 1000)]
    path.write_bytes(pcap_file(*(Record(ethernet(ip(tcp(k % 60_000 + 1))), at) for k, at in enumerate(times))))
    given = [len(block) for block in blocks(path, block_packets=10, survey=True)]
    assert max(given) <= 10 + 2 * 5  # a block, and the 5 seconds that are there twice
    assert sum(given) == len(times)


def test_blocks_are_made_of_so_many_packets_and_share_their_tables(path, lane):
    path.write_bytes(pcap_file(*(Record(ethernet(ip(tcp(1000 + k))), k * 1000) for k in range(10)), ARP))
    found = blocks(path, block_packets=4, lane=lane)
    assert [len(block) for block in found] == [4, 4, 2]
    assert all(block.flows is found[0].flows and block.addresses is found[0].addresses for block in found)
    assert sum((Counter(block.left_out) for block in found), Counter()) == {"arp": 1}


def test_the_tables_hold_no_more_than_what_was_given(path, lane):
    path.write_bytes(pcap_file(*(Record(ethernet(ip(tcp(1000 + k))), k * 1000) for k in range(10))))
    with read_blocks(path, services=SERVICES, block_packets=4, lane=lane) as found:
        assert [(len(block.flows), int(block["flow"].max()) + 1) for block in found] == [(4, 4), (8, 8), (10, 10)]


def test_flows_of_blocks_before_do_not_change(path, lane, windows):
    windows(5000)
    path.write_bytes(random_capture(4, 2000, back=3000, clients=200))
    seen: list[Any] = []
    with read_blocks(path, services=SERVICES, block_packets=50, survey=True, lane=lane) as found:
        for block in found:
            assert list(block.flows[: len(seen)]) == seen
            seen = list(block.flows)


def test_rows_of_a_block_stay_as_they_are_when_more_are_read(path, lane, windows):
    windows(3000)
    path.write_bytes(random_capture(5, 500))
    with read_blocks(path, services=SERVICES, block_packets=20, lane=lane) as found:
        kept = [(block, {name: block[name].copy() for name in COLUMN_TYPES}, captured(block)) for block in found]
    for block, columns, data in kept:
        assert all((block[name] == column).all() for name, column in columns.items())
        assert captured(block) == data


def test_without_raw_bytes_rows_say_that_there_are_none(path, lane):
    path.write_bytes(EVERYTHING)
    (block,) = blocks(path, keep_raw=False, lane=lane)
    assert (set(block["raw_at"].tolist()), set(block["raw_len"].tolist()), block.raw) == ({-1}, {0}, b"")


@pytest.mark.parametrize("content", [pcap_file(), NG_START, pcap_file(ARP)], ids=["pcap", "pcapng", "arp"])
def test_a_capture_without_rows_is_one_empty_block(path, content, lane):
    path.write_bytes(content)
    (block,) = blocks(path, lane=lane)
    assert (len(block), len(block.flows), len(block.addresses)) == (0, 0, 0)


def test_the_last_block_says_what_is_wrong_with_the_file(path, lane):
    path.write_bytes(pcap_file(*[ethernet(REQUEST)] * 5)[:-1])
    damage = [block.damage for block in blocks(path, block_packets=2, lane=lane)]
    assert damage == [None, None, f"cut in packet 5 at byte {24 + 5 * 70 - 1}"][-len(damage) :]


def test_the_real_capture_packed_and_in_blocks_is_the_same_trace(path, lane, windows):
    windows(4000)
    path.write_bytes(gzip.compress(CURL_NGINX.read_bytes()))
    whole = pcap.read(CURL_NGINX, services=SERVICES)
    assert_same(pcap.read(path, services=SERVICES, lane=lane), whole)
    assert_same(Trace.joined(blocks(path, block_packets=33, lane=lane)), whole)
    assert_same(Trace.joined(blocks(path, block_packets=33, lane=lane, survey=True)), whole)


def test_a_frame_that_is_longer_than_a_window_is_read(path, windows, lane):
    windows(1000)
    frames = [ethernet(REQUEST), ethernet(ip(tcp(payload=bytes(60_000)))), ethernet(ANSWER)]
    path.write_bytes(pcap_file(*frames))
    found = Trace.joined(blocks(path, lane=lane))
    assert captured(found) == [frame[14:] for frame in frames]


def test_packets_without_a_time_ahead_of_all_others_are_of_the_first_time_in_blocks_too(path, lane):
    simple = NG.simple_packet(ethernet(REQUEST))
    path.write_bytes(NG_START + simple * 7 + NG.packet(ethernet(REQUEST), 7) + NG.packet(ethernet(REQUEST), 8))
    found = Trace.joined(blocks(path, block_packets=2, lane=lane))
    assert found["time"].tolist() == [0] * 8 + [1000]


# --- files that change, errors, closing ----------------------------------------------------------------


def long_capture(path: Path) -> None:
    path.write_bytes(pcap_file(*(Record(ethernet(REQUEST), k * 1000) for k in range(200))))


def test_a_file_that_becomes_shorter_between_two_blocks_is_refused(path, windows, lane):
    windows(1000)
    long_capture(path)
    with read_blocks(path, services=SERVICES, block_packets=5, lane=lane) as found:
        next(found)
        path.write_bytes(path.read_bytes()[:5000])
        with pytest.raises(TraceError, match="the file became shorter while it was read: 5000 bytes, 14024 before"):
            list(found)


def test_packets_that_were_not_there_at_the_survey_are_refused(path, windows, lane):
    windows(1000)
    long_capture(path)
    found = read_blocks(path, services=SERVICES, block_packets=5, lane=lane, survey=True)
    content = bytearray(path.read_bytes())
    content[24 + 100 * 70 + 8 : 24 + 100 * 70 + 12] = (54 + 70).to_bytes(4, "little")  # two records become one
    path.write_bytes(bytes(content))
    with pytest.raises(TraceError, match="capture: the file changed while it was read"), found:
        list(found)


def test_times_that_are_not_those_of_the_survey_are_refused(path, windows, lane):
    windows(1000)
    long_capture(path)
    content = bytearray(path.read_bytes())
    content[24 + 100 * 70 : 24 + 100 * 70 + 4] = bytes(4)  # packet 101 is of 1970
    found = read_blocks(path, services=SERVICES, block_packets=5, lane=lane, survey=True)
    path.write_bytes(bytes(content))
    with pytest.raises(TraceError, match="capture: the file changed while it was read"), found:
        list(found)


@pytest.mark.parametrize("content", [b"no capture at all", b"", pcap_file(link=127)])
@pytest.mark.parametrize("survey", [True, False])
def test_what_is_no_capture_is_refused_before_there_is_a_block(path, content, survey):
    path.write_bytes(content)
    with pytest.raises(TraceError):
        read_blocks(path, services=SERVICES, survey=survey)


def test_a_capture_of_unknown_link_types_is_refused_in_blocks_too(path, lane):
    path.write_bytes(NG.section() + NG.interface(127) + NG.packet(b"radio"))
    with pytest.raises(TraceError, match="link type 127 is not supported"):
        blocks(path, lane=lane)


def test_how_much_was_read_is_known(path, windows):
    windows(1000)
    long_capture(path)
    with read_blocks(path, services=SERVICES, block_packets=5) as found:
        done = [found.done for _ in found]
        assert found.size == path.stat().st_size == done[-1]
    assert all(a <= b for a, b in pairwise(done))
    assert done[0] < found.size / 2


def test_the_file_is_closed_when_the_last_block_was_given_or_when_blocks_are_forgotten(path):
    long_capture(path)
    found = read_blocks(path, services=SERVICES, block_packets=5)
    list(found)
    assert found._source._file.closed
    forgotten = read_blocks(path, services=SERVICES, block_packets=5)
    file = forgotten._source._file
    next(forgotten)
    del forgotten
    assert file.closed


# --- anything -----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    seed=st.integers(0, 10**6),
    packets=st.integers(0, 120),
    back=st.sampled_from([0, 0, 5_000, 10**8]),
    window=st.integers(24, 3000),
    block_packets=st.integers(1, 50),
)
def test_however_a_capture_is_cut_its_blocks_are_the_whole(
    tmp_path_factory, seed, packets, back, window, block_packets
):
    path = tmp_path_factory.mktemp("any") / "capture"
    path.write_bytes(random_capture(seed, packets, back=back))
    whole = pcap.read(path, services=SERVICES)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pcap, "WINDOW", window)
        patched.setattr(pcap, "KEPT_WINDOW", window)
        assert_same(Trace.joined(blocks(path, block_packets=block_packets, survey=True)), whole)
        try:
            optimistic = Trace.joined(blocks(path, block_packets=block_packets))
        except OutOfOrder:
            assert back
        else:
            assert_same(optimistic, whole)
