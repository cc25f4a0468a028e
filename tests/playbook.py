"""Scripts of what happens to a director and what it must answer.

    play.config("tcp V:80 rr", "A", "B weight 2")
    play.at(0).send("c1 SYN").expect("FORWARD B new")
    play.reply("B c1 SYN+ACK").expect("FORWARD B translated")
    play.edit("B weight 0").send("c2 SYN").expect("FORWARD A new")
    play.wait("SYN_RECV timeout").table("c1 ESTABLISHED B")
    play.totals(A={"conns": 1, "active": 0}, B={"conns": 1})

Each call notes a step; nothing runs before the test function has ended. Then the whole script runs, once per variant
(IPv4 and IPv6, interpreted and compiled lane, naive oracle). A packet without an expectation, a wait that nothing
follows and a script without steps are errors: what is not checked to its end is not checked.

Names: V and W are virtual addresses, A to H real servers, c1, c2, ... clients (port 40000 + number). A port that is
not written is the service's, the client's own, or that of the server's first mention. Packets are a name and flags:
``c1 SYN``, ``c1 FIN+ACK``, ``c1 -`` (no flags), ``c1 UDP``, ``c1 GRE``, with ``to W:81`` if they go elsewhere than to
the first service of their protocol. A command that is not marked ``refused`` must be accepted.

Of every forwarded packet the bytes are checked: TTL one less, right checksums, everything else as it was. Its new ends
are checked as well: a request must go to the destination, an answer must come from the first service, unless the
expectation says ``FORWARD A translated as W:80``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

from lbsim.config import parse_command
from lbsim.engine.lanes import compiled_lane, interpreted_lane
from lbsim.model.config import AdminCommand, Persistence, ServiceId, format_endpoint, parse_endpoint
from lbsim.model.result import ConnRow
from tests.oracles import tcp
from tests.oracles.director import End, Seen, Sent
from tests.oracles.wheel import fire_jiffy
from tests.sides import HZ, EngineSide, OracleSide, Side, packet

__all__ = ["Playbook", "PlaybookError", "PlaybookMismatch", "Step", "Variant"]

START = 2**32 - 300 * HZ  # the jiffy at time 0: a machine that has just booted
COUNTERS = {
    "conns": lambda row: row.counters.connections,
    "in_packets": lambda row: row.counters.in_packets,
    "out_packets": lambda row: row.counters.out_packets,
    "in_bytes": lambda row: row.counters.in_bytes,
    "out_bytes": lambda row: row.counters.out_bytes,
    "active": lambda row: row.active,
    "inactive": lambda row: row.inactive,
    "weight": lambda row: row.weight,
}


class PlaybookError(Exception):
    """The script itself is wrong: something in it is not checked, or not understood."""


class PlaybookMismatch(AssertionError):
    """A step came out differently; the text is the transcript."""


@dataclass(frozen=True)
class Variant:
    """How a script is run: IP version, and "interpreted", "compiled" or "oracle"."""

    version: int = 4
    lane: str = "interpreted"

    def __str__(self) -> str:
        return f"v{self.version}-{self.lane}"

    @property
    def ip_header(self) -> int:
        """Bytes of an IP header."""
        return 20 if self.version == 4 else 40

    def side(self, sysctls: Mapping[str, int]) -> Side:
        """A fresh director without services."""
        if self.lane == "oracle":
            return OracleSide(sysctls)
        return EngineSide(compiled_lane() if self.lane == "compiled" else interpreted_lane(), sysctls)


@dataclass(frozen=True)
class Step:
    """One line of a script. ``kind`` is time, command, packet, table, totals or listing."""

    kind: str
    text: str
    expected: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)


class Playbook:
    """A script in the making."""

    def __init__(self, variant: Variant | None = None) -> None:
        self.variant = variant or Variant()
        self.steps: list[Step] = []
        self.sysctls: dict[str, int] = {}
        self._newest_client = 0

    # What happens

    def sysctl(self, **values: int) -> Playbook:
        """Set tunables of net.ipv4.vs.; before the first step."""
        if self.steps:
            raise PlaybookError("sysctls are set before the first step")
        self.sysctls |= values
        return self

    def config(self, *lines: str) -> Playbook:
        """Services (``tcp V:80 sh sh-port``), each followed by its destinations (``A``, ``B:8080 weight 2``)."""
        service = ""
        for line in lines:
            if line.split()[0] in ("tcp", "udp", "fwm"):
                service = " ".join(line.split()[:2])
                self.add_service(line)
            else:
                self.add(line, to=service)
        return self

    def at(self, seconds: float) -> Playbook:
        """Let time pass until ``seconds`` after time 0."""
        return self._note(Step("time", f"at {seconds:g}"))

    def wait(self, what: float | str) -> Playbook:
        """Let so many seconds pass, or ``SYN_RECV timeout``: until an entry that gets into this state now is gone.

        ``just before SYN_RECV timeout`` is one tick less.
        """
        return self._note(Step("time", f"wait {what:g}" if isinstance(what, int | float) else f"wait {what}"))

    def advance(self, ticks: int) -> Playbook:
        """Let so many ticks pass."""
        return self._note(Step("time", f"advance {ticks}"))

    def send(self, text: str, **options: int) -> Playbook:
        """A packet from a client: ``c1 SYN``; options: ttl, payload, cut (bytes of the transport header)."""
        return self._note(Step("packet", f"send {text}", options=options))

    def reply(self, text: str, **options: int) -> Playbook:
        """A packet from a real server: ``A c1 SYN+ACK``."""
        return self._note(Step("packet", f"reply {text}", options=options))

    def run(self, command: str) -> Playbook:
        """An ipvsadm command with names for endpoints: ``-d -t V:80 -r B:80``."""
        return self._note(Step("command", command, "accepted"))

    def add_service(self, line: str) -> Playbook:
        return self.run(f"-A {_service_words(line)}")

    def edit_service(self, line: str) -> Playbook:
        return self.run(f"-E {_service_words(line)}")

    def delete_service(self, service: str) -> Playbook:
        return self.run(f"-D {_service_words(service)}")

    def clear(self) -> Playbook:
        return self.run("-C")

    def add(self, line: str, to: str = "") -> Playbook:
        """A destination, of the first service unless another is named: ``B weight 2``."""
        return self.run(f"-a {self._dest_words(line, to)}")

    def edit(self, line: str, of: str = "") -> Playbook:
        return self.run(f"-e {self._dest_words(line, of)}")

    def delete(self, dest: str, of: str = "") -> Playbook:
        return self.run(f"-d {self._dest_words(dest, of)}".removesuffix(" -m"))

    # What is expected

    def expect(self, text: str) -> Playbook:
        """What becomes of the packet just sent: ``FORWARD B new``, ``LOCAL no_service``."""
        return self._answer("packet", text)

    def refused(self, message: str) -> Playbook:
        """ipvsadm's message to the command just given."""
        return self._answer("command", f"refused: {message}")

    def table(self, *rows: str) -> Playbook:
        """The whole connection table in any order: ``c1 ESTABLISHED A`` or, with the seconds left, ``... A 899``."""
        return self._note(Step("table", "table", rows))

    def totals(self, **wanted: Mapping[str, int]) -> Playbook:
        """Numbers of destinations and services by name: ``A={"conns": 1}``, ``V={"in_packets": 3}``."""
        return self._note(Step("totals", "totals", wanted))

    def listing(self, *services: str) -> Playbook:
        """All services with their destinations in the kernel's order: ``tcp V:80 rr: B A``."""
        return self._note(Step("listing", "listing", services))

    def picks(self, names: str, flags: str = "SYN") -> Playbook:
        """New clients, one after the other, and who gets each: ``C B A``; ``-`` is told that there is nobody."""
        for name in names.split():
            self._newest_client += 1
            seen = "REJECT no_dest" if name == "-" else f"FORWARD {name} new"
            self.send(f"c{self._newest_client} {flags}").expect(seen)
        return self

    def _note(self, step: Step) -> Playbook:
        self.steps.append(step)
        return self

    def _answer(self, kind: str, text: str) -> Playbook:
        last = self.steps[-1] if self.steps else None
        if last is None or last.kind != kind or last.expected not in (None, "accepted"):
            raise PlaybookError(f"{text!r} follows no {kind} that still waits for an expectation")
        self.steps[-1] = replace(last, expected=text)
        return self

    def _dest_words(self, line: str, service: str) -> str:
        dest, *rest = line.split()
        given = dict(zip(rest[::2], rest[1::2], strict=True))
        weight = f" -w {given['weight']}" if "weight" in given else ""
        weight += f" -x {given['limit']}" if "limit" in given else ""
        first = next((s.text for s in self.steps if s.text.startswith("-A ")), "-A -t V:80")
        words = _service_words(service) if service else " ".join(first.split()[1:3])
        dest = dest if ":" in dest else f"{dest}:{words.rpartition(':')[2]}"
        return f"{words} -r {dest} -m{weight}"

    # The end

    def finish(self) -> None:
        """Run the script; PlaybookError if it does not check everything, PlaybookMismatch at the first difference."""
        self._must_be_complete()
        run = Run(self, self.variant)
        for number, step in enumerate(self.steps):
            got = run.play(step)
            if not agrees(step, got):
                raise PlaybookMismatch(self._transcript(run, number, got))

    def _must_be_complete(self) -> None:
        if not self.steps:
            raise PlaybookError("the script has no steps")
        for number, step in enumerate(self.steps, start=1):
            if step.expected is None and step.kind == "packet":
                raise PlaybookError(f"step {number}, {step.text!r}, has no expectation")
        if self.steps[-1].kind == "time":
            raise PlaybookError(f"nothing is expected after the last step, {self.steps[-1].text!r}")

    def _transcript(self, run: Run, failed: int, got: Any) -> str:
        lines = [f"{self.variant}: step {failed + 1} of {len(self.steps)} is not as expected", ""]
        for number, step in enumerate(self.steps):
            when = f"t={run.times[number]:g}" if number <= failed else "not reached"
            mark = ">" if number == failed else " "
            shown = "" if step.kind == "time" else _shown(step.expected)
            lines.append(f"{mark} {when:<12} {step.text:<36} {shown}".rstrip())
            if number == failed:
                lines.append(f"> {'':<12} {'':<36} {_shown(got)}  <- got")
        title, expected = self._expected_table(run, failed)
        lines += ["", *_side_by_side(title, expected, f"connection table of {self.variant}", run.rows())]
        return "\n".join(lines)

    def _expected_table(self, run: Run, failed: int) -> tuple[str, list[str]]:
        """The rows that the failed step states, or else those of the oracle at this moment."""
        if self.steps[failed].kind == "table":
            return "expected connection table", list(self.steps[failed].expected)
        oracle = Run(self, replace(self.variant, lane="oracle"))
        for step in self.steps[: failed + 1]:
            oracle.play(step)
        return "connection table of the oracle", oracle.rows()


class Run:
    """A script being played on one side."""

    def __init__(self, script: Playbook, variant: Variant) -> None:
        self.names = Names(script, variant.version)
        self.side = variant.side(script.sysctls)
        self.tick = 0
        self.times: list[float] = []

    def play(self, step: Step) -> Any:
        """What came out of a step, in the form of its expectation."""
        actions: dict[str, Callable[[Step], Any]] = {
            "time": self._time,
            "command": self._command,
            "packet": self._packet,
            "table": lambda _: self.rows(),
            "totals": self._totals,
            "listing": self._listing,
        }
        got = actions[step.kind](step)
        self.times.append(self.tick / HZ)
        return got

    def rows(self) -> list[str]:
        """The connection table in the script's words."""
        return [self.names.row(row) for row in self.side.table()]

    def _time(self, step: Step) -> None:
        word, _, rest = step.text.partition(" ")
        match word:
            case "at":
                self.tick = round(float(rest) * HZ)
            case "advance":
                self.tick += int(rest)
            case _ if rest.endswith(" timeout"):
                state = rest.removesuffix(" timeout").removeprefix("just before ")
                ticks = (tcp.SECONDS | {"UDP": 300})[state] * HZ
                now = START + self.tick
                self.tick = fire_jiffy(now + ticks, now) - START - rest.startswith("just before ")
            case _:
                self.tick += round(float(rest) * HZ)
        self.side.advance(self.tick)

    def _command(self, step: Step) -> str:
        message = self.side.command(command_of(self.names.replace_all(step.text), self.names.version))
        return f"refused: {message}" if message else "accepted"

    def _packet(self, step: Step) -> str:
        sent = self.names.packet(step.text, step.options)
        return self.names.seen(sent, self.side.receive(sent))

    def _totals(self, step: Step) -> dict[str, dict[str, int]]:
        found: dict[str, Any] = {}
        for service in self.side.services():
            found.setdefault(self.names.short(service.service.split()[1]).partition(":")[0], service)
            for dest in service.dests:
                found.setdefault(self.names.short(dest.dest), dest)
        return {
            name: {key: COUNTERS[key](found[name]) for key in wanted} if name in found else {"there": 0}
            for name, wanted in step.expected.items()
        }

    def _listing(self, step: Step) -> list[str]:
        out = []
        for row in self.side.services():
            protocol, endpoint = row.service.split()
            words = [f"{protocol} {self.names.full(endpoint)}", row.scheduler, *row.flags]
            dests = "".join(f" {self.names.short(dest.dest)}" for dest in row.dests)
            out.append(f"{' '.join(words)}:{dests}")
        return out


class Names:
    """Names of a script <-> addresses of one IP version."""

    def __init__(self, script: Playbook, version: int) -> None:
        pattern = {
            4: {"V": "192.0.2.1", "W": "192.0.2.2", "dest": "10.0.0.{}", "client": "203.0.113.{}"},
            6: {"V": "2001:db8::1", "W": "2001:db8::2", "dest": "fd00::{}", "client": "2001:db8:c::{}"},
        }[version]
        self.version = version
        self.addresses = {"V": pattern["V"], "W": pattern["W"]}
        self.addresses |= {name: pattern["dest"].format(11 + i) for i, name in enumerate("ABCDEFGH")}
        self.addresses |= {f"c{i}": pattern["client"].format(i) for i in range(1, 100)}
        self.by_address = {str(ip_address(address)): name for name, address in self.addresses.items()}
        commands = " ".join(step.text for step in script.steps if step.kind == "command")
        self.ports: dict[str, int] = {f"c{i}": 40000 + i for i in range(1, 100)}
        for name, port in re.findall(r"-r ([A-H]):(\d+)", commands):
            self.ports.setdefault(name, int(port))
        self.first: dict[str, str] = {}
        for letter, service in re.findall(r"-A -(.) (\S+)", commands):
            if letter != "f":
                self.first.setdefault({"t": "tcp", "u": "udp"}[letter], service)

    def end(self, name: str) -> End:
        """The end that a name with or without port stands for; a name that is none is an address."""
        host, _, port = name.partition(":")
        if host not in self.addresses:
            raise PlaybookError(f"{name!r} is no name; expected one of V, W, A to H, c1 to c99, with or without :PORT")
        number = int(port) if port else self.ports.get(host)
        if number is None:
            raise PlaybookError(f"{name!r} needs a port")
        return self.addresses[host], number

    def short(self, endpoint: str) -> str:
        """The name of an endpoint, without the port if that goes without saying."""
        address, port = parse_endpoint(endpoint)
        name = self.by_address[str(address)]
        return name if self.ports.get(name) == port else f"{name}:{port}"

    def full(self, endpoint: str) -> str:
        address, port = parse_endpoint(endpoint)
        return f"{self.by_address[str(address)]}:{port}"

    def replace_all(self, command: str) -> str:
        """A command with addresses in the place of names."""
        words = command.split()
        for at, word in enumerate(words):
            if at > 0 and words[at - 1] in ("-t", "-u", "-r"):
                address, port = self.end(word)
                words[at] = format_endpoint(ip_address(address), port)
        return " ".join(words)

    def packet(self, text: str, options: Mapping[str, Any]) -> Sent:
        """The packet of a send or reply step."""
        direction, _, rest = text.partition(" ")
        rest, _, target = rest.partition(" to ")
        *ends, flags = rest.split()
        proto = flags.lower() if flags in ("UDP", "GRE") else "tcp"
        names = [] if flags in ("-", "UDP", "GRE") else flags.split("+")
        if direction == "reply":
            server, client = ends
            return packet(proto, self.end(server), self.end(client), *names, direction="out", **options)
        target = target or self.first.get(proto) or next(iter(self.first.values()))
        return packet(proto, self.end(ends[0]), self.end(target), *names, **options)

    def seen(self, sent: Sent, seen: Seen) -> str:
        """What became of a packet, in a script's words; new ends that do not go without saying are named."""
        words = [seen.verdict, *([self._named(seen.dest)] if seen.dest else []), seen.reason]
        if seen.header is not None:
            src, dst = seen.header
            usual = self.end(self.first[sent.proto]) if sent.direction == "out" else sent.src
            words += [] if src == usual else ["as", self.full(format_endpoint(ip_address(src[0]), src[1]))]
            usual = sent.dst if sent.direction == "out" else seen.dest
            words += [] if dst == usual else ["to", self.full(format_endpoint(ip_address(dst[0]), dst[1]))]
        return " ".join(words)

    def _named(self, end: End) -> str:
        return self.short(format_endpoint(ip_address(end[0]), end[1]))

    def row(self, row: ConnRow) -> str:
        """A connection entry in a script's words."""
        usual = row.protocol.lower() in self.first and self.full(row.virtual) == self.first[row.protocol.lower()]
        virtual = [] if usual else ["to", self.full(row.virtual)]
        return " ".join([
            self.short(row.client), *virtual, row.state, self.short(row.destination), str(row.expires),
        ])  # fmt: skip


def agrees(step: Step, got: Any) -> bool:
    """Whether what came out of a step is what it expects."""
    if step.kind == "time":
        return True
    if step.kind == "table":
        left = list(got)
        for row in step.expected:
            match = next((one for one in left if one == row or one.rpartition(" ")[0] == row), None)
            if match is None:
                return False
            left.remove(match)
        return not left
    if step.kind == "listing":
        return list(step.expected) == got
    return bool(step.expected == got)


def _service_words(line: str) -> str:
    """``tcp V:80 sh sh-port`` as ipvsadm words."""
    protocol, endpoint, *rest = line.split()
    options: list[str] = []
    if "one-packet" in rest:
        rest.remove("one-packet")
        options.append("-o")
    if "persistent" in rest:
        at = rest.index("persistent")
        options += ["-p", rest[at + 1], *(["-M", "net"] if "net" in rest else [])]
        rest = rest[:at]
    scheduler = ["-s", rest[0]] if rest else []
    flags = ["-b", ",".join(rest[1:])] if rest[1:] else []
    return " ".join([{"tcp": "-t", "udp": "-u", "fwm": "-f"}[protocol], endpoint, *scheduler, *flags, *options])


def command_of(text: str, version: int) -> AdminCommand:
    """The command that a line means. ``-M net`` is the mask of a /24 or /64."""
    words = text.split()
    said: dict[str, str] = {}
    for option in ("-p", "-M", "-x", "-f", "-o"):
        if option in words:
            at = words.index(option)
            count = 1 if option == "-o" else 2
            said[option] = words[at + count - 1]
            words[at : at + count] = (
                ["-t", "192.0.2.99:1" if version == 4 else "[2001:db8::99]:1"] if option == "-f" else []
            )
    scheduler = ""
    if "-s" in words and words[words.index("-s") + 1] == "none":
        words[words.index("-s") + 1] = scheduler = "rr"
    endpoint = words.index("-t") + 1 if "-t" in words else 0
    port_0 = endpoint and words[endpoint].endswith(":0")
    words[endpoint] = words[endpoint] + "1" if port_0 else words[endpoint]  # :01 for :0
    command = parse_command(" ".join(words))
    changes: dict[str, Any] = {}
    if scheduler:
        changes["scheduler"] = "none"
    if port_0:
        changes["service"] = replace(command.service, port=0)
    if "-f" in said:
        changes["service"] = ServiceId.marked(int(said["-f"]), version)
    if "-p" in said:
        net = {4: 0xFFFFFF00, 6: 64}[version] if "-M" in said else None
        changes["persistence"] = Persistence(int(said["-p"]), net)
    if "-x" in said:
        changes["upper"] = int(said["-x"])
    if "-o" in said:
        changes["one_packet"] = True
    return replace(command, **changes)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {' '.join(f'{k}={v}' for k, v in row.items())}" for name, row in value.items())
    if isinstance(value, list | tuple):
        return " | ".join(value) or "(empty)"
    return str(value)


def _side_by_side(left_title: str, left: list[str], right_title: str, right: list[str]) -> list[str]:
    width = max(map(len, [left_title, *left]))
    height = max(len(left), len(right), 1)
    left, right = (column + ["(empty)"] * (not column) for column in (left, right))
    padded = [column + [""] * (height - len(column)) for column in (left, right)]
    return [
        f"  {a:<{width}}   {b}".rstrip()
        for a, b in zip([left_title, *padded[0]], [right_title, *padded[1]], strict=True)
    ]
