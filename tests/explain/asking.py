"""Scenarios in a few words for tests of explanations, and the explanations of their packets."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from lbsim.config import parse, parse_command
from lbsim.explain import Selection, ThePacket, explained
from lbsim.explain.words import sections
from lbsim.model.config import AdminCommand, TimedCommand
from lbsim.model.explanation import Candidate, Explanation
from lbsim.traffic.script import parse as packets

VIP = "192.0.2.1:80"

__all__ = ["VIP", "config", "explain_last", "explain_packet", "loaded", "said", "timed", "unlike", "values"]


def config(scheduler: str, *dests: str, service: str = f"-t {VIP}") -> str:
    """``config("rr", "10.0.0.11 -w 2")``: a service, and its destinations over NAT in the order of adding."""
    lines = [f"-A {service} -s {scheduler}"]
    for dest in dests:
        address, _, options = dest.partition(" ")
        end = address if ":" in address else f"{address}:80"
        method = "" if any(word in options.split() for word in ("-g", "-i")) else " -m"
        lines.append(f"-a {service} -r {end}{method} {options}".rstrip())
    return "\n".join(lines)


def timed(at: float, command: str) -> TimedCommand:
    """A command of the timeline."""
    parsed = parse_command(command)
    assert isinstance(parsed, AdminCommand)
    return TimedCommand(round(at * 1e9), parsed)


def explain_packet(number: int, text: str, script: str, **options: Any) -> Explanation:
    """The explanation of a packet of a script, with a config."""
    wanted: Selection = ThePacket(number)
    trace = packets(script, director=[ip_address("192.0.2.1")])
    (found,) = explained(parse(text), trace, wanted, **options)
    return found


def explain_last(text: str, script: str, **options: Any) -> Explanation:
    """The explanation of the last packet of a script."""
    lines = [line for line in script.splitlines() if line.strip() and not line.strip().startswith("#")]
    return explain_packet(len(lines) - 1, text, script, **options)


def values(found: Explanation, name: str) -> dict[str, Any]:
    """What a decision says of each destination: address -> value, in list order."""
    assert found.decision is not None
    return {one.dest.rpartition(":")[0]: getattr(one, name) for one in found.decision.candidates}


def unlike(found: Explanation) -> dict[str, str]:
    """The destinations that are passed over, and why."""
    assert found.decision is not None
    skipped: list[Candidate] = [one for one in found.decision.candidates if one.skipped]
    return {one.dest.rpartition(":")[0]: one.skipped for one in skipped}


def said(found: Explanation, label: str) -> str:
    """The sentences of one part of what is printed."""
    return next((" ".join(told) for part, told, _ in sections(found) if part == label), "")


def loaded(scheduler: str, **dests: tuple[int, int, int]) -> tuple[str, str, list[TimedCommand]]:
    """Config, script and timeline after which destinations A, B, C have what is asked of them, and one SYN more.

    ``dests`` : name -> weight, active connections, all connections; added in this order. A is 10.0.0.11 and so on.
    The connections are made under fo, which always takes whoever has the largest weight.
    """
    address = {name: f"10.0.0.{11 + i}:80" for i, name in enumerate("ABC")}
    text = config("fo", *(address[name] for name in dests))
    timeline, script, at, port = [], [], 0, 40000
    for name, (weight, active, total) in dests.items():
        at += 1
        timeline.append(timed(at, f"ipvsadm -e -t {VIP} -r {address[name]} -m -w 60000"))
        for number in range(total):
            port += 1
            script += [f"{at} 203.0.113.9:{port} > {VIP} tcp {flags}" for flags in "SAR"[: 1 if number < active else 3]]
        timeline.append(timed(at + 0.5, f"ipvsadm -e -t {VIP} -r {address[name]} -m -w {weight}"))
    timeline.append(timed(at + 1, f"ipvsadm -E -t {VIP} -s {scheduler}"))
    script.append(f"{at + 1} 203.0.113.1:50000 > {VIP} tcp S")
    return text, "\n".join(script), timeline
