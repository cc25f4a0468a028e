"""What an explanation says of entries, services, templates, timers, headers and counters."""

from __future__ import annotations

import pytest

from lbsim.config import parse
from lbsim.engine.numbers import AH, ICMP_ERROR, IN, OUT, SCTP, TCP, UDP
from lbsim.engine.records import Outcome, Packet
from lbsim.explain.explaining import look_at
from lbsim.explain.words import lines
from lbsim.host import EngineHost
from lbsim.model.config import ip_address
from lbsim.model.explanation import Command, Explanation
from tests.explain.asking import VIP, config, explain_last, explain_packet, said, timed
from tests.oracles.wheel import fire_jiffy

A, B = "10.0.0.11:80", "10.0.0.12:80"
CLIENT = "203.0.113.1:40001"
START = 2**32 - 300 * 250  # the tick at time 0
SYN = f"0 {CLIENT} > {VIP} tcp S"
OPENED = f"{SYN}\n0.1 {VIP} > {CLIENT} tcp SA\n0.2 {CLIENT} > {VIP} tcp A"
DNS = "192.0.2.1:53"


def moved(found: Explanation, dest: str | None) -> dict[str, tuple[int, int]]:
    """Counters of a destination, or of the service: name -> before, after."""
    return {one.counter: (one.before, one.after) for one in found.counters if one.dest == dest}


# Entries and states


def test_a_first_packet_makes_an_entry() -> None:
    found = explain_last(config("rr", "10.0.0.11"), SYN)
    assert (found.entry, found.before) == ("made", None)
    assert found.after is not None
    assert (found.after.client, found.after.virtual, found.after.destination) == (CLIENT, VIP, A)
    assert (found.after.method, found.after.state, found.after.active) == ("masq", "SYN_RECV", True)
    assert said(found, "entry").startswith("No entry matches. A new one is made: tcp 203.0.113.1:40001 -> 192.0.2.1:80")
    assert found.transition is not None
    assert (found.transition.before, found.transition.after, found.transition.event) == ("NONE", "SYN_RECV", "SYN")
    words = "SYN from the client moves the entry from NONE to SYN_RECV. It counts as active at its destination now."
    assert said(found, "state") == words


def test_a_further_packet_goes_by_its_entry() -> None:
    found = explain_last(config("rr", "10.0.0.11"), OPENED)
    assert (found.entry, found.decision, found.reason) == ("found", None, "known")
    assert found.before is not None
    assert found.after is not None
    assert (found.before.state, found.after.state) == ("SYN_RECV", "ESTABLISHED")
    assert said(found, "state") == "ACK from the client moves the entry from SYN_RECV to ESTABLISHED."
    assert "no scheduler is asked" in said(found, "entry")
    assert found.service is not None
    assert found.service.how == "entry"
    assert "no service is looked for" in said(found, "service")


def test_a_real_servers_packet_gets_the_virtual_source() -> None:
    found = explain_packet(1, config("rr", "10.0.0.11:8080"), OPENED)
    assert (found.packet.direction, found.packet.src, found.reason) == ("out", "10.0.0.11:8080", "translated")
    assert found.header is not None
    assert found.header.old == ("10.0.0.11:8080", CLIENT)
    assert found.header.new == (VIP, CLIENT)
    assert said(found, "leaves") == (
        f"10.0.0.11:8080 > {CLIENT} becomes {VIP} > {CLIENT}. "
        "TTL 64 becomes 63, and the checksums of IP and TCP follow."
    )
    assert said(found, "state") == "SYN+ACK (counts as SYN) from the real server leaves it in SYN_RECV."
    assert moved(found, "10.0.0.11:8080") == {"out_packets": (0, 1), "out_bytes": (0, 40)}
    assert "no scheduler" not in said(found, "entry")


def test_a_real_servers_packet_without_entry_is_routed() -> None:
    found = explain_last(config("rr", "10.0.0.11"), f"{OPENED}\n500 {A} > {CLIENT} tcp A\n3000 {A} > {CLIENT} tcp A")
    assert (found.verdict, found.reason, found.entry) == ("ROUTE", "no_connection", "none")
    assert said(found, "entry") == "The connection table has no entry for the packet."
    assert found.counters == ()


FINISHED = f"{OPENED}\n1 {CLIENT} > {VIP} tcp R\n2 {CLIENT} > {VIP} tcp S"


def test_a_finished_connection_is_given_up() -> None:
    found = explain_last(config("rr", "10.0.0.11", "10.0.0.12"), FINISHED)
    assert (found.reason, found.given_up_why, found.entry) == ("rescheduled", "finished", "made")
    assert found.given_up is not None
    assert (found.given_up.state, found.given_up.destination, found.dest) == ("CLOSE", B, A)
    assert "matches and is given up: it is finished, and conn_reuse_mode lets" in said(found, "entry")
    assert "A new one is made" in said(found, "entry")
    assert found.decision is not None
    loads = {one.dest: (one.active, one.inactive) for one in found.decision.candidates}
    assert loads == {B: (0, 1), A: (0, 0)}, "the old entry still counts"


def test_a_connection_that_is_given_up_for_nothing() -> None:
    """The entry goes, and nobody takes the new connection."""
    edit = timed(1.5, f"ipvsadm -e -t {VIP} -r {A} -m -w 0")
    found = explain_last(config("rr", "10.0.0.11"), FINISHED, timeline=[edit])
    assert (found.entry, found.given_up_why, found.reason) == ("none", "finished", "no_dest")
    assert "no entry" not in said(found, "entry")


def test_an_entry_of_a_quiesced_destination_is_given_up() -> None:
    edit = timed(0.5, f"ipvsadm -e -t {VIP} -r {B} -m -w 0")
    again = f"{OPENED}\n1 {CLIENT} > {VIP} tcp S"
    sysctls = {"expire_nodest_conn": 1}
    found = explain_last(config("rr", "10.0.0.11", "10.0.0.12"), again, timeline=[edit], sysctls=sysctls)
    assert (found.given_up_why, found.dest) == ("quiesced", A)
    assert "its destination has weight 0, and expire_nodest_conn is on" in said(found, "entry")


@pytest.mark.parametrize(
    ("options", "edit", "dest_is", "words"),
    [
        ("", f"ipvsadm -e -t {VIP} -r {A} -m -w 0", "weight 0", "Its destination has weight 0 by now"),
        ("-x 1", f"ipvsadm -e -t {VIP} -r {A} -m -x 1", "overloaded", "Its destination is overloaded"),
    ],
)
def test_an_entry_outlives_its_destinations_weight(options: str, edit: str, dest_is: str, words: str) -> None:
    script = f"{OPENED}\n1 {CLIENT} > {VIP} tcp A"
    found = explain_last(config("rr", f"10.0.0.11 {options}"), script, timeline=[timed(0.5, edit)])
    assert found.before is not None
    assert (found.before.dest_is, found.reason) == (dest_is, "known")
    assert f"{words}" in said(found, "entry")
    assert "that keeps new connections away, not this one" in said(found, "entry")


REMOVE = timed(0.5, f"ipvsadm -d -t {VIP} -r {B}")


def test_a_removed_destination_gets_nothing() -> None:
    script = f"{OPENED}\n1 {CLIENT} > {VIP} tcp A"
    found = explain_last(config("rr", "10.0.0.11", "10.0.0.12"), script, timeline=[REMOVE])
    assert (found.verdict, found.reason, found.dest, found.timer) == ("DROP", "dest_removed", B, None)
    assert (found.entry, found.counters, found.before) == ("found", (), found.after)
    assert said(found, "timer") == "The entry's timer is not set anew."
    assert found.commands == (Command(500_000_000, f"ipvsadm -d -t {VIP} -r {B}", ""),)
    assert said(found, "commands") == f"Given before this packet: at 0.5s ipvsadm -d -t {VIP} -r {B}."


def test_an_entry_of_a_removed_destination_is_given_up() -> None:
    """Just removed, 2 ms later: the entries are swept a tick (4 ms) after the command."""
    script = f"{OPENED}\n0.501 {CLIENT} > {VIP} tcp S"
    sysctls = {"expire_nodest_conn": 1}
    found = explain_last(config("rr", "10.0.0.11", "10.0.0.12"), script, timeline=[REMOVE], sysctls=sysctls)
    assert (found.given_up_why, found.reason, found.dest) == ("removed", "rescheduled", A)
    assert "its destination was removed, and expire_nodest_conn is on" in said(found, "entry")


def test_a_refused_command_is_told() -> None:
    late = timed(0.5, f"ipvsadm -d -t {VIP} -r 10.0.0.99:80")
    later = timed(2, "ipvsadm -C")
    found = explain_last(config("rr", "10.0.0.11"), f"{SYN}\n1 {CLIENT} > {VIP} tcp A", timeline=[later, late])
    assert [one.error for one in found.commands] == ["ENOENT"]
    assert said(found, "commands").endswith("(refused: ENOENT).")


def test_only_the_last_commands_are_told_in_words() -> None:
    edits = [timed(i / 10, f"ipvsadm -e -t {VIP} -r {A} -m -w {i + 1}") for i in range(7)]
    found = explain_last(config("rr", "10.0.0.11"), f"1 {CLIENT} > {VIP} tcp S", timeline=edits)
    assert len(found.commands) == 7
    assert said(found, "commands").startswith("Given before this packet (and 2 more before): at 0.2s")


# Timers: packet-path.md sections 7.1, 7.2 and 8.3


@pytest.mark.parametrize(("number", "seconds", "tick"), [(0, 60, 0), (2, 900, 50)])
def test_the_timer_fires_when_the_wheel_does(number: int, seconds: int, tick: int) -> None:
    timer = explain_packet(number, config("rr", "10.0.0.11"), OPENED).timer
    assert timer is not None
    now = START + tick
    fires = fire_jiffy(now + seconds * 250, now)
    assert (timer.timeout, timer.seconds, timer.asked) == (seconds * 250, seconds, now + seconds * 250)
    assert (timer.fires, timer.fires_at) == (fires, (fires - START) * 4_000_000)


def test_the_timer_in_words() -> None:
    """60 s are 15000 ticks, for which slots are 512 ticks wide: 4294907296 lies in the one that ends at 4294907392."""
    words = said(explain_last(config("rr", "10.0.0.11"), SYN), "timer")
    assert words == (
        "The entry's timer is set to 60 s (15,000 ticks), to tick 4294907296; the timer wheel fires it 96 ticks later, "
        "at tick 4294907392 (60.384s), if no packet sets it anew."
    )


# Services


def test_a_service_of_port_0_takes_other_ports() -> None:
    text = "-A -t 192.0.2.1:0 -s rr -p 360\n-a -t 192.0.2.1:0 -r 10.0.0.11:0 -m"
    found = explain_last(text, f"0 {CLIENT} > 192.0.2.1:8080 tcp S")
    assert found.service is not None
    assert (found.service.how, found.service.persistence) == ("port 0", 360)
    assert said(found, "service") == (
        "No service has this port; tcp 192.0.2.1:0 (rr) takes every port of its address. "
        "It is persistent, its templates live 360 s."
    )


def test_without_persistence_a_service_has_its_own_port_only() -> None:
    text = "-A -t 192.0.2.1:21 -s rr\n-a -t 192.0.2.1:21 -r 10.0.0.11:21 -m"
    found = explain_last(text, f"0 {CLIENT} > 192.0.2.1:50000 tcp S")
    assert (found.verdict, found.reason, found.decision) == ("LOCAL", "ftp_no_dest", None)
    assert said(found, "scheduler").startswith("The scheduler is not asked: the service is not persistent")


def test_ftp_takes_high_ports() -> None:
    text = "-A -t 192.0.2.1:21 -s rr -p 360\n-a -t 192.0.2.1:21 -r 10.0.0.11:21 -m"
    found = explain_last(text, f"0 {CLIENT} > 192.0.2.1:50000 tcp S")
    assert found.service is not None
    assert found.service.how == "ftp"
    assert "as FTP sends its data there" in said(found, "service")


def test_without_a_service_the_stack_answers() -> None:
    found = explain_last(config("rr", "10.0.0.11"), f"0 {CLIENT} > 192.0.2.1:81 tcp S")
    assert (found.verdict, found.reason, found.service, found.entry) == ("LOCAL", "no_service", None, "none")
    assert said(found, "verdict").startswith("LOCAL, reason no_service. From a client, to an address of the director")


def test_a_packet_that_is_not_for_ipvs_has_no_entry_to_look_for() -> None:
    found = explain_last(config("rr", "10.0.0.11"), f"0 {CLIENT} > 192.0.2.9:80 tcp S")
    assert (found.reason, found.entry) == ("not_local", "")
    assert said(found, "entry") == said(found, "service") == said(found, "timer") == ""


def test_a_packet_that_opens_nothing_is_told_so() -> None:
    found = explain_last(config("rr", "10.0.0.11"), f"0 {CLIENT} > {VIP} tcp A")
    assert (found.reason, found.decision) == ("not_syn", None)


def test_drop_packet_drops_before_the_scheduler_is_asked() -> None:
    found = explain_last(config("rr", "10.0.0.11"), SYN, sysctls={"drop_packet": 3})
    assert (found.verdict, found.reason, found.decision) == ("DROP", "drop_packet", None)


def host_with(text: str) -> EngineHost:
    host = EngineHost()
    for command in parse(text).commands:
        assert host.apply(command) == ""
    host.room_for_flows(1)
    return host


def packet(host: EngineHost, src: str, dst: str, **fields: int) -> Packet:
    return Packet(
        tick=host.tick(0),
        direction=IN,
        ttl=64,
        length=40,
        src=host.intern(ip_address(src)),
        dst=host.intern(ip_address(dst)),
        **{"proto": TCP, "sport": 40001, "dport": 80, "tcp_flags": 2} | fields,
    )


MARKED = "-A -f 7 -s rr\n-a -f 7 -r 10.0.0.11:80 -m"


def test_a_service_by_mark() -> None:
    host = host_with(MARKED)
    host.own(ip_address("192.0.2.1"))
    found = look_at(host, 0, 0, [packet(host, "203.0.113.1", "192.0.2.1", mark=7)], [Outcome()])
    assert found.service is not None
    assert (found.service.service, found.service.how, found.packet.mark) == ("fwm 7", "mark", 7)
    assert said(found, "service") == "fwm 7 (rr) matches by the packet's firewall mark 7."
    assert found.dest == A


def test_a_bypass_entry_has_no_destination() -> None:
    host = host_with(MARKED.replace("-m", "-m -w 0"))
    host.tables.director[0].cache_bypass = 1
    dst = packet(host, "203.0.113.1", "198.51.100.1", mark=7)
    host.tables.addresses[dst.dst].local = 2
    found = look_at(host, 0, 0, [dst], [Outcome()])
    assert (found.entry, found.verdict, found.dest) == ("bypass", "FORWARD", None)
    assert "A new one is made that has no destination" in said(found, "entry")
    assert said(found, "leaves").startswith("It goes on with the ends that it has")


def test_the_key_exchange_of_ipsec_carries_ah() -> None:
    host = host_with("-A -u 192.0.2.1:500 -s rr\n-a -u 192.0.2.1:500 -r 10.0.0.11:500 -m")
    ike = packet(host, "203.0.113.1", "192.0.2.1", proto=UDP, sport=500, dport=500, tcp_flags=0)
    look_at(host, 0, 0, [ike], [Outcome()])
    ah = packet(host, "203.0.113.1", "192.0.2.1", proto=AH, sport=0, dport=0, tcp_flags=0)
    found = look_at(host, 1, 0, [ah], [Outcome()])
    assert (found.packet.protocol, found.entry, found.reason) == ("ah", "found", "known")
    assert found.transition is None


def test_sctp_tells_its_events() -> None:
    """INIT in NONE leads to INIT1, which lasts 4 s and is not active (packet-path.md section 7.3)."""
    host = host_with("-A --sctp-service 192.0.2.1:80 -s rr\n-a --sctp-service 192.0.2.1:80 -r 10.0.0.11:80 -m")
    init = packet(host, "203.0.113.1", "192.0.2.1", proto=SCTP, tcp_flags=2)
    found = look_at(host, 0, 0, [init], [Outcome()])
    assert (found.packet.protocol, found.packet.flags) == ("sctp", "INIT")
    assert found.transition is not None
    assert (found.transition.event, found.transition.after, found.transition.active) == ("INIT", "INIT1", False)
    assert said(found, "state") == "INIT from the client moves the entry from NONE to INIT1."
    assert found.timer is not None
    assert found.timer.seconds == 4


def test_a_tcp_packet_without_flags_closes() -> None:
    found = explain_last(config("rr", "10.0.0.11"), f"{OPENED}\n1 {CLIENT} > {VIP} tcp -")
    assert found.packet.flags == "none"
    assert said(found, "state").startswith("A packet with none of RST, SYN, FIN, ACK from the client moves the entry")


def test_an_icmp_error_about_a_connection() -> None:
    """The client's network says that an answer could not be delivered."""
    host = host_with(config("rr", "10.0.0.11"))
    look_at(host, 0, 0, [packet(host, "203.0.113.1", "192.0.2.1")], [Outcome()])
    quote = host.tables.quotes[1]
    quote.proto, quote.src, quote.sport = TCP, host.intern(ip_address("192.0.2.1")), 80
    quote.dst, quote.dport = host.intern(ip_address("203.0.113.1")), 40001
    error = packet(host, "198.51.100.7", "192.0.2.1", proto=1, sport=0, dport=0, tcp_flags=0, shape=ICMP_ERROR, quote=1)
    found = look_at(host, 1, 0, [error], [Outcome()])
    assert (found.packet.protocol, found.reason, found.dest) == ("icmp", "icmp_to_dest", A)
    assert (found.entry, found.transition, found.timer) == ("found", None, None)
    assert (found.packet.src, found.packet.dst) == ("198.51.100.7", "192.0.2.1")
    words = "The error goes from 198.51.100.7 to 10.0.0.11. The packet that it quotes has the end 10.0.0.11:80 now."
    assert said(found, "leaves").startswith(words)
    assert moved(found, A)["in_packets"] == (1, 2)


# Persistence, one-packet, thresholds


def persistent(options: str = "-p 360") -> str:
    return config("rr", "10.0.0.11", "10.0.0.12").replace("-s rr", f"-s rr {options}")


def test_a_first_connection_makes_a_template() -> None:
    found = explain_last(persistent("-p 360 -M 255.255.255.0"), SYN)
    assert found.template is not None
    assert (found.template.how, found.template.key) == ("made", ("tcp", "203.0.113.0:0", VIP))
    assert (found.template.controls, found.template.refused) == (1, "")
    assert found.template.timer is not None
    assert found.template.timer.seconds == 360
    assert found.template.entry is not None
    assert (found.template.entry.state, found.template.entry.destination) == ("NONE", B)
    assert found.decision is not None
    assert moved(found, B)["persistent"] == (0, 1)
    assert "There is no template tcp 203.0.113.0:0 -> 192.0.2.1:80: the scheduler picks" in said(found, "template")


AGAIN = f"{SYN}\n1 203.0.113.1:40002 > {VIP} tcp S"


def test_the_next_connection_follows_the_template() -> None:
    found = explain_last(persistent(), AGAIN)
    assert found.template is not None
    assert (found.template.how, found.template.controls, found.dest, found.decision) == ("found", 2, B, None)
    assert "the connection goes there, whatever weight and thresholds say" in said(found, "template")
    assert "its template had a destination" in said(found, "verdict")
    assert "It controls 2 entries now. The template's timer is set to 360 s" in said(found, "template")


def test_a_template_of_a_removed_destination_does_not_count() -> None:
    found = explain_last(persistent(), AGAIN, timeline=[REMOVE])
    assert found.template is not None
    assert (found.template.how, found.template.refused, found.dest) == ("made", "removed", A)
    words = "-> 192.0.2.1:80 is not followed any more, as its destination is removed: the scheduler picks"
    assert words in said(found, "template")


def test_a_template_of_a_quiesced_destination_may_not_count() -> None:
    edit = timed(0.5, f"ipvsadm -e -t {VIP} -r {B} -m -w 0")
    found = explain_last(persistent(), AGAIN, timeline=[edit], sysctls={"expire_quiescent_template": 1})
    assert found.template is not None
    assert (found.template.refused, found.dest) == ("weight 0", A)
    assert "its destination has weight 0, and expire_quiescent_template is on" in said(found, "template")


def test_without_a_destination_there_is_no_template() -> None:
    text = persistent().replace("-m", "-m -w 0")
    found = explain_last(text, SYN)
    assert found.template is not None
    assert (found.template.how, found.template.entry, found.reason) == ("missing", None, "no_dest")
    assert "and no destination for a new one" in said(found, "template")


def test_one_packet_scheduling_leaves_no_entry() -> None:
    text = f"-A -u {DNS} -s rr -o\n-a -u {DNS} -r 10.0.0.11:53 -m"
    found = explain_last(text, f"0 {CLIENT} > {DNS} udp len=20")
    assert (found.entry, found.after, found.timer, found.reason) == ("made", None, None, "new")
    assert "for this packet alone (one-packet scheduling)" in said(found, "entry")
    assert "It schedules each UDP packet anew." in said(found, "service")
    assert "total" not in moved(found, "10.0.0.11:53"), "one more and one less"


def test_udp_has_no_event() -> None:
    text = f"-A -u {DNS} -s rr\n-a -u {DNS} -r 10.0.0.11:53 -m"
    found = explain_last(text, f"0 {CLIENT} > {DNS} udp len=20")
    assert said(found, "state") == "A packet from the client leaves it in UDP."
    assert found.timer is not None
    assert found.timer.seconds == 300


def test_the_connection_that_fills_a_destination_is_told() -> None:
    found = explain_last(config("rr", "10.0.0.11 -x 1"), SYN)
    assert moved(found, A)["overloaded"] == (0, 1)
    assert "is overloaded now" in said(found, "counters")


def test_a_full_destination_says_when_it_takes_connections_again() -> None:
    """Upper threshold 4, so new ones again below ceil(3 * 4 / 4) = 3."""
    script = "\n".join(f"{i} 203.0.113.{i + 1}:40001 > {VIP} tcp S" for i in range(5))
    found = explain_last(config("rr", "10.0.0.11 -x 4"), script)
    assert found.decision is not None
    (only,) = found.decision.candidates
    assert (only.skipped, only.total, only.upper, only.relief) == ("overloaded", 4, 4, 3)
    assert (found.reason, found.decision.picked) == ("no_dest", None)


# How it leaves, and what is counted


@pytest.mark.parametrize(
    ("options", "method", "tunnel", "words"),
    [
        ("-g", "droute", "", "It goes to 10.0.0.11 (direct routing) with the ends that it has"),
        ("-i", "tunnel", "ipip", "It goes inside a packet to 10.0.0.11 (ipip tunnel), with the ends that it has"),
    ],
)
def test_other_ways_than_nat_keep_the_header(options: str, method: str, tunnel: str, words: str) -> None:
    found = explain_last(config("rr", f"10.0.0.11 {options}"), SYN)
    assert found.header is not None
    assert (found.header.method, found.header.via, found.header.tunnel) == (method, "10.0.0.11", tunnel)
    assert found.header.old == found.header.new == (CLIENT, VIP)
    assert said(found, "leaves").startswith(words)
    assert found.transition is not None
    assert found.transition.table == "in only"
    assert said(found, "state") == (
        "SYN from the client moves the entry from NONE to SYN_RECV. It counts as active at its destination now. The "
        "director has seen no answer of this connection (with direct routing and tunnels they go straight to the "
        "client), so it looks the next state up in the table for connections of which only the client's side is seen."
    )
    assert "no answer seen yet" in said(found, "entry")


def test_a_straight_answer_never_meets_the_director() -> None:
    found = explain_packet(1, config("rr", "10.0.0.11 -g"), OPENED)
    assert (found.verdict, found.reason, found.packet.src, found.header) == ("NONE", "straight_reply", "?", None)


def test_a_local_destination_gets_it_itself() -> None:
    found = explain_last(config("rr", "192.0.2.1:8080"), SYN)
    assert (found.verdict, found.reason) == ("LOCAL", "local_new")
    assert (
        said(found, "leaves")
        == f"A socket of the director gets it: {CLIENT} > {VIP} becomes {CLIENT} > 192.0.2.1:8080; "
        "the TTL stays 64, and the checksum of TCP follows."
    )


def test_a_local_destination_without_nat_gets_it_as_it_is() -> None:
    found = explain_last(config("rr", "192.0.2.1 -g"), SYN)
    assert (found.verdict, said(found, "leaves")) == ("LOCAL", "A socket of the director gets it: as it is.")


# facts: packet-path.md section 15: what a socket of the director sends is not routed.
@pytest.mark.parametrize(
    ("destination", "left"),
    [
        (
            "192.0.2.1:8080",
            f"192.0.2.1:8080 > {CLIENT} becomes {VIP} > {CLIENT}. The TTL stays 64, and the checksum of TCP follows.",
        ),
        ("192.0.2.1 -g", f"It goes on with the ends that it has: {VIP} > {CLIENT}. The TTL stays 64."),
    ],
)
def test_an_answer_of_a_local_destination_keeps_its_ttl(destination: str, left: str) -> None:
    found = explain_packet(1, config("rr", destination), OPENED)
    assert (found.verdict, found.reason, found.header and found.header.ttl) == ("FORWARD", "translated", (64, 64))
    assert said(found, "leaves") == left
    assert lines(found)[0].endswith(", from a program on the director")


def test_an_icmp_error_about_a_clients_packet_goes_to_the_client() -> None:
    """A router behind the director could not deliver: the client gets that from the virtual address."""
    host = host_with(config("rr", "10.0.0.11"))
    look_at(host, 0, 0, [packet(host, "203.0.113.1", "192.0.2.1")], [Outcome()])
    quote = host.tables.quotes[1]
    quote.proto, quote.src, quote.sport = TCP, host.intern(ip_address("203.0.113.1")), 40001
    quote.dst, quote.dport = host.intern(ip_address("10.0.0.11")), 80
    error = packet(host, "10.0.0.254", "203.0.113.1", proto=1, sport=0, dport=0, tcp_flags=0, shape=ICMP_ERROR, quote=1)
    error.direction = OUT
    found = look_at(host, 1, 0, [error], [Outcome()])
    assert (found.reason, found.header and found.header.quoted) == ("icmp_to_client", VIP)
    assert f"to 203.0.113.1. The packet that it quotes has the end {VIP} now." in said(found, "leaves")


@pytest.mark.parametrize("scheduler", ["sh", "dh"])
def test_an_icmp_error_may_open_a_connection(scheduler: str) -> None:
    """With schedule_icmp; what is hashed is the client of the quoted packet: 203.0.113.1 is 0xcb007101."""
    host = host_with(config(scheduler, "10.0.0.11"))
    host.tables.director[0].schedule_icmp = 1
    quote = host.tables.quotes[1]
    quote.proto, quote.src, quote.sport = TCP, host.intern(ip_address("192.0.2.1")), 80
    quote.dst, quote.dport = host.intern(ip_address("203.0.113.1")), 40001
    error = packet(host, "198.51.100.7", "192.0.2.1", proto=1, sport=0, dport=0, tcp_flags=0, shape=ICMP_ERROR, quote=1)
    found = look_at(host, 0, 0, [error], [Outcome()])
    assert (found.entry, found.reason, found.dest) == ("made", "icmp_to_dest", A)
    assert found.service is not None
    assert found.service.how == "exact", "the quoted packet has the service's port, the error has none"
    assert found.decision is not None
    assert found.decision.value("key") == 0xCB007101
    assert found.timer is not None
    assert (found.timer.seconds, found.transition) == (3, None), "the entry has no state and stays for 3 s"


def test_a_packet_with_its_ttl_used_up_is_counted_and_goes_nowhere() -> None:
    found = explain_last(config("rr", "10.0.0.11"), f"{SYN} ttl=1")
    assert (found.reason, found.header) == ("ttl_exceeded", None)
    assert moved(found, A)["in_packets"] == (0, 1)


def test_counters_that_move_are_told() -> None:
    """A TCP header without options and an IPv4 header are 40 bytes."""
    found = explain_last(config("rr", "10.0.0.11"), SYN)
    assert moved(found, None) == {"connections": (0, 1), "in_packets": (0, 1), "in_bytes": (0, 40)}
    assert moved(found, A) == moved(found, None) | {"total": (0, 1), "active": (0, 1)}
    assert said(found, "counters") == (
        f"tcp {VIP}: connections 0 -> 1, in_packets 0 -> 1, in_bytes 0 -> 40. "
        f"{A}: connections 0 -> 1, in_packets 0 -> 1, in_bytes 0 -> 40, total 0 -> 1, active 0 -> 1."
    )


def test_timers_that_fire_before_are_not_the_packets_doing() -> None:
    """An hour later the first connection is gone: what moves is what the second one does."""
    found = explain_last(config("rr", "10.0.0.11"), f"{SYN}\n1h 203.0.113.2:40002 > {VIP} tcp S")
    assert moved(found, A)["total"] == (0, 1)


def test_ipv6_reads_as_elsewhere() -> None:
    text = "-A -t [2001:db8::1]:80 -s rr\n-a -t [2001:db8::1]:80 -r [fd00::11]:80 -m"
    found = explain_last(text, "0 [2001:db8::9]:40001 > [2001:db8::1]:80 tcp S")
    assert (found.packet.src, found.dest) == ("[2001:db8::9]:40001", "[fd00::11]:80")


def test_a_program_on_the_director_is_named_as_client_and_as_destination() -> None:
    ends = "192.0.2.1:40001 > 192.0.2.1:80"
    back = "192.0.2.1:80 > 192.0.2.1:40001"
    script = f"0 {ends} tcp S via=director\n0.1 {back} tcp SA"
    first, second = (explain_packet(n, config("rr", "10.0.0.11"), script) for n in (0, 1))
    assert (first.packet.direction, first.packet.sender, second.packet.sender) == (
        "in", "program on the director", "real server",
    )  # fmt: skip
    assert lines(first)[0].endswith("from a program on the director")
    assert said(first, "state").startswith("SYN from the program on the director moves")
    assert said(second, "leaves").startswith("A socket of the director gets it: 10.0.0.11:80 > 192.0.2.1:40001 becomes")
    own = explain_packet(1, config("rr", "192.0.2.1:8080"), f"0 {CLIENT} > {VIP} tcp S\n0.1 {VIP} > {CLIENT} tcp SA")
    assert (own.packet.direction, own.packet.sender) == ("out", "program on the director")
