"""A scenario file -> everything a run needs, or one error that says what to correct.

Steps: YAML (``yaml_text``), schema (``lbsim.model.scenario``), the director's config and the timeline's
commands (``lbsim.config``), and what must fit together (``consistency``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from io import BufferedReader
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lbsim.config import parse, parse_command
from lbsim.config.marks import Marks, format_marks, read_marks
from lbsim.engine.profile import SYSCTLS
from lbsim.engine.schedulers import BUILT_IN
from lbsim.errors import LbsimError, ScenarioError
from lbsim.model.config import (
    AddDest,
    AddService,
    AdminCommand,
    DestId,
    DirectorConfig,
    EditService,
    Place,
    ServiceId,
    TimedCommand,
)
from lbsim.model.scenario import CaptureTraffic, FileReference, PacketTraffic, Scenario
from lbsim.own_schedulers import load_schedulers, source_of
from lbsim.scenario.consistency import contradictions, sysctl_name
from lbsim.scenario.messages import problems_of, raise_first, wrong_kinds
from lbsim.scenario.yaml_text import MAX_BYTES, Document, KeyPath, decode, read_yaml

__all__ = ["Loaded", "SourceText", "load"]


@dataclass(frozen=True, slots=True)
class SourceText:
    """A text that a scenario holds or refers to, and where it stands.

    ``indent`` is the number of characters before each of its lines. ``by_line`` is False for quoted and
    folded texts, whose lines are not those of the file.
    """

    text: str
    file: str
    first_line: int = 1
    indent: int = 0
    by_line: bool = True

    @contextmanager
    def located(self) -> Iterator[None]:
        """Whoever parses the text inside: errors get the line and column of the file that holds it."""
        try:
            yield
        except LbsimError as error:
            if error.file == self.file and not self.by_line:
                error.line, error.column = self.first_line, self.indent + 1
            elif error.file == self.file and error.column is not None:
                error.column += self.indent
            raise


@dataclass(frozen=True)
class Loaded:
    """A scenario that is understood.

    ``timeline`` is in order of time, commands of the same instant in the order of the file. ``digest`` is a
    SHA-256 over what the scenario means: the same for other comments, key orders and names.
    """

    scenario: Scenario
    path: Path
    config: DirectorConfig
    timeline: tuple[TimedCommand, ...]
    digest: str
    document: Document = field(repr=False)
    packets: Mapping[int, SourceText] = field(repr=False)
    """Index into ``scenario.traffic`` -> the packet script there."""
    marks: Marks = field(default=Marks(), repr=False)
    """Which packets get which firewall mark."""

    def line_of(self, path: KeyPath) -> int:
        """Line of ``("expect", 0)``, counted from 1; of a path that is not there, its nearest ancestor's."""
        return self.document.key_spot(path).line

    def place_of(self, path: KeyPath) -> str:
        """``file:line``."""
        return f"{self.path}:{self.line_of(path)}"

    def file(self, name: str) -> Path:
        """The path of a file that the scenario refers to."""
        return self.path.parent / name

    @property
    def sysctls(self) -> dict[str, int]:
        """The tunables that the scenario sets, without the prefix ``net.ipv4.vs.``."""
        return {sysctl_name(name): value for name, value in self.scenario.sysctls.items()}

    @property
    def schedulers(self) -> list[str | Path]:
        """The schedulers of one's own, for whoever runs the scenario in another process or folder."""
        given = self.scenario.schedulers
        return [self.path.parent.absolute() / one if one.endswith(".py") else one for one in given]

    @property
    def not_on_a_kernel(self) -> str:
        """Why no run of a real kernel can be compared with one of the engine; "" if it can."""
        for scheduler in sorted(self.used_schedulers):
            if scheduler not in (*BUILT_IN, "none"):
                return f"no real kernel has the scheduler {scheduler}"
        for service in self.used_schedulers.get("twos", ()):
            dests = self.services.get(service, ())
            if len({dest.address for dest in dests}) < len(dests):
                return f"two destinations of {service} have one address, and which of them twos drew does not show"
        return ""

    @property
    def used_schedulers(self) -> dict[str, list[ServiceId]]:
        """The schedulers that services have at some time of the run, and which services these are."""
        used: dict[str, list[ServiceId]] = {}
        for command in (*self.config.commands, *(timed.command for timed in self.timeline)):
            if isinstance(command, AddService | EditService):
                used.setdefault(command.scheduler, []).append(command.service)
        return used

    @property
    def services(self) -> dict[ServiceId, tuple[DestId, ...]]:
        """Every service that exists at some time of the run, and every destination that it gets."""
        return _ever_made((*self.config.commands, *(timed.command for timed in self.timeline)))

    @property
    def called(self) -> list[ServiceId]:
        """The services, and the ends whose packets firewall marks make those of a service."""
        made = self.services
        return [*made, *(end for mark, end in self.marks.ends() if ServiceId.marked(mark, end.address.version) in made)]


def load(path: Path | str) -> Loaded:
    """The scenario in a file (``*.lbsim.yaml``), with its config and commands parsed and its names checked.

    Raises
    ------
    ScenarioError : the file cannot be read, is no YAML, is not understood or contradicts itself.
    ConfigError : an admin command in it is not understood.
    """
    path = Path(path)
    document = read_yaml(path)
    scenario = _validate(document)
    schedulers = _own_schedulers(scenario, document, path)
    source = _source_text(scenario.config, ("config",), document, path)
    with source.located():
        config = parse(source.text, file=source.file, first_line=source.first_line)
    timeline = _timeline(scenario, document, path)
    commands = (*config.commands, *(timed.command for timed in timeline))
    marks = _marks(scenario, document, path)
    raise_first(contradictions(scenario, _ever_made(commands), document, marks), document.file)
    packets = {
        at: _source_text(item.packets, ("traffic", at, "packets"), document, path)
        for at, item in enumerate(scenario.traffic)
        if isinstance(item, PacketTraffic)
    }
    files: dict[KeyPath, str] = {
        ("traffic", at, "packets"): _without_comments(source.text) for at, source in packets.items()
    }
    files |= _capture_digests(scenario, document, path)
    digest = _digest(scenario, config, timeline, files, schedulers, marks)
    return Loaded(scenario, path, config, timeline, digest, document, packets, marks)


def _validate(document: Document) -> Scenario:
    data = document.data
    if not isinstance(data, dict):
        found = "nothing" if data is None else "a list" if isinstance(data, list) else repr(data)[:60]
        message = f"expected a mapping with the keys name, config, traffic, ...; found {found}"
        raise ScenarioError(message, file=document.file, line=document.spot(()).line)
    problems = wrong_kinds(document)
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError as error:
        known = [problem.path for problem in problems]
        problems += [p for p in problems_of(error, document) if p.path[:2] not in known]
        raise_first(problems, document.file)
        raise AssertionError(f"pydantic refuses {document.file}, and nothing was found: {error}") from None
    return scenario


def _own_schedulers(scenario: Scenario, document: Document, path: Path) -> list[str]:
    """Register the schedulers that the scenario brings along; what they are."""
    found = []
    for at, source in enumerate(scenario.schedulers):
        try:
            load_schedulers([source], path.parent)
            found.append(hashlib.sha256(source_of(source, path.parent)).hexdigest())
        except LbsimError as error:
            spot = document.spot(("schedulers", at))
            place = f"{error.file}: " if error.file else ""
            message = f"{place}{error.message}"
            raise ScenarioError(message, file=document.file, line=spot.line, column=spot.column) from error
    return found


def _source_text(content: str | FileReference, at: KeyPath, document: Document, path: Path) -> SourceText:
    """The text at a place of the scenario, or in the file that is named there."""
    if isinstance(content, FileReference):
        target = path.parent / content.file
        raw = _read_reference(target, content.file, (*at, "file"), document)
        return SourceText(decode(raw, str(target)), str(target))
    spot = document.content_spot(at)
    by_line = document.is_literal(at)
    return SourceText(content, str(path), spot.line, spot.column - 1, by_line)


def _read_reference(target: Path, name: str, at: KeyPath, document: Document) -> bytes:
    with _opened(target, name, at, document) as source:
        content = source.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        spot = document.spot(at)
        message = f"{name} is larger than {MAX_BYTES // 1024**2} MiB; expected a text"
        raise ScenarioError(message, file=document.file, line=spot.line, column=spot.column)
    return content


@contextmanager
def _opened(target: Path, name: str, at: KeyPath, document: Document) -> Iterator[BufferedReader]:
    """A regular file, open; what the operating system refuses is a ScenarioError where the file is named."""
    spot = document.spot(at)
    try:
        if target.exists() and not target.is_file():  # a pipe would wait for ever
            raise OSError(0, "not a regular file")
        with target.open("rb") as source:
            yield source
    except OSError as error:
        message = f"cannot read {name!r}: {error.strerror}"
    except ValueError as error:  # a NUL in the name
        message = f"cannot read {name!r}: {error}"
    else:
        return
    raise ScenarioError(message, file=document.file, line=spot.line, column=spot.column)


def _marks(scenario: Scenario, document: Document, path: Path) -> Marks:
    if scenario.marks is None:
        return Marks()
    source = _source_text(scenario.marks, ("marks",), document, path)
    with source.located():
        return read_marks(source.text, file=source.file, first_line=source.first_line)


def _timeline(scenario: Scenario, document: Document, path: Path) -> tuple[TimedCommand, ...]:
    timed = []
    for at, command in enumerate(scenario.timeline):
        spot = document.content_spot(("timeline", at, "run"))
        place = Place(str(path), spot.line, spot.column)
        timed.append(TimedCommand(command.at, parse_command(command.run, place=place)))
    return tuple(sorted(timed, key=lambda one: one.at))


def _ever_made(commands: tuple[AdminCommand, ...]) -> dict[ServiceId, tuple[DestId, ...]]:
    made: dict[ServiceId, dict[DestId, None]] = {
        command.service: {} for command in commands if isinstance(command, AddService)
    }
    for command in commands:
        if isinstance(command, AddDest) and command.service in made:
            made[command.service][command.dest] = None
    return {service: tuple(dests) for service, dests in made.items()}


_ALWAYS_SAID = ("conn_reuse_mode", "expire_nodest_conn", "sloppy_tcp")  # in digests; others only with other values


def _digest(
    scenario: Scenario,
    config: DirectorConfig,
    timeline: tuple[TimedCommand, ...],
    files: Mapping[KeyPath, str],
    schedulers: Sequence[str],
    marks: Marks,
) -> str:
    """SHA-256 over the scenario as canonical JSON, contents of files in place of their names."""
    meaning = scenario.model_dump(mode="json", exclude={"name", "description", "schedulers", "marks"})
    if not scenario.straight_replies:  # as it was before there was that key
        del meaning["straight_replies"]
    if not scenario.mtu:  # likewise
        del meaning["mtu"]
    if marks != Marks():
        meaning["marks"] = list(format_marks(marks))
    for item in meaning["traffic"]:
        if item.get("sctp", True) is None:  # as it was before there was SCTP
            del item["sctp"]
    if schedulers:
        meaning["schedulers"] = schedulers
    meaning["config"] = [[_meaning(command) for command in config.commands], asdict(config.router)]
    meaning["timeline"] = [[timed.at, _meaning(timed.command)] for timed in timeline]
    given = {sysctl_name(name): value for name, value in scenario.sysctls.items()}
    always = {name: SYSCTLS[name].default for name in _ALWAYS_SAID}
    meaning["sysctls"] = always | {
        name: value for name, value in given.items() if name in always or value != SYSCTLS[name].default
    }
    for (_, at, key), content in files.items():
        meaning["traffic"][at][key] = content
    canonical = json.dumps(meaning, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _meaning(command: AdminCommand) -> dict[str, Any]:
    said = {f.name: getattr(command, f.name) for f in fields(command) if f.name not in ("place", "text")}
    plain = {name: value if isinstance(value, int) else str(value) for name, value in said.items()}
    return {"command": type(command).__name__, **plain}


def _without_comments(script: str) -> str:
    lines = (" ".join(line.partition("#")[0].split()) for line in script.splitlines())
    return "\n".join(line for line in lines if line)


def _capture_digests(scenario: Scenario, document: Document, path: Path) -> dict[KeyPath, str]:
    """Place of each capture -> SHA-256 over its bytes."""
    digests: dict[KeyPath, str] = {}
    for at, item in enumerate(scenario.traffic):
        if isinstance(item, CaptureTraffic):
            place = ("traffic", at, "capture")
            with _opened(path.parent / item.capture, item.capture, place, document) as source:
                digests[place] = hashlib.file_digest(source, "sha256").hexdigest()
    return digests
