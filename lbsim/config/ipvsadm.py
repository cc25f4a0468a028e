"""ipvsadm command lines <-> admin commands, dumps, and what ipvsadm says when the kernel refuses.

Lines are read as ipvsadm reads them, with popt's spelling rules: the command comes first, letters may be
bundled, a value may hang on its letter, an option given twice is an error, ``-r`` without a port takes that
of a service given before it. What ipvsadm itself refuses raises; so does what lbsim does not model yet, and
the message says which of the two it is. What only the kernel refuses (a service twice, say) is a fine
command here.

Source: ipvsadm 1.31 (Debian), read and run; popt; glibc 2.36 for the sort.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NoReturn, TypeAlias, TypeVar

from lbsim.config import iptables
from lbsim.config.endpoints import endpoint_key, format_endpoint, read_endpoint, read_number
from lbsim.config.lines import Line, Word
from lbsim.engine.schedulers import NUMBERS
from lbsim.errors import ConfigError, expected_one_of
from lbsim.model.config import (
    AddDest,
    Address,
    AddService,
    AdminCommand,
    Clear,
    DeleteDest,
    DeleteService,
    DestId,
    DirectorConfig,
    EditDest,
    EditService,
    Service,
    ServiceId,
    SetTimeouts,
    Zero,
)

__all__ = [
    "ANY_SCHEDULER_FLAGS",
    "DEFAULT_SCHEDULER",
    "KERNEL_MESSAGES",
    "SCHEDULERS",
    "SCHEDULER_FLAGS",
    "dump",
    "format_command",
    "read",
    "refusal",
    "save",
]

#: The names of schedulers: the kernel's, ``none``, and those that were registered since.
SCHEDULERS: Collection[str] = NUMBERS.keys()
DEFAULT_SCHEDULER = "wlc"
#: The scheduler flags by scheduler, and those that every scheduler may have.
SCHEDULER_FLAGS: Mapping[str, tuple[str, ...]] = {
    "mh": ("mh-fallback", "mh-port"),
    "sh": ("sh-fallback", "sh-port"),
}
ANY_SCHEDULER_FLAGS = ("flag-1", "flag-2", "flag-3")
_MAX_WEIGHT = 2147483647

_COMMANDS = {
    "-A": "-A", "--add-service": "-A",
    "-E": "-E", "--edit-service": "-E",
    "-D": "-D", "--delete-service": "-D",
    "-a": "-a", "--add-server": "-a",
    "-e": "-e", "--edit-server": "-e",
    "-d": "-d", "--delete-server": "-d",
    "-C": "-C", "--clear": "-C",
}  # fmt: skip
_OPTIONS = {
    "-t": "-t", "--tcp-service": "-t",
    "-u": "-u", "--udp-service": "-u",
    "-s": "-s", "--scheduler": "-s",
    "-b": "-b", "--sched-flags": "-b",
    "-r": "-r", "--real-server": "-r",
    "-m": "-m", "--masquerading": "-m",
    "-w": "-w", "--weight": "-w",
}  # fmt: skip
_SPELLINGS = _COMMANDS | _OPTIONS
_LEGAL = {
    "-A": ("-t", "-u", "-s", "-b"),
    "-E": ("-t", "-u", "-s", "-b"),
    "-D": ("-t", "-u"),
    "-a": ("-t", "-u", "-r", "-m", "-w"),
    "-e": ("-t", "-u", "-r", "-m", "-w"),
    "-d": ("-t", "-u", "-r"),
    "-C": (),
}
_VALUES = {
    "-t": "ADDRESS:PORT",
    "-u": "ADDRESS:PORT",
    "-r": "ADDRESS:PORT",
    "-s": "SCHEDULER",
    "-b": "FLAGS",
    "-w": "WEIGHT",
}

_A_COMMAND = "expected one of the commands -A, -E, -D, -a, -e, -d, -C"
_NOT_MODELLED = {
    spelling: (about, expected)
    for spellings, about, expected in (
        ("-L -l --list", "listing the table", _A_COMMAND),
        ("-S --save", "saving the table", _A_COMMAND),
        ("-R --restore", "reading standard input", "expected the lines themselves"),
        ("-Z --zero", "zeroing counters", _A_COMMAND),
        ("-h --help -v --version", "asking ipvsadm about itself", _A_COMMAND),
        ("--set", "other timeouts", "expected the kernel's own: tcp 900, tcpfin 120, udp 300"),
        ("--start-daemon --stop-daemon --syncid --sync-maxlen", "the sync daemon", _A_COMMAND),
        ("--mcast-interface --mcast-group --mcast-port --mcast-ttl", "the sync daemon", _A_COMMAND),
        ("-n --numeric -c --connection --timeout --daemon --stats", "listing the table", _A_COMMAND),
        ("--rate --thresholds --persistent-conn --nosort --sort", "listing the table", _A_COMMAND),
        ("-X --exact --tun-info", "listing the table", _A_COMMAND),
        ("-f --fwmark-service -6 --ipv6", "services by firewall mark", "expected -t or -u"),
        ("--sctp-service", "SCTP", "expected -t or -u"),
        ("-p --persistent -M --netmask --pe", "persistence", "expected a service without it"),
        ("-o --ops", "one-packet scheduling", "expected a service without it"),
        ("-g --gatewaying", "direct routing", "expected -m"),
        ("-i --ipip", "tunneling", "expected -m"),
        ("--tun-type --tun-port --tun-nocsum --tun-csum --tun-remcsum", "tunneling", "expected -m"),
        ("-x --u-threshold -y --l-threshold", "thresholds", "expected a real server without it"),
    )
    for spelling in spellings.split()
}

_MISSING_METHOD = (
    "-m is needed (without it ipvsadm takes -g, direct routing, which lbsim does not model yet): expected -m"
)
_PORT_ZERO = (
    "a service on port 0 needs persistence (-p), which lbsim does not model yet: "
    "expected ADDRESS:PORT with a port from 1 to 65535"
)


@dataclass(slots=True)
class _Given:
    """What a line has said so far."""

    command: str = ""
    words: dict[str, Word] = field(default_factory=dict)  # by option; "service" for both -t and -u
    service: ServiceId | None = None
    dest: DestId | None = None
    scheduler: str = DEFAULT_SCHEDULER
    flags: tuple[str, ...] = ()
    weight: int = 1


def read(line: Line, words: Sequence[Word]) -> AdminCommand:
    """The admin command of a line; ``words`` are what follows ``ipvsadm``.

    Raises
    ------
    ConfigError : what ipvsadm refuses by itself, and what lbsim does not model yet.
    """
    given = _Given()
    for option, value in _options(line, words, given):
        match option:
            case "-t":
                given.service = ServiceId("tcp", *_service_end(line, value, "tcp"))
            case "-u":
                given.service = ServiceId("udp", *_service_end(line, value, "udp"))
            case "-r":
                given.dest = _dest(line, value, given.service)
            case "-s":
                given.scheduler = _scheduler(line, value)
            case "-b":
                given.flags = _flags(line, value)
            case "-w":
                given.weight = _weight(line, value)
            case _:
                pass  # the command and -m: _known() has noted them
    return _command(line, given)


# Spelling


def _options(line: Line, words: Sequence[Word], given: _Given) -> Iterator[tuple[str, Word]]:
    """(option by its letter, value) from left to right; an option without value comes with its own word."""
    rest = iter(words)
    for word in rest:
        if word.text == "--":
            for stray in rest:
                raise _unexpected(line, stray, given)
        elif not word.text.startswith("-") or word.text == "-":
            raise _unexpected(line, word, given)
        else:
            for spelling, attached in _unbundled(word.text):
                option = _known(line, spelling, word, given)
                if option in _VALUES:
                    yield option, _value(line, spelling, attached, word, rest)
                    break
                if attached is not None and spelling.startswith("--"):
                    raise line.error(f"{spelling} takes no value: expected {spelling} alone", word)
                yield option, word
    if not given.command:
        raise line.error(f"ipvsadm alone lists the table: {_A_COMMAND}", line.words[0])


def _unbundled(text: str) -> Iterator[tuple[str, str | None]]:
    """(option, what hangs on it) of each option in a word; who takes what hangs on it stops there."""
    if text.startswith("--"):
        name, equals, value = text.partition("=")
        yield name, value if equals else None
    else:
        for at in range(1, len(text)):
            yield "-" + text[at], text[at + 1 :] or None


def _value(line: Line, spelling: str, attached: str | None, word: Word, rest: Iterator[Word]) -> Word:
    if attached is not None:
        return Word(attached if spelling.startswith("--") else attached.removeprefix("="), word.at)
    for following in rest:
        return following  # even if it begins with a dash
    option = _OPTIONS[spelling]
    raise line.error(f"{spelling} has no value: expected {spelling} {_VALUES[option]}", word)


def _known(line: Line, spelling: str, word: Word, given: _Given) -> str:
    """The letter of a command or option that may stand here, noted in ``given``; anything else raises."""
    if spelling in _COMMANDS:
        if given.command:
            raise line.error(f"{spelling} is a second command: expected one command per line", word)
        given.command = _COMMANDS[spelling]
        return given.command
    option = _OPTIONS.get(spelling)
    if option is None:
        _refuse(line, spelling, word, given)
    if not given.command:
        raise line.error(f"{spelling} stands before the command: {_A_COMMAND} first", word)
    if option not in _LEGAL[given.command]:
        raise line.error(f"{spelling} is not legal with {given.command}: {_expected(given)}", word)
    name = "service" if option in ("-t", "-u") else option
    if name in given.words:
        known = "-t or -u" if name == "service" else option
        raise line.error(f"{spelling} is one too many: expected {known} once", word)
    given.words[name] = word
    return option


def _refuse(line: Line, spelling: str, word: Word, given: _Given) -> NoReturn:
    if spelling in _NOT_MODELLED:
        about, expected = _NOT_MODELLED[spelling]
        raise line.error(f"lbsim does not model {spelling} ({about}) yet: {expected}", word)
    what = "option" if given.command else "command"
    legal = _LEGAL[given.command] if given.command else _COMMANDS.values()
    known = tuple(name for name, letter in _SPELLINGS.items() if letter in legal and name.startswith("--"))
    if known and spelling.startswith("--"):
        raise line.error(expected_one_of(spelling, known, what), word)
    raise line.error(f"unknown {what} {spelling!r}: {_expected(given)}", word)


def _unexpected(line: Line, word: Word, given: _Given) -> ConfigError:
    return line.error(f"unexpected word {word.text!r}: {_expected(given)}", word)


def _expected(given: _Given) -> str:
    """What may follow at this point of the line."""
    if not given.command:
        return _A_COMMAND
    legal = _LEGAL[given.command]
    return f"expected {given.command} with {', '.join(legal)}" if legal else f"expected {given.command} alone"


# Values


def _end(line: Line, word: Word, protocol: str | None) -> tuple[Address, int | None]:
    try:
        return read_endpoint(word.text, protocol)
    except ValueError as error:
        raise line.error(str(error), word) from None


def _service_end(line: Line, word: Word, protocol: Literal["tcp", "udp"]) -> tuple[Address, int]:
    address, port = _end(line, word, protocol)
    return address, port or 0


def _dest(line: Line, word: Word, service: ServiceId | None) -> DestId:
    """The real server; its port, if not given, is that of a service given before it, else 0."""
    address, port = _end(line, word, service.protocol if service else None)
    if port is None:
        port = service.port if service else 0
    return DestId(address, port)


def _weight(line: Line, word: Word) -> int:
    weight = read_number(word.text.lstrip(), _MAX_WEIGHT)
    if weight is None:
        raise line.error(f"{word.text!r} is no weight: expected a number from 0 to {_MAX_WEIGHT}", word)
    return weight


def _scheduler(line: Line, word: Word) -> str:
    if word.text in SCHEDULERS:
        return word.text
    if not word.text:
        return DEFAULT_SCHEDULER
    raise line.error(expected_one_of(word.text, sorted(SCHEDULERS), "scheduler"), word)


def _flags(line: Line, word: Word) -> tuple[str, ...]:
    """The flags of a comma list, sorted; the scheduler may come later, so it is not asked here."""
    known = (*ANY_SCHEDULER_FLAGS, *(flag for flags in SCHEDULER_FLAGS.values() for flag in flags))
    flags = {flag for flag in word.text.split(",") if flag}
    if word.text and not flags:
        raise line.error(f"{word.text!r} holds no flag: expected one of: {', '.join(known)}", word)
    for flag in sorted(flags):
        if flag not in known:
            raise line.error(expected_one_of(flag, known, "scheduler flag"), word)
    return tuple(sorted(flags))


# What a complete line makes


def _command(line: Line, given: _Given) -> AdminCommand:
    """The command made of what the line has said, or what it lacks."""
    place, text = line.place(line.words[0].at), line.text
    if given.command == "-C":
        return Clear(place=place, text=text)
    service, dest = given.service, given.dest
    if service is None:
        raise line.error("-t or -u is needed: expected -t ADDRESS:PORT or -u ADDRESS:PORT", line.words[0])
    if given.command == "-D":
        return DeleteService(service, place=place, text=text)
    if given.command in ("-A", "-E"):
        _check_service(line, given, service)
        put = AddService if given.command == "-A" else EditService
        return put(service, given.scheduler, given.flags, place=place, text=text)
    if dest is None:
        raise line.error("-r is needed: expected -r ADDRESS:PORT", line.words[0])
    if given.command == "-d":
        return DeleteDest(service, dest, place=place, text=text)
    _check_dest(line, given, service, dest)
    change = AddDest if given.command == "-a" else EditDest
    return change(service, dest, weight=given.weight, place=place, text=text)


def _check_service(line: Line, given: _Given, service: ServiceId) -> None:
    if service.port == 0:
        raise line.error(_PORT_ZERO, given.words["service"])
    fitting = (*ANY_SCHEDULER_FLAGS, *SCHEDULER_FLAGS.get(given.scheduler, ()))
    for flag in given.flags:
        if flag not in fitting:
            owners = [scheduler for scheduler, flags in SCHEDULER_FLAGS.items() if flag in flags]
            raise line.error(
                f"scheduler {given.scheduler} has no flag {flag}: expected -s {' or '.join(owners)} with it",
                given.words["-b"],
            )


def _check_dest(line: Line, given: _Given, service: ServiceId, dest: DestId) -> None:
    if "-m" not in given.words:
        raise line.error(_MISSING_METHOD, line.words[0])
    if service.address.version != dest.address.version:
        raise line.error(
            f"a real server of IPv{dest.address.version} for a service of IPv{service.address.version}: "
            "expected one family (only tunneling mixes them)",
            given.words["-r"],
        )


# The reverse

_LETTERS: Mapping[type[AdminCommand], str] = {
    AddService: "-A",
    EditService: "-E",
    DeleteService: "-D",
    AddDest: "-a",
    EditDest: "-e",
    DeleteDest: "-d",
    Clear: "-C",
}


def format_command(command: AdminCommand) -> str:
    """The line that makes this command, its options in the order that dumps have.

    >>> format_command(AddService(ServiceId.parse("tcp 192.0.2.1:80"), "rr"))
    'ipvsadm -A -t 192.0.2.1:80 -s rr'
    """
    return f"ipvsadm {_arguments(command)}"


def save(config: DirectorConfig) -> str:
    """A script that reads back as an equal table and equal router settings.

    Services and destinations stand in the order in which they were added.
    """
    lines = iptables.format_settings(config.router)
    for service in config.services():
        lines += [f"ipvsadm {arguments}" for arguments in _table_lines(service)]
    return "".join(f"{line}\n" for line in lines)


def dump(config: DirectorConfig) -> str:
    """The table as ``ipvsadm -S -n`` prints it, sorted as that sorts. Router settings are no part of it.

    Numbers are compared by the sign of their difference in 32 bits, so 192.168.1.10 comes before 10.0.0.1,
    and addresses from all around the circle have no order: then it counts in which order they were before.
    For destinations that is newest first, as in the kernel. For services the kernel's own order differs
    from boot to boot; here it is that of adding.

    Source: ipvsadm 1.31; glibc 2.36 qsort(), a top-down merge sort.
    """
    services = _merge_sorted([(_service_key(service.id), service) for service in config.services()])
    lines = [line for service in services for line in _table_lines(_with_sorted_dests(service))]
    return "".join(f"{line}\n" for line in lines)


def _arguments(command: AdminCommand) -> str:
    words = [_LETTERS[type(command)]]
    if not isinstance(command, Clear | Zero | SetTimeouts):
        service = command.service
        words += ["-t" if service.protocol == "tcp" else "-u", format_endpoint(service.address, service.port)]
    if isinstance(command, AddService | EditService):
        words += ["-s", command.scheduler]
        words += ["-b", ",".join(command.flags)] if command.flags else []
    if isinstance(command, AddDest | EditDest | DeleteDest):
        words += ["-r", format_endpoint(command.dest.address, command.dest.port)]
    if isinstance(command, AddDest | EditDest):
        words += ["-m", "-w", str(command.weight)]
    return " ".join(words)


def _table_lines(service: Service) -> list[str]:
    return [
        _arguments(AddService(service.id, service.scheduler, service.flags)),
        *(_arguments(AddDest(service.id, dest.id, dest.method, dest.weight)) for dest in service.dests),
    ]


def _with_sorted_dests(service: Service) -> Service:
    newest_first = [(endpoint_key(dest.id.address, dest.id.port), dest) for dest in reversed(service.dests)]
    return Service(service.id, service.scheduler, service.flags, tuple(_merge_sorted(newest_first)))


def _service_key(service: ServiceId) -> tuple[int, ...]:
    protocol = 6 if service.protocol == "tcp" else 17
    return (service.address.version, protocol, *endpoint_key(service.address, service.port))


_Item = TypeVar("_Item")
_Keyed: TypeAlias = tuple[tuple[int, ...], _Item]


def _merge_sorted(items: Sequence[_Keyed[_Item]]) -> list[_Item]:
    """The second parts, in the order that glibc's merge sort makes of the first parts."""
    return [item for _, item in _merged(items)]


def _merged(items: Sequence[_Keyed[_Item]]) -> Sequence[_Keyed[_Item]]:
    if len(items) < 2:
        return items
    half = len(items) // 2
    left, right = _merged(items[:half]), _merged(items[half:])
    merged: list[_Keyed[_Item]] = []
    at_left = at_right = 0
    while at_left < len(left) and at_right < len(right):
        if _not_after(left[at_left][0], right[at_right][0]):
            merged.append(left[at_left])
            at_left += 1
        else:
            merged.append(right[at_right])
            at_right += 1
    return [*merged, *left[at_left:], *right[at_right:]]


def _not_after(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    # Keys of two lengths differ in the family, which comes first.
    difference = next((x - y for x, y in zip(a, b, strict=False) if x != y), 0)
    return difference == 0 or difference & 0x80000000 != 0  # negative as a 32-bit integer


# What the kernel refuses

#: What ipvsadm prints for an error number of the kernel, which depends on the command.
KERNEL_MESSAGES: Mapping[tuple[type[AdminCommand], str], str] = {
    (AddService, "EEXIST"): "Service already exists",
    (AddService, "ENOENT"): "Scheduler or persistence engine not found",
    (EditService, "ESRCH"): "No such service",
    (EditService, "ENOENT"): "Scheduler or persistence engine not found",
    (DeleteService, "ESRCH"): "No such service",
    (AddDest, "ESRCH"): "Service not defined",
    (AddDest, "EEXIST"): "Destination already exists",
    (EditDest, "ESRCH"): "Service not defined",
    (EditDest, "ENOENT"): "No such destination",
    (DeleteDest, "ESRCH"): "Service not defined",
    (DeleteDest, "ENOENT"): "No such destination",
    **{
        (command, "EINVAL"): "Invalid operation.  Possibly wrong module version, address not unicast, ..."
        for command in _LETTERS
    },
    **{(command, "ERANGE"): "Numerical result out of range" for command in _LETTERS},
}


def refusal(command: AdminCommand, errno: str) -> tuple[int, str]:
    """(exit status, message) of ipvsadm when the kernel answers this command with this error.

    Raises
    ------
    KeyError : the kernel never answers this command so.

    Source: ipvsadm 1.31, run on Linux 6.1.192.
    """
    return 255, KERNEL_MESSAGES[type(command), errno]
