"""Two sides, event by event: what counts as a divergence, and how it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from lbsim.kernel.job import (
    CLIENT,
    Arrival,
    Command,
    CommandSeen,
    Event,
    Job,
    Observation,
    Packet,
    PacketSeen,
    Seen,
    Show,
    ShowSeen,
    server,
)
from lbsim.kernel.rehearsal import Rehearsal, rehearse
from lbsim.kernel.seen import Listing, Step, steps_of
from lbsim.kernel.verification import (
    CONTEXT,
    IN_SETUP,
    SHOWN_ROWS,
    Divergence,
    Verification,
    compare_steps,
    setup_differences,
    transcript_line,
    truncated,
    with_tables,
)
from lbsim.model.result import ConnRow, Counters
from lbsim.packet.build import build_packet
from tests.kernel.played import played

VIP = "192.168.1.10"
HTTP = f"tcp {VIP}:80"
SETUP = (
    ("ipvsadm", "-A", "-t", f"{VIP}:80", "-s", "rr"),
    ("ipvsadm", "-a", "-t", f"{VIP}:80", "-r", "10.0.0.11:80", "-m"),
)
MS = 10**6
PROFILE = "linux-6.1.192"
ROW = ConnRow("TCP", "198.51.100.1:1000", f"{VIP}:80", "10.0.0.11:80", "SYN_RECV", 59)
LISTING = Listing(
    services={HTTP: ("rr", ())},
    dests={(HTTP, "10.0.0.11:80"): (1, 1, 0)},
    counters={(HTTP, ""): Counters(1, 1, 0, 40, 0), (HTTP, "10.0.0.11:80"): Counters(1, 1, 0, 40, 0)},
    conns=(ROW,),
)


def syn(n: int) -> Packet:
    content = build_packet(src="198.51.100.1", sport=1000 + n, dst=VIP, dport=80, flags=2)
    return Packet(n * 10 * MS, n, CLIENT, content)


#: Packets 0 to 19, a command 20, a look 21.
JOB = Job(
    "j",
    (VIP,),
    ("10.0.0.11",),
    SETUP,
    events=(
        *map(syn, range(20)),
        Command(300 * MS, ("ipvsadm", "-D", "-t", f"{VIP}:443")),
        Show(5_000 * MS, stats=True),
    ),
)
Change = Callable[[Seen], Seen]


def verified(at: int = -1, change: Change = lambda seen: seen) -> Verification:
    """The job's verification on a kernel that answers one event in another way."""

    def spoil(number: int, _event: Event, seen: Seen) -> Seen:
        return change(seen) if number == at else seen

    seen = played(JOB, spoil)
    return compare_steps(JOB, steps_of(seen), rehearse(JOB, seen, profile=PROFILE), release="linux-x")


def differences(at: int, change: Change) -> tuple[str, ...]:
    """What differs at the event."""
    found = verified(at, change)
    assert found.divergence
    assert found.divergence.event == at
    return found.divergence.differences


def shown(old: str, new: str) -> Change:
    """A look in which some text reads otherwise."""

    def change(seen: Seen) -> Seen:
        assert isinstance(seen, ShowSeen)
        listing, stats, conns = (text.replace(old, new, 1) for text in (seen.listing, seen.stats, seen.conns))
        assert (listing, stats, conns) != (seen.listing, seen.stats, seen.conns)
        return ShowSeen(seen.at, seen.until, listing, stats, conns)

    return change


def arrived(*arrivals: Arrival) -> Change:
    return lambda seen: seen._replace(arrivals=arrivals)


def compared(real: Listing, ours: Listing, *near: Listing) -> Verification:
    """One look, at tables made by hand."""
    job = Job("j", (), (), events=(Show(0),))
    return compare_steps(job, [Step(0, listing=real)], [Step(0, listing=ours, near=near)], release="linux-x")


def with_row(*rows: ConnRow) -> Listing:
    return replace(LISTING, conns=rows)


# 20 entries; 3 numbers of the one destination, 5 counters each of the service and of its destination
def test_equal_sides_are_identical_and_counted() -> None:
    assert verified() == Verification("j", "linux-x", packets=20, connections=20, counters=13)
    assert verified().lines() == ["j: identical: 20 packets, 20 connection rows, 13 counters on linux-x"]


def test_a_packet_that_the_kernel_does_not_send_is_a_divergence() -> None:
    (told,) = differences(3, arrived())
    assert told.startswith("packets that left: kernel nothing, engine r:10.0.0.11: 198.51.100.1:1003 > 10.0.0.11:80")


def test_a_packet_that_only_the_kernel_sends_is_a_divergence() -> None:
    def change(seen: Seen) -> Seen:
        return seen._replace(arrivals=(*seen.arrivals, Arrival(CLIENT, b"\x45", 0)))

    (told,) = differences(3, change)
    assert told.startswith(
        "packets that left: kernel r:10.0.0.11: 198.51.100.1:1003 > 10.0.0.11:80 tcp S length 40; c: 45"
    )


def test_another_place_is_a_divergence() -> None:
    def change(seen: Seen) -> Seen:
        return seen._replace(arrivals=(seen.arrivals[0]._replace(where=server("10.0.0.12")),))

    assert differences(3, change) == ("sent to: kernel r:10.0.0.12, engine r:10.0.0.11",)


@pytest.mark.parametrize("at", range(40))
def test_every_byte_counts(at: int) -> None:
    def change(seen: Seen) -> Seen:
        (one,) = seen.arrivals
        content = bytes(byte ^ (i == at) for i, byte in enumerate(one.content))
        return seen._replace(arrivals=(one._replace(content=content),))

    (told,) = differences(3, change)
    assert told.startswith(f"bytes from {at} on: kernel ")


def test_a_byte_more_is_a_divergence() -> None:
    def change(seen: Seen) -> Seen:
        (one,) = seen.arrivals
        return seen._replace(arrivals=(one._replace(content=one.content + b"\0"),))

    (told,) = differences(3, change)
    assert told.startswith("bytes from 40 on: kernel ")


@pytest.mark.parametrize(("status", "output"), [(0, "No such service"), (255, "Memory allocation problem"), (0, "")])
def test_another_answer_to_a_command_is_a_divergence(status: int, output: str) -> None:
    told = differences(20, lambda seen: CommandSeen(seen.at, (), status, output))
    assert told == (f"answer: kernel {(status, output)}, engine {(255, 'No such service')}",)


def test_what_leaves_the_kernel_because_of_a_command_is_a_divergence() -> None:
    (told,) = differences(20, arrived(Arrival(CLIENT, b"\x45", 0)))
    assert told == "packets that left: kernel c: 45, engine nothing"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (":80 rr", ":80 lc", f"services {HTTP}: kernel ('lc', ()), engine ('rr', ())"),
        (":80 rr", ":80 rr (flag-1)", f"services {HTTP}: kernel ('rr', ('flag-1',)), engine ('rr', ())"),
        ("Masq    1      20", "Masq    2      20", "kernel (2, 20, 0), engine (1, 20, 0)"),
        ("Masq    1      20", "Masq    1      19", "kernel (1, 19, 0), engine (1, 20, 0)"),
        ("20         0 ", "20         1 ", "kernel (1, 20, 1), engine (1, 20, 0)"),
        ("SYN_RECV   ", "ESTABLISHED", "connection: kernel only TCP 198.51.100.1:1000"),
        ("0A00000B", "0A00000C", "connection: kernel only TCP 198.51.100.1:1000"),
        ("C6336401 03E8", "C6336401 0001", "connection: kernel only TCP 198.51.100.1:1 "),
    ],
)
def test_another_value_in_a_table_is_a_divergence(old: str, new: str, told: str) -> None:
    assert told in "\n".join(differences(21, shown(old, new)))


@pytest.mark.parametrize("column", range(5))
def test_each_counter_counts(column: int) -> None:
    values = ["20", "20", "0", "800", "0"]
    old = "".join(f" {value:>8}" for value in values)
    values[column] = "7"
    (told,) = differences(21, shown(old, "".join(f" {value:>8}" for value in values)))
    assert told.startswith(f"counters ('{HTTP}', ''): kernel Counters(")


def test_a_destination_that_only_one_side_has_is_a_divergence() -> None:
    without = replace(LISTING, dests={})
    for real, ours in ((without, LISTING), (LISTING, without)):
        assert not compared(real, ours).identical


def test_another_order_of_the_same_destinations_is_a_divergence() -> None:
    rows = {(HTTP, "10.0.0.11:80"): (1, 1, 0), (HTTP, "10.0.0.12:80"): (1, 0, 0)}
    found = compared(replace(LISTING, dests=rows), replace(LISTING, dests=dict(reversed(rows.items()))))
    assert found.divergence
    assert found.divergence.differences == (
        f"order of {HTTP}: kernel 10.0.0.11:80, 10.0.0.12:80; engine 10.0.0.12:80, 10.0.0.11:80",
    )


def test_an_entry_that_only_the_kernel_has_is_a_divergence() -> None:
    found = compared(LISTING, with_row())
    assert found.divergence
    assert found.divergence.differences == (
        f"connection: kernel only TCP 198.51.100.1:1000 {VIP}:80 10.0.0.11:80 SYN_RECV 59 s",
    )


def test_an_entry_that_only_the_engine_has_is_a_divergence() -> None:
    found = compared(with_row(), LISTING)
    assert found.divergence
    assert found.divergence.differences[0].startswith("connection: engine only TCP 198.51.100.1:1000")


def test_an_entry_twice_is_a_divergence() -> None:
    assert not compared(with_row(ROW, ROW), LISTING).identical


def test_seconds_may_be_those_of_a_tick_around() -> None:
    earlier = replace(ROW, expires=60)
    assert compared(with_row(earlier), LISTING, with_row(earlier)).identical


def test_seconds_of_no_tick_around_are_a_divergence() -> None:
    assert not compared(with_row(replace(ROW, expires=58)), LISTING, with_row(replace(ROW, expires=60))).identical


@pytest.mark.parametrize("there", [(), (ROW,)])
def test_an_entry_that_expires_just_then_may_be_there_or_not(there: tuple[ConnRow, ...]) -> None:
    for ours, near in (((), (ROW,)), ((ROW,), ())):
        assert compared(with_row(*there), with_row(*ours), with_row(*near)).identical


def test_the_counts_of_a_tick_around_will_do_as_well() -> None:
    later = replace(LISTING, dests={(HTTP, "10.0.0.11:80"): (1, 0, 0)})
    assert compared(later, LISTING, later).identical
    assert not compared(replace(LISTING, dests={(HTTP, "10.0.0.11:80"): (1, 0, 1)}), LISTING, later).identical


DEST = (HTTP, "10.0.0.11:80")


def counted(value: Counters, leftovers: dict[tuple[str, str], Counters]) -> bool:
    """Whether these counters of the destination are as good as those of LISTING (1, 1, 0, 40, 0)."""
    job = Job("j", (), (), events=(Show(0),))
    real = replace(LISTING, counters={**(LISTING.counters or {}), DEST: value})
    return compare_steps(
        job, [Step(0, listing=real)], [Step(0, listing=LISTING, leftovers=leftovers)], release="linux-x"
    ).identical


@pytest.mark.parametrize("more", [Counters(), Counters(1, 1, 0, 40, 0), Counters(2, 3, 1, 120, 40)])
def test_counters_may_hold_what_was_left_over(more: Counters) -> None:
    value = Counters(1 + more.connections, 1 + more.in_packets, more.out_packets, 40 + more.in_bytes, more.out_bytes)
    assert counted(value, {DEST: Counters(2, 3, 1, 120, 40)})
    assert counted(value, {}) == (more == Counters())


@pytest.mark.parametrize(
    "value", [Counters(0, 1, 0, 40, 0), Counters(4, 1, 0, 40, 0), Counters(1, 1, 2, 40, 0), Counters(1, 1, 0, 161, 0)]
)
def test_counters_below_or_above_what_was_left_over_are_a_divergence(value: Counters) -> None:
    assert not counted(value, {DEST: Counters(2, 3, 1, 120, 40)})


def test_what_was_left_over_of_another_destination_does_not_count() -> None:
    assert not counted(Counters(2, 2, 0, 80, 0), {(HTTP, "10.0.0.12:80"): Counters(9, 9, 9, 900, 900)})


def test_counters_that_are_not_there_are_a_divergence_whatever_was_left_over() -> None:
    without = replace(LISTING, counters={(HTTP, ""): Counters(1, 1, 0, 40, 0)})
    job = Job("j", (), (), events=(Show(0),))
    ours = Step(0, listing=LISTING, leftovers={DEST: Counters(9, 9, 9, 900, 900)})
    assert not compare_steps(job, [Step(0, listing=without)], [ours], release="linux-x").identical


def test_only_the_first_divergence_is_told_and_what_comes_before_is_counted() -> None:
    found = verified(3, arrived())
    assert (found.packets, found.connections, found.counters) == (3, 0, 0)


@pytest.mark.parametrize("change", [lambda seen: seen, arrived()])
def test_the_folder_of_the_results_is_named_below_the_verification(change: Change) -> None:
    found = replace(verified(3, change), results="out/j/linux-6.1")
    assert found.lines() == [*replace(found, results=None).lines(), "  results: out/j/linux-6.1"]
    assert found.to_dict()["results"] == "out/j/linux-6.1"


def test_a_divergence_is_shown_behind_what_led_to_it() -> None:
    head, *rest = verified(12, arrived()).lines()
    assert head == "j: DIFFERENT on linux-x, first at event 12 (0.120007s)"
    assert len(rest) == CONTEXT + 1 + 1
    assert (
        rest[0].split()
        == (
            f"0.040007s clients: 198.51.100.1:1004 > {VIP}:80 tcp S length 40 -> "
            "r:10.0.0.11: 198.51.100.1:1004 > 10.0.0.11:80 tcp S length 40"
        ).split()
    )
    assert rest[-2].endswith("-> nothing")
    assert rest[-1].startswith("  ! packets that left: kernel nothing")


def test_commands_and_looks_stand_in_the_transcript() -> None:
    lines = [transcript_line(event, step) for event, step in zip(JOB.events, steps_of(played(JOB)), strict=True)]
    assert lines[-2].endswith(f"ipvsadm -D -t {VIP}:443 -> (255, 'No such service')")
    assert lines[-1] == "5.000007s look at the tables"


def test_what_machines_read_says_the_same() -> None:
    found = verified(3, arrived())
    document = json.loads(json.dumps(found.to_dict()))
    assert (document["identical"], document["scenario"], document["kernel"]) == (False, "j", "linux-x")
    assert document["divergence"]["event"] == 3
    assert document["divergence"]["differences"] == list(found.divergence.differences if found.divergence else ())
    assert verified().to_dict()["divergence"] is None


def test_a_job_up_to_an_event_ends_with_a_look_behind_it() -> None:
    shorter = truncated(JOB, 3)
    assert shorter.events == (*JOB.events[:4], Show(31 * MS))


def tables(seen: Callable[[Job], Observation]) -> list[str]:
    """What is said about the tables behind event 2."""
    shorter = truncated(JOB, 2)
    found = Verification("j", "linux-x", 2, 0, 0, Divergence(2, 0, ("told",), ()))
    done = with_tables(found, shorter, seen(shorter), profile=PROFILE)
    assert done.divergence
    assert done.divergence.differences[0] == "told"
    return [line.partition(" 192")[0].strip() for line in done.divergence.differences[1:]]


def test_both_tables_behind_a_divergence_are_shown_the_differing_rows_first() -> None:
    def spoil(_number: int, _event: Event, seen: Seen) -> Seen:
        return shown("C6336401 03E9", "C6336401 0001")(seen) if isinstance(seen, ShowSeen) else seen

    assert tables(lambda job: played(job, spoil)) == [
        "connections behind it, kernel and engine:",
        "kernel TCP 198.51.100.1:1",
        "engine TCP 198.51.100.1:1001",
        "both   TCP 198.51.100.1:1000",
        "both   TCP 198.51.100.1:1002",
    ]


def test_a_second_run_that_breaks_off_adds_nothing() -> None:
    assert tables(lambda job: Observation("j", "6.1.0", error="OSError")) == []


def test_long_tables_are_cut() -> None:
    job = Job("j", (VIP,), ("10.0.0.11",), SETUP, events=tuple(map(syn, range(SHOWN_ROWS + 5))))
    shorter = truncated(job, SHOWN_ROWS + 4)
    found = Verification("j", "linux-x", 0, 0, 0, Divergence(2, 0, (), ()))
    done = with_tables(found, shorter, played(shorter), profile=PROFILE)
    assert done.divergence
    assert len(done.divergence.differences) == 1 + SHOWN_ROWS + 1
    assert done.divergence.differences[-1].strip() == "and 5 more"


def test_a_command_of_the_set_up_that_only_the_kernel_refuses_is_a_divergence() -> None:
    seen = played(JOB)
    engine = Rehearsal(JOB, seen, profile=PROFILE).setup
    assert setup_differences(JOB, seen, engine) == []
    refused = seen._replace(setup=(seen.setup[0], seen.setup[1]._replace(status=255, output="Invalid\nargument")))
    (told,) = setup_differences(JOB, refused, engine)
    assert told.endswith("-r 10.0.0.11:80 -m: kernel (255, 'Invalid argument'), engine (0, '')")


def test_a_divergence_in_the_set_up_is_told_as_such() -> None:
    found = compare_steps(JOB, [], [], release="linux-x", setup=["set-up: told"])
    assert found.divergence
    assert found.divergence.event == IN_SETUP
    assert found.lines() == ["j: DIFFERENT on linux-x, first in the set-up", "  ! set-up: told"]


def test_a_look_that_was_not_taken_is_no_pass() -> None:
    seen = played(JOB)
    with pytest.raises(ValueError, match="shorter"):
        compare_steps(JOB, steps_of(seen)[:-1], rehearse(JOB, seen, profile=PROFILE), release="linux-x")


def test_a_sent_packet_is_seen_as_one() -> None:
    assert all(isinstance(seen, PacketSeen) for seen in played(JOB).events[:20])
