"""The connection table: facts, packet-path.md sections 5, 6, 8.1, 8.2, 8.4."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lbsim.engine.conntable import find_in, new_conn, put
from lbsim.engine.lanes import Lane, replaced
from lbsim.engine.numbers import TCP
from lbsim.engine.records import Packet
from lbsim.engine.timers import arm
from lbsim.host import EngineHost
from lbsim.model.config import AddDest, AddService, DestId, ServiceId
from tests.playbook import Playbook

# Finding an entry for a client's packet


@pytest.mark.parametrize("other", ["c2:40001 ACK", "c1:40002 ACK", "c1 ACK to V:81", "c1 ACK to W:80"])
def test_every_part_of_the_key_counts(play: Playbook, other: str) -> None:
    play.config("tcp V:80 rr", "A", "tcp V:81 rr", "A", "tcp W:80 rr", "A")
    play.send("c1 SYN").expect("FORWARD A new").send(other).expect("LOCAL not_syn")


def test_the_protocol_counts(play: Playbook) -> None:
    play.config("tcp V:53 rr", "A:53", "udp V:53 rr", "A:53")
    play.send("c1 SYN to V:53").expect("FORWARD A new").send("c1 UDP to V:53").expect("FORWARD A new")
    play.table("c1 SYN_RECV A", "c1 UDP A")


def test_source_port_0_never_matches_and_makes_an_entry_each_time(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B").send("c1:0 SYN").expect("FORWARD B new").send("c1:0 SYN").expect(
        "FORWARD A new"
    )
    play.send("c1:0 ACK").expect("LOCAL not_syn").table("c1:0 SYN_RECV B", "c1:0 SYN_RECV A")


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_entries_with_the_same_key_leave_in_any_order(play: Playbook, gone: int) -> None:
    # A reset of one of them (CLOSE, 10 s) lets it go before the others.
    play.config("tcp V:80 rr", "A", "B", "C", "D")
    for name in "DCBA":
        play.send("c1:0 SYN").expect(f"FORWARD {name} new")
    name = "DCBA"[gone]
    play.reply(f"{name} c1:0 RST").expect(f"FORWARD {name} translated").wait("CLOSE timeout")
    play.table(*(f"c1:0 SYN_RECV {other}" for other in "ABCD" if other != name)).at(70).table()


def test_of_two_entries_with_the_same_key_the_newest_is_found(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B").send("c1 SYN").expect("FORWARD B new").reply("B c1 RST").expect(
        "FORWARD B translated"
    )
    play.send("c1 SYN").expect("FORWARD A rescheduled").table("c1 CLOSE B", "c1 SYN_RECV A")
    play.send("c1 ACK").expect("FORWARD A known").table("c1 CLOSE B", "c1 ESTABLISHED A")


# Finding an entry for a real server's packet


@pytest.mark.parametrize("other", ["B c1 ACK", "A:81 c1 ACK", "A c2:40001 ACK", "A c1:40002 ACK", "A c1 UDP"])
def test_every_part_of_the_answers_key_counts(play: Playbook, other: str) -> None:
    play.config("tcp V:80 rr", "A:80", "udp W:80 rr", "A:80").send("c1 SYN").expect("FORWARD A new")
    play.reply(other.replace("B ", "B:80 ")).expect("ROUTE no_connection")


def test_answers_for_two_services_with_the_same_server_all_go_to_the_newest_entry(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "tcp W:80 rr", "A")
    play.send("c1 SYN to V:80").expect("FORWARD A new").send("c1 SYN to W:80").expect("FORWARD A new")
    play.wait(10).reply("A c1 ACK").expect("FORWARD A translated as W:80")
    play.table("c1 SYN_RECV A 50", "c1 to W:80 ESTABLISHED A 900")
    play.totals(V={"out_packets": 0}, W={"out_packets": 1})


def test_answers_go_to_the_older_entry_again_when_the_newer_is_gone(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "tcp W:80 rr", "A").send("c1 SYN to V:80").expect("FORWARD A new")
    play.send("c1 ACK to V:80").expect("FORWARD A known").send("c1 SYN to W:80").expect("FORWARD A new")
    play.wait("SYN_RECV timeout").reply("A c1 ACK").expect("FORWARD A translated")


def test_a_destination_on_port_0_keeps_the_clients_port(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A:0").send("c1 SYN").expect("FORWARD A new to A:80")
    play.reply("A:80 c1 ACK").expect("FORWARD A translated").table("c1 ESTABLISHED A:80")


# Counters of a destination (6)


def test_active_and_inactive_follow_the_entries(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").totals(A={"active": 1, "inactive": 0})
    play.send("c2 SYN").expect("FORWARD A new").send("c2 RST").expect("FORWARD A known")
    play.totals(A={"active": 2, "inactive": 0})  # RST in SYN_RECV changes nothing
    play.reply("A c2 RST").expect("FORWARD A translated").totals(A={"active": 1, "inactive": 1})
    play.wait("CLOSE timeout").totals(A={"active": 1, "inactive": 0})
    play.at(100).totals(A={"active": 0, "inactive": 0, "conns": 2})


def test_udp_entries_are_inactive_for_life(play: Playbook) -> None:
    play.config("udp V:53 rr", "A").send("c1 UDP").expect("FORWARD A new").reply("A c1 UDP").expect(
        "FORWARD A translated"
    )
    play.totals(A={"active": 0, "inactive": 1}).wait("UDP timeout").totals(A={"active": 0, "inactive": 0})


# Timers of entries (8)


def test_every_packet_arms_the_timer_anew(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").wait(30).table("c1 SYN_RECV A 30")
    play.send("c1 SYN").expect("FORWARD A known").table("c1 SYN_RECV A 60")
    play.wait(40).table("c1 SYN_RECV A 20").reply("A c1 SYN+ACK").expect("FORWARD A translated")
    play.table("c1 SYN_RECV A 60")


def test_whole_seconds_are_cut(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").table("c1 SYN_RECV A 60")
    play.advance(1).table("c1 SYN_RECV A 59").advance(249).table("c1 SYN_RECV A 59").advance(1).table(
        "c1 SYN_RECV A 58"
    )


def test_an_entry_waits_at_0_for_its_slot_of_the_wheel(play: Playbook) -> None:
    # 60 s: jiffy 4294907296, the next multiple of 512 is 4294907392: 60.384 s
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").at(60).table("c1 SYN_RECV A 0")
    play.at(60.380).table("c1 SYN_RECV A 0").at(60.384).table()


def test_a_packet_revives_an_entry_that_waits(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").at(60.2).send("c1 SYN").expect(
        "FORWARD A known"
    )
    play.at(61).table("c1 SYN_RECV A 59")


def test_an_entry_that_already_waits_is_not_hurried(play: Playbook) -> None:
    # CLOSE, asked for 4294894796 (10 s), fires at 4294894848 (10.208 s)
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").reply("A c1 RST").expect(
        "FORWARD A translated"
    )
    play.at(10.004).send("c1 SYN").expect("FORWARD A rescheduled").at(10.204).table("c1 CLOSE A 0", "c1 SYN_RECV A")
    play.at(10.208).table("c1 SYN_RECV A")


def test_an_answer_keeps_an_entry_that_was_given_up_in_the_same_tick(play: Playbook) -> None:
    # Found by its own destination end; the answer arms its timer anew.
    play.config("tcp V:80 rr", "A", "B").send("c1 SYN").expect("FORWARD B new").reply("B c1 RST").expect(
        "FORWARD B translated"
    )
    play.send("c1 SYN").expect("FORWARD A rescheduled").reply("B c1 ACK").expect("FORWARD B translated")
    play.advance(1).table("c1 CLOSE B 9", "c1 SYN_RECV A 59")


def test_the_sweep_takes_entries_whose_timers_are_armed_for_later(play: Playbook) -> None:
    play.sysctl(expire_nodest_conn=1).config("tcp V:80 rr", "A", "B").picks("B A B").delete("B").advance(1)
    play.table("c2 SYN_RECV A").at(100).table().picks("A")


# Rows


def hosting(lane: Lane) -> EngineHost:
    host = EngineHost(lane=lane)
    service = ServiceId("tcp", ip_address("192.0.2.1"), 80)
    host.apply(AddService(service, "rr"))
    host.apply(AddDest(service, DestId(ip_address("10.0.0.1"), 80)))
    return host


def client_packet(host: EngineHost, port: int) -> Packet:
    packets = host.lane.table(Packet, 1)
    packets[0].src, packets[0].sport = host.intern(ip_address("203.0.113.1")), port
    packets[0].dst, packets[0].dport = host.intern(ip_address("192.0.2.1")), 80
    packets[0].proto = TCP
    return packets[0]


def make(host: EngineHost, port: int) -> int:
    """A new entry of a client port, its timer armed."""
    host.room_for(1)
    c = int(host.lane.function(new_conn)(host.tables, client_packet(host, port), 1, 80, 0))
    host.tables.conns[c].timeout = 10
    host.lane.function(put)(host.tables, c)
    return c


def test_rows_of_expired_entries_are_used_again(lane: Lane) -> None:
    host = hosting(lane)
    assert [make(host, 1), make(host, 2)] == [1, 2]
    host.advance(10**9)
    assert host.connections() == ()
    assert sorted([make(host, 3), make(host, 4)]) == [1, 2]
    assert make(host, 5) == 3
    assert [row.client for row in host.connections()] == ["203.0.113.1:3", "203.0.113.1:4", "203.0.113.1:5"]


def test_a_timer_for_a_moment_in_the_past_fires_as_soon_as_time_is_looked_at(lane: Lane) -> None:
    host = hosting(lane)
    host.advance(10**9)
    c = make(host, 1)
    lane.function(arm)(host.tables, c, host.tick(10**9) - 5)
    host.advance(10**9)
    assert host.connections() == ()


def test_a_larger_table_still_finds_the_newest_of_equal_keys(lane: Lane) -> None:
    host = hosting(lane)
    host.tables = replaced(lane, host.tables, conn_heads=lane.heads(1024))  # the compiled lane begins with more
    host.tables.director[0].conn_mask = 1023
    for port in (7, 7, 8, 7):
        make(host, port)
    for port in range(1000, 4000):
        make(host, port)
    buckets = len(host.tables.conn_heads)
    assert buckets == 4096
    find = host.lane.function(find_in)
    assert find(host.tables, client_packet(host, 7)) == 4
    assert find(host.tables, client_packet(host, 8)) == 3
    assert [find(host.tables, client_packet(host, port)) for port in range(1000, 4000)] == list(range(5, 3005))


def test_entries_leave_full_buckets_one_by_one(lane: Lane) -> None:
    host = hosting(lane)
    for port in range(1, 2001):
        make(host, port)
        if port % 7 == 0:
            host.advance(port * 10**6)
    host.advance(3 * 10**9)
    assert host.connections() == ()
    assert not any(host.tables.conn_heads)
    assert host.tables.dests[1].total == 0
