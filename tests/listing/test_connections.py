"""Connection lists. Expected values: what the real ipvsadm 1.31 printed (tests/captures)."""

from __future__ import annotations

import pytest

from lbsim.config import parse_request
from lbsim.listing import connection_list
from lbsim.model.listing import ListConnections
from lbsim.model.result import ConnRow
from tests.captured import Run, runs


def listed(run: Run) -> list[ConnRow]:
    """The entries of a connection list."""
    rows = []
    for line in run.out[2:]:
        protocol, left, state, client, virtual, destination = line.split()
        minutes, _, seconds = left.partition(":")
        rows.append(ConnRow(protocol, client, virtual, destination, state, int(minutes) * 60 + int(seconds)))
    return rows


@pytest.mark.parametrize("name", ["traffic", "fwmark-port0-traffic"])
def test_entries_of_real_traffic_are_printed_alike(name: str) -> None:
    found = [run for run in runs(name) if run.command in ("ipvsadm -Lnc", "ipvsadm -Lnc --persistent-conn")]
    assert found
    for run in found:
        asked = parse_request(run.command)
        assert isinstance(asked, ListConnections)
        assert connection_list(listed(run), asked).splitlines() == run.out


def test_minutes_may_have_more_than_two_digits() -> None:
    # facts: ipvsadm.md section 3.5; 44640 minutes are the longest timeout, 31 days
    row = ConnRow("SCTP", "[2001:db8::1]:1", "[::ffff:10.0.0.1]:80", "[fd00::11]:80", "ESTABLISHED", 2678400)
    assert connection_list([row], ListConnections()).splitlines()[-1] == (
        "SCTP 44640:00 ESTABLISHED [2001:db8::1]:1    [::ffff:10.0.0.1]:80 [fd00::11]:80"
    )
