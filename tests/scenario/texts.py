"""Scenario texts for tests: one that is complete, and ways to change it."""

from __future__ import annotations

from pathlib import Path

#: Two destinations under rr and a third from 0.25 s on; every kind of key occurs.
WHOLE = """\
name: demo
description: Two servers, later three
seed: 7
config: |
  ipvsadm -A -t 192.168.1.10:80 -s rr
  ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.11:80 -m
  ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.12:80 -m
sysctls: {conn_reuse_mode: 1}
traffic:
  - service: tcp 192.168.1.10:80
    connections: 6
    clients: {cidr: 198.51.100.0/24, pick: in_turn}
    arrivals: {every: 100ms}
timeline:
  - at: 250ms
    run: ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.13:80 -m
show: [1s]
expect:
  - sequence: [10.0.0.12:80, 10.0.0.11:80]
  - share: {10.0.0.11:80: 0.333}
    tolerance: 0.2
  - totals:
      10.0.0.11:80: {connections: 2}
  - table: 1s
    count: 6
  - reasons: {new: 6}
"""


def changed(old: str, new: str, text: str = WHOLE) -> str:
    """The text with its first ``old`` replaced; ``old`` must be there."""
    assert old in text, f"{old!r} is not in the text"
    return text.replace(old, new, 1)


def line_with(part: str, text: str = WHOLE) -> int:
    """The number of the first line in which ``part`` stands, counted from 1."""
    return next(number for number, line in enumerate(text.splitlines(), start=1) if part in line)


def write(folder: Path, text: str = WHOLE, name: str = "demo.lbsim.yaml") -> Path:
    """The path of a file with that text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path
