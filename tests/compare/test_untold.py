"""A side that does not tell everything, as a real kernel: what is compared then, what is not, and that this is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lbsim.compare import compare
from lbsim.model.result import UNTOLD, ConnRow, Counters, Moment, Result, ServiceOptions
from lbsim.model.verdict import SEEN, Verdict, reason_named
from tests.results import SECOND, WEB, A, B, C, Run, entry, web

FIRST, OTHER = "10.1.0.1:40000", "10.1.0.2:40000"
SEEN_AS = {reason.verdict: reason for reason in reversed(SEEN)}  # nobody listens on the director
TICK = SECOND // 250


def as_seen(result: Result, **verdicts: Verdict) -> Result:
    """The result as it looks from outside; ``verdicts``: what a reason's packets look like, if not as they are."""
    codes = result["reason"].copy()
    looks = result["verdict"].copy()
    dests = result["dest"].copy()
    for name, verdict in verdicts.items():
        looks[result["reason"] == reason_named(name).code] = verdict
    for verdict, reason in SEEN_AS.items():
        codes[looks == verdict] = reason.code
    dests[looks != Verdict.FORWARD] = -1
    columns = {**result.columns, "reason": codes, "verdict": looks, "dest": dests}
    return replace(result, columns=columns, moments=tuple(map(uncounted, result.moments)))


def uncounted(moment: Moment) -> Moment:
    """The moment without counters."""
    rows = (
        replace(row, counters=UNTOLD, dests=tuple(replace(dest, counters=UNTOLD) for dest in row.dests))
        for row in moment.services
    )
    return replace(moment, services=tuple(rows))


def busy() -> Run:
    """Connections, and a packet for each way in which one can fail."""
    run = web(A, B).connect(FIRST, A).connect(OTHER, B)
    run.packet("10.1.0.3:1", None, "no_dest").packet("10.1.0.4:1", None, "not_syn")
    run.packet("10.1.0.5:1", A, "dest_removed").packet("10.1.0.6:1", None, "no_connection", out=True)
    return run.packet("10.1.0.7:1", None, "no_responder", out=True)


def rows(a: Result, b: Result, name: str) -> list[tuple[tuple[str, ...], object, object]]:
    """(what, a, b) of each difference of a section."""
    return [(row.what, row.a, row.b) for row in compare(a, b).section(name).rows]


class TestReasons:
    def test_what_is_only_seen_is_identical_with_what_is_told_as_well(self) -> None:
        told = busy().result()
        for a, b in ((told, as_seen(told)), (as_seen(told), told)):
            comparison = compare(a, b)
            assert comparison.identical
            assert comparison.not_compared == ("reasons",)
            assert comparison.section("reasons").total == 0

    def test_it_is_said_that_reasons_were_not_compared(self) -> None:
        told = busy().result()
        assert compare(told, as_seen(told)).lines()[2:] == [
            "same traffic: 11 packets",
            "not compared: reasons",
            "identical",
        ]
        assert compare(told, as_seen(told)).to_dict()["not_compared"] == ["reasons"]

    def test_two_that_only_show_are_compared_by_what_they_show(self) -> None:
        told = busy().result()
        assert compare(as_seen(told), as_seen(told)).not_compared == ()
        lost = as_seen(told, no_dest=Verdict.DROP)
        assert {row[0] for row in rows(as_seen(told), lost, "reasons")} == {("seen_nothing",), ("seen_icmp",)}
        assert rows(as_seen(told), lost, "packets") == [
            (("6", "10.1.0.3:1", WEB), "REJECT seen_icmp", "DROP seen_nothing"),
        ]

    @pytest.mark.parametrize("looks", [Verdict.LOCAL, Verdict.REJECT, Verdict.DROP])
    def test_the_directors_own_stack_may_answer_or_not(self, looks: Verdict) -> None:
        told = busy().result()
        assert compare(told, as_seen(told, not_syn=looks)).identical

    @pytest.mark.parametrize(
        ("reason", "looks"),
        [
            ("not_syn", Verdict.ROUTE),
            ("no_dest", Verdict.DROP),
            ("no_dest", Verdict.LOCAL),
            ("dest_removed", Verdict.REJECT),
            ("no_connection", Verdict.DROP),
            ("known", Verdict.DROP),
            ("known", Verdict.ROUTE),
        ],
    )
    def test_another_look_is_a_difference(self, reason: str, looks: Verdict) -> None:
        told = busy().result()
        assert not compare(told, as_seen(told, **{reason: looks})).identical

    def test_what_lbsim_does_not_model_is_never_identical(self) -> None:
        told = web().packet(FIRST, None, "masqueraded").result()
        for looks in (Verdict.FORWARD, Verdict.DROP):
            assert not compare(told, as_seen(told, masqueraded=looks)).identical

    @pytest.mark.parametrize("column", ["dest", "new_src", "new_sport", "new_dst", "new_dport"])
    def test_every_new_end_of_a_forwarded_packet_counts(self, column: str) -> None:
        told = busy().result()
        seen = as_seen(told)
        values = seen[column].copy()
        values[0] = 1 if values[0] != 1 else 0
        (difference,) = rows(told, replace(seen, columns={**seen.columns, column: values}), "packets")
        assert difference[0] == ("0", FIRST, WEB)

    def test_who_was_meant_to_get_a_lost_packet_cannot_be_seen(self) -> None:
        told = web(A, B).packet(FIRST, A, "dest_removed").result()
        seen = as_seen(told)
        assert (told["dest"][0], seen["dest"][0]) == (0, -1)
        assert compare(told, seen).identical


class TestFlows:
    def test_a_flow_that_went_elsewhere_is_named(self) -> None:
        a, b = web().connect(FIRST, A).result(), web().connect(FIRST, B).result()
        assert rows(a, as_seen(b), "flows moved") == [((WEB, FIRST), A, B)]

    def test_a_new_connection_to_the_same_destination_cannot_be_seen(self) -> None:
        a = web().packet(FIRST, A, "new").packet(FIRST, A, "rescheduled").result()
        assert rows(a, as_seen(a), "flows moved") == []

    def test_every_turn_of_a_flow_counts_in_its_order(self) -> None:
        a, b = Run().service(), Run().service()
        for run, turns in ((a, (A, B, A)), (b, (A, C, A))):
            for name in (A, B, C):
                run.dest(name)
            run.packet(OTHER, C, "new")
            for i, dest in enumerate(turns):
                run.packet(FIRST, dest, "rescheduled" if i else "new").packet(FIRST, dest, "known")
                run.packet(OTHER, C, "known").packet(FIRST, dest, "translated", out=True)
        assert rows(a.result(), as_seen(b.result()), "flows moved") == [
            ((WEB, FIRST), f"{A}, {B}, {A}", f"{A}, {C}, {A}"),
        ]


class TestCounters:
    def test_counters_in_mid_run_are_not_compared_and_that_is_said(self) -> None:
        told = web(A).connect(FIRST, A).moment(5 * SECOND).result()
        comparison = compare(told, as_seen(told))
        assert comparison.identical
        assert comparison.not_compared == ("reasons", "counters at 5s")

    def test_weights_and_activity_in_mid_run_are(self) -> None:
        a = web(A).dest(B, 1, active=1).moment(5 * SECOND).result()
        b = web(A).dest(B, 2, active=2).moment(5 * SECOND).result()
        found = [row for row in rows(a, as_seen(b), "tables") if row[0][0] == "5s"]
        assert found == [(("5s", WEB, B, "weight"), 1, 2), (("5s", WEB, B, "active"), 1, 2)]

    def removed(self, told: Result, **changes: object) -> Result:
        """The result in which the counters of A are not told."""
        first, *others = told.destinations
        return replace(told, destinations=(replace(first, counters=UNTOLD, **changes), *others))

    def test_of_a_destination_that_is_gone_presence_and_weight_are_compared(self) -> None:
        told = web(A, B).connect(FIRST, A).connect(OTHER, B).remove(A).result()
        gone = self.removed(told, active=-1, inactive=-1)
        comparison = compare(told, gone)
        assert comparison.identical
        assert comparison.not_compared == (f"counters of {A} of {WEB}",)
        assert rows(told, self.removed(told, weight=9), "destinations") == [((WEB, A, "weight"), 1, 9)]
        assert rows(told, self.removed(told, present=True), "destinations") == [((WEB, A, "present"), "no", "yes")]

    def test_shares_of_a_service_with_unknown_counters_are_not_compared(self) -> None:
        a = web(A, B).connect(FIRST, A).connect(OTHER, B).result()
        b = web(A, B).connect(FIRST, A).connect(OTHER, A).result()
        assert rows(a, b, "shares") != []
        assert rows(a, self.removed(b), "shares") == []

    def test_the_counters_of_the_others_are(self) -> None:
        told = web(A, B).connect(FIRST, B).result()
        first, second = self.removed(told).destinations
        wrong = replace(told, destinations=(first, replace(second, counters=Counters(7, 2, 1, 200, 100))))
        assert rows(told, wrong, "destinations") == [((WEB, B, "connections"), 1, 7)]

    def test_of_a_destination_that_came_back_the_last_listing_is_compared(self) -> None:
        told = web(A, B).connect(FIRST, A).result()
        (service,) = told.final.services
        newest, oldest = service.dests
        other = replace(oldest, active=5, counters=replace(oldest.counters, connections=9))
        final = replace(told.final, services=(replace(service, dests=(newest, other)),))
        assert rows(told, replace(self.removed(told), final=final), "tables") == [
            (("end", WEB, A, "active"), 0, 5),
            (("end", WEB, A, "connections"), 1, 9),
        ]

    def test_counters_that_the_last_listing_does_not_tell_are_not_compared(self) -> None:
        told = web(A, B).connect(FIRST, A).result()
        (service,) = told.final.services
        newest, oldest = service.dests
        final = replace(told.final, services=(replace(service, dests=(newest, replace(oldest, counters=UNTOLD))),))
        comparison = compare(told, replace(self.removed(told), final=final))
        assert comparison.identical
        assert comparison.not_compared == (f"counters of {A} of {WEB}",)


class TestTables:
    def listing(self, options: ServiceOptions | None, upper: int | None, lower: int | None) -> Result:
        """A result that ends with these options of its service and these thresholds of A."""
        result = web(A).result()
        (service,) = result.final.services
        dests = (replace(service.dests[0], upper=upper, lower=lower),)
        return replace(result, final=replace(result.final, services=(replace(service, dests=dests, options=options),)))

    def test_thresholds_that_are_not_told_are_not_compared_and_that_is_said(self) -> None:
        a, b = self.listing(ServiceOptions(), 9, 5), self.listing(ServiceOptions(), None, None)
        for comparison in (compare(a, b), compare(b, a), compare(b, b)):
            assert comparison.identical
            assert comparison.not_compared == ("thresholds",)

    def test_options_that_are_not_told_are_not_compared_and_that_is_said(self) -> None:
        a, b = self.listing(ServiceOptions(one_packet=True), 0, 0), self.listing(None, 0, 0)
        for comparison in (compare(a, b), compare(b, a), compare(b, b)):
            assert comparison.identical
            assert comparison.not_compared == ("persistence and one-packet scheduling",)

    def test_of_a_destination_whose_counters_are_not_told_the_method_differs_once(self) -> None:
        told = web(A).result()
        (service,) = told.final.services
        routed = replace(service, dests=(replace(service.dests[0], method="droute"),))
        gone = replace(told.destinations[0], counters=UNTOLD)
        seen = replace(told, final=replace(told.final, services=(routed,)), destinations=(gone,))
        assert rows(told, seen, "destinations") == [((WEB, A, "method"), "Masq", "Route")]
        assert rows(told, seen, "tables") == []


def shown(*entries: ConnRow, took: int = 0, active: int = 0) -> Result:
    """A result that ends with these entries, in tables that took so long to read."""
    made = web(A)
    made.dests[WEB, A]["active"] = active
    made.entries = entries
    made.moment(5 * SECOND, *entries)
    result = made.result()
    (moment,) = result.moments
    return replace(result, moments=(replace(moment, took=took),), final=replace(result.final, took=took))


class TestReading:
    @pytest.mark.parametrize(("took", "read"), [(TICK, 889), (TICK, 891), (TICK, 890), (2 * SECOND, 887)])
    def test_seconds_that_pass_while_tables_are_read_are_no_difference(self, took: int, read: int) -> None:
        a, b = shown(entry(FIRST, A, expires=890)), shown(entry(FIRST, A, expires=read), took=took)
        assert compare(a, b).identical
        assert compare(b, a).identical

    @pytest.mark.parametrize(("took", "read"), [(0, 889), (TICK, 888), (TICK, 892), (2 * SECOND, 886)])
    def test_more_seconds_are(self, took: int, read: int) -> None:
        a, b = shown(entry(FIRST, A, expires=890)), shown(entry(FIRST, A, expires=read), took=took)
        assert [row[0] for row in rows(a, b, "connection entries")] == [
            ("5s", "TCP", FIRST, "192.168.1.10:80"),
            ("end", "TCP", FIRST, "192.168.1.10:80"),
        ]

    @pytest.mark.parametrize("changed", [entry(FIRST, B, expires=890), entry(FIRST, A, "FIN_WAIT", expires=890)])
    def test_another_destination_or_state_is(self, changed: ConnRow) -> None:
        assert len(rows(shown(entry(FIRST, A, expires=890)), shown(changed, took=TICK), "connection entries")) == 2

    def test_how_long_it_took_is_said(self) -> None:
        comparison = compare(shown(), shown(took=TICK))
        assert comparison.not_compared == ("what passed while tables were read, at most 0.004s",)

    def test_an_entry_in_its_last_second_may_be_gone(self) -> None:
        last = shown(entry(FIRST, A, expires=0), active=1)
        assert compare(last, shown(took=TICK)).identical
        assert compare(shown(took=TICK), last).identical
        assert compare(shown(entry(FIRST, A, expires=0), took=TICK, active=1), shown()).identical

    def test_an_entry_before_its_last_second_may_not(self) -> None:
        found = compare(shown(entry(FIRST, A, expires=1), active=1), shown(took=TICK))
        assert found.section("connection entries").total == 2
        assert [row.what for row in found.section("destinations").rows] == [(WEB, A, "active")]
        assert [row.what for row in found.section("tables").rows] == [("5s", WEB, A, "active")]

    def test_no_more_connections_may_be_gone_than_were_in_their_last_second(self) -> None:
        found = compare(shown(entry(FIRST, A, expires=0), active=2), shown(took=TICK))
        assert [(row.a, row.b) for row in found.section("destinations").rows] == [(2, 0)]

    def test_without_time_that_passed_an_entry_in_its_last_second_counts(self) -> None:
        assert compare(shown(entry(FIRST, A, expires=0)), shown()).section("connection entries").total == 2


def test_results_of_columns_without_packets_tell_alike() -> None:
    empty = web().result()
    assert compare(empty, as_seen(empty)).not_compared == ()
    assert not np.any(empty["reason"])
