"""The engine doing a kernel's job: expected values by the schedulers' definitions and the timeouts' defaults."""

from __future__ import annotations

import pytest

from lbsim.engine.lanes import Lane
from lbsim.kernel.job import (
    CLIENT,
    DIRECTOR,
    REPLY,
    Command,
    CommandSeen,
    Event,
    Job,
    Observation,
    Packet,
    PacketSeen,
    Show,
    ShowSeen,
    server,
)
from lbsim.kernel.rehearsal import rehearse, setup_answers
from lbsim.kernel.seen import Step
from lbsim.model.result import Counters
from lbsim.packet.build import build_packet
from lbsim.packet.headers import parse

VIP = "192.168.1.10"
SETUP = (
    ("ipvsadm", "-A", "-t", f"{VIP}:80", "-s", "rr"),
    ("ipvsadm", "-a", "-t", f"{VIP}:80", "-r", "10.0.0.11:80", "-m"),
    ("ipvsadm", "-a", "-t", f"{VIP}:80", "-r", "10.0.0.12:8080", "-m"),
)
CLIENTS_IP = "198.51.100.1"
MS, SECOND = 10**6, 10**9
READING = 13 * MS  # how long a look takes
JIFFIES = 4294893568  # a multiple of 4096
SYN, ACK, SYN_ACK = 2, 16, 18


def request(at: int, flags: int = SYN, port: int = 1001, ttl: int = 64) -> Packet:
    content = build_packet(src=CLIENTS_IP, sport=port, dst=VIP, dport=80, flags=flags, ttl=ttl)
    return Packet(at, port, CLIENT, content)


def reply(at: int, flags: int = SYN_ACK, port: int = 1001) -> Packet:
    return Packet(at, port, REPLY, build_packet(src=VIP, sport=80, dst=CLIENTS_IP, dport=port, flags=flags))


def seen_at(event: Event, at: int) -> PacketSeen | ShowSeen:
    return ShowSeen(at, at + READING, "", "", "") if isinstance(event, Show) else PacketSeen(at)


def steps(
    *events: Event,
    setup: tuple[tuple[str, ...], ...] = SETUP,
    late: int = 0,
    lane: Lane | None = None,
    **options: object,
) -> list[Step]:
    job = Job("j", (VIP,), ("10.0.0.11", "10.0.0.12"), setup, events=events, **options)
    seen = Observation("j", "6.1.0", JIFFIES, events=tuple(seen_at(event, event.at + late) for event in events))
    return list(rehearse(job, seen, profile="linux-6.1.192", lane=lane))


def ends(step: Step) -> list[tuple[str, int, int]]:
    """Where packets went, with their ports."""
    found = [(where, parse(content)) for where, content in step.arrivals]
    return [(where, headers.sport, headers.dport) for where, headers in found if headers]


# facts: packet-path.md section 15
def test_a_program_on_the_director_gets_its_requests_and_answers_through_ipvs() -> None:
    local = (SETUP[0], ("ipvsadm", "-a", "-t", f"{VIP}:80", "-r", f"{VIP}:8080", "-m"))
    events = (request(SECOND, ttl=1), reply(2 * SECOND))
    got, answered = steps(*events, setup=local, listening=(f"tcp {VIP}:8080",))
    assert ends(got) == [(DIRECTOR, 1001, 8080)]
    assert ends(answered) == [(CLIENT, 80, 1001)]
    (_, left), *_ = answered.arrivals
    assert left[8] == 64  # it is not routed, so its TTL stays


def test_what_a_program_sends_that_ipvs_refuses_does_not_leave() -> None:
    local = (SETUP[0], ("ipvsadm", "-a", "-t", f"{VIP}:80", "-r", f"{VIP}:80", "-m"))
    events = (request(SECOND, ACK), reply(2 * SECOND))  # no entry, yet a program gets it
    options: dict[str, object] = {"setup": local, "listening": (f"tcp {VIP}:80",)}
    assert [ends(step) for step in steps(*events, **options)] == [[(DIRECTOR, 1001, 80)], [(CLIENT, 80, 1001)]]
    refused = steps(*events, **options, sysctls=(("net.ipv4.vs.nat_icmp_send", "1"),))
    assert [ends(step) for step in refused] == [[(DIRECTOR, 1001, 80)], []]


# rr starts with the newest destination and then goes on to the older ones.
def test_requests_arrive_at_the_chosen_server() -> None:
    first, second = steps(request(0), request(MS, port=1002))
    assert ends(first) == [(server("10.0.0.12"), 1001, 8080)]
    assert ends(second) == [(server("10.0.0.11"), 1002, 80)]


def test_a_reply_comes_from_the_server_that_got_the_request_and_bears_the_virtual_end_again() -> None:
    _, answered = steps(request(0), reply(MS))
    assert ends(answered) == [(CLIENT, 80, 1001)]


def test_nobody_sends_a_reply_to_a_request_that_did_not_arrive() -> None:
    assert steps(reply(0))[0].arrivals == ()


def test_a_packet_without_a_destination_is_answered_to_the_clients() -> None:
    (step,) = steps(request(0), setup=SETUP[:1])
    ((where, content),) = step.arrivals
    headers = parse(content)
    assert headers
    assert (where, headers.proto) == (CLIENT, 1)


def test_a_command_answers_as_the_tool_does() -> None:
    (step,) = steps(Command(0, ("ipvsadm", "-D", "-t", f"{VIP}:443")))
    assert step.answer == (255, "No such service")


def test_a_look_shows_services_destinations_and_entries() -> None:
    _, show = steps(request(0), Show(MS))
    assert show.listing
    assert show.listing.services == {f"tcp {VIP}:80": ("rr", ())}
    assert show.listing.dests == {
        (f"tcp {VIP}:80", "10.0.0.11:80"): (1, 0, 0),
        (f"tcp {VIP}:80", "10.0.0.12:8080"): (1, 1, 0),
    }
    assert [(row.state, row.destination) for row in show.listing.conns] == [("SYN_RECV", "10.0.0.12:8080")]
    assert show.listing.counters is None


def test_counters_come_if_they_are_asked_for() -> None:
    _, show = steps(request(0), Show(5 * SECOND, stats=True))
    assert show.listing
    assert show.listing.counters
    counted = show.listing.counters[f"tcp {VIP}:80", "10.0.0.12:8080"]
    assert (counted.connections, counted.in_packets, counted.in_bytes) == (1, 1, 40)


# SYN_RECV lasts 60 s, 15,000 ticks. Timers of 4,032 to 32,255 ticks expire on multiples of 512 ticks: from an aligned
# time 0 on that is tick 15,360, 61.44 s.
def test_timers_fire_by_the_kernels_clock() -> None:
    _, before, after = steps(request(0), Show(61_400 * MS), Show(61_500 * MS))
    assert before.listing
    assert after.listing
    assert (len(before.listing.conns), len(after.listing.conns)) == (1, 0)


def test_events_happen_when_the_kernel_had_them() -> None:
    assert [step.at for step in steps(request(0), Show(MS), late=7)] == [7, MS + 7]


# Seconds are cut: the entry reads 60 only in the packet's own tick, and 59 from the next one on.
def test_a_look_also_shows_the_ticks_around_it() -> None:
    _, show = steps(request(0), Show(0))
    assert show.listing
    assert {row.expires for one in (show.listing, *show.near) for row in one.conns} == {60, 59}


def test_looking_ahead_changes_nothing(lane: Lane) -> None:
    shows = [Show(n * MS) for n in range(1, 100)]
    looked = steps(request(0), *shows, reply(SECOND), Show(2 * SECOND), lane=lane)
    unwatched = steps(request(0), reply(SECOND), Show(2 * SECOND), lane=lane)
    assert looked[-1].listing == unwatched[-1].listing


# expire_nodest_conn (facts, packet-path.md section 20): a packet for a removed destination ends the entry.
def test_the_jobs_sysctls_are_set() -> None:
    gone = Command(MS, ("ipvsadm", "-d", "-t", f"{VIP}:80", "-r", "10.0.0.12:8080"))
    events = (request(0), gone, request(2 * MS, ACK), Show(20 * MS))
    kept = steps(*events)[-1].listing
    ended = steps(*events, sysctls=(("net.ipv4.vs.expire_nodest_conn", "1"),))[-1].listing
    assert kept
    assert ended
    assert (len(kept.conns), len(ended.conns)) == (1, 0)


def test_the_set_up_answers_in_its_order_and_other_programs_succeed() -> None:
    setup = (("iptables", "-F"), SETUP[0], SETUP[0])
    job = Job("j", (VIP,), (), setup)
    assert list(setup_answers(job, profile="linux-6.1.192")) == [(0, ""), (0, ""), (255, "Service already exists")]


def test_an_observed_command_needs_no_words_of_its_own() -> None:
    job = Job("j", (VIP,), (), SETUP, events=(Command(0, ("ipvsadm", "-C")),))
    seen = Observation("j", "6.1.0", events=(CommandSeen(5, (), 0, ""),))
    assert [step.answer for step in rehearse(job, seen, profile="linux-6.1.192")] == [(0, "")]


# The tick before, that of the look, three more in 13 ms of reading (a tick is 4 ms), and the one after.
@pytest.mark.parametrize("gap", range(0, 40, 3))
def test_looks_may_follow_each_other_at_any_distance(gap: int) -> None:
    shows = [Show(MS + n * gap * MS) for n in range(4)]
    assert [len(step.near) for step in steps(request(0), *shows)[1:]] == [6] * 4


A_DEST = (f"tcp {VIP}:80", "10.0.0.11:80")


def ipvsadm(at: int, line: str) -> Command:
    return Command(at, ("ipvsadm", *line.split()))


def again(at: int, deletion: str = f"-D -t {VIP}:80") -> list[Command]:
    """The service is deleted and made again with one destination."""
    return [
        ipvsadm(at, deletion),
        ipvsadm(at + MS, f"-A -t {VIP}:80 -s rr"),
        ipvsadm(at + 2 * MS, f"-a -t {VIP}:80 -r 10.0.0.11:80 -m"),
    ]


ALONE = SETUP[:2]
LOOK = Show(30 * SECOND, stats=True)


# A SYN of 40 bytes each: two more than 2.1 s before the service is deleted at 10 s, then three.
@pytest.mark.parametrize("deletion", [f"-D -t {VIP}:80", "-C"])
def test_what_came_right_before_a_service_was_deleted_may_be_counted_again(deletion: str) -> None:
    times = (SECOND, 7_899 * MS, 7_901 * MS, 8 * SECOND, 9_990 * MS)
    packets = [request(at, port=1001 + i) for i, at in enumerate(times)]
    *_, last = steps(*packets, *again(10 * SECOND, deletion), request(11 * SECOND, port=2000), LOOK, setup=ALONE)
    assert last.listing
    assert last.listing.counters
    assert last.listing.counters[A_DEST] == Counters(1, 1, 0, 40, 0)
    assert last.leftovers == {A_DEST: Counters(3, 3, 0, 120, 0)}


def test_every_deletion_of_a_service_adds_to_what_is_left_over() -> None:
    first = [request(9 * SECOND), *again(10 * SECOND)]
    second = [request(10_500 * MS, port=1002), request(11 * SECOND, port=1003), *again(12_200 * MS)]
    *_, last = steps(*first, *second, LOOK, setup=ALONE)
    assert last.leftovers == {A_DEST: Counters(1 + 2, 1 + 2, 0, 40 + 80, 0)}


# One long before; two in the 1.3 s after the destination is back, all of which may have come after the last copy.
def test_copies_of_an_earlier_service_say_nothing_about_the_counters_of_this_one() -> None:
    packets = [request(29_100 * MS, port=1002), request(29_200 * MS, port=1003)]
    *_, last = steps(
        request(SECOND), *again(28_400 * MS), *packets, *again(29_700 * MS), request(29_800 * MS), LOOK, setup=ALONE
    )
    assert last.leftovers == {A_DEST: Counters(2, 2, 0, 80, 0)}


# 0.5 s after the first deletion: what came before that, and the packet in between
def test_deletions_in_quick_succession_leave_no_less_over() -> None:
    *_, last = steps(
        request(9_900 * MS),
        *again(10 * SECOND),
        request(10_400 * MS, port=1002),
        *again(10_500 * MS),
        LOOK,
        setup=ALONE,
    )
    assert last.leftovers[A_DEST].in_packets >= 2


REMOVED, ADDED = f"-d -t {VIP}:80 -r 10.0.0.11:80", f"-a -t {VIP}:80 -r 10.0.0.11:80 -m"


# Nothing is copied while it is away: a SYN of 40 bytes 0.1 s before, the service deleted eight seconds later.
def test_what_came_right_before_a_destination_was_removed_may_be_counted_again_however_late() -> None:
    packets = [request(SECOND), request(9 * SECOND, port=1002), request(9_900 * MS, port=1003)]
    *_, last = steps(*packets, ipvsadm(10 * SECOND, REMOVED), *again(18 * SECOND), LOOK, setup=ALONE)
    assert last.leftovers == {A_DEST: Counters(2, 2, 0, 80, 0)}


@pytest.mark.parametrize(("back_for", "left"), [(2_099, 1 + 1), (2_101, 1)])
def test_a_destination_that_is_back_is_copied_within_a_period(back_for: int, left: int) -> None:
    added, deleted = 12 * SECOND, 12 * SECOND + back_for * MS
    away = [ipvsadm(10 * SECOND, REMOVED), ipvsadm(added, ADDED)]
    packets = [request(9_900 * MS), *away, request(added + 1_000 * MS, port=1002)]
    *_, last = steps(*packets, *again(deleted), LOOK, setup=ALONE)
    assert last.leftovers == {A_DEST: Counters(left, left, 0, 40 * left, 0)}


def test_without_a_deleted_service_nothing_is_left_over() -> None:
    *_, last = steps(request(9 * SECOND), ipvsadm(10 * SECOND, f"-d -t {VIP}:80 -r 10.0.0.11:80"), LOOK, setup=ALONE)
    assert last.leftovers == {}
    *_, other = steps(request(9 * SECOND), ipvsadm(10 * SECOND, f"-D -t {VIP}:443"), LOOK, setup=ALONE)
    assert other.leftovers == {}
