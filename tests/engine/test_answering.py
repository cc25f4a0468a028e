"""What becomes of answers: facts, packet-path.md sections 12 and 15."""

from __future__ import annotations

import pytest

from lbsim.config import parse
from lbsim.engine.lanes import Lane, compiled_lane, interpreted_lane
from lbsim.model.config import ip_address
from lbsim.model.verdict import reason_of
from lbsim.simulate import simulate
from lbsim.traffic import script
from tests.playbook import Playbook


def test_an_answer_without_an_entry_is_routed_as_it_is(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").reply("A c1 ACK").expect("ROUTE no_connection")


def test_an_answer_without_ports_is_routed_as_it_is(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new")
    play.reply("A c1 ACK", cut=3).expect("ROUTE no_connection")


def test_an_answer_with_a_cut_header_is_dropped_but_refreshes_the_entry(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").wait(10)
    play.reply("A c1 ACK", cut=19).expect("DROP A header_cut").table("c1 SYN_RECV A 60")
    play.totals(A={"out_packets": 0})


def test_an_answer_of_another_protocol_is_routed(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").reply("A c1 GRE").expect("ROUTE not_balanced")


def test_an_answer_at_weight_0_passes(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").edit("A weight 0")
    play.reply("A c1 SYN+ACK").expect("FORWARD A translated")


def test_late_answers_leave_with_the_real_servers_address(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new")
    play.wait("SYN_RECV timeout").reply("A c1 SYN+ACK").expect("ROUTE no_connection")


def test_answers_of_a_removed_destination_pass_and_refresh_but_do_not_count(play: Playbook) -> None:
    play.config("tcp V:80 rr", "A").send("c1 SYN").expect("FORWARD A new").delete("A")
    play.wait(10).reply("A c1 ACK").expect("FORWARD A translated").table("c1 ESTABLISHED A 900")
    play.totals(V={"in_packets": 1, "out_packets": 0, "out_bytes": 0})


# Clients on the director: seen on 6.1.192 and 6.12.117, see scenarios/operations/own-clients


@pytest.mark.parametrize("lane", [interpreted_lane(), compiled_lane()], ids=lambda lane: lane.name)
@pytest.mark.parametrize(
    ("destination", "first", "second"),
    [
        ("10.0.0.11:8080 -m", "new", "translated"),
        ("192.168.1.10:8080 -m", "local_new", "translated"),
        ("192.168.1.10:80 -g", "local_new", "translated"),
        ("10.0.0.11:80 -g", "new", "straight_reply"),
    ],
)
def test_an_answer_to_a_client_on_the_director_is_looked_at_as_it_is_delivered(
    destination: str, first: str, second: str, lane: Lane
) -> None:
    # neither its TTL nor the chain FORWARD matters
    config = f"iptables -P FORWARD DROP\n-A -t 192.168.1.10:80 -s rr\n-a -t 192.168.1.10:80 -r {destination}\n"
    text = (
        "0s 192.168.1.10:1001 > 192.168.1.10:80 tcp S via=director\n"
        "1s 192.168.1.10:80 > 192.168.1.10:1001 tcp SA ttl=1\n"
        "2s 192.168.1.10:1002 > 192.168.1.10:81 tcp S via=director\n"
        "3s 192.168.1.10:1003 > 203.0.113.1:80 tcp S via=director\n"
    )
    trace = script.parse(text, director=[ip_address("192.168.1.10")])
    result = simulate(parse(config), trace, lane=lane)
    reasons = [reason_of(int(code)).name for code in result["reason"]]
    assert reasons == [first, second, "no_service", "no_connection"]
    assert result["direction"].tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("lane", [interpreted_lane(), compiled_lane()], ids=lambda lane: lane.name)
def test_a_late_answer_to_a_client_on_the_director_stays_there(lane: Lane) -> None:
    config = "-A -t 192.168.1.10:80 -s rr\n-a -t 192.168.1.10:80 -r 10.0.0.11:8080 -m\n"
    text = (
        "0s 192.168.1.10:1001 > 192.168.1.10:80 tcp S via=director\n100s 192.168.1.10:80 > 192.168.1.10:1001 tcp SA\n"
    )
    trace = script.parse(text, director=[ip_address("192.168.1.10")])
    result = simulate(parse(config), trace, lane=lane)
    assert [reason_of(int(code)).name for code in result["reason"]] == ["new", "no_service"]
