"""A command line of ipvsadm, checked in the order in which ipvsadm checks it.

1. From left to right: what popt cannot read ends the scan, values and repeated options are looked at at once.
2. The three numbers of ``--set``; stray words; the names of scheduler flags.
3. Which options go with the command, in the order of the table of options.
4. What goes with what: port 0, one-packet scheduling, address families, tunnels, views of the list.

The first thing wrong is raised, with what ipvsadm says of it and its exit status. What only the kernel refuses (a
service twice, say) is fine here.

Source: ipvsadm 1.31 (Debian), read and run; facts: ipvsadm.md sections 1.6, 1.7 and 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lbsim.config.lines import Line, Word
from lbsim.config.options import (
    ANY_SCHEDULER_FLAGS,
    COMMANDS,
    OPTIONS,
    SCHEDULER_FLAGS,
    Command,
    Option,
    legal_options,
    legality,
    option_names,
)
from lbsim.config.popt import Found, PoptError, Takes, spelled
from lbsim.config.values import Given, read_timeout, read_value
from lbsim.errors import CommandRefused, expected_one_of

__all__ = ["A_COMMAND", "TRY", "understood"]

TRY = "Try `ipvsadm -h' or 'ipvsadm --help' for more information."
A_COMMAND = "expected one of the commands -A, -E, -D, -a, -e, -d, -C, -Z, --set"

_ROWS: Mapping[str, Command | Option] = {**COMMANDS, **OPTIONS}
_TAKES: Mapping[str, Takes] = {
    spelling: ("perhaps" if row.letter == "-p" else "value" if row.value else "") for spelling, row in _ROWS.items()
}
_STATES = {
    "--start-daemon": "illegal start-daemon parameter specified",
    "--stop-daemon": "illegal start_daemon specified",
}
_TUNNEL_OPTIONS = ("tun-port", "tun-nocsum", "tun-csum", "tun-remcsum")
#: Tunnel type and option -> as in the table of options.
_TUNNEL_LEGAL = {
    ("gue", "tun-port"): "!", ("gue", "tun-nocsum"): "1", ("gue", "tun-csum"): "1", ("gue", "tun-remcsum"): "1",
    ("gre", "tun-nocsum"): "1", ("gre", "tun-csum"): "1",
}  # fmt: skip


def understood(line: Line, words: Sequence[Word]) -> Given:
    """What a line says; ``words`` are those behind ``ipvsadm``.

    Raises
    ------
    CommandRefused : what ipvsadm refuses by itself.
    ConfigError : host names, which ipvsadm would look up.
    """
    strays: list[Word] = []
    options = spelled(words, _TAKES, strays)
    given = _command(line, options, strays)
    if given.command.letter in ("-h", "-v"):
        return given
    try:
        for found in options:
            _take(given, found)
    except PoptError as error:
        raise _unreadable(given, error) from None
    if given.command.letter == "--set":
        given.timeouts = _three_numbers(line, strays)
        strays = strays[3:]
    if strays:
        raise _unexpected(line, strays[0], given.command)
    _read_flags(given)
    for name in option_names:
        _check_legal(given, name)
    _check_together(given)
    return given


# The scan


def _command(line: Line, options: Iterator[Found], strays: Sequence[Word]) -> Given:
    """The command, which must be the first option."""
    try:
        found = next(options, None)
    except PoptError as error:
        raise _no_command(line, error.spelling, error.word, error.why) from None
    if found is None:
        word = strays[0] if strays else line.words[0]
        raise line.refused(f"{_what(word)}: {A_COMMAND}", word, TRY, 255)
    if found.spelling not in COMMANDS:
        raise line.refused(f"{found.spelling} stands before the command: {A_COMMAND} first", found.word, TRY, 255)
    command = COMMANDS[found.spelling]
    if found.value is not None and found.value.text not in ("master", "backup"):
        message = f"{found.value.text!r} is no state of a sync daemon: expected master or backup"
        raise line.refused(message, found.value, _STATES[command.letter])
    return Given(line, command)


def _what(word: Word) -> str:
    return "no command" if word.text == "--" else f"unexpected word {word.text!r}"


def _no_command(line: Line, spelling: str, word: Word, why: str) -> CommandRefused:
    if why != "unknown option":
        return line.refused(f"{spelling}: {why}; {A_COMMAND}", word, TRY, 255)
    known = tuple(name for name in COMMANDS if name.startswith("--"))
    message = f"unknown command {spelling!r}: {A_COMMAND}"
    if spelling.startswith("--"):
        message = expected_one_of(spelling, known, "command")
    return line.refused(message, word, TRY, 255)


def _take(given: Given, found: Found) -> None:
    """Note an option of the scan."""
    line, spelling = given.line, found.spelling
    if spelling in COMMANDS:
        message = f"{spelling} is a second command: expected one command per line"
        raise line.refused(message, found.word, f"invalid option `{found.last.text}'")
    option = OPTIONS[spelling]
    alone = Word(spelling, found.word.at)
    if option.name:
        if option.name in given.words:
            message = f"{spelling} is one too many: expected {_known_by(option.name)} once"
            raise line.refused(message, found.word, f"multiple '{option.name}' options specified")
        given.words[option.name] = alone
        if found.value is not None:
            given.values[option.name] = found.value
    read_value(given, option.letter, alone if found.value is None else found.value)


def _known_by(name: str) -> str:
    """The options of a name: ``-t, -u, --sctp-service or -f``."""
    *others, last = dict.fromkeys(option.letter for option in OPTIONS.values() if option.name == name)
    return f"{', '.join(others)} or {last}" if others else last


def _unreadable(given: Given, error: PoptError) -> CommandRefused:
    line, spelling, word = given.line, error.spelling, error.word
    legal = legal_options(given.command)
    if error.why == "missing argument":
        value = _ROWS[spelling].value
        message = f"{spelling} has no value: expected {spelling} {value}"
    elif error.why != "unknown option":
        message = f"{spelling} takes no value: expected {spelling} alone"
    elif spelling.startswith("--") and legal:
        message = expected_one_of(spelling, tuple(option.long for option in legal), "option")
    else:
        message = f"unknown option {spelling!r}: {_expected(given.command)}"
    return line.refused(message, word, f"{word.text}: {error.why}", 255)


def _unexpected(line: Line, word: Word, command: Command) -> CommandRefused:
    message = f"unexpected word {word.text!r}: {_expected(command)}"
    return line.refused(message, word, f"unexpected argument {word.text}")


def _expected(command: Command) -> str:
    """What may follow a command."""
    if command.letter == "--set":
        return "expected --set TCP TCPFIN UDP"
    legal = dict.fromkeys(option.letter for option in legal_options(command))
    return f"expected {command.letter} with {', '.join(legal)}" if legal else f"expected {command.letter} alone"


def _three_numbers(line: Line, words: Sequence[Word]) -> tuple[int, int, int]:
    if len(words) < 3:
        message = "--set needs three numbers: expected --set TCP TCPFIN UDP, in seconds, 0 for what is"
        raise line.refused(message, line.words[0], "--set option requires 3 timeout values")
    tcp, tcpfin, udp = (read_timeout(line, word, 0) for word in words[:3])
    return tcp, tcpfin, udp


# Scheduler flags


def _read_flags(given: Given) -> None:
    """The flags of a comma list, by the names that listings have for them, each once and in their order."""
    if "sched-flags" not in given.words:
        return
    line, word = given.line, given.flags_word
    names = [name for name in word.text.split(",") if name]
    if word.text and not names:
        raise line.refused(f"{word.text!r} holds no flag: expected one of: {', '.join(_FLAGS)}", word, "", 139)
    own = SCHEDULER_FLAGS.get(given.scheduler, ())
    listed = (*own, *ANY_SCHEDULER_FLAGS[len(own) :])
    places = {_flag_place(given, word, name) for name in names}
    given.flags = tuple(listed[place] for place in sorted(places))


#: Flag -> (which of the flags it is, the scheduler that it belongs to).
_FLAGS: Mapping[str, tuple[int, str]] = {
    **{name: (place, "") for place, name in enumerate(ANY_SCHEDULER_FLAGS)},
    **{name: (place, owner) for owner, own in SCHEDULER_FLAGS.items() for place, name in enumerate(own)},
}


def _flag_place(given: Given, word: Word, name: str) -> int:
    if name not in _FLAGS:
        message = expected_one_of(name, tuple(_FLAGS), "scheduler flag")
        raise given.line.refused(message, word, f"invalid scheduler flag `{name}'")
    place, owner = _FLAGS[name]
    if owner and given.scheduler != owner:
        message = f"scheduler {given.scheduler or 'wlc'} has no flag {name}: expected -s {owner} with it"
        raise given.line.refused(message, word, f"incompatible scheduler flag `{name}'")
    return place


# What goes with what


def _check_legal(given: Given, name: str) -> None:
    """Whether an option is needed or illegal, or in conflict with one before it in the table."""
    line, command, mark = given.line, given.command, legality(given.command, name)
    word = given.words.get(name)
    if word is None:
        if mark == "!":
            said = f"You need to supply the '{name}' option for the '{command.name}' command"
            raise line.refused(_needed(name), line.words[0], said)
    elif mark == " ":
        message = f"{word.text} is not legal with {command.letter}: {_expected(command)}"
        raise line.refused(message, word, f"Illegal '{name}' option with the '{command.name}' command")
    elif mark == "1":
        for earlier in option_names[: option_names.index(name)]:
            if earlier in given.words and legality(command, earlier) == "1":
                said = f"The option '{name}' conflicts with the '{earlier}' option in the '{command.name}' command"
                message = f"{given.words[earlier].text} and {word.text} do not go together: expected one of them"
                raise line.refused(message, word, said)


def _needed(name: str) -> str:
    if name == "real-server":
        return "-r is needed: expected -r ADDRESS:PORT"
    return f"{_known_by(name)} is needed: expected -t ADDRESS:PORT, or one of the others"


def _check_together(given: Given) -> None:
    match given.command.letter:
        case "-A" | "-E":
            _check_service(given)
        case "-a" | "-e":
            _check_server(given)
        case "-L" | "-l":
            _check_views(given)


def _check_service(given: Given) -> None:
    line = given.line
    if not given.fwmark and not given.port and "persistent" not in given.words:
        message = "a service on port 0 must be persistent: expected a port from 1 to 65535, or -p"
        raise line.refused(message, given.words["service-address"], "Zero port specified for non-persistent service")
    if "ops" in given.words and not given.fwmark and given.protocol != "udp":
        message = "one-packet scheduling is for UDP: expected -o with -u or -f"
        raise line.refused(message, given.words["ops"], "One-Packet Scheduling is only for UDP virtual services")


def _check_server(given: Given) -> None:
    line = given.line
    if not given.fwmark and given.method != "masq":
        given.server_port = given.port  # what was given is silently replaced
    server, service = given.server.version, given.address.version
    if server != service and given.method != "tunnel":
        raise line.refused(
            f"a real server of IPv{server} for a service of IPv{service}: "
            "expected one family (only tunneling mixes them)",
            given.words["real-server"],
            "Different address family is allowed only for tunneling servers",
        )
    if given.method == "tunnel":
        for name in _TUNNEL_OPTIONS:
            _check_tunnel(given, name)
    elif tunnel := [name for name in ("tun-type", *_TUNNEL_OPTIONS) if name in given.words]:
        message = f"--{tunnel[0]} is for tunnels: expected -i with it"
        raise line.refused(message, given.words[tunnel[0]], "Tunnel options conflict with forward method")


def _check_tunnel(given: Given, name: str) -> None:
    line, kind, word = given.line, given.tunnel_type, given.words.get(name)
    mark = _TUNNEL_LEGAL.get((kind, name), " ")
    if word is None:
        if mark == "!":
            said = f"You need to supply the '{name}' option for the '{kind}' tunnel type"
            raise line.refused(f"tunnels of type {kind} need a port: expected --{name} PORT", line.words[0], said)
    elif mark == " ":
        message = f"tunnels of type {kind} have no --{name}: expected -i without it"
        raise line.refused(message, word, f"Illegal '{name}' option with the '{kind}' tunnel type")
    elif mark == "1":
        for earlier in _TUNNEL_OPTIONS[: _TUNNEL_OPTIONS.index(name)]:
            if earlier in given.words and _TUNNEL_LEGAL[kind, earlier] == "1":
                said = f"The option '{name}' conflicts with the '{earlier}' option in the '{kind}' tunnel type"
                message = f"--{earlier} and --{name} do not go together: expected one of them"
                raise line.refused(message, word, said)


def _check_views(given: Given) -> None:
    words = given.words
    lists = words.keys() & {"connection", "timeout", "daemon"}
    views = words.keys() & {"stats", "rate", "thresholds"}
    if (lists and views) or (words.keys() & {"timeout", "daemon"} and "persistent-conn" in words):
        listed, shown = " and ".join(sorted(lists)), " and ".join(sorted(views or {"persistent-conn"}))
        message = f"{listed} cannot be listed with {shown}: expected one of them"
        word = min((words[name] for name in lists), key=lambda word: word.at)
        raise given.line.refused(message, word, "options conflicts in the list command")
