"""Many receivers, one buffer: every packet reaches its receiver's file, however many and however large they are."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from random import Random

import pytest

from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.model.verdict import Rewrite
from lbsim.packet import dispatch
from lbsim.packet.build import build
from lbsim.packet.received import CaptureWriter
from lbsim.packet.rewrite import rewrite
from tests.packet.leaving import ADDRESSES, Leaving, answers_to, trace_of
from tests.packet.test_bulk import split

LANES = {"interpreted": interpreted_lane(), "compiled": compiled_lane()}
every_lane = pytest.mark.parametrize("lane", LANES.values(), ids=LANES)


def spread(seed: int, packets: int, receivers: int, longest: int) -> list[Leaving]:
    """Made packets to random ports of one address, some of them cut within their header."""
    random = Random(seed)
    rows = []
    for _ in range(packets):
        columns = {"src": 0, "dst": 1, "proto": random.choice((6, 17)), "length": random.randint(20, longest)}
        columns |= {"seq": 0xFFFFFFFF, "ack": 0xFFFFFFFF, "sport": 0xFFFF}
        new = Rewrite(ADDRESSES[0], 1, ADDRESSES[2], random.randrange(receivers))
        rows.append(Leaving(columns, None, new))
    return rows


def written(folder: Path, packets: list[Leaving], lane: Lane, block: int) -> dict[str, list[bytes]]:
    """File name -> its packets."""
    trace, ends = trace_of(packets, step=0), [packet.new for packet in packets]
    answers = answers_to(trace, ends, lane)
    with CaptureWriter(folder) as captures:
        for begin, part in zip(range(0, len(packets), block), trace.blocks(block), strict=True):
            columns = {name: column[begin : begin + block] for name, column in answers.columns.items()}
            captures.add(part, type(answers)(columns, answers.addresses, (), answers.provenance))
    return {path.name: [record[16:] for record in split(path.read_bytes())] for path in captures.paths}


def expected(packets: list[Leaving]) -> dict[str, list[bytes]]:
    """The same, packet by packet."""
    files: dict[str, list[bytes]] = defaultdict(list, {"clients.pcap": []})
    trace = trace_of(packets, step=0)
    for i, packet in enumerate(packets):
        assert packet.new is not None
        files[f"{packet.new.dst}_{packet.new.dport}.pcap"].append(rewrite(build(trace, i), packet.new))
    return files


@every_lane
@pytest.mark.parametrize(
    ("receivers", "longest", "part"),
    [
        pytest.param(3, 200, 2**18, id="few"),
        pytest.param(3, 200, 300, id="parts for one packet"),
        pytest.param(3, 60, 100, id="parts for short ones"),
        pytest.param(300, 200, 2**18, id="more than the table has rows, three times over"),
        pytest.param(40, 2000, 500, id="packets that fit into no part"),
        pytest.param(2, 65535, 2**12, id="the largest packets"),
    ],
)
def test_every_packet_reaches_its_receiver_in_order(
    tmp_path: Path, lane: Lane, receivers: int, longest: int, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "MOST_PART", part)
    monkeypatch.setattr(dispatch, "LEAST_PART", part)
    packets = spread(receivers, 700, receivers, longest)
    assert written(tmp_path, packets, lane, block=256) == expected(packets)


@pytest.mark.parametrize(("rows", "bytes_each"), [(16, 2**20), (64, 2**19), (1024, 2**15), (16384, 2**12)])
def test_the_buffer_stays_small_however_many_receivers_there_are(rows: int, bytes_each: int) -> None:
    table = compiled_lane().table(dispatch.Receiver, rows)
    desk = dispatch.Dispatch(compiled_lane())._laid_out(table)
    assert (len(desk.buffer), {int(receiver.room) for receiver in table[1:]}) == (rows * bytes_each, {bytes_each})
    assert len(desk.buffer) <= 2**26
