"""What a scenario says twice must fit together: names of services and destinations, moments, tunables.

A scenario may do strange things to a director (they become verdicts and findings), but it may not speak of
something that never exists: that is a typing mistake, and the run would pass over it in silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import TypeAlias

from lbsim.config.marks import Marks
from lbsim.engine.numbers import SCTP, TCP, UDP
from lbsim.engine.profile import PROFILES, SYSCTLS, TAKEN, refused_value
from lbsim.errors import expected_one_of
from lbsim.model.config import DestId, ServiceId, parse_endpoint
from lbsim.model.scenario import (
    CaptureTraffic,
    ReasonsExpectation,
    Scenario,
    SequenceExpectation,
    ShareExpectation,
    SyntheticTraffic,
    TableExpectation,
    TotalsExpectation,
)
from lbsim.model.wording import seconds
from lbsim.scenario.messages import Problem, where
from lbsim.scenario.table_rows import TableRow
from lbsim.scenario.yaml_text import Document, KeyPath

__all__ = ["contradictions", "sysctl_name"]

_PREFIX = "net.ipv4.vs."
_NO_MARKS = Marks()
_PROTOCOLS = {"tcp": TCP, "udp": UDP, "sctp": SCTP}
_INT_RANGE = range(-(2**31), 2**31)
_OfService: TypeAlias = SequenceExpectation | ShareExpectation | TotalsExpectation
_Made: TypeAlias = Mapping[ServiceId, tuple[DestId, ...]]
_Finds: TypeAlias = Iterator[tuple[KeyPath, str]]


def sysctl_name(name: str) -> str:
    """``conn_reuse_mode`` for ``net.ipv4.vs.conn_reuse_mode``."""
    return name.removeprefix(_PREFIX)


def contradictions(scenario: Scenario, made: _Made, document: Document, marks: Marks = _NO_MARKS) -> list[Problem]:
    """Everything in the scenario that speaks of something that does not exist.

    Parameters
    ----------
    made : every service that exists at some time of the run, and every destination that it gets.
    marks : the rules that give packets firewall marks.
    """
    found = chain(_kernel(scenario), _traffic(scenario, made, marks), _expectations(scenario, made), _moments(scenario))
    return [Problem(path, document.key_spot(path), message) for path, message in found]


def _kernel(scenario: Scenario) -> _Finds:
    if scenario.profile not in PROFILES:
        yield ("profile",), expected_one_of(scenario.profile, tuple(PROFILES), "profile")
    seen: set[str] = set()
    for written, value in scenario.sysctls.items():
        name = sysctl_name(written)
        path = ("sysctls", written)
        if name not in SYSCTLS:
            yield path, expected_one_of(name, TAKEN, "sysctl")
        elif name in seen:
            yield path, f"sysctl {name!r} a second time"
        elif value not in _INT_RANGE:
            yield path, f"sysctl {name!r} is {value:,}; expected a 32-bit number"
        elif refused_value(name, value):
            yield path, refused_value(name, value)
        seen.add(name)


def _traffic(scenario: Scenario, made: _Made, marks: Marks) -> _Finds:
    for at, item in enumerate(scenario.traffic):
        path: KeyPath = ("traffic", at)
        if isinstance(item, SyntheticTraffic):
            yield from _nobodys(item.service, made, marks, (*path, "service"))
            yield from _no_traffic_for(item.service, (*path, "service"))
        if isinstance(item, CaptureTraffic):
            for end, service in (item.services or {}).items():
                try:
                    parse_endpoint(end)
                except ValueError as error:
                    yield (*path, "services", end), f"{where(path)}.services: {error}"
                yield from _nobodys(service, made, marks, (*path, "services", end))
                if service.protocol == "fwm":
                    message = f"{service} has no address that {end} could stand for; expected a service by address"
                    yield (*path, "services", end), f"{where(path)}.services: {message}"


def _nobodys(end: ServiceId, made: _Made, marks: Marks, path: KeyPath) -> _Finds:
    """An end whose packets are no service's: not by its address and port, nor by its address alone, nor by a mark."""
    if end.protocol != "fwm" and replace(end, port=0) in made:
        return
    number = _PROTOCOLS.get(end.protocol, 0)
    mark = marks.mark_of(end.address, number, end.port)
    if not mark or ServiceId.marked(mark, end.address.version) not in made:
        yield from _unknown_service(end, made, path)


def _no_traffic_for(service: ServiceId, path: KeyPath) -> _Finds:
    """Of some services no traffic can be made up."""
    if service.protocol == "fwm" or service.port == 0:
        why = "has no address and port that clients could call; expected the end that they call, or a capture"
        yield path, f"{where(path)}: {service} {why}"


def _expectations(scenario: Scenario, made: _Made) -> _Finds:
    for at, expected in enumerate(scenario.expect):
        path: KeyPath = ("expect", at)
        if isinstance(expected, TableExpectation):
            yield from _rows(expected, path)
        elif not isinstance(expected, ReasonsExpectation):
            yield from _service_and_dests(expected, made, path)


def _service_and_dests(expected: _OfService, made: _Made, path: KeyPath) -> _Finds:
    names = _dest_names(expected, path)
    for at, name in names.items():
        try:
            DestId.parse(name)
        except ValueError as error:
            yield at, f"{where(path)}: {error}"
            return
    if expected.service is None and len(made) != 1:
        known = f"expected one of: {_listed(made)}" if made else "and the scenario makes no service"
        yield path, f"{where(path)}: missing key 'service'; {known}"
        return
    if expected.service is not None and expected.service not in made:
        yield from _unknown_service(expected.service, made, (*path, "service"))
        return
    service = expected.service or next(iter(made))
    known_dests = tuple(str(dest) for dest in made[service])
    for at, name in names.items():
        if str(DestId.parse(name)) not in known_dests:
            yield at, f"{where(path)}: {service} never has it: {_unknown(name, known_dests, 'destination')}"


def _dest_names(expected: _OfService, path: KeyPath) -> dict[KeyPath, str]:
    match expected:
        case SequenceExpectation():
            return {(*path, "sequence", at): str(dest) for at, dest in enumerate(expected.sequence)}
        case ShareExpectation():
            return {(*path, "share", name): name for name in expected.share}
        case TotalsExpectation():
            return {(*path, "totals", name): name for name in expected.totals}


def _rows(expected: TableExpectation, path: KeyPath) -> _Finds:
    for at, text in enumerate(expected.rows):
        try:
            TableRow.parse(text)
        except ValueError as error:
            yield (*path, "rows", at), f"{where(path)}: {error}"


def _moments(scenario: Scenario) -> _Finds:
    if scenario.until is None:
        return
    moments: list[tuple[KeyPath, int]] = [(("show", at), moment) for at, moment in enumerate(scenario.show)]
    moments += [(("timeline", at, "at"), command.at) for at, command in enumerate(scenario.timeline)]
    moments += [
        (("expect", at, "table"), expected.table)
        for at, expected in enumerate(scenario.expect)
        if isinstance(expected, TableExpectation)
    ]
    for path, moment in moments:
        if moment > scenario.until:
            yield (
                path,
                f"{where(path)}: {seconds(moment)} is after the run's end (until: {seconds(scenario.until)})",
            )


def _unknown_service(service: ServiceId, made: _Made, path: KeyPath) -> _Finds:
    if service not in made:
        yield path, f"{where(path)}: {_unknown(str(service), tuple(map(str, made)), 'service')}"


def _unknown(name: str, known: tuple[str, ...], what: str) -> str:
    return expected_one_of(name, known, what) if known else f"unknown {what} {name!r}; there is none"


def _listed(made: _Made) -> str:
    return ", ".join(sorted(map(str, made)))
