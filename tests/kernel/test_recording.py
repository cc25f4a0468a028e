"""Recordings: what goes in comes out, and nothing else is taken for one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP

from lbsim.errors import LbsimError
from lbsim.kernel import recording
from lbsim.kernel.job import (
    DIRECTOR,
    REPLY,
    Arrival,
    CommandSeen,
    Event,
    Job,
    Observation,
    Packet,
    PacketSeen,
    Seen,
    Show,
    ShowSeen,
    server,
)
from lbsim.kernel.seen import comparable, steps_of
from lbsim.replays import job_from
from lbsim.scenario import load
from tests.kernel.played import played
from tests.kernel.random_jobs import random_job
from tests.scenario.texts import WHOLE, changed, write

JOB = random_job("lc", 1, decisions=40)
Left = dict[int, list[tuple[str, bytes]]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A recording of the job."""
    recording.write(tmp_path / "r.json", JOB, played(JOB), "lbsim kernel record")
    return tmp_path / "r.json"


def refusal(path: Path, job: Job = JOB) -> str:
    """The one line that reading answers."""
    with pytest.raises(LbsimError) as caught:
        recording.read(path, job)
    assert caught.value.file == str(path)
    assert "\n" not in str(caught.value)
    return caught.value.message


def test_what_was_seen_comes_back_with_checksums_in_place_of_bytes(path: Path) -> None:
    kept = recording.read(path, JOB)
    assert kept.steps == tuple(recording.checksummed(tuple(steps_of(played(JOB)))))
    assert (kept.release, kept.command) == (played(JOB).release, "lbsim kernel record")


def test_the_kernels_clock_and_the_set_up_come_back(path: Path) -> None:
    kept, seen = recording.read(path, JOB).timing, played(JOB)
    assert (kept.jiffies, kept.setup) == (seen.jiffies, seen.setup)
    assert [event.at for event in kept.events] == [event.at for event in seen.events]


def test_how_long_the_tables_were_read_comes_back(tmp_path: Path) -> None:
    def slow(number: int, _event: Event, seen: Seen) -> Seen:
        return seen._replace(until=seen.at + number) if isinstance(seen, ShowSeen) else seen

    recording.write(tmp_path / "r.json", JOB, played(JOB, slow), "")
    kept = recording.read(tmp_path / "r.json", JOB).timing.events
    spans = {seen.until - seen.at for seen in kept if isinstance(seen, ShowSeen)}
    assert spans == {i for i, event in enumerate(JOB.events) if isinstance(event, Show)}


# CRC-32 of "123456789" is cbf43926: the algorithm's well-known check value.
def test_bytes_become_their_crc_32() -> None:
    (step,) = steps_of(played(JOB)._replace(events=(ShowSeen(0, 0, "", "", "", (Arrival("c", b"123456789", 0),)),)))
    (kept,) = recording.checksummed((step,))
    assert kept.arrivals == (("c", bytes.fromhex("cbf43926")),)


@pytest.mark.parametrize("where", ["c", DIRECTOR, server(JOB.servers[0]), server(JOB.servers[7]), server("?")])
@pytest.mark.parametrize("number", range(3))
def test_what_leaves_comes_back_with_its_place_whatever_the_event(tmp_path: Path, where: str, number: int) -> None:
    kinds = {type(seen): i for i, seen in reversed(list(enumerate(played(JOB).events)))}
    assert len(kinds) == 3
    at = sorted(kinds.values())[number]

    def spoil(i: int, _event: Event, seen: Seen) -> Seen:
        return seen._replace(arrivals=(Arrival(where, b"x", 0), Arrival("c", b"y", 0))) if i == at else seen

    recording.write(tmp_path / "r.json", JOB, played(JOB, spoil), "")
    arrivals = recording.read(tmp_path / "r.json", JOB).steps[at].arrivals
    assert [place for place, _ in arrivals] == [where, "c"]


def bytes_of(seen: Observation) -> list[list[tuple[str, bytes]]]:
    """All that left the director, event by event, as far as it is not random."""
    return [[comparable(arrival) for arrival in event.arrivals] for event in seen.events]


def sent_of(seen: Observation) -> list[bytes | None]:
    """The replies as they were sent."""
    return [event.sent for event in seen.events if isinstance(event, PacketSeen)]


@pytest.mark.parametrize(
    "job", [random_job(name, 3, decisions=30) for name in ("rr", "lc", "sh")], ids=lambda j: j.name
)
def test_all_bytes_come_back_though_none_is_stored(tmp_path: Path, job: Job) -> None:
    seen = played(job)
    recording.write(tmp_path / "r.json", job, seen, "")
    kept = recording.read(tmp_path / "r.json", job)
    assert bytes_of(kept.observation()) == bytes_of(seen)
    assert {one.content for left in kept.left for one in left} == {None}


def test_replies_come_back_as_they_were_sent(tmp_path: Path) -> None:
    seen = played(JOB)
    recording.write(tmp_path / "r.json", JOB, seen, "")
    sent = sent_of(recording.read(tmp_path / "r.json", JOB).observation())
    assert sent == sent_of(seen)
    senders = {IP(data).src for data in sent if data}
    assert senders <= set(JOB.servers)
    assert len(senders) > 1
    assert [one is not None for one in sent] == [e.side == REPLY for e in JOB.events if isinstance(e, Packet)]


PLACES = st.sampled_from(["c", *(server(address) for address in JOB.servers), server("?")])


@given(st.dictionaries(st.integers(0, len(JOB.events) - 1), st.lists(st.tuples(PLACES, st.binary(max_size=60)))))
def test_whatever_left_a_kernel_comes_back(tmp_path_factory: pytest.TempPathFactory, left: Left) -> None:
    def spoil(number: int, _event: Event, seen: Seen) -> Seen:
        return seen._replace(arrivals=tuple(Arrival(*one, 0) for one in left[number])) if number in left else seen

    path = tmp_path_factory.mktemp("r") / "r.json"
    seen = played(JOB, spoil)
    recording.write(path, JOB, seen, "")
    assert bytes_of(recording.read(path, JOB).observation()) == bytes_of(seen)


def test_a_packet_that_lbsim_would_make_otherwise_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = recording.read(path, JOB)
    first = next(i for i, left in enumerate(kept.left) if left)
    monkeypatch.setattr("lbsim.kernel.rebuild.rewrite", lambda data, change: data)
    with pytest.raises(LbsimError) as caught:
        kept.observation()
    assert str(caught.value) == (
        f"{path}: the packet sent at {JOB.events[first].at} ns cannot be made again from its checksum; "
        "lbsim kernel record makes a new recording"
    )


def test_a_commands_answer_comes_back(tmp_path: Path) -> None:
    def spoil(_number: int, _event: Event, seen: Seen) -> Seen:
        return seen._replace(status=2, output="No\nsuch é") if isinstance(seen, CommandSeen) else seen

    recording.write(tmp_path / "r.json", JOB, played(JOB, spoil), "")
    answers = {step.answer for step in recording.read(tmp_path / "r.json", JOB).steps if step.answer}
    assert answers == {(2, "No such é")}


def test_it_lies_beside_the_scenario() -> None:
    assert recording.path_of(Path("a/b.lbsim.yaml"), "6.12") == Path("a/b.linux-6.12.recording.json")
    assert recording.path_of(Path("a/b.yaml"), "6.1") == Path("a/b.yaml.linux-6.1.recording.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"kernel": "6.1', '"kernel": "6.2'),
        lambda text: text.replace('"jiffies": 4', '"jiffies": 5'),
        lambda text: text.replace('"7000 ', '"7001 ', 1),
        lambda text: text.replace("ESTABLISHED", "SYN_RECV   ", 1),
        lambda text: text.replace('"checksum": "', '"checksum": "0'),
        lambda text: text.replace('"checksum"', '"checksom"'),
        lambda text: text.replace('"command": "lbsim', '"command": "lbsin'),
    ],
)
def test_a_change_by_hand_is_refused(path: Path, change: Callable[[str], str]) -> None:
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))
    assert refusal(path) == "the recording was changed by hand; lbsim kernel record makes a new one"


def test_another_layout_of_the_same_is_no_change(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4))
    assert recording.read(path, JOB).steps


@pytest.mark.parametrize("other", [JOB._replace(name="other"), JOB._replace(events=JOB.events[:-1])])
def test_a_recording_of_another_job_is_refused(path: Path, other: Job) -> None:
    assert refusal(path, other).startswith("the scenario was changed since this was recorded; lbsim kernel record")


def test_what_only_a_reader_of_the_scenario_sees_does_not_matter(tmp_path: Path) -> None:
    made = job_from(load(write(tmp_path)))
    recording.write(tmp_path / "r.json", made, played(made), "")
    text = changed("Two servers", "The same servers", changed("reasons: {new: 6}", "reasons: {new: 5}"))
    assert recording.read(tmp_path / "r.json", job_from(load(write(tmp_path, text)))).steps


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert refusal(path) == "not a recording; lbsim kernel record makes a new one"


@pytest.mark.parametrize("content", ["[]", "{}", "1", '{"format": "lbsim-recording/1"}'])
def test_another_format_is_refused(path: Path, content: str) -> None:
    path.write_text(content)
    assert refusal(path) == "not a recording; expected the format 'lbsim-recording/2', lbsim kernel record makes it"


def test_half_a_recording_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])
    assert refusal(path).startswith("not a recording")


def test_a_missing_recording_names_the_command_that_makes_it(tmp_path: Path) -> None:
    told = refusal(tmp_path / "none.json")
    assert told == "no recording: No such file or directory; lbsim kernel record makes it"


# 100 connections of 9 packets each (handshake, a request with its answer, the end), and looks at full tables
def test_a_hundred_connections_need_much_less_than_50_kb(tmp_path: Path) -> None:
    text = changed("connections: 6", "connections: 100", WHOLE[: WHOLE.index("expect:")])
    made = job_from(load(write(tmp_path, text)))
    recording.write(tmp_path / "r.json", made, played(made), "lbsim kernel record")
    assert len(made.events) > 900
    assert (tmp_path / "r.json").stat().st_size < 35_000


def test_a_write_that_fails_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(self: Path, _text: str, encoding: str) -> int:
        self.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(LbsimError, match="cannot write the recording: No space left on device"):
        recording.write(path, JOB, played(JOB), "other")
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["r.json"]


def test_an_interrupt_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Path, _target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recording.write(tmp_path / "r.json", JOB, played(JOB), "")
    assert list(tmp_path.iterdir()) == []
