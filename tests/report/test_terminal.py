"""A result as text, line by line."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from lbsim.model.finding import Finding
from lbsim.model.outcome import Outcome
from lbsim.report.terminal import plain_text, render
from tests.results import SECOND, WEB, A, B, C, Run, entry, web


def lines_of(result, *, width=100, expectations=()):
    return plain_text(result, expectations=expectations, width=width).splitlines()


def block(result, head, **options):
    """The lines below a heading, up to the next empty one."""
    lines = lines_of(result, **options)
    start = lines.index(head) + 1
    end = lines.index("", start) if "" in lines[start:] else len(lines)
    return lines[start:end]


def test_the_head_says_what_was_run():
    run = web(A).connect("10.1.0.1:1", A, at=1_500_000_000)
    run.entries = (entry("10.1.0.1:1", A),)
    assert lines_of(run.result())[:3] == [
        "by-hand",
        "3 packets in 1.5s, 1 connection entry at the end",
        "engine (interpreted), linux-6.1.192, seed 7, lbsim 0.1.0",
    ]


def test_a_service_is_a_table_of_its_destinations_with_a_total():
    run = web(A, B, C).connect("10.1.0.1:1", A).connect("10.1.0.1:2", A).connect("10.1.0.1:3", B, sent=11)
    run.remove(C)
    run.dests[WEB, A] |= {"active": 1, "inactive": 1, "weight": 2}
    # A: 2 connections of 3 packets, B: 1 of 12; 100 bytes each
    assert block(run.result(), f"{WEB} rr") == [
        "destination           conns  packets  bytes   share  active  inactive  weight",
        "-----------------------------------------------------------------------------",
        "10.0.0.11:80              2        6    600   66.7%       1         1       2",
        "10.0.0.12:80              1       12  1,200   33.3%       0         0       1",
        "10.0.0.13:80 removed      0        0      0    0.0%       0         0       1",
        "-----------------------------------------------------------------------------",
        "total                     3       18  1,800  100.0%       1         1       4",
    ]


def test_where_columns_do_not_fit_names_stand_on_lines_of_their_own():
    run = web(A).connect("10.1.0.1:1", A)
    assert block(run.result(), f"{WEB} rr", width=60) == [
        "destination",
        "  conns  packets  bytes   share  active  inactive  weight",
        "---------------------------------------------------------",
        "10.0.0.11:80",
        "      1        3    300  100.0%       0         0       1",
        "---------------------------------------------------------",
        "total",
        "      1        3    300  100.0%       0         0       1",
    ]


@pytest.mark.parametrize("width", [40, 57, 80, 200])
def test_no_line_is_wider_than_the_terminal(width):
    run = web(A, "10.222.222.222:65535").connect("10.1.0.1:40000", A)
    run.moment(SECOND, entry("10.1.0.1:40000", "10.222.222.222:65535"))
    assert max(map(len, lines_of(run.result(), width=width))) <= width


@pytest.mark.parametrize("width", [24, 40, 80])
def test_nothing_is_lost_in_a_narrow_terminal(width):
    name = "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535"
    service = "tcp [2001:db8::10]:80"
    run = Run().service(service).dest(name, service=service)
    text = plain_text(run.result(), width=width)
    assert name in text.replace("\n", "")


def test_ipv6_addresses_are_not_taken_for_markup():
    service = "tcp [2001:db8::10]:80"
    run = Run().service(service).dest("[fd00::11]:80", service=service)
    run.connect("[2001:db8::1]:40000", "[fd00::11]:80", service=service)
    assert block(run.result(), f"{service} rr")[2].startswith("[fd00::11]:80  ")


def test_of_many_destinations_20_are_shown_and_the_others_counted():
    run = web(*(f"10.0.{i // 250}.{i % 250}:80" for i in range(1020)))
    shown = block(run.result(), f"{WEB} rr")
    # title, rule, 20 destinations, the rest, rule, total
    assert len(shown) == 25
    assert shown[22] == "and 1,000 more"


def test_a_service_without_destinations_says_so():
    assert block(Run().service(WEB, "rr").result(), f"{WEB} rr") == ["no destinations"]


def test_a_deleted_service_is_marked():
    run = web(A)
    run.services.clear()
    assert f"{WEB} (deleted)" in lines_of(run.result())


def test_reasons_are_listed_with_numbers_and_verdicts():
    run = web(A).connect("10.1.0.1:1", A, sent=11, answered=3).packet("10.1.0.1:2", None, "not_syn")
    assert block(run.result(), "packets by reason") == [
        "10  known       FORWARD",
        " 3  translated  FORWARD",
        " 1  new         FORWARD",
        " 1  not_syn     LOCAL",
    ]


def test_a_run_without_packets_says_so():
    assert lines_of(web(A).result())[-1] == "no packets"


def test_packets_that_were_left_out_are_listed():
    result = web(A).result(left_out={"arp": 1, "no_service": 2000})
    assert block(result, "left out of the traffic") == ["arp: 1 packet", "no_service: 2,000 packets"]


def test_damage_is_told():
    result = web(A).result(damage="the file ends in packet 17")
    assert block(result, "damage in the traffic") == ["the file ends in packet 17"]


def test_findings_are_listed_with_their_severity():
    finding = Finding("warning", "nat.cfg:3", "weight 0 everywhere", "nothing can connect")
    result = web(A).result(findings=(finding,))
    assert block(result, "findings") == ["warning: nat.cfg:3: weight 0 everywhere (nothing can connect)"]


def test_without_remarks_there_are_no_headings_for_them():
    lines = lines_of(web(A).result())
    assert not {"findings", "left out of the traffic", "damage in the traffic"} & set(lines)


def test_tables_at_a_moment_are_listed_as_ipvsadm_does():
    run = web(A).moment(1_500_000_000, entry("10.1.0.1:40000", A, expires=59))
    assert block(run.result(), "tables at 1.5s") == [
        "Prot LocalAddress:Port Scheduler Flags",
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
        "TCP  192.168.1.10:80 rr",
        "  -> 10.0.0.11:80                 Masq    1      0          0",
        "1 connection entry",
        "pro expire state       source         virtual         destination",
        "TCP 00:59  ESTABLISHED 10.1.0.1:40000 192.168.1.10:80 10.0.0.11:80",
    ]


def test_long_tables_are_cut_and_counted():
    run = web(*(f"10.0.0.{i}:80" for i in range(30)))
    run.moment(SECOND, *(entry(f"10.1.0.1:{i}", "10.0.0.1:80") for i in range(45)))
    shown = block(run.result(), "tables at 1s")
    # 1 service and 30 destinations, 20 shown; 45 entries, 20 shown
    assert [line for line in shown if line.startswith("and ")] == ["and 11 more", "and 25 more"]


def test_a_moment_without_entries_has_no_titles_for_them():
    assert block(web(A).moment(SECOND).result(), "tables at 1s")[-1] == "0 connection entries"


def test_expectations_are_told_one_per_line_and_counted():
    outcomes = [
        Outcome(True, "share of [fd00::11]:80", "33.3%", "nat.lbsim.yaml:30"),
        Outcome(False, "sequence", f"{A} at place 3, expected {B}", "nat.lbsim.yaml:31"),
        Outcome(True, "reasons", "", ""),
    ]
    assert block(web(A).result(), "expectations: 2 of 3 met", expectations=outcomes) == [
        "pass  share of [fd00::11]:80: 33.3%",
        f"FAIL  sequence: {A} at place 3, expected {B} (nat.lbsim.yaml:31)",
        "pass  reasons",
    ]


def test_the_same_result_gives_the_same_text():
    run = web(A, B).connect("10.1.0.1:1", A).moment(SECOND)
    assert plain_text(run.result()) == plain_text(run.result())


def printed(**options):
    out = io.StringIO()
    Console(file=out, width=80, legacy_windows=False, _environ={}, **options).print(render(web(A).result()))
    return out.getvalue()


def test_a_terminal_gets_colours():
    assert "\x1b[1m" in printed(force_terminal=True, color_system="standard")


def test_what_is_no_terminal_gets_none():
    assert "\x1b" not in printed()


def test_the_text_is_ascii_if_the_names_are():
    assert plain_text(web(A).connect("10.1.0.1:1", A).moment(SECOND).result()).isascii()
