"""Text <-> DirectorConfig: what an operator types, saves and pastes.

* ``lines``      a text as a shell reads it: lines, words, their places
* ``ipvsadm``    command lines -> admin commands and requests for listings; on the way there ``popt`` (how words become
  options), ``options`` (the tables of commands and options), ``command_line`` (the checks, in ipvsadm's order),
  ``values`` and ``endpoints`` (what options are given), ``port_names``
* ``writing``    admin commands and tables -> scripts and dumps
* ``sysctls``    lines that set tunables -> admin commands
* ``refusals``   what ipvsadm, or sysctl, says when the kernel refuses
* ``iptables``   the five lines of the classic NAT router set-up <-> router settings

:func:`parse` reads a whole text, :func:`parse_command` one command, :func:`parse_request` whatever may be typed at a
prompt; :func:`save` and :func:`dump` write.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from lbsim.config import iptables, ipvsadm, sysctls
from lbsim.config.lines import Line, Word, read_lines
from lbsim.config.refusals import refusal
from lbsim.config.writing import dump, dump_services, format_command, save, shown_flags
from lbsim.errors import ConfigError, expected_one_of
from lbsim.model.config import AdminCommand, DirectorConfig, Place, RouterSettings, SetSysctl
from lbsim.model.listing import Request

__all__ = [
    "dump",
    "dump_services",
    "format_command",
    "parse",
    "parse_command",
    "parse_request",
    "refusal",
    "save",
    "shown_flags",
]

# Forwarding is on in the simulator, so the two usual ways of switching it on change nothing.
_FORWARDING_ON = re.compile(
    r"(sudo[ \t]+)?(/\S*/)?"
    r"(echo[ \t]+1[ \t]*>[ \t]*/proc/sys/net/ipv4/ip_forward|sysctl[ \t]+-w[ \t]+net\.ipv4\.ip_forward=1)"
)
_KNOWN = (
    "ipvsadm",
    "iptables",
    "echo 1 > /proc/sys/net/ipv4/ip_forward",
    "sysctl -w net.ipv4.ip_forward=1",
    "sysctl -w net.ipv4.vs.NAME=VALUE",
)
_COMMAND = "expected one command of ipvsadm, or sysctl -w net.ipv4.vs.NAME=VALUE"
_NOWHERE = Place()
Read = TypeVar("Read")
_ASSIGNMENT = re.compile(r"[A-Za-z_][0-9A-Za-z_]*=.*")
_FORWARDING_OFF = re.compile(r"echo[ \t]+0[ \t]*>.*/ip_forward|ip_forward=0")
_LISTING = re.compile(r"IP Virtual Server|Prot LocalAddress|(TCP|UDP|SCTP|FWM)[ \t]+\S+[ \t]")


def parse(text: str, *, file: str | None = None, first_line: int = 1) -> DirectorConfig:
    """The config that a text makes: ``ipvsadm`` lines, a dump (``ipvsadm -S -n``), the usual iptables lines, tunables.

    Parameters
    ----------
    file : for error messages and for the places of commands.
    first_line : the number of the text's first line in that file.

    Raises
    ------
    ConfigError : the first line that cannot be understood or is not modelled, with file, line and column.
    """
    commands: list[AdminCommand] = []
    router = RouterSettings()
    for line in read_lines(text, Place(file, first_line)):
        program, words = _program(line)
        if program == "ipvsadm":
            commands.append(ipvsadm.read(line, words))
        elif sysctls.concerns(line):
            commands.append(sysctls.read(line, _behind_sudo(line)))
        elif program == "iptables":
            router = iptables.read(line, words, router)
        elif not _FORWARDING_ON.fullmatch(line.text):
            raise _unknown(line)
    return DirectorConfig(tuple(commands), router)


def parse_command(text: str, *, place: Place = _NOWHERE) -> AdminCommand:
    """The one command that a text holds: of ipvsadm, with or without that word, or one that sets a tunable.

    Parameters
    ----------
    place : where the text begins; error messages and the command's own place count from there.

    Raises
    ------
    ConfigError : no command, a second one, or one that :func:`parse` would refuse.
    """
    return _read(_one_line(text, place), ipvsadm.read)


def parse_request(text: str) -> Request:
    """What the one line asks for that a text holds: of ipvsadm a change, or a listing; or that a tunable be set.

    A scheduler that no kernel knows is fine here: the kernel answers that.

    Raises
    ------
    CommandRefused : what ipvsadm refuses by itself, with its message and exit status.
    ConfigError : no command, a second one, one that lbsim does not model.
    """
    return _read(_one_line(text, _NOWHERE), ipvsadm.read_request)


def _read(line: Line, of_ipvsadm: Callable[[Line, tuple[Word, ...]], Read]) -> Read | SetSysctl:
    """What a line asks for; one of ipvsadm is read by the given function."""
    program, words = _program(line)
    if program == "ipvsadm":
        return of_ipvsadm(line, words)
    if sysctls.concerns(line):
        return sysctls.read(line, _behind_sudo(line))
    raise line.error(f"{line.text!r}: {_COMMAND}", line.words[0])


def _one_line(text: str, place: Place) -> Line:
    """The one line with words of a text."""
    lines = list(read_lines(text, place))
    if not lines:
        raise ConfigError(f"no command: {_COMMAND}", file=place.file, line=place.line, column=place.column)
    if len(lines) > 1:
        raise lines[1].error(f"a second command: {_COMMAND}", lines[1].words[0])
    return lines[0]


def _program(line: Line) -> tuple[str, tuple[Word, ...]]:
    """The program of a line and the words behind it; a line that begins with an option is one of a dump."""
    if line.words[0].text.startswith("-"):
        name, words = "ipvsadm", line.words
    else:
        program, *rest = _behind_sudo(line)
        name, words = program.text.rpartition("/")[2], tuple(rest)
    if name in ("ipvsadm", "iptables") and line.operator:
        raise line.error(
            f"{line.operator.text!r} is not read: expected one command per line, no pipes, no redirections",
            line.operator,
        )
    return name, words


def _behind_sudo(line: Line) -> tuple[Word, ...]:
    words = line.words[1:] if line.words[0].text == "sudo" else line.words
    if not words:
        raise line.error("sudo without a command: expected sudo ipvsadm", line.words[0])
    return words


def _unknown(line: Line) -> ConfigError:
    first = _behind_sudo(line)[0]
    if _ASSIGNMENT.fullmatch(first.text):
        return line.error("variables are not read: expected every value where it is used", first)
    if _FORWARDING_OFF.search(line.text):
        return line.error("a director that does not forward is not modelled: expected ip_forward to be 1", first)
    if _LISTING.match(line.text):
        return line.error("this is a listing: expected what ipvsadm -S -n prints, or the commands", first)
    return line.error(expected_one_of(first.text, _KNOWN, "command"), first)
