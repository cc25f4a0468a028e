"""The page that a colleague reads."""

from __future__ import annotations

import re

from lbsim.model.finding import Finding
from lbsim.model.outcome import Outcome
from lbsim.report import summary
from tests.results import SECOND, WEB, A, B, Run, entry, web


def page(run, *, description="", outcomes=(), figures=(), **changes):
    return summary.markdown(
        run.result(**changes),
        run.config(),
        scenario_name="by-hand",
        description=description,
        outcomes=outcomes,
        figures=figures,
    )


def chapter(text, title):
    """The lines below a heading, up to the next one."""
    body = text.split(f"## {title}\n", 1)[1]
    return [line for line in body.split("\n## ", 1)[0].splitlines() if line]


def test_the_page_begins_with_name_and_description():
    text = page(web(A), description="Three *web* servers.\n\nSecond paragraph.\n")
    assert text.startswith("# by-hand\n\nThree *web* servers.\n\nSecond paragraph.\n\n")


def test_a_service_is_a_table_with_a_total():
    run = web(A, B).connect("10.1.0.1:1", A).remove(B)
    assert chapter(page(run), f"{WEB} rr") == [
        "| destination | connections | packets | bytes | share | active | inactive | weight |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        f"| {A} | 1 | 3 | 300 | 100.0% | 0 | 0 | 1 |",
        f"| {B} removed | 0 | 0 | 0 | 0.0% | 0 | 0 | 1 |",
        "| **total** | **1** | **3** | **300** | **100.0%** | **0** | **0** | **2** |",
    ]


def test_of_many_destinations_20_are_shown_and_the_others_counted_above_the_total():
    run = web(*(f"10.0.{i // 250}.{i % 250}:80" for i in range(1020)))
    rows = chapter(page(run), f"{WEB} rr")
    assert len(rows) == 2 + 20 + 2
    assert rows[-2].startswith("| and 1,000 more |")


def test_a_service_without_destinations_says_so():
    assert chapter(page(Run().service(WEB)), f"{WEB} rr") == ["No destinations."]


def test_reasons_are_explained():
    run = web(A).packet("10.1.0.1:1", None, "ftp_data_source")
    assert chapter(page(run), "Packets by reason") == [
        "| reason | packets | verdict | when |",
        "| --- | ---: | --- | --- |",
        "| ftp_data_source | 1 | LOCAL | From a client with source port 20: never scheduled. |",
    ]


def test_a_run_without_packets_says_so():
    assert chapter(page(web(A)), "Packets by reason") == ["No packets."]


def test_remarks_are_told():
    text = page(
        web(A),
        findings=(Finding("note", "cfg:2", "left | right"),),
        left_out={"arp": 3},
        damage="cut in\npacket 17",
    )
    assert chapter(text, "Findings") == ["* note: cfg:2: left \\| right"]
    assert chapter(text, "Left out of the traffic")[-1] == "| arp | 3 |"
    assert chapter(text, "Damage in the traffic") == ["cut in packet 17"]


def test_expectations_are_counted_and_listed():
    outcomes = [Outcome(True, "share", "ok", "s.yaml:3"), Outcome(False, "sequence", "a | b", "s.yaml:4")]
    assert chapter(page(web(A), outcomes=outcomes), "Expectations: 1 of 2 met") == [
        "|  | expectation | found | where |",
        "| --- | --- | --- | --- |",
        "| pass | share | ok | s.yaml:3 |",
        "| **FAIL** | sequence | a \\| b | s.yaml:4 |",
    ]


def test_tables_at_a_moment_are_shown_as_typed_text():
    run = web(A).moment(5 * SECOND, entry("10.1.0.1:40000", A))
    assert chapter(page(run), "Tables at 5s") == [
        "```text",
        "Prot LocalAddress:Port Scheduler Flags",
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
        "TCP  192.168.1.10:80 rr",
        "  -> 10.0.0.11:80                 Masq    1      0          0",
        "```",
        "1 connection entry.",
        "```text",
        "pro expire state       source         virtual         destination",
        "TCP 14:50  ESTABLISHED 10.1.0.1:40000 192.168.1.10:80 10.0.0.11:80",
        "```",
    ]


def test_long_tables_at_a_moment_are_cut_and_counted():
    run = web(*(f"10.0.0.{i}:80" for i in range(30)))
    run.moment(SECOND, *(entry(f"10.1.0.1:{i}", "10.0.0.1:80") for i in range(45)))
    shown = chapter(page(run), "Tables at 1s")
    assert [line for line in shown if line.startswith("and ")] == ["and 11 more", "and 25 more"]


def test_what_was_run_is_told():
    run = web(A, B).connect("10.1.0.1:1", A, at=2 * SECOND)
    assert chapter(page(run), "What was run") == [
        "|  |  |",
        "| --- | --- |",
        "| packets | 3 in 2s |",
        "| answered by | engine interpreted |",
        "| kernel | linux-6.1.192, HZ 250, time 0 at tick 1000 |",
        "| scenario | by-hand, seed 7, digest 0123456789abcdef |",
        "| config | 3 commands |",
        "| lbsim | 0.1.0 |",
    ]


def test_figures_are_embedded_with_a_caption():
    text = page(web(A), figures=["share.png", "topology.png", "mine.png"])
    assert re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", text) == [
        ("Each destination's part of the connections, and its ideal", "share.png"),
        ("Clients, director and destinations; wider lines carried more packets", "topology.png"),
        ("mine", "mine.png"),
    ]


def test_written_figures_are_linked_relative_to_the_page(tmp_path):
    run = web(A)
    path = summary.write(
        run.result(),
        run.config(),
        scenario_name="by-hand",
        description="",
        outcomes=(),
        folder=tmp_path,
        figures=[tmp_path / "pictures" / "first.png"],
    )
    assert path == tmp_path / "summary.md"
    assert "(pictures/first.png)" in path.read_text(encoding="utf-8")
