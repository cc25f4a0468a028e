"""A kernel's answer as a result: each column from bytes that scapy makes, each table from a tool's text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet as ScapyPacket
from scapy.packet import Raw

from lbsim import __version__
from lbsim.compare import compare
from lbsim.config import parse, parse_command
from lbsim.errors import LbsimError
from lbsim.kernel.job import (
    CLIENT,
    DIRECTOR,
    Arrival,
    Command,
    CommandSeen,
    Event,
    Job,
    Observation,
    Packet,
    PacketSeen,
    Seen,
    ShowSeen,
    server,
)
from lbsim.kernel.result import commands_of, engine_result, result_of
from lbsim.kernel.scenario_job import COUNTERS_SETTLE, job_of
from lbsim.model.config import AddDest, AddService, Persistence, TimedCommand
from lbsim.model.finding import Finding
from lbsim.model.result import UNTOLD, ConnRow, Counters, Destination, DestRow, Result, ServiceOptions
from lbsim.model.trace import Trace
from lbsim.model.verdict import Verdict, reason_of
from lbsim.traffic import script
from tests.kernel.played import LATE, played

VIP, GUEST, A, B = "192.168.1.10", "198.51.100.1", "10.0.0.11", "10.0.0.12"
SECOND = 10**9
CONFIG = f"""\
ipvsadm -A -t {VIP}:80 -s rr
ipvsadm -a -t {VIP}:80 -r {A}:8080 -m
ipvsadm -a -t {VIP}:80 -r {B}:8080 -m -w 3
ipvsadm -A -u {VIP}:53 -s rr
ipvsadm -a -u {VIP}:53 -r {A}:53 -m
"""
HTTP, DNS = f"tcp {VIP}:80", f"udp {VIP}:53"
REQUEST = f"0s {GUEST}:1001 > {VIP}:80 tcp S"
REPLIED = f"{REQUEST}\n10ms {VIP}:80 > {GUEST}:1001 tcp SA"
HEAD = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port\n"
CONNS_HEAD = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"


def listed(*lines: str) -> str:
    """A listing as ipvsadm prints it."""
    return HEAD + "".join(f"{line}\n" for line in lines)


TABLES = listed(f"TCP  {VIP}:80 rr", f"  -> {B}:8080  Masq 3 1 0", f"  -> {A}:8080  Masq 1 0 2", f"UDP  {VIP}:53 rr",
                f"  -> {A}:53  Masq 1 0 0")  # fmt: skip
STATS = listed(f"TCP  {VIP}:80  3 9 8 900 800", f"  -> {B}:8080  1 4 4 400 400", f"  -> {A}:8080  2 5 4 500 400",
               f"UDP  {VIP}:53  0 0 0 0 0", f"  -> {A}:53  0 0 0 0 0")  # fmt: skip
LOOK = ShowSeen(0, 0, TABLES, STATS, CONNS_HEAD)


def asked(text: str = REQUEST, config: str = CONFIG, **options: object) -> tuple[Trace, Job]:
    """A trace and its job."""
    trace = script.parse(text)
    return trace, job_of("j", parse(config), trace, **options)


def answered(job: Job, *packets: PacketSeen, look: ShowSeen = LOOK, said: tuple[int, str] = (0, "")) -> Observation:
    """What was seen: the packets in their order, the same look whenever the tables are looked at."""
    rows = iter(packets)

    def seen(event: Event) -> Seen:
        if isinstance(event, Packet):
            return next(rows)
        return CommandSeen(event.at, event.argv, *said) if isinstance(event, Command) else look._replace(at=event.at)

    setup = tuple(CommandSeen(0, argv, 0, "") for argv in job.setup)
    return Observation("j", "6.1.192", 4096, setup, tuple(map(seen, job.events)))


def outcome(
    *left: tuple[str, ScapyPacket], text: str = REQUEST, sent: ScapyPacket | None = None, config: str = CONFIG
) -> Result:
    """The result of the last packet of a script, of which this was seen to leave."""
    trace, job = asked(text, config)
    last = PacketSeen(
        0, tuple(Arrival(where, bytes(packet), 0) for where, packet in left), None if sent is None else bytes(sent)
    )
    return result_of(trace, job, answered(job, *[PacketSeen(0)] * (len(trace) - 1), last))


def fate(result: Result) -> tuple[str, str]:
    """Verdict and reason of the last packet."""
    return Verdict(int(result["verdict"][-1])).name, reason_of(int(result["reason"][-1])).name


def ends(result: Result, src: str = "new_src", dst: str = "new_dst") -> tuple[str, str]:
    """The ends of the last packet, by default those with which it left."""
    new = src.startswith("new")
    ports = ("new_sport", "new_dport") if new else ("sport", "dport")
    one, other = (
        result.endpoint(int(result[a][-1]), int(result[p][-1])) for a, p in zip((src, dst), ports, strict=True)
    )
    return one, other


def dest_of(result: Result) -> tuple[str, str] | None:
    """Service and destination of the last packet."""
    i = int(result["dest"][-1])
    return (result.destinations[i].service, result.destinations[i].dest) if i >= 0 else None


SYN = TCP(sport=1001, dport=80, flags="S")
FORWARDED = IP(src=GUEST, dst=B, ttl=63) / TCP(sport=1001, dport=8080, flags="S")
SYN_ACK = IP(src=B, dst=GUEST) / TCP(sport=8080, dport=1001, flags="SA")
TRANSLATED = IP(src=VIP, dst=GUEST, ttl=63) / TCP(sport=80, dport=1001, flags="SA")


# Packets


def test_a_translated_request_has_the_destination_and_the_ends_that_were_seen() -> None:
    result = outcome((server(B), FORWARDED))
    assert fate(result) == ("FORWARD", "seen_translated")
    assert dest_of(result) == (HTTP, f"{B}:8080")
    assert ends(result) == (f"{GUEST}:1001", f"{B}:8080")


def test_the_destination_is_the_next_hop_though_the_target_is_kept() -> None:
    result = outcome((server(B), IP(src=GUEST, dst=VIP, ttl=63) / TCP(sport=1001, dport=8080, flags="S")))
    assert dest_of(result) == (HTTP, f"{B}:8080")
    assert ends(result) == (f"{GUEST}:1001", f"{VIP}:8080")


@pytest.mark.parametrize(("where", "port"), [(server("?"), 8080), (server(B), 8081)])
def test_a_request_that_reaches_no_destination_has_none(where: str, port: int) -> None:
    left = IP(src=GUEST, dst="10.0.0.99", ttl=63) / TCP(sport=1001, dport=port, flags="S")
    result = outcome((where, left))
    assert (fate(result), dest_of(result)) == (("FORWARD", "seen_translated"), None)
    assert ends(result)[1] == f"10.0.0.99:{port}"


def test_a_translated_reply_is_of_the_destination_that_sent_it() -> None:
    result = outcome((CLIENT, TRANSLATED), text=REPLIED, sent=SYN_ACK)
    assert fate(result) == ("FORWARD", "seen_translated")
    assert dest_of(result) == (HTTP, f"{B}:8080")
    assert ends(result) == (f"{VIP}:80", f"{GUEST}:1001")
    assert ends(result, "src", "dst") == (f"{B}:8080", f"{GUEST}:1001")


def test_a_reply_that_keeps_its_source_is_not_translated() -> None:
    left = IP(src=B, dst=GUEST, ttl=63) / TCP(sport=8080, dport=1001, flags="SA")
    result = outcome((CLIENT, left), text=REPLIED, sent=SYN_ACK)
    assert (fate(result), dest_of(result)) == (("ROUTE", "seen_untranslated"), None)
    assert (result["new_src"][-1], result["new_dst"][-1], result["new_sport"][-1]) == (-1, -1, 0)


def test_a_masqueraded_reply_is_not_translated() -> None:
    left = IP(src="192.168.1.1", dst=GUEST, ttl=63) / TCP(sport=8080, dport=1001, flags="SA")
    assert fate(outcome((CLIENT, left), text=REPLIED, sent=SYN_ACK)) == ("ROUTE", "seen_untranslated")


def test_a_packet_to_somebody_else_is_not_translated() -> None:
    left = IP(src=GUEST, dst=B, ttl=63) / SYN
    assert fate(outcome((server(B), left), text=f"0s {GUEST}:1001 > {B}:80 tcp S")) == ("ROUTE", "seen_untranslated")


def test_a_reply_that_nobody_sends_has_no_sender() -> None:
    result = outcome(text=REPLIED, sent=Raw(b""))
    assert fate(result) == ("NONE", "no_responder")
    assert (result["src"][-1], result["sport"][-1]) == (-1, 0)


def test_of_a_packet_that_vanishes_nothing_is_seen() -> None:
    result = outcome()
    assert (fate(result), dest_of(result)) == (("DROP", "seen_nothing"), None)


def test_an_icmp_error_to_the_sender_is_a_rejection() -> None:
    error = IP(src=VIP, dst=GUEST) / ICMP(type=3, code=3) / IP(src=GUEST, dst=VIP) / SYN
    assert fate(outcome((CLIENT, error))) == ("REJECT", "seen_icmp")


def test_an_icmp_error_to_a_real_server_is_a_rejection() -> None:
    error = IP(src="10.0.0.1", dst=B) / ICMP(type=11, code=0) / SYN_ACK
    assert fate(outcome((server(B), error), text=REPLIED, sent=SYN_ACK)) == ("REJECT", "seen_icmp")


def test_a_reset_to_the_sender_is_an_answer_of_the_directors_own_stack() -> None:
    reset = IP(src=VIP, dst=GUEST) / TCP(sport=80, dport=1001, flags="RA", ack=1)
    assert fate(outcome((CLIENT, reset))) == ("LOCAL", "seen_answer")


# over NAT the packet says which destination it was; else it is the one that the director has for the service
@pytest.mark.parametrize(
    ("destination", "port"), [(f"{VIP}:8080 -m", 8080), (f"{VIP}:80 -g", 80), ("127.0.0.1:80 -g", 80)]
)
def test_what_a_program_on_the_director_gets_was_delivered(destination: str, port: int) -> None:
    left = IP(src=GUEST, dst=VIP) / TCP(sport=1001, dport=port, flags="S")
    result = outcome((DIRECTOR, left), config=f"{CONFIG}ipvsadm -a -t {VIP}:80 -r {destination}\n")
    assert fate(result) == ("LOCAL", "seen_delivered")
    assert ends(result) == (f"{GUEST}:1001", f"{VIP}:{port}")
    assert dest_of(result) == (HTTP, destination.split(maxsplit=1)[0])


@pytest.mark.parametrize(
    ("destination", "port", "seen"),
    [
        (f"{VIP}:8080 -m", 8080, ("FORWARD", "seen_translated")),
        (f"{VIP}:80 -g", 80, ("FORWARD", "seen_translated")),
        ("10.0.0.13:80 -g", 80, ("ROUTE", "seen_untranslated")),
    ],
)
def test_what_a_program_on_the_director_answers_is_its_destinations(
    destination: str, port: int, seen: tuple[str, str]
) -> None:
    sent = IP(src=VIP, dst=GUEST) / TCP(sport=port, dport=1001, flags="SA")
    left = IP(src=VIP, dst=GUEST) / TCP(sport=80, dport=1001, flags="SA")
    config = f"{CONFIG}ipvsadm -a -t {VIP}:80 -r {destination}\n"
    result = outcome((CLIENT, left), text=REPLIED, sent=sent, config=config)
    assert fate(result) == seen
    assert dest_of(result) == (None if seen[0] == "ROUTE" else (HTTP, destination.partition(" ")[0]))


def test_what_a_program_on_the_director_gets_without_ipvs_is_of_no_destination() -> None:
    left = IP(src=GUEST, dst=VIP) / TCP(sport=1001, dport=81, flags="S")
    result = outcome((DIRECTOR, left), text=f"0s {GUEST}:1001 > {VIP}:81 tcp S")
    assert (fate(result), dest_of(result)) == (("LOCAL", "seen_delivered"), None)


def test_a_packet_that_is_sent_on_counts_whatever_else_leaves() -> None:
    reset = IP(src=VIP, dst=GUEST) / TCP(sport=80, dport=1001, flags="RA", ack=1)
    assert fate(outcome((CLIENT, reset), (server(B), FORWARDED))) == ("FORWARD", "seen_translated")


def test_what_was_fed_in_is_that_of_the_trace() -> None:
    trace, job = asked(f"0s {GUEST}:1001 > {VIP}:80 tcp S\n20ms {GUEST}:1002 > {VIP}:53 udp len=7")
    result = result_of(trace, job, answered(job, PacketSeen(5), PacketSeen(20_000_009)))
    assert result["time"].tolist() == [0, 20_000_000]
    assert result["length"].tolist() == [40, 35]
    assert (result["proto"].tolist(), result["direction"].tolist()) == ([6, 17], [0, 0])
    assert ends(result, "src", "dst") == (f"{GUEST}:1002", f"{VIP}:53")
    assert result["flow"].tolist() == [0, 1]


def test_an_answer_of_a_real_server_is_outward() -> None:
    assert outcome(text=f"{REQUEST}\n5ms {A}:8080 > {GUEST}:1001 tcp A")["direction"].tolist() == [0, 1]


def test_packets_after_the_end_are_not_there() -> None:
    trace, job = asked(REPLIED, until=5_000_000)
    assert len(result_of(trace, job, answered(job, PacketSeen(0)))) == 1


def test_ipv6_is_seen_as_well() -> None:
    config = "ipvsadm -A -t [2001:db8:1::10]:80 -s rr\nipvsadm -a -t [2001:db8:1::10]:80 -r [fd00::11]:80 -m\n"
    trace, job = asked("0s [2001:db8::1]:1001 > [2001:db8:1::10]:80 tcp S", config)
    left = IPv6(src="2001:db8::1", dst="fd00::11", hlim=63) / SYN
    seen = answered(
        job, PacketSeen(0, (Arrival(server("fd00::11"), bytes(left), 0),)), look=LOOK._replace(listing=HEAD)
    )
    result = result_of(trace, job, seen)
    assert (fate(result)[0], dest_of(result)) == ("FORWARD", ("tcp [2001:db8:1::10]:80", "[fd00::11]:80"))
    assert ends(result) == ("[2001:db8::1]:1001", "[fd00::11]:80")


def test_udp_is_told_from_tcp() -> None:
    left = IP(src=GUEST, dst=A, ttl=63) / UDP(sport=1002, dport=53) / Raw(b"x")
    result = outcome((server(A), left), text=f"0s {GUEST}:1002 > {VIP}:53 udp len=1")
    assert dest_of(result) == (DNS, f"{A}:53")


# Tables


def tables(config: str = CONFIG, look: ShowSeen = LOOK, **options: object) -> Result:
    """The result of a kernel that shows the same tables all the time."""
    trace, job = asked(config=config, **options)
    return result_of(trace, job, answered(job, PacketSeen(0), look=look), moments=[SECOND])


def test_services_are_in_the_order_of_their_addresses_and_destinations_in_that_of_the_kernel() -> None:
    lines = TABLES.splitlines()
    turned = listed(*lines[6:8], *lines[3:6])
    for listing in (TABLES, turned):
        rows = tables(look=LOOK._replace(listing=listing)).final.services
        assert [(row.service, [dest.dest for dest in row.dests]) for row in rows] == [
            (HTTP, [f"{B}:8080", f"{A}:8080"]),
            (DNS, [f"{A}:53"]),
        ]


def test_scheduler_flags_weights_and_activity_are_those_of_the_listing() -> None:
    row = tables(look=LOOK._replace(listing=TABLES.replace(":80 rr", ":80 sh (sh-port)"))).final.services[0]
    assert (row.scheduler, row.flags) == ("sh", ("sh-port",))
    assert [(dest.weight, dest.active, dest.inactive) for dest in row.dests] == [(3, 1, 0), (1, 0, 2)]


def test_the_counters_of_the_end_are_those_that_have_settled() -> None:
    trace, job = asked()
    seen = answered(job, PacketSeen(0))
    *others, last = seen.events
    assert isinstance(last, ShowSeen)
    early = [one._replace(stats="") if isinstance(one, ShowSeen) else one for one in others]
    settled = last._replace(listing=HEAD, conns=f"{CONNS_HEAD}TCP C6336401 03E9 C0A8010A 0050 0A00000C 1F90 NONE 0\n")
    result = result_of(trace, job, seen._replace(events=(*early, settled)))
    web = result.final.services[0]
    assert web.counters == Counters(3, 9, 8, 900, 800)
    assert [dest.counters for dest in web.dests] == [Counters(1, 4, 4, 400, 400), Counters(2, 5, 4, 500, 400)]
    assert result.final.connections == ()


def test_the_end_is_that_of_the_run_and_not_when_the_counters_have_settled() -> None:
    trace, job = asked(moments=[7 * SECOND])
    assert job.events[-1].at == 7 * SECOND + COUNTERS_SETTLE
    assert result_of(trace, job, answered(job, PacketSeen(0))).final.at == 7 * SECOND


def test_counters_in_mid_run_are_not_told() -> None:
    (moment,) = tables(moments=[SECOND], until=2 * SECOND).moments
    assert {row.counters for row in moment.services} == {UNTOLD}
    assert moment.services[0].dests[0] == DestRow(f"{B}:8080", 3, 1, 0, UNTOLD, upper=None, lower=None)


def test_options_are_those_of_the_listing_and_thresholds_are_not_told() -> None:
    optioned = TABLES.replace(":80 rr", ":80 rr persistent 600 mask 255.255.255.0").replace(":53 rr", ":53 rr ops")
    web, dns = tables(look=LOOK._replace(listing=optioned)).final.services
    assert web.options == ServiceOptions(Persistence(600, 0xFFFFFF00))
    assert dns.options == ServiceOptions(one_packet=True)
    assert {(dest.upper, dest.lower) for row in (web, dns) for dest in row.dests} == {(None, None)}


def test_only_the_moments_that_are_wanted_are_shown() -> None:
    result = tables(moments=[SECOND // 2, SECOND], until=2 * SECOND)
    assert [moment.at for moment in result.moments] == [SECOND]


def test_a_wanted_moment_at_the_end_is_shown_too() -> None:
    result = tables(until=SECOND)
    assert ([moment.at for moment in result.moments], result.final.at) == ([SECOND], SECOND)


def test_a_moment_tells_until_when_the_tables_were_read() -> None:
    trace, job = asked()
    seen = answered(job, PacketSeen(0))
    events = [
        one._replace(at=one.at + 7, until=one.at + 40) if isinstance(one, ShowSeen) else one for one in seen.events
    ]
    final = result_of(trace, job, seen._replace(events=tuple(events))).final
    assert (final.at, final.took) == (0, 40)


def test_entries_are_those_of_the_end_in_the_order_of_their_ends() -> None:
    rows = [f"TCP {client} 03E9 C0A8010A 0050 0A00000C 1F90 SYN_RECV 59\n" for client in ("C6336402", "C6336401")]
    final = tables(look=LOOK._replace(conns=CONNS_HEAD + "".join(rows))).final
    assert final.connections == tuple(
        ConnRow("TCP", f"198.51.100.{n}:1001", f"{VIP}:80", f"{B}:8080", "SYN_RECV", 59) for n in (1, 2)
    )


# Destinations


def test_destinations_are_in_the_order_in_which_they_were_added_with_their_counters() -> None:
    assert tables().destinations == (
        Destination(HTTP, f"{A}:8080", True, 1, 0, 2, Counters(2, 5, 4, 500, 400)),
        Destination(HTTP, f"{B}:8080", True, 3, 1, 0, Counters(1, 4, 4, 400, 400)),
        Destination(DNS, f"{A}:53", True, 1, 0, 0, Counters()),
    )


WITHOUT_B = LOOK._replace(listing=TABLES.replace(f"  -> {B}:8080  Masq 3 1 0\n", ""))


@pytest.mark.parametrize("line", [f"-d -t {VIP}:80 -r {B}:8080", f"-D -t {VIP}:80", "-C"])
def test_of_a_destination_that_was_removed_its_last_weight_is_all_that_is_told(line: str) -> None:
    removed = tables(f"{CONFIG}ipvsadm -e -t {VIP}:80 -r {B}:8080 -m -w 5\nipvsadm {line}\n", WITHOUT_B).destinations[1]
    assert removed == Destination(HTTP, f"{B}:8080", False, 5, -1, -1, UNTOLD)


@pytest.mark.parametrize("line", [f"-d -t {VIP}:80 -r {B}:8080", f"-D -t {VIP}:80", "-C"])
def test_of_a_destination_that_came_back_no_counters_are_told(line: str) -> None:
    again = f"{CONFIG}ipvsadm {line}\nipvsadm -A -t {VIP}:80 -s rr\nipvsadm -a -t {VIP}:80 -r {B}:8080 -m -w 3\n"
    returned = tables(again).destinations[1]
    assert returned == Destination(HTTP, f"{B}:8080", True, 3, 1, 0, UNTOLD)


# facts, packet-path.md section 11.3: up to two seconds of old traffic reappear, but only under a new service
@pytest.mark.parametrize(
    ("line", "told"), [(f"-d -t {VIP}:80 -r {B}:8080", True), (f"-D -t {VIP}:80", False), ("-C", False)]
)
def test_what_is_listed_at_the_end_is_told_unless_the_service_was_made_again(line: str, told: bool) -> None:
    again = f"{CONFIG}ipvsadm {line}\nipvsadm -A -t {VIP}:80 -s rr\nipvsadm -a -t {VIP}:80 -r {B}:8080 -m -w 3\n"
    web = tables(again).final.services[0]
    assert web.counters == Counters(3, 9, 8, 900, 800)
    assert web.dests[0].counters == (Counters(1, 4, 4, 400, 400) if told else UNTOLD)


def test_a_removal_elsewhere_leaves_the_counters_told() -> None:
    row = tables(f"{CONFIG}ipvsadm -D -u {VIP}:53\n").destinations[1]
    assert row.counters == Counters(1, 4, 4, 400, 400)


def test_a_destination_that_the_kernel_refused_never_was() -> None:
    trace, job = asked(config=f"{CONFIG}ipvsadm -a -u {VIP}:54 -r {B}:54 -m\n")
    seen = answered(job, PacketSeen(0))
    last = seen.setup[-1]._replace(status=255, output="Service not defined\n")
    refused = seen._replace(setup=(*seen.setup[:-1], last))
    assert f"{B}:54" not in [row.dest for row in result_of(trace, job, refused).destinations]


def test_a_destination_of_the_timeline_is_one_of_them() -> None:
    command = TimedCommand(SECOND, parse_command(f"ipvsadm -a -u {VIP}:53 -r {B}:53 -m"))
    look = LOOK._replace(listing=f"{TABLES}  -> {B}:53  Masq 1 0 0\n")
    assert tables(look=look, timeline=[command]).destinations[-1] == Destination(DNS, f"{B}:53", True, 1, 0, 0, UNTOLD)


# What else there is


def test_a_refused_command_is_a_finding_with_its_place_and_the_tools_words() -> None:
    config = parse(f"{CONFIG}ipvsadm -D -t {VIP}:99\n", file="x.yaml", first_line=10)
    late = TimedCommand(SECOND, parse_command(f"ipvsadm -D -t {VIP}:98"))
    trace = script.parse(REQUEST)
    job = job_of("j", config, trace, timeline=[late])
    seen = answered(job, PacketSeen(0), said=(255, "No such service\n"))
    refused = seen._replace(setup=(*seen.setup[:-1], seen.setup[-1]._replace(status=255, output="No such\nservice\n")))
    result = result_of(trace, job, refused, commands=[*config.commands, late.command])
    assert result.findings == (
        Finding("error", "x.yaml:15", f"ipvsadm -D -t {VIP}:99: No such service (exit 255)", "linux-6.1.192 refuses"),
        Finding("error", "<text>:1", f"ipvsadm -D -t {VIP}:98: No such service (exit 255)", "linux-6.1.192 refuses"),
    )


def test_a_refused_line_of_the_router_is_a_finding() -> None:
    trace, job = asked(config=f"iptables -P FORWARD ACCEPT\n{CONFIG}")
    seen = answered(job, PacketSeen(0))
    refused = seen._replace(setup=(seen.setup[0]._replace(status=3, output="not there\n"), *seen.setup[1:]))
    text = "iptables -P FORWARD ACCEPT: not there (exit 3)"
    assert result_of(trace, job, refused).findings == (Finding("error", "j", text, "linux-6.1.192 refuses"),)


def test_a_kernel_that_accepts_all_has_no_findings() -> None:
    assert tables().findings == ()


def test_the_commands_of_a_job_are_those_of_ipvsadm_in_their_order() -> None:
    late = TimedCommand(SECOND, parse_command("ipvsadm -C"))
    _, job = asked(config=f"iptables -P FORWARD ACCEPT\n{CONFIG}", timeline=[late])
    assert list(commands_of(job)) == [*parse(CONFIG).commands, late.command]
    assert isinstance(next(commands_of(job)), AddService)
    assert sum(isinstance(command, AddDest) for command in commands_of(job)) == 3


def test_it_says_which_kernel_answered_what() -> None:
    trace, job = asked()
    result = result_of(trace, job, answered(job, PacketSeen(0)), scenario="s", digest="d", seed=3)
    origin = result.provenance
    assert (origin.side, origin.lane, origin.kernel, origin.lbsim) == ("kernel", "", "6.1.192", __version__)
    assert (origin.scenario, origin.digest, origin.seed, origin.hz, origin.start_jiffies) == ("s", "d", 3, 250, 4096)


def test_what_the_trace_left_out_is_passed_on() -> None:
    trace, job = asked()
    result = result_of(replace(trace, left_out={"arp": 2}, damage="cut"), job, answered(job, PacketSeen(0)))
    assert (result.left_out, result.damage) == ({"arp": 2}, "cut")
    assert result.series.times == ()


def test_a_job_that_broke_off_has_no_result() -> None:
    trace, job = asked()
    with pytest.raises(LbsimError, match=r"the replay on linux-6\.1\.192 broke off: OSError in event 0: gone"):
        result_of(trace, job, answered(job, PacketSeen(0))._replace(error="OSError in event 0: gone"))


def test_it_survives_json(tmp_path: Path) -> None:
    result = outcome((server(B), FORWARDED))
    result.to_json(tmp_path / "kernel.json")
    again = Result.from_json(tmp_path / "kernel.json")
    assert replace(again, columns={}) == replace(result, columns={})
    assert all(np.array_equal(again[name], result[name]) for name in result.columns)


# The engine beside it


def beside(job: Job, trace: Trace, seen: Observation, **options: object) -> Result:
    """The engine's answer."""
    return engine_result(parse(CONFIG), trace, job, seen, **options)


def test_the_engine_answers_what_a_kernel_that_agrees_with_it_answers() -> None:
    late = TimedCommand(15_000_000, parse_command(f"ipvsadm -e -t {VIP}:80 -r {A}:8080 -m -w 0"))
    trace, job = asked(f"{REPLIED}\n20ms {GUEST}:1002 > {VIP}:80 tcp S", timeline=[late], moments=[SECOND])
    seen = played(job)
    engine = beside(job, trace, seen, timeline=[late], moments=[SECOND])
    kernel = result_of(trace, job, seen, moments=[SECOND])
    assert compare(engine, kernel).identical
    assert kernel.reason_counts() == {"seen_translated": 3}
    assert engine.reason_counts() == {"new": 2, "translated": 1}


def test_the_engines_clock_is_the_kernels_and_its_times_are_the_traces() -> None:
    trace, job = asked(REPLIED, moments=[SECOND])
    seen = played(job)
    engine = beside(job, trace, seen, moments=[SECOND])
    assert engine.provenance.start_jiffies == seen.jiffies
    assert engine["time"].tolist() == [0, 10_000_000]
    assert ([moment.at for moment in engine.moments], engine.final.at) == ([SECOND], SECOND)
    assert {one.at - event.at for one, event in zip(seen.events, job.events, strict=True)} == {LATE}


# A SYN_RECV entry lives for 60 s. Looked at 1 s after the plan of the SYN it has 59 s left; if the SYN came 0.5 s late,
# at 59.5 s, that is 59 as well; if it came 1 s late, 60.
@pytest.mark.parametrize(("late", "left"), [(0, 59), (SECOND // 2, 59), (SECOND, 60)])
def test_a_packet_that_was_late_is_late_for_the_engine_too(late: int, left: int) -> None:
    trace, job = asked(moments=[SECOND])
    syn, *looks = played(job).events
    seen = played(job)._replace(events=(syn._replace(at=late), *(look._replace(at=look.at - LATE) for look in looks)))
    (moment,) = beside(job, trace, seen, moments=[SECOND]).moments
    assert [row.expires for row in moment.connections] == [left]


def test_the_engine_knows_the_sysctls_and_where_the_question_comes_from() -> None:
    trace, job = asked(f"0s {GUEST}:1001 > {VIP}:80 tcp A", sysctls={"sloppy_tcp": 1})
    made = beside(job, trace, played(job), sysctls={"sloppy_tcp": 1}, scenario="s", digest="d", seed=3)
    assert made.reason_counts() == {"new": 1}
    assert (made.provenance.scenario, made.provenance.digest, made.provenance.seed) == ("s", "d", 3)


def test_the_engine_sends_no_more_than_the_kernel_was_sent() -> None:
    trace, job = asked(REPLIED, until=5_000_000)
    assert len(beside(job, trace, played(job))) == 1


@pytest.mark.parametrize("how", ["-g", "-i"])
def test_what_goes_on_as_it_was_is_read_also_inside_a_tunnel_and_answered_straight(how: str) -> None:
    trace, job = asked(REPLIED, CONFIG.replace(f"{A}:8080 -m", f"{A}:80 {how}"))
    request = IP(src=GUEST, dst=VIP, ttl=63) / SYN
    left = request if how == "-g" else IP(src="10.0.0.1", dst=A) / request
    seen = answered(job, PacketSeen(0, (Arrival(server(A), bytes(left), 0),)), PacketSeen(0, (), b""))
    result = result_of(trace, job, seen)
    assert [reason_of(int(code)).name for code in result["reason"]] == ["seen_translated", "straight_reply"]
    first = int(result["dest"][0])
    assert (result.destinations[first].service, result.destinations[first].dest) == (HTTP, f"{A}:80")
    assert result.endpoint(int(result["new_dst"][0]), int(result["new_dport"][0])) == f"{VIP}:80"
