"""What the host writes into the card's memory is what the guest reads."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lbsim.kernel import parcel
from lbsim.kernel.parcel import Parcel


@pytest.mark.parametrize("jobs", [[], [b"one\n"], [b"one\n", b"two\n", b"x" * 10_000 + b"\n"]])
def test_what_is_written_is_read(jobs: list[bytes], tmp_path: Path) -> None:
    card = tmp_path / "card"
    parcel.write(card, b"".join(jobs), b'{"a": "00"}', 64)
    assert card.stat().st_size == 64 << 20
    brought = Parcel(card)
    assert not brought.empty
    assert (brought.messages, list(brought.jobs())) == (b'{"a": "00"}', jobs)


def test_each_parcel_brings_other_random_bytes(tmp_path: Path) -> None:
    seeds = set()
    for name in ("a", "b"):
        parcel.write(tmp_path / name, b"", b"", 64)
        seeds.add(Parcel(tmp_path / name).seed)
    assert {len(seed) for seed in seeds} == {32}
    assert len(seeds) == 2


def test_an_empty_card_is_waited_for(tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.write_bytes(bytes(1 << 20))
    waiting = Parcel(card)
    assert waiting.empty
    parcel.write(tmp_path / "full", b"job\n", b"{}", 1)
    content = (tmp_path / "full").read_bytes()

    def bring() -> None:
        with card.open("r+b") as file:
            file.write(content)

    timer = threading.Timer(0.05, bring)
    timer.start()
    waiting.wait()
    timer.join()
    assert list(waiting.jobs()) == [b"job\n"]


@pytest.mark.parametrize(
    ("length", "megabytes"), [(0, 64), ((64 << 20) - 56, 64), ((64 << 20) - 55, 128), (1 << 28, 512)]
)
def test_the_card_has_room_for_all_of_it(length: int, megabytes: int) -> None:
    assert parcel.size_for(bytes(length), b"") == megabytes
