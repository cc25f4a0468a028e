"""A scenario file becomes everything a run needs."""

from __future__ import annotations

import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lbsim.errors import ConfigError, LbsimError, ScenarioError, TraceError
from lbsim.model.config import AddDest, DeleteDest, DestId, EditDest, ServiceId
from lbsim.scenario import load
from tests.scenario.texts import WHOLE, changed, line_with, write

WEB = ServiceId("tcp", IPv4Address("192.168.1.10"), 80)
A, B, C = (DestId(IPv4Address(f"10.0.0.{n}"), 80) for n in (11, 12, 13))


def digest(folder: Path, text: str) -> str:
    return load(write(folder, text)).digest


def test_config_and_timeline_are_parsed(tmp_path: Path) -> None:
    loaded = load(write(tmp_path))
    (web,) = loaded.config.services()
    assert (web.id, web.scheduler, [dest.id for dest in web.dests]) == (WEB, "rr", [A, B])
    (timed,) = loaded.timeline
    assert (timed.at, timed.command) == (250_000_000, AddDest(WEB, C))


def test_every_service_and_destination_of_the_run_is_known(tmp_path: Path) -> None:
    assert load(write(tmp_path)).services == {WEB: (A, B, C)}


def test_twice_as_many_destinations_take_twice_as_much_work_to_load(tmp_path: Path) -> None:
    def calls(destinations: int) -> int:
        """How many functions are called, comparisons of destinations among them."""
        added = "".join(f"ipvsadm -a -t 192.168.1.10:80 -r 10.0.{n >> 8}.{n & 255} -m\n" for n in range(destinations))
        (tmp_path / "many.txt").write_text("ipvsadm -A -t 192.168.1.10:80 -s rr\n" + added)
        path = write(tmp_path, "name: many\nconfig: {file: many.txt}\n")
        counted = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal counted
            counted += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            loaded = load(path)
        finally:
            sys.setprofile(None)
        assert len(loaded.services[WEB]) == destinations
        return counted

    calls(1)  # what is done once, is done
    assert 1.9 < calls(2000) / calls(1000) < 2.1


@pytest.mark.parametrize("key", ["arrivals: {every: 0s}", "arrivals: {every: 1s}\n    lifetime: {constant: 0s}"])
def test_a_time_of_0_counts_as_given(tmp_path: Path, key: str) -> None:
    assert load(write(tmp_path, changed("arrivals: {every: 100ms}", key))).scenario.traffic


def test_the_timeline_is_in_order_of_time_and_then_of_the_file(tmp_path: Path) -> None:
    text = changed(
        "  - at: 250ms\n    run: ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.13:80 -m\n",
        "  - {at: 2s, run: ipvsadm -d -t 192.168.1.10:80 -r 10.0.0.11:80}\n"
        "  - {at: 1s, run: ipvsadm -e -t 192.168.1.10:80 -r 10.0.0.12:80 -m -w 3}\n"
        "  - {at: 1s, run: ipvsadm -e -t 192.168.1.10:80 -r 10.0.0.12:80 -m -w 2}\n",
    )
    assert [timed.command for timed in load(write(tmp_path, text)).timeline] == [
        EditDest(WEB, B, "masq", 3),
        EditDest(WEB, B, "masq", 2),
        DeleteDest(WEB, A),
    ]


def test_commands_know_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path)
    loaded = load(path)
    places = [str(command.place) for command in loaded.config.commands]
    assert places == [f"{path}:{n}" for n in range(line_with("-s rr"), line_with("-s rr") + 3)]
    assert str(loaded.timeline[0].command.place) == f"{path}:{line_with('10.0.0.13')}"


@pytest.mark.parametrize("wrong", ["10.0.0.12:80 -m -w x", "10.0.0.12:99999 -m"])
def test_a_mistake_in_the_config_has_its_line_and_column_in_the_yaml(tmp_path: Path, wrong: str) -> None:
    text = changed("10.0.0.12:80 -m", wrong)
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    line = text.splitlines()[line_with(wrong, text) - 1]
    assert (caught.value.file, caught.value.line) == (str(path), line_with(wrong, text))
    word = wrong.rpartition(" ")[2] if wrong.endswith("x") else "10.0.0.12:99999"
    assert caught.value.column == line.index(word) + 1


def test_a_mistake_in_a_timeline_command_has_its_line_and_column_in_the_yaml(tmp_path: Path) -> None:
    text = changed("-r 10.0.0.13:80", "-r nowhere")
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    line = line_with("nowhere", text)
    assert (caught.value.file, caught.value.line) == (str(path), line)
    assert caught.value.column == text.splitlines()[line - 1].index("nowhere") + 1


def test_a_mistake_in_a_folded_config_has_the_line_at_which_the_text_begins(tmp_path: Path) -> None:
    path = write(tmp_path, 'name: x\n\nconfig: "ipvsadm -A -t 192.168.1.10:80 -s rr\\nipvsadm -A -t nix"\n')
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.line == 3


def test_the_config_may_be_a_file_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "director.rules").write_text("-A -t 192.168.1.10:80 -s rr\n-a -t 192.168.1.10:80 -r 10.0.0.11:80 -m\n")
    loaded = load(write(tmp_path, "name: x\nconfig: {file: director.rules}\n"))
    assert loaded.services == {WEB: (A,)}


def test_a_mistake_in_a_config_file_has_that_files_name_and_line(tmp_path: Path) -> None:
    (tmp_path / "director.rules").write_text("-A -t 192.168.1.10:80 -s rr\n-a -t nix\n")
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, "name: x\nconfig: {file: director.rules}\n"))
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "director.rules"), 2)


@pytest.mark.parametrize(
    ("key", "name", "says"),
    [
        ("config: {file: NAME}", "missing.rules", "No such file"),
        ("config: {file: NAME}", ".", "not a regular file"),
        ("config: x\ntraffic: [{packets: {file: NAME}}]", "missing.txt", "No such file"),
        ("config: ipvsadm -C\ntraffic: [{capture: NAME}]", "missing.pcap", "No such file"),
        ("config: ipvsadm -C\ntraffic: [{capture: NAME}]", ".", "not a regular file"),
        ("config: ipvsadm -C\ntraffic: [{capture: NAME}]", "'a\\0b'", "cannot read"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_where_it_is_named(
    tmp_path: Path, key: str, name: str, says: str
) -> None:
    text = "name: x\n" + key.replace("config: x", "config: ipvsadm -C").replace("NAME", name)
    path = write(tmp_path, text.replace("'a\\0b'", '"a\\0b"'))
    with pytest.raises(ScenarioError, match=says) as caught:
        load(path)
    assert (caught.value.file, caught.value.line) == (str(path), len(text.splitlines()))


def test_a_config_file_that_is_no_text_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "director.rules").write_bytes(b"\x7fELF\0\0")
    with pytest.raises(ScenarioError, match=r"director\.rules:1: not text"):
        load(write(tmp_path, "name: x\nconfig: {file: director.rules}\n"))


def test_a_config_file_of_more_than_64_mib_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "director.rules").open("wb") as sparse:
        sparse.truncate(64 * 1024 * 1024 + 1)
    with pytest.raises(ScenarioError, match=r"demo\.lbsim\.yaml:2:.*larger than 64 MiB"):
        load(write(tmp_path, "name: x\nconfig: {file: director.rules}\n"))


def test_a_packet_script_knows_where_it_stands(tmp_path: Path) -> None:
    text = "name: x\nconfig: ipvsadm -C\ntraffic:\n  - packets: |\n      0 one\n      1 two\n"
    source = load(write(tmp_path, text)).packets[0]
    assert (source.text, source.first_line, source.indent) == ("0 one\n1 two\n", 5, 6)


def test_errors_of_a_text_inside_the_yaml_are_moved_to_its_column(tmp_path: Path) -> None:
    path = write(tmp_path, "name: x\nconfig: ipvsadm -C\ntraffic:\n  - packets: |\n      0 one\n")
    source = load(path).packets[0]
    with pytest.raises(TraceError) as caught, source.located():
        raise TraceError("no packet", file=source.file, line=5, column=3)
    assert (caught.value.line, caught.value.column) == (5, 9)


def test_errors_of_another_file_keep_their_column(tmp_path: Path) -> None:
    path = write(tmp_path, "name: x\nconfig: ipvsadm -C\ntraffic:\n  - packets: |\n      0 one\n")
    with pytest.raises(LbsimError) as caught, load(path).packets[0].located():
        raise LbsimError("elsewhere", file="other", line=5, column=3)
    assert (caught.value.line, caught.value.column) == (5, 3)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: demo", "name: another"),
        ("description: Two servers, later three\n", ""),
        ("seed: 7\n", "# a comment\n\nseed: 7\n"),
        ("  ipvsadm -A", "  # a comment\n  ipvsadm -A"),
        ("every: 100ms", "every: 0.1"),
        ("cidr: 198.51.100.0/24, pick: in_turn", "pick: in_turn, cidr: 198.51.100.0/24"),
        ("sysctls: {conn_reuse_mode: 1}", "sysctls: {net.ipv4.vs.conn_reuse_mode: 1}"),
        ("sysctls: {conn_reuse_mode: 1}\n", ""),  # 1 is the default
        ("connections: 6", "connections: 6\n    start: 0s"),  # so is 0
        ("ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.11:80 -m", "ipvsadm -a -m -t 192.168.1.10:80 -r 10.0.0.11 -w 1"),
    ],
)
def test_the_digest_is_the_same_for_the_same_meaning(tmp_path: Path, old: str, new: str) -> None:
    assert digest(tmp_path, changed(old, new)) == digest(tmp_path, WHOLE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed: 7", "seed: 8"),
        ("-s rr", "-s lc"),
        ("10.0.0.11:80 -m", "10.0.0.11:80 -m -w 2"),
        ("conn_reuse_mode: 1", "conn_reuse_mode: 0"),
        ("connections: 6", "connections: 7"),
        ("every: 100ms", "every: 101ms"),
        ("at: 250ms", "at: 251ms"),
        ("10.0.0.13:80 -m", "10.0.0.13:80 -m -w 0"),
        ("show: [1s]", "show: [1s]\nuntil: 9s"),
        ("show: [1s]", "show: [1s]\nprofile: linux-6.12.117"),
        ("show: [1s]", "show: [1s]\nstart_jiffies: 5"),
    ],
)  # fmt: skip
def test_the_digest_is_another_for_another_meaning(tmp_path: Path, old: str, new: str) -> None:
    assert digest(tmp_path, changed(old, new)) != digest(tmp_path, WHOLE)


def test_the_order_of_adding_destinations_is_part_of_the_meaning(tmp_path: Path) -> None:
    lines = [f"  ipvsadm -a -t 192.168.1.10:80 -r 10.0.0.{n}:80 -m\n" for n in (11, 12)]
    swapped = changed("".join(lines), "".join(reversed(lines)))
    assert digest(tmp_path, swapped) != digest(tmp_path, WHOLE)


def test_a_config_counts_the_same_inside_the_scenario_and_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "director.rules").write_text("ipvsadm -A -t 192.168.1.10:80 -s rr\n")
    inside = digest(tmp_path, "name: x\nconfig: ipvsadm -A -t 192.168.1.10:80 -s rr\n")
    assert digest(tmp_path, "name: x\nconfig: {file: director.rules}\n") == inside


def test_a_packet_script_counts_by_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "script.txt").write_text("# first\n0  203.0.113.1:1 > 192.168.1.10:80  tcp S\n")
    inside = "name: x\nconfig: ipvsadm -C\ntraffic:\n- packets: |\n    0 203.0.113.1:1 > 192.168.1.10:80 tcp S # it\n"
    in_a_file = "name: x\nconfig: ipvsadm -C\ntraffic:\n- packets: {file: script.txt}\n"
    assert digest(tmp_path, inside) == digest(tmp_path, in_a_file)


def test_a_capture_counts_by_its_bytes(tmp_path: Path) -> None:
    text = "name: x\nconfig: ipvsadm -C\ntraffic: [{capture: a.pcap}]\n"
    digests = []
    for content in (b"one", b"two", b"one"):
        (tmp_path / "a.pcap").write_bytes(content)
        digests.append(digest(tmp_path, text))
    assert digests[0] == digests[2] != digests[1]


def test_lines_are_found_by_path(tmp_path: Path) -> None:
    path = write(tmp_path)
    loaded = load(path)
    assert loaded.line_of(("expect", 2)) == line_with("totals:")
    assert loaded.line_of(("traffic", 0, "arrivals", "every")) == line_with("every:")
    assert loaded.place_of(("expect", 3)) == f"{path}:{line_with('table:')}"


def test_sysctls_lose_their_prefix(tmp_path: Path) -> None:
    text = changed("{conn_reuse_mode: 1}", "{net.ipv4.vs.sloppy_tcp: 1, conn_reuse_mode: 0}")
    assert load(write(tmp_path, text)).sysctls == {"sloppy_tcp": 1, "conn_reuse_mode": 0}


MARK_LINE = "iptables -t mangle -A PREROUTING -d 192.168.1.10 -p tcp --dport 80 -j MARK --set-mark 1"


def test_a_mistake_in_the_marks_has_its_line_and_column_in_the_yaml(tmp_path: Path) -> None:
    text = changed("sysctls:", f"marks: |\n  {MARK_LINE}\n  iptables -F\nsysctls:")
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text))
    assert (caught.value.line, caught.value.column) == (line_with("iptables -F", text), 3)
    assert "this line of marks is not modelled: expected one of: nft add rule" in str(caught.value)


def test_marks_may_be_a_file_and_count_by_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "marks.txt").write_text(f"# the shop\n{MARK_LINE}\n")
    inside = load(write(tmp_path, changed("sysctls:", f"marks: |\n  {MARK_LINE}\nsysctls:")))
    beside = load(write(tmp_path, changed("sysctls:", "marks: {file: marks.txt}\nsysctls:"), "beside.lbsim.yaml"))
    without = load(write(tmp_path))
    assert inside.marks == beside.marks
    assert inside.digest == beside.digest != without.digest
    (tmp_path / "marks.txt").write_text("nonsense\n")
    with pytest.raises(ConfigError) as caught:
        load(beside.path)
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "marks.txt"), 1)
