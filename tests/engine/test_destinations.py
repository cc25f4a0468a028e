"""Destinations and their trash: facts, schedulers.md section 5."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from ipaddress import ip_address

import pytest

from lbsim.engine.lanes import Lane
from lbsim.host import EngineHost
from lbsim.model.config import AddDest, AddService, DeleteDest, DestId, EditDest, ServiceId
from tests.playbook import Playbook


def test_a_new_destination_goes_to_the_head_of_the_list(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B").add("C").listing("tcp V:80 rr: C B A")


def test_an_edit_moves_nothing(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B", "C").edit("A weight 7").listing("tcp V:80 rr: C B A").totals(A={"weight": 7})


@pytest.mark.parametrize(
    ("gone", "left"), [("A", " D C B"), ("B", " D C A"), ("C", " D B A"), ("D", " C B A")]
)  # fmt: skip
def test_a_deleted_destination_leaves_the_others_in_order(play: Playbook, gone: str, left: str) -> None:
    play.config("tcp V:80 rr", "A", "B", "C", "D").delete(gone).listing(f"tcp V:80 rr:{left}")


def test_all_destinations_can_be_deleted(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B").delete("A").delete("B").listing("tcp V:80 rr:").add("B").listing(
        "tcp V:80 rr: B"
    )


def test_a_destination_cannot_be_added_twice(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A weight 3").add("A weight 4").refused("Destination already exists")
    play.totals(A={"weight": 3})


def test_the_port_makes_another_destination(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A:80", "A:81").listing("tcp V:80 rr: A:81 A").picks("A:81 A")


def test_the_same_server_may_stand_under_several_services(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A weight 1", "tcp W:80 rr", "A weight 2").delete("A").listing(
        "tcp V:80 rr:", "tcp W:80 rr: A"
    )


@pytest.mark.parametrize("command", ["edit", "delete"])
def test_a_missing_destination_can_be_neither_edited_nor_deleted(play: Playbook, command: str) -> None:
    play.config("tcp V:80 rr", "A")
    getattr(play, command)("B").refused("No such destination")


@pytest.mark.parametrize("command", ["edit", "delete"])
def test_a_removed_destination_can_be_neither_edited_nor_deleted(play: Playbook, command: str) -> None:
    play.config("tcp V:80 rr", "A").delete("A")
    getattr(play, command)("A").refused("No such destination")


@pytest.mark.parametrize("command", ["add", "edit", "delete"])
def test_destinations_of_a_missing_service_cannot_be_touched(play: Playbook, command: str) -> None:
    play.config("tcp V:80 rr", "A")
    getattr(play, command)("A", "udp V:80").refused("Service not defined")


@pytest.mark.parametrize(("vip", "bad"), [("192.0.2.1", "224.0.0.1"), ("2001:db8::1", "ff02::1")])
def test_an_address_that_is_not_one_hosts_is_refused(vip: str, bad: str, lane: Lane) -> None:
    host = EngineHost(lane=lane)
    service = ServiceId("tcp", ip_address(vip), 80)
    host.apply(AddService(service, "rr"))
    assert host.apply(AddDest(service, DestId(ip_address(bad), 80))) == "EINVAL"
    assert host.services()[0].dests == ()


# The two services of a firewall mark. The same commands were given to 6.1.192 and 6.12.117, which answered the same.

MARKED = {4: ServiceId.marked(1, 4), 6: ServiceId.marked(1, 6)}
IN_TUNNEL = DestId(ip_address("10.0.0.11"), 0)


def of_one_mark(lane: Lane) -> EngineHost:
    host = EngineHost(lane=lane)
    for service in MARKED.values():
        assert host.apply(AddService(service, "rr")) == ""
    assert host.apply(AddDest(MARKED[4], IN_TUNNEL, method="tunnel")) == ""
    return host


def weights(host: EngineHost) -> list[list[int]]:
    return [[dest.weight for dest in row.dests] for row in host.listed()]


def actives(host: EngineHost) -> list[list[int]]:
    return [[dest.active for dest in row.dests] for row in host.listed()]


def test_the_ipv4_and_the_ipv6_service_of_a_mark_have_destinations_of_their_own(lane: Lane) -> None:
    host = of_one_mark(lane)
    assert host.apply(EditDest(MARKED[6], IN_TUNNEL, weight=5, method="tunnel")) == "ENOENT"
    assert host.apply(DeleteDest(MARKED[6], IN_TUNNEL)) == "ENOENT"
    assert host.apply(AddDest(MARKED[6], IN_TUNNEL, method="tunnel")) == ""
    assert host.apply(EditDest(MARKED[6], IN_TUNNEL, weight=5, method="tunnel")) == ""
    assert weights(host) == [[1], [5]]
    assert host.apply(DeleteDest(MARKED[6], IN_TUNNEL)) == ""
    assert weights(host) == [[1], []]


def test_of_two_removed_destinations_of_a_mark_the_last_one_comes_back_first_to_either_service(lane: Lane) -> None:
    host = of_one_mark(lane)
    host.tables.dests[1].total = host.tables.dests[1].active = 1  # what a connection makes of it

    def change(*commands: tuple[type[AddDest | DeleteDest], int]) -> list[list[int]]:
        for does, version in commands:
            command = (DeleteDest if does is DeleteDest else partial(AddDest, method="tunnel"))(
                MARKED[version], IN_TUNNEL
            )
            assert host.apply(command) == ""
        return actives(host)

    assert change((DeleteDest, 4), (AddDest, 6)) == [[], [1]]
    assert change((AddDest, 4)) == [[0], [1]]
    assert change((DeleteDest, 6), (DeleteDest, 4), (AddDest, 4)) == [[0], []]
    assert change((DeleteDest, 4), (AddDest, 6)) == [[], [0]]
    assert change((AddDest, 4)) == [[1], [0]]


# The trash


def test_a_removed_destination_comes_back_with_its_counters_and_connections(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B").send("c1 SYN").expect("FORWARD B new").reply("B c1 ACK").expect(
        "FORWARD B translated"
    )
    play.delete("B").add("B weight 5")
    play.totals(B={"weight": 5, "conns": 1, "in_packets": 1, "out_packets": 1, "active": 1})
    play.send("c1 ACK").expect("FORWARD B known")


def test_a_removed_destination_comes_back_at_the_head(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B", "C").delete("A").delete("B").add("A").listing("tcp V:80 rr: A C")


def test_several_removed_destinations_come_back_in_any_order(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B", "C").picks("C B A").delete("A").delete("B").delete("C")
    play.add("B").add("A").add("C").listing("tcp V:80 rr: C A B")
    play.totals(A={"conns": 1}, B={"conns": 1}, C={"conns": 1})


def test_with_expire_nodest_conn_a_removal_takes_the_connections_along(play: Playbook) -> None:
    play.sysctl(expire_nodest_conn=1).config("tcp V:80 rr", "A", "B", "tcp W:80 rr", "C").picks("B A")
    play.send("c9 SYN to W:80").expect("FORWARD C new").delete_service("tcp V:80").advance(1)
    play.table("c9 to W:80 SYN_RECV C")


def test_entries_that_expire_in_the_meantime_are_no_longer_counted(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "B").send("c1 SYN").expect("FORWARD B new").delete("B")
    play.wait("SYN_RECV timeout").add("B").totals(B={"conns": 1, "active": 0, "inactive": 0})


def test_under_a_service_made_anew_packet_counters_begin_anew_but_connections_go_on(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "tcp W:80 rr").send("c1 SYN").expect("FORWARD A new")
    play.wait(2.1).delete_service("tcp V:80")  # only what was copied is taken as zero
    play.add_service("tcp V:80 lc").add("A", to="tcp V:80")
    play.totals(A={"conns": 0, "in_packets": 0, "active": 1}, V={"conns": 0})
    play.send("c1 ACK").expect("FORWARD A known").totals(A={"in_packets": 1}, V={"in_packets": 1})


@pytest.mark.parametrize("other", ["udp V:80", "tcp V:81", "tcp W:80"])
def test_another_service_does_not_get_it_out_of_the_trash(play: Playbook, other: str) -> None:
    play.config("tcp V:80 rr", "A:80", f"{other} rr").send("c1 SYN").expect("FORWARD A new").delete("A")
    play.add("A:80", to=other).totals(A={"conns": 0, "active": 0})
    play.send("c1 ACK").expect("DROP A dest_removed")


# At HZ=250 time 0 is jiffy 4294892296; 512 jiffies are 2.048 s. Looking at the trash is asked for after 15000
# jiffies and happens at the next multiple of 512: asked for 4294907296 -> 4294907392 (60.384 s), and from a
# multiple of 512 on every 15360 jiffies (61.44 s): 4294922752 (121.824 s), 4294938112 (183.264 s), 4294953472
# (244.704 s).
SEEN_IDLE, STILL_THERE, FORGOTTEN = 60.384, 121.824, 183.264
TICK = 0.004


def remembered(play: Playbook) -> Playbook:
    return play.add("B").totals(B={"conns": 1})


def forgotten(play: Playbook) -> Playbook:
    return play.add("B").totals(B={"conns": 0})


def dead_connection_to_b(play: Playbook) -> Playbook:
    """B has counted a connection, which is reset at time 0.

    Its entry goes before the first look: CLOSE is 10 s, asked for jiffy 4294894796, the next multiple of 64 is
    4294894848 (10.208 s).
    """
    return (
        play.config("tcp V:80 rr", "A", "B")
        .send("c1 SYN")
        .expect("FORWARD B new")
        .reply("B c1 RST")
        .expect("FORWARD B translated")
    )


def test_an_idle_destination_is_remembered_at_the_second_look(play: Playbook) -> None:
    remembered(dead_connection_to_b(play).delete("B").at(STILL_THERE))


def test_an_idle_destination_is_remembered_until_the_tick_before_the_third_look(play: Playbook) -> None:
    remembered(dead_connection_to_b(play).delete("B").at(FORGOTTEN - TICK))


def test_an_idle_destination_is_forgotten_at_the_third_look(play: Playbook) -> None:
    forgotten(dead_connection_to_b(play).delete("B").at(FORGOTTEN))


def test_the_first_look_is_a_minute_after_the_first_removal_not_after_the_last(play: Playbook) -> None:
    # A is removed at 0, B at 50 s: B is seen idle at the same look, and forgotten with A.
    forgotten(dead_connection_to_b(play).delete("A").at(50).delete("B").at(FORGOTTEN))


def test_a_destination_removed_after_the_first_look_lasts_longer(play: Playbook) -> None:
    # seen idle at 121.824 s, so forgotten at 244.704 s
    remembered(dead_connection_to_b(play).delete("A").at(61).delete("B").at(244.7))


def test_a_destination_removed_after_the_first_look_goes_at_the_fourth(play: Playbook) -> None:
    forgotten(dead_connection_to_b(play).delete("A").at(61).delete("B").at(244.704))


def test_connections_keep_a_removed_destination(play: Playbook) -> None:
    # UDP: 300 s, asked for 4294967296, a multiple of 4096 -> 4294971392 (316.384 s). Looks at 60.384 s + n * 61.44
    # s: seen idle at 367.584 s, forgotten at 490.464 s.
    play.config("udp V:53 rr", "A", "B").send("c1 UDP").expect("FORWARD B new").delete("B").at(490.46)
    remembered(play)


def test_when_its_connections_are_gone_a_removed_destination_is_forgotten(play: Playbook) -> None:
    play.config("udp V:53 rr", "A", "B").send("c1 UDP").expect("FORWARD B new").delete("B").at(490.464)
    forgotten(play)


# Of two timers of one tick the one in the coarser slot fires first, and of one slot the one that came there last: seen
# on 6.1.192 and 6.12.117.


@pytest.mark.parametrize(("back", "check"), [(244.7, remembered), (244.704, forgotten)])
def test_a_connection_that_ends_in_the_tick_of_a_look_was_there_first(
    play: Playbook, back: float, check: Callable[[Playbook], Playbook]
) -> None:
    # SYN_RECV is 60 s, too: its timer waits in the slot of the first look, which came there later and fires before it
    check(play.config("tcp V:80 rr", "A", "B").send("c1 SYN").expect("FORWARD B new").at(0.1).delete("B").at(back))


@pytest.mark.parametrize(("back", "check"), [(183.26, remembered), (183.264, forgotten)])
def test_a_connection_that_began_after_the_trash_was_in_use_ends_before_the_look(
    play: Playbook, back: float, check: Callable[[Playbook], Playbook]
) -> None:
    play.config("tcp V:80 rr", "A", "B").delete("A").at(0.05).send("c1 SYN").expect("FORWARD B new")
    check(play.at(0.1).delete("B").at(back))


@pytest.mark.parametrize(("back", "check"), [(244.7, remembered), (244.704, forgotten)])
def test_a_connection_that_is_set_anew_in_its_slot_keeps_its_place_there(
    play: Playbook, back: float, check: Callable[[Playbook], Playbook]
) -> None:
    play.config("tcp V:80 rr", "A", "B").send("c1 SYN").expect("FORWARD B new").at(0.05).delete("A")
    play.at(0.1).send("c1 SYN").expect("FORWARD B known")
    check(play.at(0.15).delete("B").at(back))


@pytest.mark.parametrize(("back", "check"), [(244.7, remembered), (244.704, forgotten)])
def test_a_connection_in_a_finer_slot_ends_after_the_look(
    play: Playbook, back: float, check: Callable[[Playbook], Playbook]
) -> None:
    # CLOSE is 10 s: from 50.2 s (jiffy 4294904846) asked for 4294907346, the next multiple of 64 is that of the look
    play.config("tcp V:80 rr", "A", "B").send("c1 SYN").expect("FORWARD B new").delete("B")
    check(play.at(50.2).reply("B c1 RST").expect("FORWARD B translated").at(back))


@pytest.mark.parametrize(("back", "check"), [(1029.08, remembered), (1029.088, forgotten)])
def test_a_connection_in_a_coarser_slot_ends_before_the_look(
    play: Playbook, back: float, check: Callable[[Playbook], Playbook]
) -> None:
    # ESTABLISHED is 900 s: asked for 4295117296, the next multiple of 4096 is 4295118848 (906.208 s). Removed at 46 s
    # (jiffy 4294903796), looks are at 4294919168 + n * 15360: the fourteenth is then, the sixteenth at 1029.088 s.
    play.config("tcp V:80 rr", "A", "B").send("c1 SYN").expect("FORWARD B new")
    play.reply("B c1 SYN+ACK").expect("FORWARD B translated").send("c1 ACK").expect("FORWARD B known")
    check(play.at(46).delete("B").at(back))


def test_coming_back_and_going_again_starts_the_count_anew(play: Playbook) -> None:
    # Back at 121.9 s: the trash is empty. Removed at 122 s (jiffy 4294922796): looks at 4294938112 (183.264 s),
    # where it is seen idle, 244.704 s and 306.144 s.
    remembered(dead_connection_to_b(play).delete("B").at(121.9).add("B").at(122).delete("B").at(306.14))


def test_the_look_that_an_emptied_trash_had_waited_for_does_not_count(play: Playbook) -> None:
    forgotten(dead_connection_to_b(play).delete("B").at(121.9).add("B").at(122).delete("B").at(306.144))


def test_a_forgotten_destination_is_made_anew_among_others_of_its_bucket(lane: Lane) -> None:
    host = EngineHost(lane=lane, expected_rows=1)  # 64 buckets for 200 destinations
    service = ServiceId("tcp", ip_address("192.0.2.1"), 80)
    host.apply(AddService(service, "rr"))
    dests = [DestId(ip_address("10.0.0.1"), port) for port in range(1, 201)]
    for dest in dests:
        host.apply(AddDest(service, dest))
    for dest in dests[::2]:
        host.apply(DeleteDest(service, dest))
    host.advance(200 * 10**9)
    assert host.tables.director[0].trash_first == 0
    assert [host.apply(AddDest(service, dest)) for dest in dests] == ["", "EEXIST"] * 100
    assert host.tables.director[0].dests_used == 300
