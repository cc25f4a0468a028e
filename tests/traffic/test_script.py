"""Packet scripts: what each line makes, who sends it, and what is said about lines that make no sense."""

from __future__ import annotations

from ipaddress import ip_address

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsim.engine.numbers import IN, OUT, OWN, REPLY, TCP, UDP
from lbsim.errors import TraceError
from lbsim.model.trace import COLUMN_TYPES, Flow, Trace
from lbsim.traffic.script import parse

MS = 1_000_000
S = 1000 * MS

C = "203.0.113.1:40001"
V = "192.168.1.10:80"
R1 = "10.0.0.11:80"
R2 = "10.0.0.12:80"
SYN = f"0 {C} > {V} tcp S"


def lines(*texts: str) -> Trace:
    return parse("\n".join(texts))


def values(trace: Trace, name: str) -> list[int]:
    return trace[name].tolist()


# ---- one line ----


def test_a_line_is_a_packet_with_its_addresses_ports_protocol_and_flags():
    trace = lines("1.5 203.0.113.1:40001 > 192.168.1.10:80 tcp S")
    expected = dict.fromkeys(COLUMN_TYPES, 0) | {
        "time": 1500 * MS,
        "dst": 1,
        "sport": 40001,
        "dport": 80,
        "proto": TCP,
        "flags": 2,
        "length": 40,
        "ttl": 64,
        "raw_at": -1,
    }
    assert {name: int(trace[name][0]) for name in COLUMN_TYPES} == expected
    assert trace.addresses == (ip_address("203.0.113.1"), ip_address("192.168.1.10"))
    assert trace.flows == (Flow(TCP, 0, 40001, 1, 80),)


def test_columns_have_the_types_of_a_trace():
    trace = lines(SYN)
    assert {name: trace[name].dtype for name in COLUMN_TYPES} == {n: np.dtype(t) for n, t in COLUMN_TYPES.items()}


@pytest.mark.parametrize(
    ("flags", "value"),
    [("F", 1), ("S", 2), ("R", 4), ("P", 8), ("A", 16), ("U", 32), ("SA", 18), ("AS", 18), ("FSRPAU", 63), ("-", 0)],
)
def test_flags_are_the_bits_of_their_letters(flags, value):
    assert values(lines(f"0 {C} > {V} tcp {flags}"), "flags") == [value]


@pytest.mark.parametrize(
    ("line", "length"),
    [
        (f"0 {C} > {V} tcp PA len=100", 140),
        (f"0 {C} > {V} udp len=100", 128),
        (f"0 {C} > {V} udp", 28),
        ("0 [2001:db8::1]:1 > [2001:db8:1::10]:2 tcp - len=100", 160),
        ("0 [2001:db8::1]:1 > [2001:db8:1::10]:2 udp len=100", 148),
        (f"0 {C} > {V} tcp - len=65495", 65535),
        (f"0 {C} > {V} udp len=65507", 65535),
        ("0 [2001:db8::1]:1 > [2001:db8:1::10]:2 tcp - len=65515", 65575),
        ("0 [2001:db8::1]:1 > [2001:db8:1::10]:2 udp len=65527", 65575),
    ],
)
def test_the_length_is_that_of_the_whole_ip_packet(line, length):
    assert values(lines(line), "length") == [length]


def test_udp_has_its_protocol_number_and_no_sequence_numbers():
    trace = lines(f"0 {C} > {V} udp len=5", f"0 {C} > {V} udp")
    assert [values(trace, name) for name in ("proto", "flags", "seq", "ack")] == [[UDP] * 2, [0] * 2, [0] * 2, [0] * 2]


def test_words_may_come_in_any_order():
    trace = lines(f"0 {C} > {V} tcp A ack=4294967295 ttl=1 seq=0 len=7")
    assert [values(trace, name) for name in ("ack", "ttl", "seq", "length")] == [[2**32 - 1], [1], [0], [47]]


@pytest.mark.parametrize(
    "line",
    [
        f"0 {C}>{V} tcp S",
        f"0 {C}> {V} tcp S",
        f"0 {C} >{V} tcp S",
        f"  0\t{C}  >\t{V}   tcp  S  ",
        f"0 {C} > {V} tcp S# a comment",
        f"0 {C} > {V} tcp S   # len=100",
        f"\ufeff0 {C} > {V} tcp S\r\n",
    ],
)
def test_blanks_comments_and_line_ends_do_not_matter(line):
    trace = parse(line)
    assert all(values(trace, name) == values(lines(SYN), name) for name in COLUMN_TYPES)


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n   \n\t# here\n"])
def test_a_script_without_packets_is_an_empty_trace(text):
    trace = parse(text)
    assert (len(trace), trace.addresses, trace.flows) == (0, (), ())


# ---- time ----


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["0", "0.5", ".75", "1."], [0, 500 * MS, 750 * MS, S]),
        (["1ns", "2us", "3ms", "4s", "5m", "1h"], [1, 2000, 3 * MS, 4 * S, 300 * S, 3600 * S]),
        (["1s", "+0.010", "+0", "+1.5ms", "2s"], [S, 1010 * MS, 1010 * MS, 1_011_500_000, 2 * S]),
        (["+5ms"], [5 * MS]),
    ],
)
def test_times_are_from_the_begin_or_with_a_plus_from_the_packet_before(times, expected):
    assert values(lines(*(f"{time} {C} > {V} udp" for time in times)), "time") == expected


def test_the_start_moves_all_packets():
    text = f"1s {C} > {V} udp\n+1s {C} > {V} udp\n4s {C} > {V} udp"
    assert values(parse(text, start=10 * S), "time") == [11 * S, 12 * S, 14 * S]


# ---- who sends it ----


def places(trace: Trace) -> list[tuple[int, int]]:
    return list(zip(values(trace, "flow"), values(trace, "direction"), strict=True))


def test_further_packets_between_the_same_ends_belong_to_the_same_flow():
    assert places(lines(SYN, f"1 {C} > {V} tcp A")) == [(0, IN), (0, IN)]


def test_an_answer_from_the_virtual_end_comes_from_whoever_got_the_flow():
    assert places(lines(SYN, f"1 {V} > {C} tcp SA")) == [(0, IN), (0, REPLY)]


def test_an_answer_from_another_end_comes_from_that_real_server():
    trace = lines(SYN, f"1 {R1} > {C} tcp SA", f"2 {R2} > {C} tcp A")
    assert places(trace) == [(0, IN), (0, OUT), (0, OUT)]
    assert [str(trace.addresses[i]) for i in values(trace, "src")] == ["203.0.113.1", "10.0.0.11", "10.0.0.12"]


def test_an_answer_from_another_port_of_the_virtual_address_is_that_of_a_real_server():
    assert places(lines(SYN, f"1 192.168.1.10:81 > {C} tcp SA")) == [(0, IN), (0, OUT)]


def test_a_real_server_that_answers_nobody_begins_a_flow_of_its_own():
    query, answer = "10.0.0.11:5353 > 198.51.100.53:53 udp", "198.51.100.53:53 > 10.0.0.11:5353 udp"
    text = "\n".join([f"0 {query}", f"1 {answer}", f"2 {query}", SYN.replace("0 ", "3 ", 1), f"4 {R1} > {C} tcp SA"])
    trace = parse(text, servers=[ip_address("10.0.0.11")], director=[ip_address("192.168.1.10")])
    assert places(trace) == [(0, OUT), (0, IN), (0, OUT), (1, IN), (1, OUT)]
    assert places(parse(text)) == [(0, IN), (0, REPLY), (0, IN), (1, IN), (1, OUT)]  # it could be anybody


def test_a_real_server_is_a_client_of_the_director_like_any_other():
    servers, director = [ip_address("10.0.0.11")], [ip_address("192.168.1.10")]
    call = parse("0 10.0.0.11:5000 > 192.168.1.10:80 tcp S", servers=servers, director=director)
    assert places(call) == [(0, IN)]


def test_each_side_of_a_real_servers_own_flow_counts_for_itself():
    out, back = "10.0.0.11:5000 > 198.51.100.53:53 tcp", "198.51.100.53:53 > 10.0.0.11:5000 tcp"
    text = "\n".join([f"0 {out} S", f"1 {back} SA", f"2 {out} PA len=10", f"3 {back} A"])
    assert numbers(parse(text, servers=[ip_address("10.0.0.11")])) == [(0, 0), (0, 1), (1, 1), (1, 11)]


def test_answers_of_a_real_server_belong_to_the_flow_in_which_the_client_end_sent_last():
    other = f"{C} > 192.168.1.11:443 tcp"
    trace = lines(SYN, f"1 {other} S", f"2 {R1} > {C} tcp SA", f"3 {C} > {V} tcp A", f"4 {R1} > {C} tcp A")
    assert places(trace) == [(0, IN), (1, IN), (1, OUT), (0, IN), (0, OUT)]


def test_a_reply_belongs_to_the_flow_of_its_virtual_end_whichever_was_last():
    trace = lines(SYN, f"1 {C} > 192.168.1.11:443 tcp S", f"2 {V} > {C} tcp SA")
    assert places(trace) == [(0, IN), (1, IN), (0, REPLY)]


def test_an_answer_does_not_make_the_client_of_the_flow_a_server():
    assert places(lines(SYN, f"1 {V} > {C} tcp SA", f"2 {C} > {V} tcp A")) == [(0, IN), (0, REPLY), (0, IN)]


def test_a_packet_to_an_end_that_was_not_heard_of_begins_a_flow():
    trace = lines(SYN, f"1 {R1} > 203.0.113.1:40002 tcp A")
    assert places(trace) == [(0, IN), (1, IN)]


def test_protocols_are_told_apart():
    trace = lines(SYN, f"1 {V} > {C} udp")
    assert places(trace) == [(0, IN), (1, IN)]
    assert trace.flows == (Flow(TCP, 0, 40001, 1, 80), Flow(UDP, 1, 80, 0, 40001))


def test_a_client_that_is_spoken_to_by_another_client_keeps_its_flow():
    peer = "203.0.113.2:1"
    trace = lines(f"0 {peer} > {C} udp", f"1 {C} > {V} udp", f"2 {peer} > {C} udp")
    assert places(trace) == [(0, IN), (1, IN), (0, IN)]


# ---- sequence numbers ----


def numbers(trace: Trace) -> list[tuple[int, int]]:
    return list(zip(values(trace, "seq"), values(trace, "ack"), strict=True))


def test_each_side_counts_its_bytes_syn_and_fin_and_acknowledges_all_it_has_heard():
    trace = lines(
        f"0 {C} > {V} tcp S",
        f"0 {V} > {C} tcp SA",
        f"0 {C} > {V} tcp A",
        f"0 {C} > {V} tcp PA len=100",
        f"0 {V} > {C} tcp A len=1460",
        f"0 {V} > {C} tcp PA len=40",
        f"0 {V} > {C} tcp FA",
        f"0 {C} > {V} tcp FA",
        f"0 {V} > {C} tcp A",
    )
    assert numbers(trace) == [
        (0, 0),
        (0, 1),
        (1, 1),
        (1, 1),
        (1, 101),
        (1461, 101),
        (1501, 101),
        (101, 1502),
        (1502, 102),
    ]


def test_packets_of_real_servers_count_as_those_of_the_server():
    trace = lines(SYN, f"1 {R1} > {C} tcp SA", f"2 {V} > {C} tcp PA len=10", f"3 {C} > {V} tcp A")
    assert numbers(trace) == [(0, 0), (0, 1), (1, 1), (1, 11)]


def test_a_program_on_the_director_begins_a_flow_where_a_line_says_so():
    text = (
        "0 192.168.1.10:40001 > 192.168.1.10:80 tcp S via=director\n"
        "0 192.168.1.10:80 > 192.168.1.10:40001 tcp SA\n"
        "0 192.168.1.10:40001 > 192.168.1.10:80 tcp A\n"
        "0 127.0.0.1:5 > 203.0.113.1:53 udp via=director\n"
        "0 10.0.0.11:8080 > 192.168.1.10:40001 tcp A\n"
        "0 192.168.1.10:40002 > 192.168.1.10:80 tcp S\n"
    )
    trace = parse(text, servers=[ip_address("10.0.0.11")], director=[ip_address("192.168.1.10")])
    assert values(trace, "direction") == [OWN, REPLY, OWN, OWN, OUT, IN]
    assert values(trace, "flow") == [0, 0, 0, 1, 0, 2]
    assert trace.answers.tolist() == [False, True, False, False, True, False]
    assert numbers(trace)[:3] == [(0, 0), (0, 1), (1, 1)]


@pytest.mark.parametrize(
    "text",
    [
        f"0 {C} > {V} tcp S via=director",
        f"0 {V} > {C} tcp S via=director\n0 {V} > {C} tcp A via=director",
        f"0 {C} > {V} tcp S\n0 {V} > {C} tcp SA via=director",
    ],
)
def test_only_the_first_packet_of_a_flow_from_the_director_can_be_a_programs(text):
    with pytest.raises(TraceError, match="via=director: expected the first packet of a flow, from an address of") as e:
        parse(text, director=[ip_address("192.168.1.10")])
    last = text.splitlines()[-1]
    assert (e.value.line, e.value.column) == (len(text.splitlines()), last.index("via") + 1)


def test_given_sequence_numbers_are_counted_on_from():
    trace = lines(
        f"{SYN} seq=1000",
        f"0 {V} > {C} tcp SA seq=4294967290",
        f"0 {V} > {C} tcp PA len=10",
        f"0 {C} > {V} tcp A",
    )
    # 4294967290 + 1 + 10 - 2**32 = 5
    assert numbers(trace) == [(1000, 0), (4294967290, 1001), (4294967291, 1001), (1001, 5)]


def test_a_given_acknowledgement_number_counts_for_its_packet_only():
    trace = lines(SYN, f"0 {V} > {C} tcp SA ack=77", f"0 {V} > {C} tcp A")
    assert numbers(trace) == [(0, 0), (0, 77), (1, 1)]


def test_only_packets_with_the_ack_flag_acknowledge():
    trace = lines(SYN, f"0 {V} > {C} tcp SA", f"0 {C} > {V} tcp R")
    assert numbers(trace)[2] == (1, 0)


def test_a_syn_of_the_client_begins_the_whole_connection_anew():
    trace = lines(SYN, f"0 {V} > {C} tcp SA seq=500", f"0 {C} > {V} tcp A len=9", SYN, f"0 {V} > {C} tcp RA")
    assert numbers(trace)[3:] == [(0, 0), (0, 1)]


def test_a_syn_ack_that_is_sent_again_has_the_same_number():
    again = f"0 {V} > {C} tcp SA"
    assert numbers(lines(SYN, again, again, f"0 {C} > {V} tcp A")) == [(0, 0), (0, 1), (0, 1), (1, 1)]


def test_each_flow_counts_for_itself():
    other = "0 203.0.113.1:40002 > 192.168.1.10:80 tcp S"
    assert numbers(lines(SYN, f"0 {C} > {V} tcp A len=5", other)) == [(0, 0), (1, 0), (0, 0)]


# ---- errors ----

GRAMMAR = "letters of FSRPAU, each at most once, or - for none"
ENDPOINT = "is no address and port; expected 10.0.0.11:80 or [fd00::11]:80"
ERRORS = {
    # a line that is not understood -> (column, message)
    f"soon {C} > {V} tcp S": (1, "'soon' is no time; expected 5s, 200ms, 15m or a number of seconds"),
    f"-1 {C} > {V} tcp S": (1, "-1 is negative; time begins at 0"),
    f"+-1ms {C} > {V} tcp S": (1, "-1ms is negative; time begins at 0"),
    f"9000h {C} > {V} tcp S": (1, "'9000h' is longer than a year"),
    f"0.9s {C} > {V} tcp S": (1, "the packet before is at 1s; expected this time or a later one"),
    f"+8784h {C} > {V} tcp S": (1, "expected a time within a year after the script's begin"),
    "2": (2, "the line ends here; expected a source, as 203.0.113.1:40001 or [2001:db8::1]:40001"),
    f"2 {C}": (20, "the line ends here; expected '>' and a destination"),
    f"2 {C} >": (
        22,
        "the line ends here; expected a destination, as 192.168.1.10:80 or [2001:db8:1::10]:80",
    ),
    f"2 {C} > {V}": (38, "the line ends here; expected tcp, udp or sctp"),
    f"2 {C} > {V} tcp": (42, f"the line ends here; expected flags: {GRAMMAR}"),
    f"2 203.0.113.1 > {V} tcp S": (3, f"'203.0.113.1' {ENDPOINT}"),
    f"2 {C} > 192.168.1.10 tcp S": (23, f"'192.168.1.10' {ENDPOINT}"),
    f"2 {C} > 192.168.1.10:http tcp S": (23, f"'192.168.1.10:http' {ENDPOINT}"),
    "2 2001:db8::1:1000 > [2001:db8:1::10]:53 udp": (3, f"'2001:db8::1:1000' {ENDPOINT}"),
    f"2 {C} > 192.168.1.10:65536 tcp S": (23, "port 65536 is above 65535"),
    f"2 {C} {V} tcp S": (21, f"expected '>' between source and destination, found '{V}'"),
    f"2 > {V} tcp S": (3, f"'>' {ENDPOINT}"),
    f"2 {C} > [2001:db8:1::10]:80 tcp S": (
        23,
        "source and destination are of different address families; expected one family",
    ),
    f"2 {C} > {V} gre": (39, "unknown protocol 'gre'; expected one of: sctp, tcp, udp"),
    f"2 {C} > {V} TCP S": (39, "unknown protocol 'TCP'; expected one of: sctp, tcp, udp"),
    f"2 {C} > {V} tcp X": (43, f"'X' are no TCP flags; expected {GRAMMAR}"),
    f"2 {C} > {V} tcp s": (43, f"'s' are no TCP flags; expected {GRAMMAR}"),
    f"2 {C} > {V} tcp SS": (43, f"'SS' are no TCP flags; expected {GRAMMAR}"),
    f"2 {C} > {V} tcp S-": (43, f"'S-' are no TCP flags; expected {GRAMMAR}"),
    f"2 {C} > {V} tcp len=5": (43, f"'len=5' are no TCP flags; expected {GRAMMAR}"),
    f"2 {C} > {V} tcp S A": (45, "'A' is no WORD=VALUE; expected one of: ack=, len=, seq=, ttl=, via="),
    f"2 {C} > {V} udp S": (43, "'S' is no WORD=VALUE; expected one of: len=, ttl=, via="),
    f"2 {C} > {V} tcp S win=5": (45, "unknown word 'win'; expected one of: ack, len, seq, ttl, via"),
    f"2 {C} > {V} tcp S tll=5": (
        45,
        "unknown word 'tll', did you mean 'ttl'? expected one of: ack, len, seq, ttl, via",
    ),
    f"2 {C} > {V} tcp S via=server": (45, "via=server: expected via=director"),
    f"2 {C} > {V} udp seq=5": (43, "unknown word 'seq'; expected one of: len, ttl, via"),
    f"2 {C} > {V} tcp S len=1 len=2": (51, "len= for the second time; expected it once"),
    f"2 {C} > {V} tcp S len=": (45, "len=: expected a whole number from 0 to 65495"),
    f"2 {C} > {V} tcp S len=-1": (45, "len=-1: expected a whole number from 0 to 65495"),
    f"2 {C} > {V} tcp S len=65496": (45, "len=65496: expected a whole number from 0 to 65495"),
    f"2 {C} > {V} udp len=65508": (43, "len=65508: expected a whole number from 0 to 65507"),
    "2 [2001:db8::1]:1 > [2001:db8:1::10]:2 udp len=65528": (
        44,
        "len=65528: expected a whole number from 0 to 65527",
    ),
    f"2 {C} > {V} tcp S ttl=256": (45, "ttl=256: expected a whole number from 0 to 255"),
    f"2 {C} > {V} tcp S seq=4294967296": (45, "seq=4294967296: expected a whole number from 0 to 4294967295"),
    f"2 {C} > {V} tcp S ack=1e3": (45, "ack=1e3: expected a whole number from 0 to 4294967295"),
    f"2 {C} > {V} tcp S ttl=\u0663": (45, "ttl=\u0663: expected a whole number from 0 to 255"),
}


@pytest.mark.parametrize("line", ERRORS)
def test_what_is_wrong_with_a_line_is_said_with_its_place_and_what_was_expected(line):
    column, message = ERRORS[line]
    with pytest.raises(TraceError) as caught:
        parse(f"# first\n1s {C} > {V} tcp S\n\n  {line}  # a comment\n", file="a.packets", first_line=7)
    assert str(caught.value) == f"a.packets:10:{column + 2}: {message}  [{line} # a comment]"


def test_an_error_says_which_packet_of_the_trace_it_would_have_been():
    with pytest.raises(TraceError) as caught:
        lines(SYN, "# no packet", "nonsense")
    assert caught.value.packet == 1


def test_the_column_is_that_of_the_line_as_written():
    with pytest.raises(TraceError) as caught:
        parse(f"\t 0  {C}>{V}  tcp  S  len=x")
    # source in columns 6 to 22, > in 23, destination in 24 to 38, tcp in 41 to 43, S in 46
    assert (caught.value.line, caught.value.column) == (1, 49)


def complaint(text: str) -> str | None:
    """What is said about a script, or None if it makes a trace."""
    try:
        parse(text)
    except TraceError as error:
        return str(error)
    return None


@settings(deadline=None)
@given(st.lists(st.sampled_from(["0", "+1", C, ">", V, "tcp", "udp", "SA", "len=3", "[::1]:5", "#", "\n", "x"])))
def test_any_words_make_a_trace_or_one_line_of_error(words):
    assert "\n" not in (complaint(" ".join(words)) or "")


@settings(deadline=None)
@given(st.text().filter(lambda text: text.removeprefix("\ufeff").partition("#")[0].strip()))
def test_any_text_that_is_no_packet_makes_one_line_of_error(text):
    said = complaint(text)
    assert said is not None
    assert "\n" not in said


ENDS = [C, "203.0.113.1:40002", "203.0.113.2:40001", V, "192.168.1.10:443", R1, R2]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ENDS), st.sampled_from(ENDS), st.sampled_from(["tcp SA", "udp"]))))
def test_every_packet_has_the_client_end_of_its_flow_on_the_side_that_its_direction_says(packets):
    trace = lines(*(f"+1ms {src} > {dst} {rest}" for src, dst, rest in packets))
    columns = (values(trace, n) for n in ("flow", "direction", "src", "sport", "dst", "dport", "proto"))
    for number, direction, src, sport, dst, dport, proto in zip(*columns, strict=True):
        flow = trace.flows[number]
        client, server = (flow.client, flow.client_port), (flow.server, flow.server_port)
        assert flow.proto == proto
        assert ((src, sport) if direction == IN else (dst, dport)) == client
        if direction != OUT:
            assert ((dst, dport) if direction == IN else (src, sport)) == server
        else:
            assert (src, sport) != server


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ENDS), st.sampled_from(ENDS), st.sampled_from(["tcp SA", "udp"]))))
def test_flows_are_numbered_by_their_first_packet_and_each_is_there_once(packets):
    trace = lines(*(f"+1ms {src} > {dst} {rest}" for src, dst, rest in packets))
    assert list(dict.fromkeys(values(trace, "flow"))) == list(range(len(trace.flows)))
    assert len(set(trace.flows)) == len(trace.flows)
    assert len(set(trace.addresses)) == len(trace.addresses)


# ---- SCTP ----


# RFC 9260, section 3.3: DATA has 16 bytes before its payload, INIT and INIT-ACK 20, SHUTDOWN 8, all others 4.
@pytest.mark.parametrize(
    ("words", "event", "length"),
    [
        ("DATA", 1, 28),
        ("DATA len=50", 1, 28 + 52),
        ("INIT", 2, 32),
        ("INIT-ACK len=100", 3, 32 + 100),
        ("COOKIE-ECHO len=1", 4, 16 + 4),
        ("COOKIE-ACK", 5, 16),
        ("SHUTDOWN", 6, 20),
        ("SHUTDOWN-ACK", 7, 16),
        ("SHUTDOWN-COMPLETE", 8, 16),
        ("ERROR", 9, 16),
        ("ABORT ttl=9", 10, 16),
    ],
)
def test_sctp_has_the_name_of_its_chunk(words: str, event: int, length: int) -> None:
    trace = lines(f"0 {C} > {V} sctp {words}")
    assert (values(trace, "proto"), values(trace, "flags"), values(trace, "length")) == ([132], [event], [20 + length])
    assert (values(trace, "seq"), values(trace, "ack")) == ([0], [0])


def test_an_sctp_association_is_one_flow() -> None:
    trace = lines(f"0 {C} > {V} sctp INIT", f"+1ms {V} > {C} sctp INIT-ACK", f"+1ms {C} > {V} tcp S")
    assert values(trace, "direction") == [IN, REPLY, IN]
    assert values(trace, "flow") == [0, 0, 1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("sctp", "the line ends here; expected a chunk: one of DATA, INIT, INIT-ACK, COOKIE-ECHO, COOKIE-ACK"),
        ("sctp INIT-AK", "unknown chunk 'INIT-AK', did you mean 'INIT-ACK'?"),
        ("sctp INIT seq=1", "unknown word 'seq'"),
        ("sctp DATA len=65500", "expected a whole number from 0 to 65483"),
    ],
)
def test_sctp_that_makes_no_sense_is_refused(words: str, says: str) -> None:
    with pytest.raises(TraceError) as caught:
        lines(f"0 {C} > {V} {words}")
    assert says in str(caught.value)
