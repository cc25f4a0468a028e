"""Lines that set a tunable of net.ipv4.vs -> admin commands.

Read are ``sysctl -w NAME=VALUE`` and ``echo VALUE > /proc/sys/net/ipv4/vs/NAME``. The names that there are, and the
values that lbsim models, are in :mod:`lbsim.engine.profile`; what the kernel refuses is for the kernel to answer.

Source: sysctl of procps 4.0.2, run; facts: packet-path.md section 20.
"""

from __future__ import annotations

import re

from lbsim.config.lines import Line, Word
from lbsim.engine.profile import SYSCTLS, TAKEN, unmodelled_value
from lbsim.errors import expected_one_of
from lbsim.model.config import SetSysctl

__all__ = ["FOLDER", "TUNABLES", "concerns", "read"]

#: What all names begin with, and where they are files.
TUNABLES, FOLDER = "net.ipv4.vs.", "/proc/sys/net/ipv4/vs/"

_CONCERNED = re.compile(r"net[./]ipv4[./]vs[./]")
_OPTIONS = ("-w", "--write", "-q", "--quiet")
_FORMS = f"expected sysctl -w {TUNABLES}NAME=VALUE, or echo VALUE > {FOLDER}NAME"
_NUMBER = re.compile(r"-?[0-9]{1,20}")


def concerns(line: Line) -> bool:
    """Whether a line speaks of a tunable of net.ipv4.vs."""
    return _CONCERNED.search(line.text) is not None


def read(line: Line, words: tuple[Word, ...]) -> SetSysctl:
    """The command of a line; ``words`` are all of it behind ``sudo``.

    Raises
    ------
    ConfigError : the line is not of one of these forms; a name that does not exist; a value that is no number, or that
        lbsim does not model.
    """
    program, *given = words
    match program.text.rpartition("/")[2], [word.text for word in given]:
        case "echo", [number, ">", path] if path.startswith(FOLDER):
            name, value = path.removeprefix(FOLDER), given[0]
        case "sysctl", [*options, assignment] if "=" in assignment and not set(options) - {*_OPTIONS}:
            name, _, number = assignment.replace("/", ".").partition("=")
            if not name.startswith(TUNABLES):
                raise line.error(f"the tunable {name}: {_FORMS}", given[-1])
            name, value = name.removeprefix(TUNABLES), given[-1]
        case _:
            raise line.error(f"a tunable of {TUNABLES[:-1]}, and one per line: {_FORMS}", program)
    if name not in SYSCTLS:
        raise line.error(expected_one_of(name, TAKEN, "sysctl"), given[-1])
    if not _NUMBER.fullmatch(number):
        raise line.error(f"{number!r}: expected a number, the value of {TUNABLES}{name}", value)
    why = unmodelled_value(name, int(number))
    if why:
        raise line.error(why, value)
    return SetSysctl(name, int(number), place=line.place(line.words[0].at), text=line.text)
