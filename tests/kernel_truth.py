"""Replay cases that ran on real kernels through ``lbsim.Director`` and compare every packet and every listing.

    python tests/kernel_truth.py FOLDER [--case NAME] [--kernel 6.1]

FOLDER holds ``cases/NAME.json`` (what was asked) and one folder per kernel with ``NAME.json`` (what happened): raw
packets in, raw packets out, commands with their answers, listings at moments. Prints one line per case (equal;
differs, with the first difference; not supported, with what is missing) and the three counts. Exit 0 only if nothing
differs and something was equal.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from lbsim import Director
from lbsim.config.marks import read_marks
from lbsim.engine.profile import PROFILES as PROFILES_KNOWN
from lbsim.engine.profile import SYSCTLS
from lbsim.errors import ConfigError, LbsimError
from lbsim.model.config import parse_endpoint
from lbsim.packet.build import build_packet
from lbsim.packet.headers import parse as parse_headers

LINKS = {"eth0": ("0.0.0.0/0", "::/0"), "eth1": ("10.0.0.0/24", "fd00::/64")}
OWN = ("192.168.1.1", "10.0.0.1", "2001:db8:1::1", "fd00::1")
PROFILES = {"6.1": "linux-6.1.192", "6.12": "linux-6.12.117"}
OWN_INSIDE = bytes([10, 0, 0, 1])
FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32}


class UnsupportedError(Exception):
    """The case needs something that lbsim does not have yet."""


class DifferenceError(Exception):
    """The first difference between the kernel and lbsim."""


@dataclass
class Case:
    """One case on one kernel."""

    asked: dict[str, Any]
    happened: dict[str, Any]
    profile: str


def link_mtu(command: str) -> dict[str, int]:
    """The MTU of the routes over a link: ``ip link set eth1 mtu 1400``."""
    *start, link, word, size = command.split()
    if start != ["ip", "link", "set"] or word != "mtu" or link not in LINKS:
        raise UnsupportedError(command)
    return dict.fromkeys(LINKS[link], int(size))


def server_address(number: int, version: int) -> str:
    return f"10.0.0.{10 + number}" if version == 4 else f"fd00::{10 + number}"


def server_number(address: str) -> int | None:
    return {server_address(n, v): n for n in range(1, 9) for v in (4, 6)}.get(address)


PROFILES_BOOT = 2**32 - 300 * 250
PHASES, PHASE_STEP = 512, 8  # ticks: a slot of the wheel's third level, and how finely it is searched
COUNTERS = ("stats", "rate", "pstats")
TICK = 0.004
AGES = {"linux-6.1.192": range(0, 504, 8), "linux-6.12.117": range(0, 500, 10)}  # ticks
SAMPLE_LAG = 0.02  # seconds that the bench may have taken to read a listing


class Replay:
    """A director that is fed the case's packets and commands, and what has arrived but was not compared yet."""

    def __init__(self, case: Case, phase: int = 0, age: int = 0) -> None:
        sysctls: dict[str, int] = {}
        self.commands = []
        marks: list[str] = []
        mtu: dict[str, int] = {}
        for command, status, _ in case.happened["setup"]:
            word = command.split()[0]
            if word == "sysctl":
                name, _, value = command.split(None, 1)[1].partition("=")
                short = name.removeprefix("net.ipv4.vs.")
                if short not in SYSCTLS:
                    raise UnsupportedError(f"sysctl {name}")
                sysctls[short] = int(value)
            elif word == "ipvsadm":
                self.commands.append((command, status))
            elif command.startswith("ip link set "):
                mtu |= link_mtu(command)
            elif word in ("nft", "iptables", "ip6tables", "ip"):
                marks.append(command)
            else:
                raise UnsupportedError(word)
        own = [*OWN, *case.asked.get("vips", ["192.168.1.10"])]
        try:
            read_marks("\n".join(marks))
        except ConfigError as error:
            raise UnsupportedError(str(error)) from None
        self.director = Director(
            "",
            profile=case.profile,
            sysctls=sysctls,
            own=[a.split("/")[0] for a in own],
            marks="\n".join(marks),
            mtu=mtu,
            start_jiffies=PROFILES_BOOT + phase,
            age=age * TICK,
        )
        for command, status in self.commands:
            self.command(command, status, "", 0.0)
        self.now = 0.0
        self.other: dict[str, str] = {}  # row of counters -> the first difference

    def command(self, command: str, status: int, output: str, at: float) -> None:
        if command.split(maxsplit=1)[0] != "ipvsadm":
            raise UnsupportedError(command.split(maxsplit=1)[0])
        try:
            answer = self.director.run(command, at=at)
        except LbsimError as error:
            raise UnsupportedError(str(error)) from None
        ours, theirs = stripped(answer.output + answer.message), stripped(output)
        if (answer.status, ours) != (status, theirs):
            raise DifferenceError(f"{command}: kernel {status} {theirs}, lbsim {answer.status} {ours}")

    def packet(self, who: str, data: bytes, at: float) -> list[tuple[str, bytes]]:
        via = "clients"
        if who.startswith("r"):
            via = server_address(int(who[1:-1]), data[0] >> 4)
        answer = self.director.receive(data, at=at, via=via)
        if answer.verdict.name == "UNMODELLED":
            raise UnsupportedError(answer.reason)
        arrivals = []
        for departure in answer.departures:
            number = server_number(departure.to)
            arrivals.append((f">r{number}" if number else ">c", departure.packet))
        return arrivals

    def listing(self, kind: str, at: float) -> list[str]:
        self.now = max(self.now, at)  # the listing before may have been read a little later
        self.director.advance(self.now)
        if kind in OPTIONS:
            return stripped(self.director.ipvsadm(OPTIONS[kind]))
        if kind in FILES:
            return stripped(self.director.proc(FILES[kind]))
        assert kind == "connsum", f"listing {kind}"
        return conn_sum(stripped(self.director.proc("ip_vs_conn"))[1:])


#: Sample -> what ipvsadm was asked, or the file in /proc/net.
OPTIONS = {
    "ln": "-Ln",
    "nosort": "-Ln --nosort",
    "stats": "-Ln --stats",
    "rate": "-Ln --rate",
    "thr": "-Ln --thresholds",
    "pers": "-Ln --persistent-conn",
    "tun": "-Ln --tun-info",
    "save": "-Sn",
    "timeout": "-L --timeout",
    "lnc": "-Lnc",
}
FILES = {"conn": "ip_vs_conn", "proc": "ip_vs", "pstats": "ip_vs_stats"}
CONN_HEADS = {"conn": 1, "lnc": 2}


def stripped(text: str) -> list[str]:
    """The lines of a text without the blanks at their ends, which the samples do not have."""
    return [line.rstrip() for line in text.strip("\n").split("\n")] if text.strip() else []


def conn_sum(lines: list[str]) -> list[str]:
    """Entries by protocol, destination and state."""
    rows = [line.split() for line in lines]
    counts = Counter(f"{row[0]} {row[5]}:{row[6]} {row[7]}" for row in rows)
    return sorted(f"{key} {count}" for key, count in counts.items())


def compare_listing(kind: str, kernel: list[str], ours: list[str]) -> None:
    theirs = [line.rstrip() for line in kernel]
    if kind in ("nosort", "proc"):  # the order of services is that of a randomly keyed hash
        theirs, ours = blocks(theirs), blocks(ours)
    if kind in CONN_HEADS:
        head = CONN_HEADS[kind]
        # An entry whose time is up waits for its slot of the timer wheel: it may be there or not.
        gone = [line for line in theirs[head:] if line not in ours and waits(kind, line)]
        extra = [line for line in ours[head:] if line not in theirs and waits(kind, line)]
        theirs = theirs[:head] + sorted(line for line in theirs[head:] if line not in gone)
        ours = ours[:head] + sorted(line for line in ours[head:] if line not in extra)
    if theirs != ours:
        missing = [line for line in theirs if line not in ours][:3]
        extra = [line for line in ours if line not in theirs][:3]
        raise DifferenceError(f"{kind}: kernel only {missing}, lbsim only {extra}")


def compare_sample(run: Replay, kind: str, lines: list[str], at: float, place: str) -> None:
    """Compare a listing as of its time or, as reading it took the bench a moment, a little later."""
    if kind in COUNTERS:
        return compare_counters(run, kind, lines, at, place)
    try:
        compare_listing(kind, lines, run.listing(kind, at))
    except DifferenceError as error:
        try:
            compare_listing(kind, lines, run.listing(kind, at + SAMPLE_LAG))
        except DifferenceError:
            raise DifferenceError(f"{place}: {error}") from None


def compare_counters(run: Replay, kind: str, lines: list[str], at: float, place: str) -> None:
    """Note which rows of counters differ: when they are copied depends on the director's age."""
    theirs, ours = counter_rows(kind, lines), counter_rows(kind, run.listing(kind, at))
    if list(theirs) != list(ours):
        raise DifferenceError(f"{place}: {kind}: kernel {list(theirs)}, lbsim {list(ours)}")
    for name, line in theirs.items():
        if ours[name] != line:
            run.other.setdefault(name, f"{place}: {kind}: kernel {line!r}, lbsim {ours[name]!r}")


def counter_rows(kind: str, lines: list[str]) -> dict[str, str]:
    """The lines of a listing by the service, or service and destination, that they are about."""
    if kind == "pstats":
        return {"total": "\n".join(line.rstrip() for line in lines)}
    rows: dict[str, str] = {}
    service = ""
    for line in lines[3:]:
        words = line.split()
        if words[0] != "->":
            service = " ".join(words[:-5])
        rows[service + (f" {words[1]}" if words[0] == "->" else "")] = line.rstrip()
    return rows


def settle_counters(case: Case, phase: int, other: dict[str, str]) -> None:
    """Raise unless there is an age of the director with which its counters are those shown: one for all rows with a
    kernel that copies them at once, else one for each row.
    """
    if not other:
        return
    told = other
    left = set(other)
    common = "common_copy" in PROFILES_KNOWN[case.profile].on
    for age in AGES[case.profile]:
        found = replay_at(case, phase, age)
        left = left & set(found)
        if not found or (not common and not left):
            return
    name = next(name for name in told if common or name in left)
    raise DifferenceError(told[name])


def waits(kind: str, line: str) -> bool:
    return line.rsplit(maxsplit=1)[-1] == "0" if kind == "conn" else line.split()[1] == "00:00"


def blocks(lines: list[str]) -> list[str]:
    found: list[str] = []
    for line in lines:
        if line.startswith("  ->") and found:
            found[-1] += "\n" + line
        else:
            found.append(line)
    return sorted(found)


def without_random(data: bytes) -> bytes:
    """The packet without what the kernel picks at random: the IP id (and so the header checksum) or flow label of what
    a director made itself, an ICMP error or the header of a tunnel; the source port of GUE.
    """
    headers = parse_headers(data)
    if headers is None:
        return data
    if headers.proto in (4, 47, 17) and data[12:16] == OWN_INSIDE:
        gue = b"\0\0" if headers.proto == 17 and headers.sport else b""
        return data[:4] + b"\0\0" + data[6:10] + b"\0\0" + data[12:20] + gue + data[20 + len(gue) :]
    if headers.ttl != 64:
        return data
    if headers.version == 4 and headers.proto == 1:
        return data[:4] + b"\0\0" + data[6:10] + b"\0\0" + data[12:]
    if headers.version == 6:
        return data[:1] + bytes([data[1] & 0xF0]) + b"\0\0" + data[4:]
    return data


def replay(case: Case) -> None:
    """Run one case; raises DifferenceError or UnsupportedError.

    Timers that are armed when another one fires (those of templates that outlive their time) show the phase of the
    kernel's clock, which is not known: then there must be one with which everything is as it was.
    """
    try:
        settle_counters(case, 0, replay_at(case, 0))
    except DifferenceError as first:
        if not any(row.split()[-2] in ("NONE", "ASSURED") for row in conn_rows(case)):
            raise
        for phase in range(PHASE_STEP, PHASES, PHASE_STEP):
            try:
                return settle_counters(case, phase, replay_at(case, phase))
            except DifferenceError:
                continue
        raise first from None


def conn_rows(case: Case) -> list[str]:
    """All rows of /proc/net/ip_vs_conn that the case shows."""
    listings = [item[2] for item in case.happened["trace"] if isinstance(item, list) and item[1] == "?"]
    return [row for listing in listings for row in listing.get("conn", [])[1:]]


def replay_at(case: Case, phase: int, age: int = 0) -> dict[str, str]:
    """Run one case on a clock that is so many ticks further on, with a director of that age; the rows of counters that
    were not as shown, each with its first difference.
    """
    trace = case.happened["trace"]
    run = Replay(case, phase, age)
    if any(isinstance(item, str) for item in trace):
        replay_mix(case, run)
        return run.other
    pending: list[tuple[str, bytes]] = []
    for position, item in enumerate(trace):
        at = item[0] / 1000
        what = item[1]
        place = f"item {position} at {at} s"
        if what.endswith(">"):
            settle(pending, place)
            pending = run.packet(what, bytes.fromhex(item[2]), at)
        elif what.startswith(">"):
            data = bytes.fromhex(item[2])
            if not pending:
                raise DifferenceError(f"{place}: kernel sent {what} {item[2][:80]}, lbsim nothing")
            to, ours = pending.pop(0)
            if to != what or without_random(ours) != without_random(data):
                raise DifferenceError(f"{place}: kernel {what} {item[2]}, lbsim {to} {ours.hex()}")
        elif what == "!":
            settle(pending, place)
            pending = []
            run.command(item[2], item[3], item[4], at)
        else:
            settle(pending, place)
            pending = []
            for kind, lines in item[2].items():
                compare_sample(run, kind, lines, at, place)
    settle(pending, "the end")
    return run.other


def settle(pending: list[tuple[str, bytes]], place: str) -> None:
    if pending:
        to, data = pending[0]
        raise DifferenceError(f"before {place}: lbsim sent {to} {data.hex()}, kernel nothing")


def replay_mix(case: Case, run: Replay) -> None:
    """A case whose results are one short line per client packet; the packets are those of the case file."""
    number = 0
    for event, item in zip(case.asked["events"], case.happened["trace"], strict=True):
        number += 1
        time, who, what = event.split(" ", 2)
        at = float(time)
        if isinstance(item, list):
            if item[1] == "!":
                run.command(item[2], item[3], item[4], at)
            else:
                for kind, lines in item[2].items():
                    compare_sample(run, kind, lines, item[0] / 1000, f"event {number}")
            continue
        assert who == "c"
        data = made_packet(what, number)
        arrivals = run.packet("c>", data, at)
        got = ""
        for to, arrived in arrivals:
            if to == ">c":
                got += "c"
                continue
            got += to[2:]
            answer = server_answer(arrived)
            if answer:
                back = run.packet(f"r{to[2:]}>", answer, at)
                got += "".join("c" for to_, _ in back if to_ == ">c")
        if (got or "-") != item.split()[0]:
            raise DifferenceError(f"event {number} ({event}): kernel {item.split()[0]}, lbsim {got or '-'}")


def made_packet(what: str, number: int) -> bytes:
    """The packet of a case's event line; only what the mixes use."""
    ends, proto, *words = what.split()
    source, target = ends.split(">")
    values = dict(word.partition("=")[::2] for word in words if "=" in word)
    unknown = set(values) - {"len", "seq", "ack"}
    if unknown:
        raise UnsupportedError(f"packet words {sorted(unknown)}")
    flags = next((word for word in words if "=" not in word), "")
    src, sport = parse_endpoint(source)
    dst, dport = parse_endpoint(target)
    return build_packet(
        src=src,
        sport=sport,
        dst=dst,
        dport=dport,
        proto=6 if proto == "tcp" else 17,
        flags=sum(FLAGS[letter] for letter in flags if letter != "-"),
        payload=bytes(int(values.get("len", 0))),
    )


def server_answer(data: bytes) -> bytes | None:
    """What the bench's real servers answer by themselves: SYN/ACK, ACK to data, FIN/ACK, UDP echo."""
    headers = parse_headers(data)
    assert headers is not None
    back = {
        "src": ip_address(headers.dst),
        "sport": headers.dport,
        "dst": ip_address(headers.src),
        "dport": headers.sport,
        "proto": headers.proto,
    }
    header = (20 if headers.version == 4 else 40) + (20 if headers.proto == 6 else 8)
    if headers.proto == 17:
        return build_packet(**back, flags=0, payload=bytes(headers.length - header))
    if headers.flags & 4:
        return None
    if headers.flags & 2:
        return build_packet(**back, flags=18, payload=b"")
    if headers.flags & 1:
        return build_packet(**back, flags=17, payload=b"")
    return build_packet(**back, flags=16, payload=b"") if headers.length > header else None


def main() -> int:
    """Run the cases of a folder; 0 only if nothing differs and something was equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--case", help="only this one")
    parser.add_argument("--kernel", help="only this one, e.g. 6.1")
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    for kernel in sorted(path.name for path in arguments.folder.iterdir() if path.name[0].isdigit()):
        if arguments.kernel not in (None, kernel):
            continue
        for path in sorted((arguments.folder / kernel).glob("*.json")):
            if arguments.case not in (None, path.stem):
                continue
            asked = json.loads((arguments.folder / "cases" / path.name).read_text())
            case = Case(asked, json.loads(path.read_text()), PROFILES.get(kernel, "linux-6.1.192"))
            outcome, detail = "equal", ""
            try:
                replay(case)
            except UnsupportedError as error:
                outcome, detail = "not supported", str(error)
            except DifferenceError as error:
                outcome, detail = "differs", str(error)
            counts[outcome] += 1
            print(f"{kernel} {path.stem}: {outcome}{': ' + detail if detail else ''}")
    print(", ".join(f"{counts[name]} {name}" for name in ("equal", "differs", "not supported")))
    return 0 if counts["equal"] and not counts["differs"] else 1


if __name__ == "__main__":
    sys.exit(main())
