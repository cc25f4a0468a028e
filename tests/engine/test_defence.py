"""drop_packet: facts, packet-path.md section 20. Sequences in mid-run: as Linux 6.1.192 and 6.12.117 did it."""

from __future__ import annotations

import pytest

from lbsim import Director
from lbsim.engine.lanes import Lane
from lbsim.packet.build import build_packet
from tests.playbook import Playbook

PERIOD = 256  # ticks: a second, rounded up by the timer wheel
CONFIG = "-A -t 192.168.1.10:80 -s rr\n-a -t 192.168.1.10:80 -r 10.0.0.11 -m"


def test_drop_packet_drops_the_first_and_then_each_nth(play: Playbook) -> None:
    play.sysctl(drop_packet=3, am_droprate=3).config("tcp V:80 rr", "A")
    for client, seen in enumerate(("DROP drop_packet", *["FORWARD A new"] * 2, "DROP drop_packet"), start=1):
        play.send(f"c{client} SYN").expect(seen)
    play.send("c2 ACK").expect("FORWARD A known").totals(A={"conns": 2})


@pytest.mark.parametrize(("rate", "seen"), [(0, "FORWARD A new"), (1, "DROP drop_packet")])
def test_a_drop_rate_of_0_drops_nothing_one_of_1_everything(play: Playbook, rate: int, seen: str) -> None:
    play.sysctl(drop_packet=3, am_droprate=rate).config("tcp V:80 rr", "A")
    play.send("c1 SYN").expect(seen).send("c2 SYN").expect(seen)


class Calls:
    """A director, and SYNs of ever new clients to it."""

    def __init__(self, lane: Lane) -> None:
        self.director = Director(CONFIG, lane=lane)
        self.sent = 0

    def sysctl(self, text: str, at: float) -> int:
        return self.director.run(f"sysctl -w net.ipv4.vs.{text}", at=at).status

    def look(self) -> float:
        """The first moment after 1.9 s at which the kernel looks at its memory."""
        ticks = (tick for tick in range(475, 1000) if self.director._host.tick(tick * 4_000_000) % PERIOD == 0)
        return next(ticks) * 0.004

    def syns(self, count: int, at: float, every: float = 0.1) -> str:
        """What became of so many SYNs: "." for a new connection, "D" for one that was dropped."""
        seen = ""
        for number in range(count):
            self.sent += 1
            syn = build_packet(src="198.51.100.1", dst="192.168.1.10", sport=1000 + self.sent, dport=80, flags=2)
            seen += {"new": ".", "drop_packet": "D"}[self.director.receive(syn, at=at + number * every).reason]
        return seen


def test_in_mid_run_a_new_rate_counts_from_the_next_packet_dropped_on(lane: Lane) -> None:
    calls = Calls(lane)
    calls.sysctl("drop_packet=3", 0.9)
    assert calls.syns(5, 1) == "D...."
    calls.sysctl("am_droprate=2", 2)
    assert calls.syns(12, 4) == ".....D.D.D.D"
    calls.sysctl("drop_packet=0", 6)
    assert calls.syns(3, 6.5) == "..."  # and none of them was counted
    calls.sysctl("drop_packet=3", 7)
    assert calls.syns(3, 7.5) == ".D."


@pytest.mark.parametrize("defence", ["drop_entry=1", "secure_tcp=1", "secure_tcp=2", "secure_tcp=3"])
def test_another_value_for_any_defence_takes_the_new_rate_over_at_once(lane: Lane, defence: str) -> None:
    calls = Calls(lane)
    calls.sysctl("am_droprate=2", 1)
    calls.sysctl("drop_packet=3", 1)
    assert calls.syns(2, 2) == "D."
    calls.sysctl("am_droprate=5", 9)
    calls.sysctl(defence, 9)
    assert calls.syns(12, 9) == "D....D....D."


# am_droprate 10 -> 1, and then a value that is there already: the kernels went on with 10 until their next look
@pytest.mark.parametrize("defence", ["drop_packet=3", "drop_entry=0", "secure_tcp=0"])
def test_the_same_value_again_takes_nothing_over(lane: Lane, defence: str) -> None:
    calls = Calls(lane)
    calls.sysctl("drop_packet=3", 0.9)
    assert calls.syns(1, 1) == "D"
    looked = calls.look()
    calls.sysctl("am_droprate=1", looked)
    calls.sysctl(defence, looked)
    assert calls.syns(12, looked, every=0.01) == ".........D.."


@pytest.mark.parametrize(("again", "seen"), [(1, ".........D.."), (2, ".........DDD")])
def test_a_defence_set_to_2_is_1_as_memory_suffices(lane: Lane, again: int, seen: str) -> None:
    calls = Calls(lane)
    calls.sysctl("secure_tcp=2", 0.5)
    calls.sysctl("drop_packet=3", 0.9)
    assert calls.syns(1, 1) == "D"
    looked = calls.look()
    calls.sysctl("am_droprate=1", looked)
    calls.sysctl(f"secure_tcp={again}", looked)
    assert calls.syns(12, looked, every=0.01) == seen


def test_otherwise_the_old_rate_holds_until_the_kernel_looks_at_its_memory(lane: Lane) -> None:
    calls = Calls(lane)
    calls.sysctl("am_droprate=1", 1)
    calls.sysctl("drop_packet=3", 1)
    looked = calls.look()
    calls.sysctl("am_droprate=0", looked)
    assert calls.syns(1, looked + (PERIOD - 1) * 0.004) == "D"
    assert calls.syns(1, looked + PERIOD * 0.004) == "."


def test_what_the_kernel_refuses_changes_nothing(lane: Lane) -> None:
    calls = Calls(lane)
    assert calls.sysctl("drop_packet=4", 1) == 1
    assert calls.syns(2, 2) == ".."
