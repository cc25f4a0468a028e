"""UDP: facts, packet-path.md section 7.2."""

from __future__ import annotations

import pytest

from lbsim.engine import udp
from lbsim.engine.lanes import Lane
from lbsim.engine.numbers import IN, INACTIVE
from lbsim.host import EngineHost
from tests.playbook import Playbook


@pytest.mark.parametrize("hz", [100, 250, 1000])
def test_there_is_one_state_of_300_seconds(hz: int) -> None:
    assert (udp.STATES, udp.timeouts(hz)) == (("UDP",), [300 * hz])


def test_a_packet_reloads_the_timeout_and_nothing_else(lane: Lane) -> None:
    host = EngineHost(lane=lane)
    conn = host.tables.conns[1]
    conn.marks = INACTIVE
    lane.function(udp.step_udp)(host.tables, 1, IN)
    assert (conn.timeout, conn.state, conn.marks) == (75000, 0, INACTIVE)


def test_packets_of_both_sides_keep_the_entry(play: Playbook) -> None:
    play.config("udp V:53 rr", "A").send("c1 UDP").expect("FORWARD A new").wait(100).table("c1 UDP A 200")
    play.reply("A c1 UDP").expect("FORWARD A translated").table("c1 UDP A 300")
    play.wait(100).send("c1 UDP").expect("FORWARD A known").table("c1 UDP A 300")


def test_after_300_silent_seconds_and_up_to_a_slot_more_the_entry_goes(play: Playbook) -> None:
    # asked for jiffy 4294967296 = 2**32; the next multiple of 4096 behind it: 316.384 s
    play.config("udp V:53 rr", "A", "B").send("c1 UDP").expect("FORWARD B new")
    play.at(316.380).table("c1 UDP B 0").at(316.384).table().send("c1 UDP").expect("FORWARD A new")


def test_an_unanswered_question_is_answered_by_the_same_server_again(play: Playbook) -> None:
    play.config("udp V:53 rr", "A", "B").send("c1 UDP").expect("FORWARD B new").wait(250)
    play.send("c1 UDP").expect("FORWARD B known").send("c1:5353 UDP").expect("FORWARD A new")
