"""What reports show: rows, their order, their number."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from lbsim import Director
from lbsim.model.config import Persistence
from lbsim.model.result import Counters, DestRow, Moment, ServiceOptions, ServiceRow
from lbsim.report.tables import SHOWN, by_address, connection_lines, listing_lines, reason_rows, service_tables
from tests.results import DNS, SECOND, WEB, A, B, C, Run, entry, web


@pytest.mark.parametrize(
    "ordered",
    [
        ["9.0.0.1:80", "10.0.0.2:80", "10.0.0.10:80", "10.0.0.10:443", "192.168.0.1:1"],
        ["10.0.0.1:80", "[2001:db8::9]:80", "[2001:db8::10]:80", "[fd00::1]:80"],
        ["tcp 10.0.0.9:80", "tcp 10.0.0.10:80", "tcp [2001:db8::1]:80", "udp 10.0.0.1:53"],
        ["fwm 2", "fwm 10", "fwm 1 ipv6", "tcp 10.0.0.1:80"],
        ["10.0.0.1:80", "[fd00::1]:80", "nonsense"],
    ],
    ids=["numbers", "families", "services", "marks", "what is no address comes last"],
)
def test_names_are_sorted_by_what_they_mean(ordered):
    shuffled = random.Random(1).sample(ordered, len(ordered))
    assert sorted(shuffled, key=by_address) == ordered


def test_a_line_has_the_counters_of_its_destination():
    run = web(A, B).connect("10.1.0.1:1", A, sent=4, answered=2)
    run.dests[WEB, A] |= {"active": 1, "inactive": 2, "weight": 5}
    line = service_tables(run.result())[0].lines[0]
    assert (line.dest, line.connections, line.packets, line.bytes) == (A, 1, 6, 600)
    assert (line.active, line.inactive, line.weight) == (1, 2, 5)


def test_the_total_adds_up_all_lines():
    run = web(A, B).connect("10.1.0.1:1", A).connect("10.1.0.1:2", B, sent=5)
    total = service_tables(run.result())[0].total
    assert (total.connections, total.packets, total.bytes, total.weight) == (2, 9, 900, 2)


@pytest.mark.parametrize(("weight", "removed", "state"), [(1, False, ""), (0, False, "quiesced"), (0, True, "removed")])
def test_a_destination_that_gets_nothing_new_is_marked(weight, removed, state):
    run = Run().service().dest(A, weight)
    if removed:
        run.remove(A)
    assert service_tables(run.result())[0].lines[0].state == state


def test_destinations_stand_by_address():
    tables = service_tables(web(C, A, B).result())
    assert [line.dest for line in tables[0].lines] == [A, B, C]


def test_services_stand_by_protocol_and_address():
    tables = service_tables(Run().service(DNS).service(WEB).result())
    assert [table.service for table in tables] == [WEB, DNS]


def test_a_deleted_service_has_no_scheduler():
    run = web(A)
    run.services.clear()
    assert service_tables(run.result())[0].scheduler == ""


def test_a_scheduler_is_shown_with_its_flags():
    tables = service_tables(Run().service(WEB, "sh", ("sh-fallback", "sh-port")).result())
    assert tables[0].scheduler == "sh sh-fallback sh-port"


def many(number):
    run = web(*(f"10.0.{i // 250}.{i % 250}:80" for i in range(number)))
    return run.connect("10.1.0.1:1", f"10.0.0.{number - 1}:80", sent=1, answered=0)


def test_as_many_destinations_as_can_be_read_are_all_shown():
    table = service_tables(many(SHOWN).result())[0]
    assert (len(table.lines), table.hidden) == (SHOWN, 0)


def test_of_more_destinations_the_busiest_are_shown_and_the_others_counted():
    table = service_tables(many(SHOWN + 5).result())[0]
    assert (len(table.lines), table.hidden) == (SHOWN, 5)
    # the last one has the only connection, the others follow by address
    assert [line.dest for line in table.lines[:2]] == [f"10.0.0.{SHOWN + 4}:80", "10.0.0.0:80"]


def test_the_total_counts_hidden_destinations_too():
    assert service_tables(many(SHOWN + 5).result())[0].total.weight == SHOWN + 5


def test_reasons_stand_by_frequency():
    run = web(A).packet("10.1.0.1:1", None, "no_dest")
    run.packet("10.1.0.1:2", None, "not_syn").packet("10.1.0.1:3", None, "not_syn")
    assert [(reason.name, count) for reason, count in reason_rows(run.result())] == [("not_syn", 2), ("no_dest", 1)]


def test_a_listing_has_the_columns_of_ipvsadm():
    run = Run().service(WEB, "sh", ("sh-fallback", "sh-port")).dest(B, 10, active=3, inactive=21).dest(A)
    lines, hidden = listing_lines(run.moment(SECOND).moments[0].services)
    assert hidden == 0
    assert lines == [
        "Prot LocalAddress:Port Scheduler Flags",
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
        "TCP  192.168.1.10:80 sh (sh-fallback,sh-port)",
        "  -> 10.0.0.11:80                 Masq    1      0          0",
        "  -> 10.0.0.12:80                 Masq    10     3          21",
    ]


def test_a_listing_has_methods_and_services_by_mark_as_ipvsadm_has_them():
    dest = DestRow("[fd00::11]:0", 1, 2, 3, Counters(), "tunnel")
    lines, _ = listing_lines([ServiceRow("fwm 6 ipv6", "lc", (), Counters(), (dest,))])
    assert lines[2:] == ["FWM  6 IPv6 lc", "  -> [fd00::11]:0                 Tunnel  1      2          3"]


CONFIG = """
ipvsadm -A -t 192.168.1.10:80 -s rr -p 600 -M 255.255.255.0
ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.11 -m -x 100 -y 80
ipvsadm -A -t 192.168.1.10:443 -s sh -b sh-port -p
ipvsadm -A -u 192.168.1.10:53 -s rr -o
ipvsadm -A -u 192.168.1.10:5060 -s rr -p 60 --pe sip -o
ipvsadm -A -t [2001:db8::10]:80 -s rr -p 60 -M 64
ipvsadm -a -t [2001:db8::10]:80 -r [fd00::11]:80 -m
ipvsadm -A -f 7 -6 -s rr -p 60 -M 56
"""


def test_a_listing_has_persistence_mask_engine_and_one_packet_scheduling_as_ipvsadm_has_them():
    director = Director(CONFIG)
    lines, _ = listing_lines(director.services())
    assert [line for line in lines[2:] if not line.startswith("  -> ")] == [
        "TCP  192.168.1.10:80 rr persistent 600 mask 255.255.255.0",
        "TCP  192.168.1.10:443 sh (sh-port) persistent 360",
        "UDP  192.168.1.10:53 rr ops",
        "UDP  192.168.1.10:5060 rr persistent 60 pe sip ops",
        "TCP  [2001:db8::10]:80 rr persistent 60 mask 64",
        "FWM  7 IPv6 rr persistent 60 mask 56",
    ]
    # there the first line is the version's, and those of destinations end in blanks
    assert sorted(lines) == sorted(line.rstrip() for line in director.ipvsadm("-Ln").splitlines()[1:])


def test_a_service_is_headed_by_its_options_too():
    run = web(A)
    options = ServiceOptions(Persistence(600, 0xFFFFFF00), one_packet=True)
    (row,) = run.result().final.services
    for shown, told in (("rr persistent 600 mask 255.255.255.0 ops", options), ("rr", None)):
        made = run.result(final=Moment(0, (replace(row, options=told),), ()))
        assert service_tables(made)[0].scheduler == shown


def test_options_that_are_not_told_are_not_shown():
    lines, _ = listing_lines([ServiceRow("tcp 192.168.1.10:80", "rr", (), Counters(), (), None)])
    assert lines[2:] == ["TCP  192.168.1.10:80 rr"]


def test_a_long_listing_is_cut_and_counted():
    lines, hidden = listing_lines(many(SHOWN + 5).moment(SECOND).moments[0].services)
    # two lines of titles; the service's own line counts as one
    assert (len(lines), hidden) == (2 + SHOWN, 6)


def test_entries_have_the_columns_of_ipvsadm_and_minutes_left():
    lines, _ = connection_lines([entry("10.1.0.1:40000", A, expires=899), entry("10.1.0.2:5", B, "FIN_WAIT", 5)])
    assert lines == [
        "pro expire state       source         virtual         destination",
        "TCP 14:59  ESTABLISHED 10.1.0.1:40000 192.168.1.10:80 10.0.0.11:80",
        "TCP 00:05  FIN_WAIT    10.1.0.2:5     192.168.1.10:80 10.0.0.12:80",
    ]


def test_many_entries_are_cut_and_counted():
    moment = Moment(0, (), tuple(entry(f"10.1.0.1:{i}", A) for i in range(SHOWN + 7)))
    lines, hidden = connection_lines(moment.connections)
    assert (len(lines), hidden) == (1 + SHOWN, 7)
