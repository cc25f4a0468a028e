"""What differs between two results, and what does not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsim.compare import Part, compare
from lbsim.model.config import Persistence
from lbsim.model.result import Counters, Moment, ServiceOptions
from tests.results import DNS, ORIGIN, SECOND, WEB, A, B, C, Run, entry, web

FIRST, SECOND_CLIENT = "10.1.0.1:40000", "10.1.0.2:40000"


def renumbered(result):
    """The same result with addresses and destinations in reverse order."""
    addresses, dests = len(result.addresses), len(result.destinations)
    columns = dict(result.columns)
    for name in ("src", "dst", "new_src", "new_dst"):
        columns[name] = np.where(columns[name] >= 0, addresses - 1 - columns[name], -1)
    columns["dest"] = np.where(columns["dest"] >= 0, dests - 1 - columns["dest"], -1)
    columns["flow"] = 100 - columns["flow"]
    return replace(result, addresses=result.addresses[::-1], destinations=result.destinations[::-1], columns=columns)


def busy():
    """A run in which everything occurs once."""
    run = web(A, B, C).service(DNS, "sh", ("sh-port",)).dest(A, service=DNS)
    run.connect(FIRST, C).connect(SECOND_CLIENT, B).connect(FIRST, A, service=DNS, sent=1)
    run.packet("10.1.0.3:40000", None, "not_syn").packet("10.1.0.4:1", None, "no_responder", out=True)
    run.moment(5 * SECOND, entry(FIRST, C), entry(SECOND_CLIENT, B))
    run.entries = (entry(FIRST, C, "FIN_WAIT", 100),)
    return run.result()


class TestIdentical:
    def test_a_result_is_identical_with_itself(self):
        assert compare(busy(), busy()).identical

    def test_a_result_without_packets_is_identical_with_itself(self):
        assert compare(web().result(), web().result()).identical

    def test_a_result_without_services_is_identical_with_itself(self):
        assert compare(Run().result(), Run().result()).identical

    def test_only_names_count_not_the_numbers_of_rows(self):
        assert compare(busy(), renumbered(busy())).identical

    def test_where_a_result_comes_from_does_not_count(self):
        kernel = replace(ORIGIN, side="kernel", lane="", kernel="6.1.0-34-cloud-amd64")
        assert compare(busy(), replace(busy(), provenance=kernel)).identical

    def test_it_is_said_in_one_line_with_the_number_of_packets(self):
        assert compare(busy(), busy()).lines() == [
            "a: by-hand, engine (interpreted), linux-6.1.192, seed 7",
            "b: by-hand, engine (interpreted), linux-6.1.192, seed 7",
            # 3 packets for each of the first two, 2 for the third, 2 single ones
            "same traffic: 10 packets",
            "identical",
        ]

    def test_a_kernel_is_named_without_a_lane(self):
        kernel = replace(ORIGIN, side="kernel", lane="", kernel="6.1.0", scenario="")
        assert compare(busy(), replace(busy(), provenance=kernel)).lines()[1] == "b: no scenario, kernel, 6.1.0, seed 7"


def rows(a, b, name, **options):
    """(what, a, b) of each difference of a section."""
    return [(row.what, row.a, row.b) for row in compare(a, b, **options).section(name).rows]


def listing(options=None, **dest):
    """A result that lists one service at 1 s and at the end, with these options, and A changed so."""
    result = web(A).moment(SECOND).result()
    (service,) = result.final.services
    dests = (replace(service.dests[0], **dest),)
    service = replace(service, dests=dests, options=options or ServiceOptions())
    moments = [replace(moment, services=(service,)) for moment in (*result.moments, result.final)]
    return replace(result, moments=tuple(moments[:-1]), final=moments[-1])


PERSISTENT = Persistence(600, 0xFFFFFFFF)


class TestFlows:
    def test_a_flow_that_got_another_destination_is_named_with_both(self):
        a, b = web().connect(FIRST, A).result(), web().connect(FIRST, B).result()
        assert rows(a, b, "flows moved") == [((WEB, FIRST), A, B)]

    def test_a_flow_that_stayed_is_not_named(self):
        a = web().connect(FIRST, A).connect(SECOND_CLIENT, B).result()
        b = web().connect(FIRST, A).connect(SECOND_CLIENT, C).result()
        assert rows(a, b, "flows moved") == [((WEB, SECOND_CLIENT), B, C)]

    def test_a_flow_that_got_no_connection_on_one_side_moved(self):
        a = web().connect(FIRST, A, sent=1, answered=0).result()
        b = web().packet(FIRST, None, "no_dest").result()
        assert rows(a, b, "flows moved") == [((WEB, FIRST), A, None)]

    def test_all_connections_of_a_flow_count_in_their_order(self):
        a = web().packet(FIRST, A, "new").packet(FIRST, B, "rescheduled").result()
        b = web().packet(FIRST, A, "new").packet(FIRST, C, "rescheduled").result()
        assert rows(a, b, "flows moved") == [((WEB, FIRST), f"{A}, {B}", f"{A}, {C}")]

    def test_many_connections_of_a_flow_are_counted(self):
        a, b = web(), web()
        for _ in range(5):
            a.packet(FIRST, A, "new")
            b.packet(FIRST, B, "new")
        expected = ((WEB, FIRST), f"{A}, {A}, {A}, and 2 more", f"{B}, {B}, {B}, and 2 more")
        assert rows(a.result(), b.result(), "flows moved") == [expected]

    def test_a_connection_more_on_one_side_is_a_move(self):
        a = web().packet(FIRST, A, "new").packet(FIRST, A, "known").result()
        b = web().packet(FIRST, A, "new").packet(FIRST, A, "rescheduled").result()
        assert rows(a, b, "flows moved") == [((WEB, FIRST), A, f"{A}, {A}")]

    def test_flows_stand_in_the_order_of_their_first_packet(self):
        a, b = web(), web()
        for client in ("10.1.0.9:1", "10.1.0.1:2", "10.1.0.5:3"):
            a.connect(client, A)
            b.connect(client, B)
        clients = [what[1] for what, *_ in rows(a.result(), b.result(), "flows moved")]
        assert clients == ["10.1.0.9:1", "10.1.0.1:2", "10.1.0.5:3"]

    def test_the_same_ends_under_tcp_and_udp_are_two_flows(self):
        udp = "udp 192.168.1.10:80"

        def run(dest):
            return (
                web()
                .service(udp)
                .dest(A, service=udp)
                .dest(B, service=udp)
                .connect(FIRST, A)
                .connect(FIRST, dest, service=udp)
            )

        assert rows(run(A).result(), run(B).result(), "flows moved") == [((udp, FIRST), A, B)]

    def test_ipv6_ends_are_named_in_brackets(self):
        service, client = "tcp [2001:db8::10]:80", "[2001:db8::1]:40000"

        def run(dest):
            made = Run().service(service).dest("[fd00::11]:80", service=service).dest("[fd00::12]:80", service=service)
            return made.connect(client, dest, service=service).result()

        moved = rows(run("[fd00::11]:80"), run("[fd00::12]:80"), "flows moved")
        assert moved == [((service, client), "[fd00::11]:80", "[fd00::12]:80")]

    def test_rows_are_limited_and_the_count_is_complete(self):
        a, b = web(), web()
        for i in range(30):
            a.connect(f"10.1.0.{i}:1", A)
            b.connect(f"10.1.0.{i}:1", B)
        section = compare(a.result(), b.result(), limit=4).section("flows moved")
        assert (section.total, len(section.rows)) == (30, 4)
        assert section.lines()[0] == "flows moved: 30"
        assert section.lines()[-1] == "  and 26 more"

    #: (client, which destination, does the packet make a connection), both sides of the same packets
    PACKETS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2), st.booleans(), st.booleans()))

    @settings(max_examples=60, deadline=None)
    @given(packets=PACKETS)
    def test_moved_flows_are_those_whose_lists_of_destinations_differ(self, packets):
        names = (A, B, C)
        a, b = web(), web()
        got = {}  # flow -> the destinations of its connections on both sides
        for client, dest_a, dest_b, new_a, new_b in packets:
            name = f"10.1.0.{client}:1"
            lists = got.setdefault(name, ([], []))
            for side, dest, new, made in ((a, dest_a, new_a, lists[0]), (b, dest_b, new_b, lists[1])):
                side.packet(name, names[dest], "new" if new else "known")
                made.extend([names[dest]] * new)
        moved = [name for name, (left, right) in got.items() if left != right]
        found = rows(a.result(), renumbered(b.result()), "flows moved", limit=100)
        assert [what[1] for what, *_ in found] == moved


class TestTraffic:
    def test_the_same_packets_are_the_same_traffic_whoever_answered(self):
        a, b = web().connect(FIRST, A).result(), web().connect(FIRST, B).result()
        assert compare(a, b).same_traffic

    def test_other_times_are_other_traffic(self):
        a, b = web().connect(FIRST, A).result(), web().connect(FIRST, A, at=1).result()
        comparison = compare(a, b)
        assert not comparison.identical
        assert comparison.lines()[2] == "different traffic: 3 packets in a, 3 in b; of the same flows"

    def test_other_flows_are_counted_on_both_sides(self):
        a = web().connect(FIRST, A).connect(SECOND_CLIENT, A).result()
        b = web().connect(FIRST, A).connect("10.1.0.3:1", A).connect("10.1.0.4:1", A).result()
        comparison = compare(a, b)
        assert comparison.flows_only_in == (1, 2)
        expected = "different traffic: 6 packets in a, 9 in b; 1 flow only in a, 2 only in b"
        assert comparison.lines()[2] == expected

    def test_different_traffic_is_not_compared_packet_by_packet(self):
        a, b = web().connect(FIRST, A).result(), web().connect(FIRST, B, sent=3).result()
        assert compare(a, b).section("packets").total == 0

    def test_flows_of_both_are_compared_in_different_traffic_too(self):
        a = web().connect(SECOND_CLIENT, A).connect(FIRST, A).result()
        b = web().connect(FIRST, B).connect("10.1.0.3:1", C).result()
        assert rows(a, b, "flows moved") == [((WEB, FIRST), A, B)]

    def test_a_flow_with_answers_alone_is_named_by_its_answer(self):
        a = web().packet(FIRST, A, "translated", out=True).result()
        b = web().packet(FIRST, A, "no_connection", out=True).result()
        # untranslated, the answer's virtual end is the real server's own
        assert not compare(a, b).same_traffic
        assert compare(a, a).same_traffic

    def test_an_answer_that_nobody_sent_has_no_ends(self):
        result = web().packet(FIRST, None, "no_responder", out=True).result()
        result.columns["src"][:] = -1
        other = replace(result, columns={**result.columns, "reason": result["reason"] + 1 - 1, "dest": result["dest"]})
        other.columns["new_sport"] = result["new_sport"] + 5
        assert rows(result, other, "packets") == [(("0", "tcp ?", FIRST), "NONE no_responder", "NONE no_responder")]


class TestPackets:
    def test_a_forwarded_packet_is_told_with_its_new_header(self):
        a = web().packet(FIRST, A, "new").result()
        b = web().packet(FIRST, B, "new").result()
        expected = (("0", FIRST, WEB), f"FORWARD new {FIRST} > {A}", f"FORWARD new {FIRST} > {B}")
        assert rows(a, b, "packets") == [expected]

    def test_an_answer_runs_from_the_service_to_the_client(self):
        a = web().packet(FIRST, A, "new").packet(FIRST, A, "translated", out=True).result()
        b = web().packet(FIRST, A, "new").packet(FIRST, A, "no_connection", out=True).result()
        told = f"FORWARD translated 192.168.1.10:80 > {FIRST} from {A}"
        assert rows(a, b, "packets") == [(("1", WEB, FIRST), told, f"ROUTE no_connection {A}")]

    def test_answers_of_different_destinations_are_told_apart(self):
        a, b = (web().packet(FIRST, dest, "translated", out=True).result() for dest in (A, B))
        told = f"FORWARD translated 192.168.1.10:80 > {FIRST} from"
        assert rows(a, b, "packets") == [(("0", WEB, FIRST), f"{told} {A}", f"{told} {B}")]

    def test_another_reason_is_a_difference(self):
        a = web().packet(FIRST, None, "not_syn").result()
        b = web().packet(FIRST, None, "no_service").result()
        assert rows(a, b, "packets") == [(("0", FIRST, WEB), "LOCAL not_syn", "LOCAL no_service")]

    @pytest.mark.parametrize("column", ["new_src", "new_sport", "new_dst", "new_dport"])
    def test_every_rewritten_field_counts(self, column):
        a, b = busy(), busy()
        b.columns[column][0] += 1
        assert compare(a, b).section("packets").total == 1

    def test_rows_are_limited_and_the_count_is_complete(self):
        a, b = web().connect(FIRST, A, sent=50).result(), web().connect(FIRST, B, sent=50).result()
        section = compare(a, b, limit=2).section("packets")
        assert (section.total, len(section.rows)) == (51, 2)


class TestShares:
    def test_both_numbers_and_both_parts_are_told(self):
        a = web(A, B).connect(FIRST, A).connect(SECOND_CLIENT, B).result()
        b = web(A, B).connect(FIRST, A).connect(SECOND_CLIENT, A).result()
        assert rows(a, b, "shares") == [((WEB, A), Part(1, 2), Part(2, 2)), ((WEB, B), Part(1, 2), Part(0, 2))]
        assert compare(a, b).section("shares").lines() == [
            "shares: 2",
            f"  {WEB}  {A}  1 (50.0%) | 2 (100.0%)",
            f"  {WEB}  {B}  1 (50.0%) | 0 (0.0%)",
        ]

    def test_a_share_changes_also_when_the_number_does_not(self):
        a = web(A, B).connect(FIRST, A).result()
        b = web(A, B).connect(FIRST, A).connect(SECOND_CLIENT, B).result()
        assert rows(a, b, "shares") == [((WEB, A), Part(1, 1), Part(1, 2)), ((WEB, B), Part(0, 1), Part(1, 2))]

    def test_nothing_of_another_total_is_still_nothing(self):
        a = web(A, B).connect(FIRST, A).result()
        b = web(A, B).connect(FIRST, A).connect(SECOND_CLIENT, A).result()
        assert [what for what, *_ in rows(a, b, "shares")] == [(WEB, A)]

    def test_a_destination_that_one_side_lacks_has_no_value_there(self):
        assert rows(web(A).result(), web(A, B).result(), "shares") == [((WEB, B), None, Part(0, 0))]


class TestCounters:
    def test_services_differ_by_scheduler_and_flags(self):
        a = Run().service(WEB, "rr").result()
        b = Run().service(WEB, "sh", ("sh-port",)).result()
        assert rows(a, b, "services") == [((WEB, "scheduler"), "rr", "sh sh-port")]

    @pytest.mark.parametrize(
        ("a", "b", "field", "values"),
        [
            (ServiceOptions(PERSISTENT), None, "persistence", ("persistent 600", None)),
            (ServiceOptions(PERSISTENT), ServiceOptions(Persistence(60, 0xFFFFFFFF)), "persistence",
             ("persistent 600", "persistent 60")),
            (ServiceOptions(PERSISTENT), ServiceOptions(Persistence(600, 0xFFFFFF00)), "persistence",
             ("persistent 600", "persistent 600 mask 255.255.255.0")),
            (ServiceOptions(PERSISTENT), ServiceOptions(PERSISTENT, "sip"), "persistence",
             ("persistent 600", "persistent 600 pe sip")),
            (None, ServiceOptions(one_packet=True), "one-packet scheduling", ("no", "yes")),
        ],
        ids=["persistence", "timeout", "mask", "engine", "one packet"],
    )  # fmt: skip
    def test_services_differ_by_each_of_their_options(self, a, b, field, values):
        one, other = listing(a), listing(b)
        assert rows(one, other, "services") == [((WEB, field), *values)]
        assert rows(one, other, "tables") == [(("1s", WEB, "", field), *values)]
        assert not compare(one, other).identical
        assert compare(one, one).identical

    def test_options_of_one_service_differ_in_one_line_each(self):
        a, b = listing(ServiceOptions(PERSISTENT)), listing(ServiceOptions(one_packet=True))
        assert compare(a, b).section("services").lines() == [
            "services: 2",
            f"  {WEB}  persistence            persistent 600 | -",
            f"  {WEB}  one-packet scheduling  no             | yes",
        ]

    @pytest.mark.parametrize(
        ("changes", "field", "values"),
        [
            ({"method": "droute"}, "method", ("Masq", "Route")),
            ({"method": "tunnel"}, "method", ("Masq", "Tunnel")),
            ({"upper": 9}, "upper threshold", (0, 9)),
            ({"lower": 5}, "lower threshold", (0, 5)),
        ],
    )
    def test_destinations_differ_by_method_and_thresholds(self, changes, field, values):
        a, b = listing(), listing(**changes)
        assert rows(a, b, "destinations") == [((WEB, A, field), *values)]
        assert rows(a, b, "tables") == [(("1s", WEB, A, field), *values)]
        assert not compare(a, b).identical
        assert compare(b, b).identical

    def test_a_services_counters_are_compared_one_by_one(self):
        a = web(A).connect(FIRST, A).result()
        b = web(A).connect(FIRST, A, answered=3).result()
        # 1 answer against 3, of 100 bytes each
        expected = [((WEB, "out_packets"), 1, 3), ((WEB, "out_bytes"), 100, 300)]
        assert rows(a, b, "services") == expected

    def test_a_service_that_one_side_lacks_is_named_once(self):
        assert rows(web(A).result(), Run().result(), "services") == [((WEB, "service"), "listed", None)]

    def test_every_field_of_a_destination_counts(self):
        a = web(A).result()
        was = a.destinations[0]
        changed = replace(was, present=False, weight=2, active=3, inactive=4, counters=Counters(5, 6, 7, 8, 9))
        b = replace(a, destinations=(changed,))
        assert rows(a, b, "destinations") == [
            ((WEB, A, "present"), "yes", "no"),
            ((WEB, A, "weight"), 1, 2),
            ((WEB, A, "active"), 0, 3),
            ((WEB, A, "inactive"), 0, 4),
            ((WEB, A, "connections"), 0, 5),
            ((WEB, A, "in_packets"), 0, 6),
            ((WEB, A, "out_packets"), 0, 7),
            ((WEB, A, "in_bytes"), 0, 8),
            ((WEB, A, "out_bytes"), 0, 9),
        ]

    def test_a_destination_that_one_side_lacks_is_named_once(self):
        assert rows(web(A).result(), web(A, B).result(), "destinations") == [((WEB, B, "destination"), None, "listed")]

    def test_reasons_are_counted_on_both_sides(self):
        a = web(A).packet(FIRST, None, "not_syn").packet(FIRST, None, "not_syn").result()
        b = web(A).packet(FIRST, None, "not_syn").packet(FIRST, None, "no_dest").result()
        assert rows(a, b, "reasons") == [(("not_syn",), 2, 1), (("no_dest",), 0, 1)]


class TestTables:
    def test_an_entry_that_one_side_lacks_is_told_with_its_moment(self):
        a = web().moment(5 * SECOND, entry(FIRST, A)).result()
        b = web().moment(5 * SECOND).result()
        expected = (("5s", "TCP", FIRST, "192.168.1.10:80"), f"{A} ESTABLISHED 890s", None)
        assert rows(a, b, "connection entries") == [expected]

    @pytest.mark.parametrize(
        ("other", "text"),
        [
            (entry(FIRST, B), f"{B} ESTABLISHED 890s"),
            (entry(FIRST, A, "FIN_WAIT"), f"{A} FIN_WAIT 890s"),
            (entry(FIRST, A, expires=1), f"{A} ESTABLISHED 1s"),
        ],
        ids=["destination", "state", "time left"],
    )
    def test_an_entry_with_other_values_is_told_with_both(self, other, text):
        a = web().moment(SECOND, entry(FIRST, A)).result()
        b = web().moment(SECOND, other).result()
        assert [(mine, theirs) for _, mine, theirs in rows(a, b, "connection entries")] == [
            (f"{A} ESTABLISHED 890s", text)
        ]

    def test_the_order_of_entries_does_not_count(self):
        one, other = entry(FIRST, A), entry(SECOND_CLIENT, B)
        assert compare(web().moment(0, one, other).result(), web().moment(0, other, one).result()).identical

    def test_two_entries_of_the_same_ends_are_compared_both(self):
        a = web().moment(0, entry(FIRST, A), entry(FIRST, A, "CLOSE", 9)).result()
        b = web().moment(0, entry(FIRST, A)).result()
        assert [(mine, theirs) for _, mine, theirs in rows(a, b, "connection entries")] == [(f"{A} CLOSE 9s", None)]

    def test_entries_at_the_end_are_compared_too(self):
        a, b = web(), web()
        a.entries = (entry(FIRST, A),)
        assert rows(a.result(), b.result(), "connection entries")[0][0][0] == "end"

    def test_a_moment_that_one_side_lacks_is_named_and_not_compared(self):
        a = web().moment(SECOND, entry(FIRST, A)).moment(2 * SECOND).result()
        b = web().moment(2 * SECOND).moment(3 * SECOND, entry(FIRST, B)).result()
        assert rows(a, b, "moments") == [(("1s",), "shown", None), (("3s",), None, "shown")]
        assert rows(a, b, "connection entries") == []

    def test_ends_at_different_times_are_a_difference(self):
        a = web().result()
        b = replace(a, final=replace(a.final, at=1_500_000_000))
        assert rows(a, b, "moments") == [(("end",), "0s", "1.5s")]

    def test_listings_are_compared_value_by_value(self):
        a = web(A).moment(SECOND).result()
        run = web(A)
        run.dests[WEB, A] |= {"weight": 0, "active": 2, "inactive": 3}
        b = run.moment(SECOND).result()
        assert rows(a, b, "tables") == [
            (("1s", WEB, A, "weight"), 1, 0),
            (("1s", WEB, A, "active"), 0, 2),
            (("1s", WEB, A, "inactive"), 0, 3),
        ]

    def test_services_and_destinations_that_one_listing_lacks_are_named(self):
        a = web(A, B).service(DNS).moment(SECOND).result()
        b = web(A).moment(SECOND).result()
        assert rows(a, b, "tables") == [
            (("1s", DNS, "", "service"), "listed", None),
            (("1s", WEB, B, "destination"), "listed", None),
        ]

    def test_the_kernels_order_of_destinations_counts_because_schedulers_walk_it(self):
        a, b = web(A, B).result(), web(B, A).result()
        assert rows(a, b, "tables") == [(("end", WEB, "", "order"), f"{B}, {A}", f"{A}, {B}")]

    def test_a_long_order_is_cut(self):
        names = [f"10.0.0.{i}:80" for i in range(8)]
        a, b = web(*names).result(), web(*reversed(names)).result()
        # newest first
        newest = "10.0.0.7:80, 10.0.0.6:80, 10.0.0.5:80, 10.0.0.4:80, 10.0.0.3:80, and 3 more"
        assert rows(a, b, "tables")[0][1] == newest

    def test_rows_are_limited_and_the_count_is_complete(self):
        many = Moment(0, (), tuple(entry(f"10.1.0.1:{i}", A) for i in range(50)))
        a = replace(web().result(), moments=(many,))
        b = replace(a, moments=(replace(many, connections=()),))
        section = compare(a, b).section("connection entries")
        assert (section.total, len(section.rows)) == (50, 20)
        assert section.lines()[-1] == "  and 30 more"


class TestTexts:
    A_AND_B = (
        web(A, B).connect(FIRST, A, sent=1, answered=0).result(),
        web(A, B).connect(FIRST, B, sent=1, answered=0).result(),
    )

    def test_lines_tell_everything_in_aligned_columns(self):
        assert compare(*self.A_AND_B).lines()[2:] == [
            "same traffic: 1 packet",
            "shares: 2",
            f"  {WEB}  {A}  1 (100.0%) | 0 (0.0%)",
            f"  {WEB}  {B}  0 (0.0%)   | 1 (100.0%)",
            "flows moved: 1",
            f"  {WEB}  {FIRST}  {A} | {B}",
            "packets: 1",
            f"  0  {FIRST}  {WEB}  FORWARD new {FIRST} > {A} | FORWARD new {FIRST} > {B}",
            "destinations: 6",
            f"  {WEB}  {A}  connections  1   | 0",
            f"  {WEB}  {A}  in_packets   1   | 0",
            f"  {WEB}  {A}  in_bytes     100 | 0",
            f"  {WEB}  {B}  connections  0   | 1",
            f"  {WEB}  {B}  in_packets   0   | 1",
            f"  {WEB}  {B}  in_bytes     0   | 100",
        ]

    def test_what_one_side_lacks_is_a_dash(self):
        lines = compare(web(A).result(), web(A, B).result()).section("destinations").lines()
        assert lines == ["destinations: 1", f"  {WEB}  {B}  destination  - | listed"]

    def test_the_dict_survives_json_and_names_its_columns(self):
        document = json.loads(json.dumps(compare(*self.A_AND_B).to_dict()))
        assert document["differences"]["flows moved"] == {
            "total": 1,
            "rows": [{"service": WEB, "client": FIRST, "a": A, "b": B}],
        }
        assert document["differences"]["shares"]["rows"][0] == {
            "service": WEB,
            "destination": A,
            "a": {"connections": 1, "total": 1},
            "b": {"connections": 0, "total": 1},
        }

    def test_the_dict_has_every_section_also_without_a_difference(self):
        document = compare(busy(), busy()).to_dict()
        assert document["identical"] is True
        assert {name: section["total"] for name, section in document["differences"].items()} == {
            "services": 0,
            "shares": 0,
            "flows moved": 0,
            "packets": 0,
            "reasons": 0,
            "destinations": 0,
            "moments": 0,
            "tables": 0,
            "connection entries": 0,
        }

    def test_the_dict_says_where_both_come_from(self):
        document = compare(*self.A_AND_B).to_dict()
        assert document["a"]["provenance"]["kernel"] == "linux-6.1.192"
        assert document["b"]["packets"] == 1

    def test_both_sides_swapped_give_both_values_swapped(self):
        a, b = self.A_AND_B
        forth, back = compare(a, b), compare(b, a)
        for section in forth.sections:
            swapped = {(row.what, row.b, row.a) for row in back.section(section.name).rows}
            assert {(row.what, row.a, row.b) for row in section.rows} == swapped
