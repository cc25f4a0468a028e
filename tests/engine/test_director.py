"""What becomes of a packet: facts, packet-path.md sections 1, 2, 4, 11, 12, 18.1."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lbsim import Director
from lbsim.config import parse
from lbsim.engine.director import receive_block, set_aside, to_reschedule
from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.engine.numbers import (
    AH,
    BAD_IP_HEADER,
    BAD_OPTIONS,
    CUT_HEADER,
    FRAGMENT,
    ICMP,
    IN,
    OUT,
    REPLY,
    SCTP,
    SOURCE_ROUTE,
    STRAIGHT,
    SYN,
    TCP,
    UDP,
)
from lbsim.engine.reasons import (
    BAD_OPTION,
    DROP,
    FORWARD_DROPPED,
    FRAGMENT_KEPT,
    INVALID_IP,
    LOCAL,
    NO_CONNECTION,
    NO_RESPONDER,
    NONE,
    NOT_BALANCED,
    NOT_LOCAL,
    REJECT,
    ROUTE,
    SOURCE_ROUTED,
    STRAIGHT_REPLY,
    TTL_EXCEEDED,
)
from lbsim.engine.records import Conn, Outcome, Packet
from lbsim.engine.tcp import STATES
from lbsim.host import EngineHost
from lbsim.model.verdict import reason_of
from lbsim.packet.build import build_packet
from lbsim.simulate import simulate
from lbsim.traffic import script
from tests.playbook import Playbook

# An entry, and what then


@pytest.mark.parametrize(("header", "before"), [(19, "SYN_RECV"), (4, "SYN_RECV")])
def test_a_cut_header_with_an_entry_is_counted_and_dropped(play: Playbook, header: int, before: str) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new")
    play.wait(10).send("c1 ACK", cut=header).expect("DROP A header_cut")
    play.table(f"c1 {before} A 60").totals(A={"in_packets": 2})


def test_a_packet_without_ports_finds_no_entry(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new")
    play.wait(10).send("c1 ACK", cut=3).expect("DROP header_cut").table("c1 SYN_RECV A 50")


def test_a_known_connection_goes_on_at_weight_0(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").edit("A weight 0")
    play.send("c1 ACK").expect("FORWARD A known").send("c1 SYN").expect("FORWARD A known")


def test_expire_nodest_conn_lets_a_syn_leave_a_destination_of_weight_0(play: Playbook) -> None:
    play.sysctl(expire_nodest_conn=1).config("tcp V:80 rr", "A", "B")
    play.send("c1 SYN").expect("FORWARD B new").edit("B weight 0")
    play.send("c1 ACK").expect("FORWARD B known")
    play.send("c1 SYN").expect("FORWARD A rescheduled")
    play.table("c1 ESTABLISHED B 0", "c1 SYN_RECV A 60").advance(1).table("c1 SYN_RECV A 59")


def test_expire_nodest_conn_at_weight_0_everywhere_ends_in_a_rejection(play: Playbook) -> None:
    play.sysctl(expire_nodest_conn=1).config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new")
    play.edit("A weight 0").send("c1 SYN").expect("REJECT no_dest").advance(1).table()


def test_expire_nodest_conn_does_not_touch_udp_at_weight_0(play: Playbook) -> None:
    play.sysctl(expire_nodest_conn=1).config("udp V:53 rr", "A", "B").send("c1 UDP").expect("FORWARD B new")
    play.edit("B weight 0").send("c1 UDP").expect("FORWARD B known")


# The destination was removed (11.3)


@pytest.mark.parametrize("flags", ["SYN", "ACK", "RST"])
def test_packets_to_a_removed_destination_vanish_and_refresh_nothing(play: Playbook, flags: str) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").delete("A")
    play.wait(10).send(f"c1 {flags}").expect("DROP A dest_removed").table("c1 SYN_RECV A 50")
    play.totals(V={"conns": 1, "in_packets": 1})


def test_with_expire_nodest_conn_a_syn_to_a_removed_destination_is_scheduled_anew(play: Playbook) -> None:
    play.sysctl(expire_nodest_conn=1).config("tcp V:80 rr", "A", "B").send("c1 SYN").expect("FORWARD B new")
    play.delete("B").send("c1 SYN").expect("FORWARD A rescheduled").advance(1).table("c1 SYN_RECV A")


def test_with_expire_nodest_conn_other_tcp_to_a_removed_destination_gets_the_own_stack(play: Playbook) -> None:
    play.sysctl(expire_nodest_conn=1).config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new")
    play.delete("A").send("c1 ACK").expect("LOCAL not_syn").advance(1).table()


def test_with_expire_nodest_conn_udp_to_a_removed_destination_is_scheduled_anew(play: Playbook) -> None:
    play.sysctl(expire_nodest_conn=1).config("udp V:53 rr", "A", "B").send("c1 UDP").expect("FORWARD B new")
    play.delete("B").send("c1 UDP").expect("FORWARD A rescheduled")


def test_expire_nodest_conn_sweeps_entries_one_tick_after_the_removal(play: Playbook) -> None:
    play.sysctl(expire_nodest_conn=1).config("tcp V:80 rr", "A", "B")
    play.send("c1 SYN").expect("FORWARD B new").send("c2 SYN").expect("FORWARD A new")
    play.at(5).delete("A").table("c1 SYN_RECV B", "c2 SYN_RECV A").advance(1).table("c1 SYN_RECV B")


# A SYN on an entry that is still there (11.1)

CLIENT_RESETS = ("send c1 ACK", "send c1 RST")
SERVER_RESETS = ("reply A c1 RST",)
BOTH_CLOSE = ("send c1 ACK", "send c1 FIN+ACK", "reply A c1 FIN+ACK")


def walk(play: Playbook, *packets: str) -> Playbook:
    """A connection of c1 to A, and then these packets of it."""
    play.send("c1 SYN").expect("FORWARD A new")
    for text in packets:
        kind, _, rest = text.partition(" ")
        play = play.send(rest) if kind == "send" else play.reply(rest)
        play.expect("FORWARD A known" if kind == "send" else "FORWARD A translated")
    return play


@pytest.mark.parametrize("mode", [1, 2, 4])
@pytest.mark.parametrize("ending", [CLIENT_RESETS, SERVER_RESETS, BOTH_CLOSE])
def test_a_syn_on_a_finished_connection_is_scheduled_anew(play: Playbook, ending: tuple[str, ...], mode: int) -> None:
    play.sysctl(conn_reuse_mode=mode).config("tcp V:80 rr", "A")
    walk(play, *ending).add("B").send("c1 SYN").expect("FORWARD B rescheduled")
    play.send("c1 SYN").expect("FORWARD B known")


@pytest.mark.parametrize("ending", [CLIENT_RESETS, SERVER_RESETS, BOTH_CLOSE])
def test_conn_reuse_mode_0_keeps_the_entry(play: Playbook, ending: tuple[str, ...]) -> None:
    play.sysctl(conn_reuse_mode=0).config("tcp V:80 rr", "A")
    walk(play, *ending).send("c1 SYN").expect("FORWARD A known").table("c1 SYN_RECV A 60")


@pytest.mark.parametrize(
    ("packets", "after"),
    [
        ((), "SYN_RECV A 60"),
        (("send c1 ACK",), "ESTABLISHED A 900"),
        (("send c1 ACK", "send c1 FIN+ACK"), "SYN_RECV A 60"),  # CLOSE_WAIT
        (("send c1 ACK", "reply A c1 FIN+ACK"), "SYN_RECV A 60"),  # FIN_WAIT
    ],
)
def test_a_syn_on_an_unfinished_connection_stays_with_it(play: Playbook, packets: tuple[str, ...], after: str) -> None:
    play.sysctl(conn_reuse_mode=3).config("tcp V:80 rr", "A")
    walk(play, *packets).send("c1 SYN").expect("FORWARD A known").table(f"c1 {after}")


def test_a_cut_syn_gives_no_entry_up(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A")
    walk(play, *SERVER_RESETS).send("c1 SYN", cut=19).expect("DROP A header_cut").table("c1 CLOSE A")


@pytest.mark.parametrize("packet", [Packet(proto=TCP, shape=CUT_HEADER), Packet(proto=UDP)], ids=["cut TCP", "UDP"])
def test_flags_that_are_not_a_whole_tcp_headers_give_no_entry_up(packet: Packet) -> None:
    packet.tcp_flags = SYN
    finished = Conn(state=STATES.index("TIME_WAIT"))
    assert to_reschedule(EngineHost().tables, packet, finished) is False


def test_old_and_new_entry_are_in_the_table_and_in_the_counters_for_a_tick(play: Playbook) -> None:
    play.config("tcp V:80 lc", "A")
    walk(play, *SERVER_RESETS).wait(1).send("c1 SYN").expect("FORWARD A rescheduled")
    play.table("c1 CLOSE A 0", "c1 SYN_RECV A 60").totals(A={"conns": 2, "active": 1, "inactive": 1})
    play.advance(1).table("c1 SYN_RECV A 59").totals(A={"active": 1, "inactive": 0})


# IPVS is hooked in only while services exist (1)


def test_after_the_last_service_the_own_stack_gets_packets_of_old_connections(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").delete_service("tcp V:80")
    play.wait(10).send("c1 ACK").expect("LOCAL ipvs_off").table("c1 SYN_RECV A 50")


def test_after_the_last_service_answers_leave_untranslated(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").delete_service("tcp V:80")
    play.wait(10).reply("A c1 ACK").expect("ROUTE not_balanced").table("c1 SYN_RECV A 50")


def test_entries_run_out_without_any_service(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").clear()
    play.wait("just before SYN_RECV timeout").table("c1 SYN_RECV A 0").advance(1).table()


def test_while_another_service_is_left_packets_of_a_deleted_one_vanish(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A", "udp W:53 rr", "B").send("c1 SYN").expect("FORWARD A new")
    play.delete_service("tcp V:80").send("c1 ACK").expect("DROP A dest_removed")
    play.reply("A c1 ACK").expect("FORWARD A translated")


def test_the_first_service_hooks_ipvs_in_again(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").clear().send("c1 SYN").expect("LOCAL ipvs_off")
    play.add_service("tcp V:80 rr").add("A").send("c1 SYN").expect("FORWARD A new")


@pytest.mark.parametrize(("vip", "own", "client"), [
    ("[2001:db8::1]", "192.0.2.1", "203.0.113.1"),
    ("192.0.2.1", "2001:db8::1", "2001:db8::c"),
])  # fmt: skip
def test_services_of_the_other_ip_version_do_not_hook_ipvs_in(vip: str, own: str, client: str) -> None:
    director = Director(f"-A -t {vip}:80 -s rr", own=[own])
    answer = director.receive(build_packet(src=client, dst=own, sport=40001, dport=80, flags=2))
    assert answer.reason == "ipvs_off"


# Answers (12)


def test_an_answer_with_ttl_1_is_refused_before_ipvs_sees_it(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").wait(10)
    play.reply("A c1 ACK", ttl=1).expect("REJECT ttl_exceeded").table("c1 SYN_RECV A 50")


# facts: packet-path.md section 15: it comes from LOCAL_OUT, neither the TTL nor the chain FORWARD is looked at
@pytest.mark.parametrize(
    ("destination", "reasons"),
    [
        ("192.168.1.10:8080 -m", ["local_new", "translated"]),
        ("192.168.1.10:80 -g", ["local_new", "translated"]),
        ("10.0.0.11:8080 -m", ["new", "ttl_exceeded"]),
    ],
)
@pytest.mark.parametrize("lane", [interpreted_lane(), compiled_lane()], ids=lambda lane: lane.name)
def test_an_answer_of_the_director_itself_is_not_routed(destination: str, reasons: list[str], lane: Lane) -> None:
    config = f"iptables -P FORWARD DROP\n-A -t 192.168.1.10:80 -s rr\n-a -t 192.168.1.10:80 -r {destination}\n"
    client, vip = "198.51.100.1:1001", "192.168.1.10:80"
    trace = script.parse(f"0s {client} > {vip} tcp S\n1ms {vip} > {client} tcp SA\n")
    trace["ttl"][1] = 1
    result = simulate(parse(config), trace, lane=lane)
    assert [reason_of(int(code)).name for code in result["reason"]] == reasons


# the error that the director is told opens an entry: seen on 6.1.192 and 6.12.117, see tests/kernel/test_boot.py
@pytest.mark.parametrize(
    ("vip", "client", "sysctls", "reason"),
    [
        ("192.168.1.10:80", "198.51.100.1:1001", ("nat_icmp_send", "schedule_icmp"), "told_itself"),
        ("192.168.1.10:80", "198.51.100.1:1001", ("nat_icmp_send",), "server_refused"),
        ("[2001:db8::10]:80", "[2001:db8:9::1]:1001", ("nat_icmp_send", "schedule_icmp"), "told_itself"),
        ("[2001:db8::10]:80", "[2001:db8:9::1]:1001", ("nat_icmp_send",), "server_refused"),
        ("[2001:db8::10]:80", "[2001:db8:9::1]:1001", (), "no_connection"),
    ],
)
@pytest.mark.parametrize("lane", [interpreted_lane(), compiled_lane()], ids=lambda lane: lane.name)
def test_what_becomes_of_a_refused_answer_of_the_director_itself(
    vip: str, client: str, sysctls: tuple[str, ...], reason: str, lane: Lane
) -> None:
    config = parse(f"-A -t {vip} -s rr\n-a -t {vip} -r {vip} -m\n")
    text = f"0s {client} > {vip} tcp S\n100s {vip} > {client} tcp A\n"
    result = simulate(config, script.parse(text), lane=lane, sysctls=dict.fromkeys(sysctls, 1))
    assert reason_of(int(result["reason"][-1])).name == reason


# Packets that only traces have


@pytest.mark.parametrize(
    ("shape", "verdict", "reason"),
    [
        (BAD_IP_HEADER, DROP, INVALID_IP),
        (BAD_OPTIONS, REJECT, BAD_OPTION),
        (SOURCE_ROUTE, DROP, SOURCE_ROUTED),
    ],
)
def test_what_is_not_looked_into_says_so(shape: int, verdict: int, reason: int) -> None:
    outcome = Outcome()
    host = EngineHost()
    set_aside(host.tables, Packet(shape=shape, src=host.intern(ip_address(FOUR[0]))), outcome)
    assert (outcome.verdict, outcome.reason, outcome.dest) == (verdict, reason, 0)


def test_a_block_sets_aside_what_it_does_not_look_into() -> None:
    host = EngineHost()
    outcomes = [Outcome()]
    host.receive_block([Packet(shape=BAD_IP_HEADER, proto=17)], outcomes, 1)
    assert outcomes[0].reason == INVALID_IP


def test_an_answer_of_a_flow_that_reached_nobody_never_existed() -> None:
    host = EngineHost()
    outcomes = [Outcome()]
    host.receive_block([Packet(direction=REPLY, proto=TCP, ttl=64)], outcomes, 1)
    assert (outcomes[0].verdict, outcomes[0].reason) == (NONE, NO_RESPONDER)


def test_packets_of_a_block_move_the_clock() -> None:
    host = EngineHost(start_jiffies=1000)
    dropped = [Packet(tick=2000, shape=BAD_IP_HEADER), Packet(tick=1500, shape=BAD_IP_HEADER)]
    host.receive_block(dropped, [Outcome()] * 2, 2)
    assert host.tables.director[0].now == 2000


def test_only_the_asked_packets_of_a_block_are_received() -> None:
    host = EngineHost()
    host.room_for(3)
    outcomes = [Outcome() for _ in range(3)]
    receive_block(host.tables, [Packet(shape=BAD_IP_HEADER) for _ in range(3)], outcomes, 1, 2)
    assert [outcome.reason for outcome in outcomes] == [0, INVALID_IP, 0]


# Fragments


FOUR, SIX = ("198.51.100.1", "192.168.1.10", "10.0.0.11"), ("2001:db8:9::1", "2001:db8:1::10", "fd00::11")
SERVICE = {4: "-A -u 192.168.1.10:53 -s rr", 6: "-A -u [2001:db8:1::10]:53 -s rr"}


def kept(
    ends: tuple[str, str, str], way: tuple[int, int], proto: int = UDP, *, ttl: int = 64, services: str = "",
    direction: int = IN, own: bool = True,
) -> tuple[int, int]:  # fmt: skip
    """Verdict and reason of a fragment from one end to another (client, virtual address, real server)."""
    host = EngineHost()
    config = parse(services)
    host.be_router(config.router)
    for command in config.commands:
        assert not host.apply(command)
    if own:
        host.own(ip_address(ends[1]))
    src, dst = (host.intern(ip_address(ends[at])) for at in way)
    outcome = Outcome()
    fragment = Packet(src=src, dst=dst, proto=proto, ttl=ttl, direction=direction, shape=FRAGMENT, tick=host.tick(0))
    host.receive_block([fragment], [outcome], 1)
    return outcome.verdict, outcome.reason


@pytest.mark.parametrize("services", ["", SERVICE[4], SERVICE[6]])
@pytest.mark.parametrize("ends", [FOUR, SIX])
def test_the_director_keeps_what_is_for_itself(ends: tuple[str, str, str], services: str) -> None:
    assert kept(ends, (0, 1), services=services) == (LOCAL, FRAGMENT_KEPT)
    assert kept(ends, (0, 1), services=services, ttl=1, proto=AH) == (LOCAL, FRAGMENT_KEPT)


@pytest.mark.parametrize(("version", "ends"), [(4, FOUR), (6, SIX)])
@pytest.mark.parametrize(("proto", "everywhere"), [(TCP, True), (UDP, True), (SCTP, True), (ICMP, True), (AH, False)])
def test_ipvs_keeps_what_it_may_look_at(version: int, ends: tuple[str, str, str], proto: int, everywhere: bool) -> None:
    services, other = SERVICE[version], SERVICE[10 - version]
    keeps = everywhere or version == 6
    for way, direction, routed in (((2, 0), OUT, NOT_BALANCED), ((0, 2), IN, NOT_LOCAL)):
        expected = (LOCAL, FRAGMENT_KEPT) if keeps else (ROUTE, routed)
        if proto == AH and version == 4 and direction == OUT:  # looked up as it is, ports do not matter
            expected = (ROUTE, NO_CONNECTION)
        assert kept(ends, way, proto, services=services, direction=direction) == expected
        assert kept(ends, way, proto, services=other, direction=direction) == (ROUTE, routed)
        assert kept(ends, way, proto, direction=direction) == (ROUTE, routed)


def test_the_router_looks_at_each_fragment_first() -> None:
    assert kept(FOUR, (2, 0), services=SERVICE[4], direction=OUT, ttl=1) == (REJECT, TTL_EXCEEDED)
    drops = SERVICE[4] + "\niptables -P FORWARD DROP"
    assert kept(FOUR, (2, 0), services=drops, direction=OUT) == (DROP, FORWARD_DROPPED)
    assert kept(FOUR, (0, 1), services=drops) == (LOCAL, FRAGMENT_KEPT)


@pytest.mark.parametrize(
    ("addr", "sport", "expected"),
    [
        (0, 0, (LOCAL, FRAGMENT_KEPT)),
        (0, 53, (NONE, NO_RESPONDER)),
        (STRAIGHT, 0, (LOCAL, FRAGMENT_KEPT)),
        (STRAIGHT, 53, (NONE, STRAIGHT_REPLY)),
        (1, 53, (LOCAL, FRAGMENT_KEPT)),
    ],
)
def test_an_answers_fragment_comes_from_who_sends_its_datagram_if_that_is_known(
    addr: int, sport: int, expected: tuple[int, int]
) -> None:
    host = EngineHost()
    for command in parse(SERVICE[4]).commands:
        host.apply(command)
    client, vip, server = (host.intern(ip_address(end)) for end in FOUR)
    host.room_for_flows(1)
    host.tables.flows[0].addr = server if addr == 1 else addr
    outcome = Outcome()
    fragment = Packet(
        src=vip, dst=client, sport=sport, proto=UDP, ttl=64, direction=REPLY, shape=FRAGMENT, tick=host.tick(0)
    )
    host.receive_block([fragment], [outcome], 1)
    assert (outcome.verdict, outcome.reason) == expected
    assert fragment.src == {NO_RESPONDER: 0, STRAIGHT_REPLY: 0}.get(expected[1], server if sport else vip)
