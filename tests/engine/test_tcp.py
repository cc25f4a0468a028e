"""TCP states: facts, packet-path.md sections 6 and 7.1."""

from __future__ import annotations

import pytest

from lbsim.engine import tcp
from lbsim.engine.lanes import Lane
from lbsim.engine.numbers import IN, INACTIVE, NO_OUTPUT, OUT
from lbsim.engine.records import Conn
from lbsim.host import EngineHost
from tests.oracles import tcp as naive
from tests.playbook import Playbook

FLAG_NAMES = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")
DIRECTIONS = {"in": IN, "out": OUT, "in only": IN}


def named(flags: int) -> set[str]:
    return {name for bit, name in enumerate(FLAG_NAMES) if flags >> bit & 1}


@pytest.mark.parametrize("secure", [0, 3])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("state", naive.STATES)
def test_every_packet_leads_where_the_rules_say(direction: str, state: str, secure: int, lane: Lane) -> None:
    host = EngineHost(lane=lane, sysctls={"secure_tcp": secure})
    one_sided = NO_OUTPUT if direction == "in only" else 0
    step = lane.function(tcp.step_tcp)
    for flags in range(64):
        conn = host.tables.conns[1]
        conn.state, conn.dest = tcp.STATES.index(state), 1
        was_active = state in naive.ACTIVE
        conn.marks = one_sided | (0 if was_active else INACTIVE)
        host.tables.dests[1].active = 5
        step(host.tables, 1, flags, DIRECTIONS[direction])
        after = naive.after(direction, state, named(flags), secure=secure == 3)
        assert tcp.STATES[conn.state] == after, named(flags)
        assert conn.timeout == naive.SECONDS[after] * 250
        assert conn.marks == one_sided | (0 if after in naive.ACTIVE else INACTIVE)
        assert host.tables.dests[1].active == 5 + (after in naive.ACTIVE) - was_active


def test_bits_beyond_the_six_flags_say_nothing() -> None:
    host = EngineHost()
    host.tables.conns[1].state = tcp.ESTABLISHED
    tcp.step_tcp(host.tables, 1, 0xFC0 | 16, IN)
    assert tcp.STATES[host.tables.conns[1].state] == "ESTABLISHED"


def test_the_first_answer_makes_a_one_sided_entry_two_sided(lane: Lane) -> None:
    host = EngineHost(lane=lane)
    conn, step = host.tables.conns[1], lane.function(tcp.step_tcp)
    conn.state, conn.marks = tcp.ESTABLISHED, NO_OUTPUT
    step(host.tables, 1, 16, OUT)
    assert conn.marks == 0
    step(host.tables, 1, 1, IN)  # two-sided, a FIN of the client leads to CLOSE_WAIT; one-sided to FIN_WAIT
    assert tcp.STATES[conn.state] == "CLOSE_WAIT"


@pytest.mark.parametrize(
    ("flags", "first"),
    [("RST SYN FIN ACK", 0), ("SYN FIN ACK", 1), ("FIN ACK", 2), ("ACK PSH", 3), ("PSH URG", 4), ("", 4)],
)
def test_rst_beats_syn_beats_fin_beats_ack(flags: str, first: int) -> None:
    assert tcp.event(sum(1 << FLAG_NAMES.index(name) for name in flags.split())) == first


@pytest.mark.parametrize(("hz", "factor"), [(250, 250), (1000, 1000), (100, 100)])
def test_timeouts_are_in_ticks(hz: int, factor: int) -> None:
    seconds = (2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120)
    assert tcp.timeouts(hz) == [second * factor for second in seconds]


def test_states_have_the_names_that_listings_print() -> None:
    printed = "NONE ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN SYNACK"
    assert tuple(printed.split()) == tcp.STATES


@pytest.mark.parametrize("state", naive.STATES)
@pytest.mark.parametrize(("mode", "marks", "also"), [(1, NO_OUTPUT, ()), (2, 0, ()), (2, NO_OUTPUT, ("FIN_WAIT",))])
def test_a_syn_may_open_anew_what_is_finished(state: str, mode: int, marks: int, also: tuple[str, ...]) -> None:
    conn = Conn(state=tcp.STATES.index(state), marks=marks)
    assert tcp.reusable(conn, mode) == (state in {"TIME_WAIT", "CLOSE", *also})


def test_all_transitions_are_there_for_every_direction_and_state() -> None:
    assert len(tcp.next_states()) == 3 * 11 * 64


# Typical walks


def test_the_client_closes_first(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").table("c1 SYN_RECV A 60")
    play.reply("A c1 SYN+ACK").expect("FORWARD A translated").table("c1 SYN_RECV A 60")
    play.send("c1 ACK").expect("FORWARD A known").table("c1 ESTABLISHED A 900")
    play.send("c1 FIN+ACK").expect("FORWARD A known").table("c1 CLOSE_WAIT A 60")
    play.reply("A c1 FIN+ACK").expect("FORWARD A translated").table("c1 TIME_WAIT A 120")
    play.wait(20).send("c1 ACK").expect("FORWARD A known").table("c1 TIME_WAIT A 120")
    play.totals(A={"active": 0, "inactive": 1})


def test_the_server_closes_first(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").send("c1 ACK").expect("FORWARD A known")
    play.reply("A c1 FIN+ACK").expect("FORWARD A translated").table("c1 FIN_WAIT A 120")
    play.send("c1 ACK").expect("FORWARD A known").table("c1 FIN_WAIT A 120")
    play.send("c1 FIN+ACK").expect("FORWARD A known").table("c1 TIME_WAIT A 120")


def test_a_rst_of_the_client_does_not_close_a_half_open_connection(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").wait(20)
    play.send("c1 RST").expect("FORWARD A known").table("c1 SYN_RECV A 60")


def test_a_rst_of_the_server_closes_a_half_open_connection(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new")
    play.reply("A c1 RST+ACK").expect("FORWARD A translated").table("c1 CLOSE A 10")


@pytest.mark.parametrize("packet", ["c1 -", "c1 PSH", "c1 URG"])
def test_a_packet_without_the_four_flags_closes(play: Playbook, packet: str) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").send("c1 ACK").expect("FORWARD A known")
    play.send(packet).expect("FORWARD A known").table("c1 CLOSE A 10")


def test_an_established_connection_lives_900_seconds_and_up_to_a_slot_longer(play: Playbook) -> None:
    # asked for jiffy 4294892296 + 225000 = 4295117296; the next multiple of 4096 is 4295118848: 906.208 s
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").send("c1 ACK").expect("FORWARD A known")
    play.at(900).table("c1 ESTABLISHED A 0").at(906.204).table("c1 ESTABLISHED A 0").at(906.208).table()
