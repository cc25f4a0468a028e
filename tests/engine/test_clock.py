"""The clock, and timers that fire: facts, packet-path.md section 8.3."""

from __future__ import annotations

from lbsim.config import parse_command
from lbsim.engine.clock import advance, next_event
from lbsim.engine.conntable import new_conn
from lbsim.engine.records import Packet
from lbsim.engine.timers import arm
from lbsim.host import EngineHost
from tests.playbook import Playbook


def test_timers_of_a_tick_fire_before_its_packets(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new")
    play.wait("SYN_RECV timeout").send("c1 ACK").expect("LOCAL not_syn")


def test_an_entry_lives_to_the_tick_before(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new")
    play.wait("just before SYN_RECV timeout").send("c1 ACK").expect("FORWARD A known")


def test_nothing_is_due_on_an_idle_director() -> None:
    assert next_event(EngineHost().tables) == 0


def test_the_clock_does_not_go_back() -> None:
    host = EngineHost(start_jiffies=1000)
    advance(host.tables, 2000)
    advance(host.tables, 1500)
    assert host.tables.director[0].now == 2000


def test_a_timer_for_the_past_does_not_turn_the_clock_back() -> None:
    host = EngineHost(start_jiffies=1000)
    host.apply(parse_command("-A -t 192.0.2.1:80 -s rr"))
    host.apply(parse_command("-a -t 192.0.2.1:80 -r 10.0.0.11:80 -m"))
    host.room_for(1)
    arm(host.tables, new_conn(host.tables, Packet(), 1, 80, 0), 995)
    advance(host.tables, 1000)
    assert (host.tables.director[0].now, host.connections()) == (1000, ())
