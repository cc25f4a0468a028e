"""Every scheduler: the loads, buckets and states that an explanation states are those of the fact sheet's examples."""

from __future__ import annotations

import pytest

from lbsim.engine.schedulers import BUILT_IN
from lbsim.explain.kinds import KINDS
from lbsim.explain.scheduler_words import WORDS, candidate_lines, sentences
from lbsim.model.explanation import Candidate, Decision, Explanation, Input
from tests.explain.asking import VIP, config, explain_last, loaded, said, timed, unlike, values
from tests.oracles.picks import lots

A, B, C = "10.0.0.11", "10.0.0.12", "10.0.0.13"


def after(scheduler: str, **dests: tuple[int, int, int]) -> Explanation:
    """The explanation of a SYN that meets these weights and connections."""
    text, script, timeline = loaded(scheduler, **dests)
    return explain_last(text, script, timeline=timeline)


def picked(found: Explanation) -> str | None:
    assert found.decision is not None
    assert found.decision.picked is None or found.dest == found.decision.picked
    return found.decision.picked and found.decision.picked.rpartition(":")[0]


def told(found: Explanation, name: str) -> object:
    assert found.decision is not None
    return found.decision.value(name)


def test_every_scheduler_has_facts_and_words() -> None:
    assert set(KINDS) == set(WORDS) == {*BUILT_IN, "none"}


# Round the list: schedulers.md sections 3.1 and 3.2


def syns(count: int) -> str:
    return "\n".join(f"{i} 203.0.113.{i + 1}:40000 > {VIP} tcp S" for i in range(count))


@pytest.mark.parametrize(
    ("connections", "before", "pick", "words"),
    [
        (1, None, C, "The cursor stood before the head of the list. The first such destination is 10.0.0.13:80"),
        (2, f"{C}:80", B, "The cursor stood at 10.0.0.13:80. The first such destination is 10.0.0.12:80"),
        (4, f"{A}:80", C, "Behind it the list ends, so the search goes on at its head"),
    ],
)
def test_rr_tells_where_its_cursor_stood(connections: int, before: str | None, pick: str, words: str) -> None:
    found = explain_last(config("rr", A, B, C), syns(connections))
    assert list(values(found, "weight")) == [C, B, A], "newest first"
    assert picked(found) == pick
    assert found.decision is not None
    (cursor,) = found.decision.state
    assert (cursor.name, cursor.before, cursor.after) == ("cursor", before, f"{pick}:80")
    assert words in said(found, "scheduler")


def test_rr_passes_over_weight_0() -> None:
    found = explain_last(config("rr", A, f"{B} -w 0"), syns(1))
    assert (picked(found), unlike(found)) == (A, {B: "weight 0"})


def test_rr_with_a_single_destination_takes_it_again() -> None:
    found = explain_last(config("rr", A), syns(2))
    assert "no other destination has a weight and is not overloaded: 10.0.0.11:80 is taken again" in said(
        found, "scheduler"
    )


@pytest.mark.parametrize(
    ("connections", "pick", "lap", "now", "words"),
    [  # "4,3,2 added ABC": lap 1 first, C B A; then the lap for 4: A; for 3: B A; for 2: C B A
        (1, C, 1, 1, "The cursor stood before the head of the list, in the lap for weight 1. The next one of this lap"),
        (
            3,
            A,
            1,
            1,
            "The cursor stood at 10.0.0.12:80, in the lap for weight 1. The next one of this lap is 10.0.0.11:80",
        ),
        (4, A, 1, 4, "the lap for weight 4 begins at the head of the list, and its first one is 10.0.0.11:80"),
        (5, B, 4, 3, "the lap for weight 3 begins at the head of the list, and its first one is 10.0.0.12:80"),
    ],
)
def test_wrr_tells_its_laps(connections: int, pick: str, lap: int, now: int, words: str) -> None:
    found = explain_last(config("wrr", f"{A} -w 4", f"{B} -w 3", f"{C} -w 2"), syns(connections))
    assert picked(found) == pick
    assert (told(found, "lap"), told(found, "top_lap"), told(found, "lap_step")) == (lap, 4, 1)
    assert found.decision is not None
    assert found.decision.state[1].after == now
    weights = {C: 2, B: 3, A: 4}
    assert unlike(found) == {dest: "lap" for dest, weight in weights.items() if weight < now}
    assert words in said(found, "scheduler")


def test_wrr_that_finds_nobody_tells_where_it_stops() -> None:
    """A failed search goes through all laps and leaves the cursor where it stopped."""
    found = explain_last(config("wrr", f"{A} -w 2 -x 1"), syns(2))
    assert (picked(found), unlike(found)) == (None, {A: "overloaded"})
    words = said(found, "scheduler")
    assert "The cursor stood at 10.0.0.11:80, in the lap for weight 1." in words
    assert "No destination is taken by any lap. The search ends at 10.0.0.11:80, in the lap for weight" in words


def test_wrr_without_any_weight_has_no_lap() -> None:
    found = explain_last(config("wrr", f"{A} -w 0"), syns(1))
    assert "All weights are 0, so there is no lap." in said(found, "scheduler")


def test_wrr_with_equal_weights_has_one_lap() -> None:
    found = explain_last(config("wrr", A, B), syns(1))
    assert "There is one lap, for weight 1." in said(found, "scheduler")


# Loads: schedulers.md sections 1.4 and 3.3 to 3.8, the table of situations (active / all)

SITUATION = {"A": (2, 2, 2), "B": (1, 1, 1), "C": (3, 3, 3)}


@pytest.mark.parametrize(
    ("scheduler", "loads", "pick"),
    [  # 257 for each active connection, or one more than the active ones
        ("lc", {C: 771, B: 257, A: 514}, B),
        ("wlc", {C: 771, B: 257, A: 514}, C),
        ("sed", {C: 4, B: 2, A: 3}, C),
        ("nq", {C: 4, B: 2, A: 3}, C),
        ("fo", {C: None, B: None, A: None}, C),
        ("ovf", {C: None, B: None, A: None}, C),
    ],
)
def test_loads_are_those_that_the_scheduler_compares(scheduler: str, loads: dict[str, int], pick: str) -> None:
    found = after(scheduler, **SITUATION)
    assert (picked(found), values(found, "load")) == (pick, loads)
    assert values(found, "active") == {C: 3, B: 1, A: 2}


def test_lc_tells_the_smallest_load() -> None:
    found = after("lc", **SITUATION)
    assert "10.0.0.12:80 has the smallest, 257." in said(found, "scheduler")


def test_an_inactive_connection_weighs_1() -> None:
    """A 4 active of 9: 4 * 256 + 9 = 1033, a quarter of it 258.25; B 1 of 3: 259; C is quiesced."""
    found = after("wlc", A=(4, 4, 9), B=(1, 1, 3), C=(0, 0, 0))
    assert (picked(found), unlike(found)) == (A, {C: "weight 0"})
    assert (values(found, "load")[A], values(found, "load")[B]) == (1033, 259)
    assert values(found, "inactive")[A] == 5
    assert "10.0.0.11:80 has the smallest, 1033/4 = 258.25." in said(found, "scheduler")


def test_the_old_load_counts_an_active_connection_256() -> None:
    """256 * 1 + 0 inactive."""
    text, script, timeline = loaded("lc", A=(1, 1, 1))
    found = explain_last(text, script, timeline=timeline, profile="linux-6.1.0")
    assert values(found, "load") == {A: 256}
    assert "256 x active + inactive" in said(found, "scheduler")


def test_wlc_tells_who_has_as_little() -> None:
    found = explain_last(config("wlc", A, f"{B} -w 5", f"{C} -w 3"), syns(1))
    assert picked(found) == C
    assert "as 10.0.0.12:80 and 10.0.0.11:80 have; of equals the first" in said(found, "scheduler")


def test_sed_counts_the_connection_to_come() -> None:
    """(5 + 1) / 4, (2 + 1) / 2 and (1 + 1) / 1: A and B have 1.5, B is newer."""
    found = after("sed", A=(4, 5, 5), B=(2, 2, 2), C=(1, 1, 1))
    assert (picked(found), values(found, "load")) == (B, {C: 2, B: 3, A: 6})
    assert "10.0.0.12:80 has the smallest, 3/2 = 1.5, as 10.0.0.11:80 has" in said(found, "scheduler")


def test_nq_gives_it_to_who_is_idle() -> None:
    found = after("nq", A=(1, 0, 1), B=(9, 1, 1))
    assert picked(found) == A
    assert "10.0.0.11:80 has none, so it gets the connection at once." in said(found, "scheduler")


def test_nq_without_anybody_idle_does_as_sed() -> None:
    found = after("nq", **SITUATION)
    assert "Each has some, so it is as with sed" in said(found, "scheduler")
    assert "10.0.0.13:80 has the smallest, 4/3 ~ 1.333." in said(found, "scheduler")


def test_fo_takes_the_largest_weight() -> None:
    found = after("fo", A=(2, 0, 0), B=(2, 0, 0), C=(1, 0, 0))
    assert picked(found) == B
    assert "10.0.0.12:80 has weight 2, as 10.0.0.11:80 has" in said(found, "scheduler")


def test_ovf_passes_over_who_has_more_than_its_weight() -> None:
    """A 5 of weight 4 has overflowed, B 2 of weight 2 and C 1 of weight 1 have not."""
    found = after("ovf", A=(4, 5, 5), B=(2, 2, 2), C=(1, 1, 1))
    assert (picked(found), unlike(found)) == (B, {A: "overflowed"})
    assert "10.0.0.12:80 has weight 2." in said(found, "scheduler")


def test_ovf_may_have_nobody_left() -> None:
    found = after("ovf", A=(4, 5, 5), B=(2, 3, 3), C=(1, 2, 2))
    assert (picked(found), found.reason) == (None, "no_dest")
    assert said(found, "scheduler").startswith("ovf takes the largest weight")
    assert "No destination is left. Nobody gets the connection." in said(found, "scheduler")


# Hashes: schedulers.md sections 3.9 to 3.11; the keys, buckets and slots are the tables' there

HASHED = ("192.168.10.11 -w 3", "192.168.10.12 -w 2", "192.168.10.13 -w 1")
HA, HB, HC = "192.168.10.11", "192.168.10.12", "192.168.10.13"


def from_client(client: str, target: str = VIP) -> str:
    return f"0 {client} > {target} tcp S"


@pytest.mark.parametrize(
    ("client", "key", "bucket", "dest"),
    [("10.0.0.1", 0x0A000001, 39, HA), ("10.0.0.3", 0x0A000003, 235, HB), ("203.0.113.7", 0xCB007107, 124, HA)],
)
def test_sh_tells_the_bucket(client: str, key: int, bucket: int, dest: str) -> None:
    found = explain_last(config("sh", *HASHED), from_client(f"{client}:40000"))
    assert (told(found, "key"), told(found, "bucket"), told(found, "port_hashed")) == (key, bucket, False)
    assert (picked(found), told(found, "owner")) == (dest, f"{dest}:80")
    assert values(found, "share") == {HC: 43, HB: 86, HA: 127}
    assert f"client's address: key 0x{key:08x} goes to bucket {bucket} of 256" in said(found, "scheduler")


def test_sh_port_hashes_the_port_too() -> None:
    found = explain_last(config("sh -b sh-port", *HASHED), from_client("10.0.0.1:1024"))
    assert (told(found, "key"), told(found, "bucket"), picked(found)) == (0x0A000401, 73, HB)
    assert "client's address and port" in said(found, "scheduler")
    assert found.decision is not None
    assert found.decision.flags == ("sh-port",)


def sh_without_b(flags: str = "") -> Explanation:
    """B has weight 0: buckets are C B A A A in turns; 10.0.0.10 has bucket 151, which is B's."""
    edit = timed(0, f"ipvsadm -e -t {VIP} -r {HB}:80 -m -w 0")
    return explain_last(config(f"sh{flags}", *HASHED), from_client("10.0.0.10:40000"), timeline=[edit])


def test_sh_without_fallback_refuses_the_clients_of_a_quiesced_destination() -> None:
    found = sh_without_b()
    assert (picked(found), told(found, "bucket"), found.reason) == (None, 151, "no_dest")
    words = said(found, "scheduler")
    assert "This bucket belongs to 192.168.10.12:80, which has weight 0. Without sh-fallback nobody stands in" in words


def test_sh_fallback_tells_what_was_tried() -> None:
    found = sh_without_b(" -b sh-fallback")
    assert (told(found, "tried"), told(found, "tried_dests")) == ((46, 47), (f"{HB}:80", f"{HA}:80"))
    assert picked(found) == HA
    assert (
        "With sh-fallback 2 other buckets are tried, from bucket 46 on. Bucket 47 belongs to 192.168.10.11:80"
        in said(found, "scheduler")
    )


def test_dh_tells_the_bucket_of_the_destination_address() -> None:
    """10.0.0.1 has bucket 39, 39 % 3 == 0 is the newest; each has a third of the buckets."""
    service = "10.0.0.1:80"
    text = config("dh", *HASHED, service=f"-t {service}")
    found = explain_last(text, from_client("203.0.113.7:40000", service))
    assert (told(found, "key"), told(found, "bucket"), picked(found)) == (0x0A000001, 39, HC)
    assert values(found, "share") == {HC: 86, HB: 85, HA: 85}
    assert "dh hashes the packet's destination address: key 0x0a000001 goes to bucket 39" in said(found, "scheduler")


def test_dh_has_nobody_if_the_owner_has_weight_0() -> None:
    """10.0.0.3 has bucket 235, 235 % 3 == 1."""
    service = "10.0.0.3:80"
    text = config("dh", HASHED[0], f"{HB} -w 0", HASHED[2], service=f"-t {service}")
    found = explain_last(text, from_client("203.0.113.7:40000", service))
    assert (picked(found), told(found, "owner")) == (None, f"{HB}:80")
    assert said(found, "scheduler").endswith("which has weight 0. Nobody gets the connection. The list, newest first:")


@pytest.mark.parametrize(
    ("client", "key", "slot", "dest"),
    [("10.0.0.1:1", 0x0A000001, 3711, HB), ("10.0.0.2:1", 0x0A000002, 1884, HA), ("8.8.8.8:1", 0x08080808, 502, HB)],
)
def test_mh_tells_the_slot(client: str, key: int, slot: int, dest: str) -> None:
    found = explain_last(config("mh", *HASHED), from_client(client))
    assert (told(found, "key"), told(found, "slot"), picked(found)) == (key, slot, dest)
    assert values(found, "share") == {HC: 683, HB: 1364, HA: 2046}
    assert f"key 0x{key:08x} goes to slot {slot} of 4093" in said(found, "scheduler")


def test_mh_port_hashes_the_port_too() -> None:
    found = explain_last(config("mh -b mh-port", *HASHED), from_client("10.0.0.1:1024"))
    assert (told(found, "key"), told(found, "slot"), picked(found)) == (0x0A000401, 402, HA)


@pytest.mark.parametrize(
    ("client", "tried", "dest", "words"),
    [
        ("10.0.0.2", (2088,), HC, "the key is hashed again with 1884 added, which goes to slot 2088."),
        (
            "192.168.1.100",
            (2215, 2066),
            HC,
            "the key is hashed again for each try, with 1341, 1342 and so on added, which goes to slots 2215 and 2066.",
        ),
    ],
)
def test_mh_fallback_tells_what_was_tried(client: str, tried: tuple[int, ...], dest: str, words: str) -> None:
    edit = timed(0, f"ipvsadm -e -t {VIP} -r {HA}:80 -m -w 0")
    found = explain_last(config("mh -b mh-fallback", *HASHED), from_client(f"{client}:40000"), timeline=[edit])
    assert (told(found, "tried"), picked(found)) == (tried, dest)
    last = f"Slot {tried[-1]} belongs to {dest}:80, which takes new connections."
    assert f"With mh-fallback {words} {last}" in said(found, "scheduler")


def test_an_empty_table_belongs_to_nobody() -> None:
    found = explain_last(config("mh", f"{HA} -w 0"), from_client("10.0.0.1:1"))
    assert (told(found, "owner"), picked(found)) == (None, None)
    assert "This slot belongs to nobody. Nobody gets the connection." in said(found, "scheduler")


# Caches: schedulers.md sections 3.12 and 3.13


def cached(scheduler: str, *, b: int, then: str = "", a: int = 0) -> Explanation:
    """A and B have weight 2; B is newer and gets the first connections, b of them, and the cache knows it."""
    script = "".join(f"{i} 203.0.113.{i + 1}:40000 > {VIP} tcp S\n" for i in range(b + a + 1))
    timeline = [timed(b + a - 0.5, then)] if then else []
    return explain_last(config(scheduler, f"{A} -w 2", f"{B} -w 2"), script, timeline=timeline)


def test_lblc_gives_an_address_to_whom_wlc_picks() -> None:
    found = cached("lblc", b=0)
    assert (picked(found), told(found, "cached"), values(found, "load")) == (B, None, {B: 0, A: 0})
    assert found.decision is not None
    assert found.decision.state[0].after == f"{B}:80"
    assert "The cache has none for it. So it is as with wlc" in said(found, "scheduler")


def test_lblc_stays_with_it() -> None:
    """B has 2 active connections, which is not more than its weight."""
    found = cached("lblc", b=2)
    assert (picked(found), told(found, "cached"), told(found, "overtaxed")) == (B, f"{B}:80", False)
    assert values(found, "load") == {B: 514, A: 0}
    assert (
        "The cache has 10.0.0.12:80 for it, which is not overtaxed: it has 2 active connections, not more than its "
        "weight 2. So it gets the connection."
    ) in said(found, "scheduler")


def test_lblc_leaves_who_is_overtaxed() -> None:
    """B has 3 of weight 2, A none: less than half of its weight."""
    found = cached("lblc", b=3)
    assert (picked(found), told(found, "overtaxed")) == (A, True)
    assert (
        "The cache has 10.0.0.12:80 for it, which is overtaxed: it has 3 active connections, more than its weight 2, "
        "while 10.0.0.11:80 has 0, fewer than half its weight 2. So it is as with wlc"
    ) in said(found, "scheduler")
    assert "10.0.0.11:80 has the smallest, 0/2 = 0. The cache remembers it." in said(found, "scheduler")


@pytest.mark.parametrize(
    ("then", "words"),
    [
        (f"ipvsadm -e -t {VIP} -r {B}:80 -m -w 0", "which has weight 0."),
        (f"ipvsadm -d -t {VIP} -r {B}:80", "which is no longer there."),
    ],
)
def test_lblc_leaves_who_takes_no_connections(then: str, words: str) -> None:
    found = cached("lblc", b=1, then=then)
    assert (picked(found), told(found, "overtaxed")) == (A, None)
    assert f"The cache has 10.0.0.12:80 for it, {words}" in said(found, "scheduler")


def test_lblcr_begins_a_set() -> None:
    found = cached("lblcr", b=0)
    assert (picked(found), told(found, "members")) == (B, ())
    assert found.decision is not None
    assert found.decision.state[0].after == (f"{B}:80",)
    assert "The cache has no set for it." in said(found, "scheduler")


def test_lblcr_takes_the_least_loaded_member() -> None:
    found = cached("lblcr", b=2)
    assert (picked(found), told(found, "member"), told(found, "overtaxed")) == (B, f"{B}:80", False)
    assert (
        "Its set is 10.0.0.12:80. The least loaded of them per weight, 10.0.0.12:80, is not overtaxed: it has 2 active "
        "connections, not more than its weight 2. So it gets the connection."
    ) in said(found, "scheduler")


def test_lblcr_adds_one_to_the_set() -> None:
    found = cached("lblcr", b=3)
    assert picked(found) == A
    assert found.decision is not None
    assert (found.decision.state[0].before, found.decision.state[0].after) == ((f"{B}:80",), (f"{A}:80", f"{B}:80"))
    assert (
        "The least loaded of them per weight, 10.0.0.12:80, is overtaxed: it has 3 active connections, more than its "
        "weight 2, while 10.0.0.11:80 has 0, fewer than half its weight 2."
    ) in said(found, "scheduler")


@pytest.mark.parametrize("scheduler", ["lblc", "lblcr"])
def test_more_connections_than_weight_alone_are_not_too_many(scheduler: str) -> None:
    """B has 4 of weight 2, and A has 1 of weight 2: 2 * 1 < 2 is false (schedulers.md section 3.12)."""
    text, script, timeline = loaded(scheduler, A=(2, 1, 1), B=(2, 2, 2))
    script += f"\n9 203.0.113.2:50000 > {VIP} tcp S\n10 203.0.113.3:50000 > {VIP} tcp S"
    # A is less loaded, so the cache has it first; with A at weight 0 for a while it has B
    edits = [timed(t, f"ipvsadm -e -t {VIP} -r {A}:80 -m -w {w}") for t, w in ((2.9, 0), (3.1, 2))]
    found = explain_last(text, script, timeline=[*timeline, *edits])
    assert (values(found, "active"), picked(found)) == ({B: 4, A: 1}, B)
    assert (
        "is not overtaxed: it has 4 active connections, more than its weight 2, but no destination of the service has "
        "fewer active connections than half its weight. So it gets the connection."
    ) in said(found, "scheduler")


def test_lblcr_without_a_member_that_takes_connections() -> None:
    found = cached("lblcr", b=1, then=f"ipvsadm -e -t {VIP} -r {B}:80 -m -w 0")
    assert (picked(found), told(found, "member")) == (A, None)
    assert "None of them takes new connections." in said(found, "scheduler")


def test_lblcr_tells_which_member_goes() -> None:
    """The set A B is asked for every few hours and does not change for a day: of equal loads the newest member goes."""
    syns_at = ["0s", "1s", "2s", "3s", "6h", "12h", "18h", "24h", "25h"]
    script = "\n".join(f"{at} 203.0.113.{i + 1}:40000 > {VIP} tcp S" for i, at in enumerate(syns_at))
    found = explain_last(config("lblcr", f"{A} -w 2", f"{B} -w 2"), script)
    assert found.decision is not None
    assert (found.decision.state[0].before, found.decision.state[0].after) == ((f"{A}:80", f"{B}:80"), (f"{B}:80",))
    assert "The set did not change for long, so its most loaded member goes: 10.0.0.11:80." in said(found, "scheduler")


# Lots, and others


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_twos_tells_its_lots(seed: int) -> None:
    """Weights 3, 2, 1 in list order: numbers 0 to 3 fall on the first, 4 and 5 on the second, 6 on the third."""
    found = explain_last(config("twos", f"{A} -w 1", f"{B} -w 2", f"{C} -w 3"), syns(1), seed=seed)
    numbers = lots(seed)
    drawn = [next(numbers) * 7 >> 31 for _ in range(2)]
    fall_on = [f"{C}:80" if n <= 3 else f"{B}:80" if n <= 5 else f"{A}:80" for n in drawn]
    assert (told(found, "total_weight"), told(found, "lots")) == (6, tuple(drawn))
    assert told(found, "drawn") == tuple(fall_on)
    assert found.dest == fall_on[0], "all loads are 0: the first one stays"
    words = f"the numbers {drawn[0]} and {drawn[1]}, drawn from the run's seed, fall on {fall_on[0]} and {fall_on[1]}"
    assert words in said(found, "scheduler")


def test_a_service_without_scheduler_has_nobody() -> None:
    found = explain_last(config("none", A), syns(1))
    assert (picked(found), found.reason) == (None, "no_dest")
    assert "The service has no scheduler. Nobody gets the connection." in said(found, "scheduler")


def test_of_very_many_destinations_the_picked_one_is_shown() -> None:
    """60 destinations: the 40 newest ones and, far behind, the one that sed takes for its weight."""
    dests = [f"10.0.1.{i} -w 1" for i in range(60)]
    dests[3] = "10.0.1.3 -w 9"
    found = explain_last(config("sed", *dests), syns(1))
    assert found.decision is not None
    table = candidate_lines(found.decision)
    assert len(found.decision.candidates) == 60
    assert table[-2].split()[:2] == ["10.0.1.3:80", "9"]
    assert table[-2].endswith("<- picked")
    assert (len(table), table[-1]) == (43, "and 19 more")


def test_mh_fallback_that_meets_an_empty_slot_has_nobody() -> None:
    """Told of a decision as it would be: in a table that is not full an empty slot ends the search."""
    inputs = {"port_hashed": False, "key": 1, "slot": 2, "owner": f"{A}:80", "tried": (7,), "tried_dests": ("",)}
    gone = Candidate(f"{A}:80", 0, 0, 0, 0, 0, 0, None, 1, "weight 0", picked=False)
    decision = Decision("mh", ("mh-fallback",), (gone,), tuple(Input(*one) for one in inputs.items()), (), None)
    assert sentences(decision)[-3:] == [
        "With mh-fallback the key is hashed again with 2 added, which goes to slot 7.",
        "Slot 7 belongs to nobody, which ends the search.",
        "Nobody gets the connection.",
    ]


def test_of_very_many_slots_the_first_ones_are_told() -> None:
    """A search that finds nobody makes 4093 tries, and behind slot 4092 the number that is added begins at 0."""
    tried, ends = tuple(range(100, 100 + 4093)), (f"{A}:80",) * 4093
    inputs = {"port_hashed": False, "key": 1, "slot": 4092, "owner": f"{A}:80", "tried": tried, "tried_dests": ends}
    full = Candidate(f"{A}:80", 1, 0, 1, 1, 1, 1, None, 4093, "overloaded", picked=False)
    decision = Decision("mh", ("mh-fallback",), (full,), tuple(Input(*one) for one in inputs.items()), (), None)
    assert sentences(decision)[-2] == (
        "With mh-fallback the key is hashed again for each try, with 4092, 0 and so on added, which goes to slots "
        "100, 101, 102, 103, 104, 105, 106, 107, ... (4,093 in all)."
    )


def test_a_service_without_destinations_has_nobody() -> None:
    found = explain_last(config("rr"), syns(1))
    assert (picked(found), found.verdict, found.reason) == (None, "REJECT", "no_dest")
    assert said(found, "scheduler") == "The service has no destinations. Nobody gets the connection."


@pytest.mark.parametrize("scheduler", sorted(set(BUILT_IN) - {"mh"}))
def test_nobody_gets_it_if_all_have_weight_0(scheduler: str) -> None:
    found = explain_last(config(scheduler, f"{A} -w 0", f"{B} -w 0"), syns(1))
    assert (picked(found), found.reason, unlike(found)) == (None, "no_dest", {B: "weight 0", A: "weight 0"})
    assert "Nobody gets the connection." in said(found, "scheduler")


@pytest.mark.parametrize("scheduler", sorted(set(BUILT_IN) - {"sh", "mh", "dh"}))
def test_an_overloaded_destination_is_passed_over(scheduler: str) -> None:
    """B takes connections up to the first one, which makes it full; it takes new ones below ceil(3/4) = 1."""
    script = f"0 203.0.113.1:40000 > {VIP} tcp S\n1 203.0.113.2:40000 > {VIP} tcp S\n2 203.0.113.3:40000 > {VIP} tcp S"
    found = explain_last(config(scheduler, A, f"{B} -x 1"), script)
    if scheduler == "lblc":
        assert picked(found) in (A, B), "it keeps a destination that it has in its cache"
    else:
        assert picked(found) == A
    if values(found, "total")[B]:
        assert unlike(found) == {B: "overloaded"}
        assert found.decision is not None
        assert (found.decision.candidates[0].upper, found.decision.candidates[0].relief) == (1, 1)
