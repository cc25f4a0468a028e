"""What is counted: facts, packet-path.md section 18.1."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lbsim.engine.counting import count_in, count_out
from lbsim.host import EngineHost
from tests.playbook import Playbook


def test_counters_tell_connections_packets_and_bytes_apart(play: Playbook) -> None:
    ip = play.variant.ip_header
    play.config("tcp V:80 rr", "A")
    play.send("c1 SYN").expect("FORWARD A new").reply("A c1 SYN+ACK").expect("FORWARD A translated")
    play.send("c1 ACK").expect("FORWARD A known").send("c1 PSH+ACK", payload=100).expect("FORWARD A known")
    play.reply("A c1 ACK", payload=1000).expect("FORWARD A translated")
    counted = {
        "conns": 1,
        "in_packets": 3,
        "in_bytes": 3 * (ip + 20) + 100,
        "out_packets": 2,
        "out_bytes": 2 * (ip + 20) + 1000,
    }
    play.totals(A=counted, V=counted)


def test_what_is_not_forwarded_by_ipvs_is_not_counted(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A weight 0").send("c1 SYN").expect("REJECT no_dest")
    play.send("c1 ACK").expect("LOCAL not_syn").reply("A c1 ACK").expect("ROUTE no_connection")
    play.totals(V={"conns": 0, "in_packets": 0, "in_bytes": 0, "out_packets": 0, "out_bytes": 0})


def test_packets_that_die_of_their_ttl_are_counted(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN", ttl=1).expect("REJECT A ttl_exceeded")
    play.table("c1 SYN_RECV A 60").totals(A={"conns": 1, "in_packets": 1, "active": 1})


@pytest.mark.parametrize("count", [count_in, count_out])
def test_nothing_is_counted_for_a_removed_destination(count: Callable[..., None]) -> None:
    tables = EngineHost().tables
    tables.dests[1].service = 1
    count(tables, 1, 40)
    tables.dests[1].available = 1
    count(tables, 1, 41)
    for row in (tables.dests[1], tables.services[1]):
        assert (row.in_packets + row.out_packets, row.in_bytes + row.out_bytes) == (1, 41)


def test_each_destination_counts_its_own(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B").send("c1 SYN").expect("FORWARD B new").send("c2 SYN").expect("FORWARD A new")
    play.send("c2 ACK").expect("FORWARD A known")
    play.totals(A={"conns": 1, "in_packets": 2}, B={"conns": 1, "in_packets": 1}, V={"conns": 2, "in_packets": 3})
