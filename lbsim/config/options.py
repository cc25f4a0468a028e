"""ipvsadm's commands and options as tables: how each is spelled, what it is called in messages, what goes with what.

Source: ipvsadm 1.31, facts: ipvsadm.md sections 1.2 and 1.3.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from lbsim.engine.schedulers import NUMBERS

__all__ = [
    "ANY_SCHEDULER_FLAGS",
    "COMMANDS",
    "DEFAULT_SCHEDULER",
    "OPTIONS",
    "SCHEDULERS",
    "SCHEDULER_FLAGS",
    "Command",
    "Option",
    "legal_options",
    "legality",
    "option_names",
]

#: The names of schedulers: the kernel's, ``none`` (a service without one), and those that were registered since.
SCHEDULERS: Collection[str] = NUMBERS.keys()
DEFAULT_SCHEDULER = "wlc"
#: The scheduler flags by scheduler, each in place of the flags that every scheduler may have.
SCHEDULER_FLAGS: Mapping[str, tuple[str, ...]] = {
    "mh": ("mh-fallback", "mh-port"),
    "sh": ("sh-fallback", "sh-port"),
}
ANY_SCHEDULER_FLAGS = ("flag-1", "flag-2", "flag-3")


@dataclass(frozen=True, slots=True)
class Command:
    """A command: ``name`` is the word that messages have for it."""

    letter: str  # "-A", or "--set" where there is no letter
    long: str
    name: str
    shows: str = ""  # what it does, of one that changes no services; else ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Option:
    """An option: ``name`` is the word that messages have for it, "" of one that may stand anywhere.

    ``legal`` has a mark per column of _COLUMNS: "!" required, "y" legal, "1" legal but only one of those so marked.
    """

    letter: str
    long: str
    name: str
    legal: str = ""
    value: str = ""


_COMMANDS = (
    Command("-A", "--add-service", "add-service"),
    Command("-E", "--edit-service", "edit-service"),
    Command("-D", "--delete-service", "delete-service"),
    Command("-a", "--add-server", "add-server"),
    Command("-e", "--edit-server", "edit-server"),
    Command("-d", "--delete-server", "delete-server"),
    Command("-C", "--clear", "flush"),
    Command("-Z", "--zero", "zero"),
    Command("--set", "--set", "set"),
    Command("-L", "--list", "list", "lists the table"),
    Command("-l", "--list", "list", "lists the table"),
    Command("-S", "--save", "save", "saves the table"),
    Command("-R", "--restore", "restore", "reads standard input"),
    Command("--start-daemon", "--start-daemon", "start-daemon", "starts a sync daemon", "STATE"),
    Command("--stop-daemon", "--stop-daemon", "stop-daemon", "stops a sync daemon", "STATE"),
    Command("-h", "--help", "help", "tells how to use ipvsadm"),
    Command("-v", "--version", "version", "tells ipvsadm's version"),
)
_COLUMNS = ("-A -E", "-D", "-a -e", "-d", "-L", "-S", "-Z", "--start-daemon", "--stop-daemon")
_OPTIONS = (  #                                                            A D a d L S Z s s
    Option("-n", "--numeric", "numeric",                                  "    yy   "),
    Option("-c", "--connection", "connection",                            "    1    "),
    Option("-t", "--tcp-service", "service-address",                      "!!!!1 y  ", "ADDRESS:PORT"),
    Option("-u", "--udp-service", "service-address",                      "!!!!1 y  ", "ADDRESS:PORT"),
    Option("--sctp-service", "--sctp-service", "service-address",         "!!!!1 y  ", "ADDRESS:PORT"),
    Option("-f", "--fwmark-service", "service-address",                   "!!!!1 y  ", "MARK"),
    Option("-s", "--scheduler", "scheduler",                              "y        ", "SCHEDULER"),
    Option("-p", "--persistent", "persistent",                            "y        ", "SECONDS"),
    Option("-M", "--netmask", "netmask",                                  "y        ", "MASK"),
    Option("-r", "--real-server", "real-server",                          "  !!     ", "ADDRESS:PORT"),
    Option("-m", "--masquerading", "forwarding-method",                   "  y      "),
    Option("-g", "--gatewaying", "forwarding-method",                     "  y      "),
    Option("-i", "--ipip", "forwarding-method",                           "  y      "),
    Option("-w", "--weight", "weight",                                    "  y      ", "WEIGHT"),
    Option("-x", "--u-threshold", "u-threshold",                          "  y      ", "CONNECTIONS"),
    Option("-y", "--l-threshold", "l-threshold",                          "  y      ", "CONNECTIONS"),
    Option("--mcast-interface", "--mcast-interface", "mcast-interface",   "       y ", "INTERFACE"),
    Option("--timeout", "--timeout", "timeout",                           "    1    "),
    Option("--daemon", "--daemon", "daemon",                              "    1    "),
    Option("--stats", "--stats", "stats",                                 "    y    "),
    Option("--rate", "--rate", "rate",                                    "    y    "),
    Option("--thresholds", "--thresholds", "thresholds",                  "    y    "),
    Option("--persistent-conn", "--persistent-conn", "persistent-conn",   "    y    "),
    Option("--nosort", "--nosort", "nosort",                              "    y    "),
    Option("--syncid", "--syncid", "syncid",                              "    y  yy", "NUMBER"),
    Option("-X", "--exact", "exact",                                      "    y    "),
    Option("-o", "--ops", "ops",                                          "y        "),
    Option("--pe", "--pe", "pe",                                          "y        ", "ENGINE"),
    Option("-b", "--sched-flags", "sched-flags",                          "y        ", "FLAGS"),
    Option("--mcast-group", "--mcast-group", "mcast-group",               "       y ", "ADDRESS"),
    Option("--mcast-port", "--mcast-port", "mcast-port",                  "       y ", "PORT"),
    Option("--mcast-ttl", "--mcast-ttl", "mcast-ttl",                     "       y ", "NUMBER"),
    Option("--sync-maxlen", "--sync-maxlen", "sync-maxlen",               "       y ", "BYTES"),
    Option("--tun-info", "--tun-info", "tun-info",                        "    y    "),
    Option("--tun-type", "--tun-type", "tun-type",                        "  y      ", "TYPE"),
    Option("--tun-port", "--tun-port", "tun-port",                        "  y      ", "PORT"),
    Option("--tun-nocsum", "--tun-nocsum", "tun-nocsum",                  "  y      "),
    Option("--tun-csum", "--tun-csum", "tun-csum",                        "  y      "),
    Option("--tun-remcsum", "--tun-remcsum", "tun-remcsum",               "  y      "),
    Option("--sort", "--sort", ""),
    Option("-6", "--ipv6", ""),
)  # fmt: skip


_Row = TypeVar("_Row", Command, Option)


def _by_spelling(rows: tuple[_Row, ...]) -> dict[str, _Row]:
    found: dict[str, _Row] = {}
    for row in rows:
        found[row.letter] = row
        found.setdefault(row.long, row)
    return found


#: Spelling, short or long, -> the command or the option.
COMMANDS: Mapping[str, Command] = _by_spelling(_COMMANDS)
OPTIONS: Mapping[str, Option] = _by_spelling(_OPTIONS)

#: The names of options in the order in which ipvsadm looks whether they are legal.
option_names = tuple(dict.fromkeys(option.name for option in _OPTIONS if option.name))

_LEGAL = {
    (letter, option.name): mark
    for option in _OPTIONS
    for column, mark in zip(_COLUMNS, option.legal, strict=False)
    for letter in column.split()
}


def legality(command: Command, name: str) -> str:
    """How the option of that name goes with a command: "!", "y", "1", or " " if it is illegal."""
    return _LEGAL.get((COMMANDS[command.long].letter, name), " ")


def legal_options(command: Command) -> tuple[Option, ...]:
    """The options that go with a command."""
    return tuple(option for option in _OPTIONS if option.name and legality(command, option.name) != " ")
