"""Captures to measure with, and the scenarios that replay them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.bench.traffic import config_of, web, write_capture

__all__ = ["ANSWER", "frames", "scenario_of"]

ANSWER = 128  # bytes: half of the packets are ACKs anyway
_PER_SECOND = 10_000  # connections


def scenario_of(folder: Path, packets: int, scheduler: str = "rr") -> Path:
    """A scenario that replays a capture of so many packets, and lies beside it (``web.pcap``)."""
    connections = packets // 9 + 2 * _PER_SECOND  # those at the end are cut off
    write_capture(folder / "web.pcap", web(connections, _PER_SECOND, 2, answer=ANSWER), packets)
    lines = "\n".join(f"  ipvsadm {command.text}" for command in config_of(scheduler).commands)
    path = folder / "web.lbsim.yaml"
    path.write_text(f"name: web\nconfig: |\n{lines}\ntraffic:\n  - capture: web.pcap\n", encoding="utf-8")
    return path


def frames(path: Path, count: int) -> Iterator[bytes]:
    """The first frames of a capture that ``write_capture`` made."""
    with path.open("rb") as file:
        file.read(24)
        for _ in range(count):
            length = int.from_bytes(file.read(16)[8:12], "little")
            yield file.read(length)
