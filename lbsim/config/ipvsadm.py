"""ipvsadm command lines <-> admin commands, dumps, and what ipvsadm says when the kernel refuses.

Lines are read as ipvsadm reads them, with popt's spelling rules: the command comes first, letters may be bundled, a
value may hang on its letter, an option given twice is an error, ``-r`` without a port takes that of a service given
before it. What ipvsadm itself refuses raises; so does what lbsim does not model yet, and the message says which of the
two it is. What only the kernel refuses (a service twice, say) is a fine command here.

Source: ipvsadm 1.31 (Debian), read and run; glibc 2.36 for the sort and the old spellings of IPv4 addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NoReturn, TypeVar

from lbsim.config import iptables
from lbsim.config.lines import Line, Word
from lbsim.errors import expected_one_of
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
)

__all__ = ["KERNEL_MESSAGES", "PORTS", "SCHEDULERS", "dump", "format_command", "read", "refusal", "save"]

#: The schedulers that are modelled.
SCHEDULERS = ("lc", "rr", "sh")
#: The scheduler flags that are modelled, by scheduler.
SCHEDULER_FLAGS = {"sh": ("sh-fallback", "sh-port")}
_OTHER_SCHEDULERS = ("dh", "fo", "lblc", "lblcr", "mh", "none", "nq", "ovf", "sed", "wlc", "wrr")
_OTHER_FLAGS = ("flag-1", "flag-2", "flag-3", "mh-fallback", "mh-port")

#: Port names that are read, for dumps made without -n: the well-known ones, by protocol.
PORTS: Mapping[str, Mapping[str, int]] = {
    "tcp": {
        "amqp": 5672, "bgp": 179, "domain": 53, "domain-s": 853, "ftp": 21, "http": 80, "http-alt": 8080, "https": 443,
        "imap2": 143, "imaps": 993, "kerberos": 88, "ldap": 389, "ldaps": 636, "ms-sql-s": 1433, "ms-wbt-server": 3389,
        "mysql": 3306, "nfs": 2049, "pop3": 110, "pop3s": 995, "postgresql": 5432, "redis": 6379, "sip": 5060,
        "sip-tls": 5061, "smtp": 25, "ssh": 22, "submission": 587, "submissions": 465, "telnet": 23, "www": 80,
    },
    "udp": {
        "bootps": 67, "domain": 53, "https": 443, "ipsec-nat-t": 4500, "isakmp": 500, "kerberos": 88, "ntp": 123,
        "openvpn": 1194, "radius": 1812, "radius-acct": 1813, "sip": 5060, "snmp": 161, "snmp-trap": 162,
        "syslog": 514, "tftp": 69,
    },
}  # fmt: skip

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
_WITH_VALUE = frozenset(("-t", "-u", "-s", "-b", "-r", "-w"))
_LEGAL = {
    "-A": ("-t", "-u", "-s", "-b"), "-E": ("-t", "-u", "-s", "-b"), "-D": ("-t", "-u"),
    "-a": ("-t", "-u", "-r", "-m", "-w"), "-e": ("-t", "-u", "-r", "-m", "-w"), "-d": ("-t", "-u", "-r"),
    "-C": (),
}  # fmt: skip
_PROTOCOLS = {"-t": "tcp", "-u": "udp"}

_A_COMMAND = "expected one of the commands -A, -E, -D, -a, -e, -d, -C"
_NOT_MODELLED = {
    # what it is about, what was expected instead, the spellings
    **dict.fromkeys(("-L", "-l", "--list"), ("listing the table", _A_COMMAND)),
    **dict.fromkeys(("-S", "--save"), ("saving the table", _A_COMMAND)),
    **dict.fromkeys(("-R", "--restore"), ("reading from standard input", "expected the lines themselves")),
    **dict.fromkeys(("-Z", "--zero"), ("zeroing counters", _A_COMMAND)),
    **dict.fromkeys(("-h", "--help", "-v", "--version"), ("asking ipvsadm about itself", _A_COMMAND)),
    "--set": ("other timeouts", "expected the kernel's own: tcp 900, tcpfin 120, udp 300"),
    **dict.fromkeys(
        ("--start-daemon", "--stop-daemon", "--syncid", "--sync-maxlen")
        + ("--mcast-interface", "--mcast-group", "--mcast-port", "--mcast-ttl"),
        ("the sync daemon", _A_COMMAND),
    ),
    **dict.fromkeys(
        (
            "-n",
            "--numeric",
            "-c",
            "--connection",
            "--timeout",
            "--daemon",
            "--stats",
            "--rate",
            "--thresholds",
        )
        + ("--persistent-conn", "--nosort", "--sort", "-X", "--exact", "--tun-info"),
        ("listing the table", _A_COMMAND + " without it"),
    ),
    **dict.fromkeys(
        ("-f", "--fwmark-service", "-6", "--ipv6"), ("services by firewall mark", "expected -t or -u")
    ),
    "--sctp-service": ("SCTP", "expected -t or -u"),
    **dict.fromkeys(("-p", "--persistent"), ("persistence", "expected a service without it")),
    **dict.fromkeys(("-M", "--netmask"), ("persistence", "expected a service without it")),
    "--pe": ("persistence", "expected a service without it"),
    **dict.fromkeys(("-o", "--ops"), ("one-packet scheduling", "expected a service without it")),
    **dict.fromkeys(("-g", "--gatewaying"), ("direct routing", "expected -m")),
    **dict.fromkeys(("-i", "--ipip"), ("tunneling", "expected -m")),
    **dict.fromkeys(
        ("--tun-type", "--tun-port", "--tun-nocsum", "--tun-csum", "--tun-remcsum"),
        ("tunneling", "expected -m"),
    ),
    **dict.fromkeys(
        ("-x", "--u-threshold", "-y", "--l-threshold"), ("thresholds", "expected a real server without them")
    ),
}

_MISSING_SCHEDULER = (
    "-s is needed (without it ipvsadm takes wlc, which lbsim does not model yet): expected one of "
    + ", ".join(SCHEDULERS)
)
_MISSING_METHOD = (
    "-m is needed (without it ipvsadm takes -g, direct routing, which lbsim does not model yet): expected -m"
)
_PORT_ZERO = (
    "a service on port 0 needs persistence (-p), which lbsim does not model yet: expected ADDRESS:PORT with a port "
    "from 1 to 65535"
)
_NUMBER = re.compile(r"\+?0*(?P<digits>[0-9]{1,10})")
_ATON_PART = re.compile(r"0[xX](?P<hex>[0-9a-fA-F]+)|0(?P<octal>[0-7]*)|(?P<decimal>[1-9][0-9]{0,9})")
_MAX_WEIGHT = 2147483647


@dataclass(slots=True)
class _Given:
    """What a line has said so far."""

    command: str = ""
    words: dict[str, Word] = field(
        default_factory=dict
    )  # option, or "service" for both -t and -u -> its word
    service: ServiceId | None = None
    dest: DestId | None = None
    scheduler: str = ""
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
            case "-t" | "-u":
                given.service = _service(line, option, value)
            case "-r":
                given.dest = _dest(line, value, given.service)
            case "-s":
                given.scheduler = _scheduler(line, value)
            case "-b":
                given.flags = _flags(line, value)
            case "-w":
                given.weight = _weight(line, value)
    return _command(line, given)


def _options(line: Line, words: Sequence[Word], given: _Given) -> Iterator[tuple[str, Word]]:
    """(option by its letter, value) from left to right; the command goes to ``given``, as do the words.

    Source: popt 1.19, as ipvsadm uses it.
    """
    rest = iter(words)
    for word in rest:
        if word.text == "--":
            for stray in rest:
                raise _unexpected(line, stray, given)
            break
        if not word.text.startswith("-") or word.text == "-":
            raise _unexpected(line, word, given)
        for spelling, attached in _unbundled(word.text):
            option = _known(line, spelling, word, given)
            if option not in _WITH_VALUE:
                if attached is not None and spelling.startswith("--"):
                    raise line.error(f"{spelling} takes no value: expected {spelling} alone", word)
                yield option, word
                continue
            if attached is not None:
                yield option, Word(attached.removeprefix("=") if spelling == option else attached, word.at)
            else:
                yield option, next(rest, None) or _no_value(line, spelling, word)
            break
    if not given.command:
        raise line.error(f"no command is given, so this lists the table: {_A_COMMAND}", line.words[0])


def _unbundled(text: str) -> Iterator[tuple[str, str | None]]:
    """(option, what hangs on it): one pair for ``--weight=5``; two for ``-mw5``, if -w is known to take the rest."""
    if text.startswith("--"):
        name, equals, value = text.partition("=")
        yield name, value if equals else None
    else:
        for at in range(1, len(text)):
            yield "-" + text[at], text[at + 1 :] or None


def _known(line: Line, spelling: str, word: Word, given: _Given) -> str:
    """The letter of an option that may stand here, noted in ``given``; anything else raises."""
    option = _SPELLINGS.get(spelling)
    if option is None:
        _refuse_option(line, spelling, word, given)
    if option in _COMMANDS:
        if given.command:
            raise line.error(f"a second command, {spelling}: expected one command per line", word)
        given.command = option
        return option
    if not given.command:
        raise line.error(f"{spelling} stands before the command: {_A_COMMAND} first", word)
    if option not in _LEGAL[given.command]:
        raise line.error(f"{spelling} is not legal with {given.command}: expected {_legal(given)}", word)
    name = "service" if option in _PROTOCOLS else option
    if name in given.words:
        known = "-t or -u" if name == "service" else spelling
        raise line.error(f"{spelling} is one too many: expected {known} once", word)
    given.words[name] = word
    return option


def _refuse_option(line: Line, spelling: str, word: Word, given: _Given) -> NoReturn:
    if spelling in _NOT_MODELLED:
        about, expected = _NOT_MODELLED[spelling]
        raise line.error(f"lbsim does not model {spelling} ({about}) yet: {expected}", word)
    if not given.command:
        raise line.error(expected_one_of(spelling, tuple(_COMMANDS), "command"), word)
    legal = [known for known, option in _OPTIONS.items() if option in _LEGAL[given.command]]
    if not legal:
        raise line.error(f"unknown option {spelling!r}: expected {_legal(given)}", word)
    raise line.error(expected_one_of(spelling, legal, "option"), word)


def _unexpected(line: Line, word: Word, given: _Given) -> Exception:
    expected = _legal(given) if given.command else _A_COMMAND
    return line.error(f"unexpected word {word.text!r}: expected {expected.removeprefix('expected ')}", word)


def _legal(given: _Given) -> str:
    legal = _LEGAL[given.command]
    return f"{given.command} with {', '.join(legal)}" if legal else f"{given.command} alone"


def _no_value(line: Line, spelling: str, word: Word) -> NoReturn:
    what = {
        "-t": "ADDRESS:PORT",
        "-u": "ADDRESS:PORT",
        "-r": "ADDRESS:PORT",
        "-s": "a scheduler",
        "-w": "a weight",
    }
    raise line.error(f"{spelling} has no value: expected {what.get(_SPELLINGS[spelling], 'flags')}", word)


def _command(line: Line, given: _Given) -> AdminCommand:
    """The command made of what the line has said, or what it lacks."""
    place, text = line.place(line.words[0].at), line.text
    if given.command == "-C":
        return Clear(place=place, text=text)
    service, dest = given.service, given.dest
    if service is None:
        raise _lacks(line, given, "-t or -u is needed: expected -t ADDRESS:PORT or -u ADDRESS:PORT")
    if given.command == "-D":
        return DeleteService(service, place=place, text=text)
    if given.command in ("-A", "-E"):
        _check_service(line, given, service)
        kind = AddService if given.command == "-A" else EditService
        return kind(service, given.scheduler, given.flags, place=place, text=text)
    if dest is None:
        raise _lacks(line, given, "-r is needed: expected -r ADDRESS:PORT")
    if given.command == "-d":
        return DeleteDest(service, dest, place=place, text=text)
    if "-m" not in given.words:
        raise _lacks(line, given, _MISSING_METHOD)
    if service.address.version != dest.address.version:
        raise line.error(
            f"the real server is IPv{dest.address.version}, the service IPv{service.address.version}: "
            "expected both of one family (only tunneling mixes them)",
            given.words["-r"],
        )
    change = AddDest if given.command == "-a" else EditDest
    return change(service, dest, weight=given.weight, place=place, text=text)


def _check_service(line: Line, given: _Given, service: ServiceId) -> None:
    if service.port == 0:
        raise line.error(_PORT_ZERO, given.words["service"])
    if "-s" not in given.words:
        raise _lacks(line, given, _MISSING_SCHEDULER)
    fitting = SCHEDULER_FLAGS.get(given.scheduler, ())
    for flag in given.flags:
        if flag not in fitting:
            expected = f"one of: {', '.join(fitting)}" if fitting else "no -b"
            raise line.error(
                f"scheduler {given.scheduler} has no flag {flag}: expected {expected}", given.words["-b"]
            )


def _lacks(line: Line, given: _Given, message: str) -> Exception:
    return line.error(message, line.words[0])


# Values


def _service(line: Line, option: str, word: Word) -> ServiceId:
    protocol = "tcp" if option == "-t" else "udp"
    address, port = _endpoint(line, word, "service")
    return ServiceId(protocol, address, 0 if port is None else _port(line, word, port, protocol))


def _dest(line: Line, word: Word, service: ServiceId | None) -> DestId:
    """The real server; without a port it gets the service's, if the line has named the service already, else 0."""
    address, port = _endpoint(line, word, "real server")
    if port is None:
        return DestId(address, service.port if service else 0)
    return DestId(address, _port(line, word, port, service.protocol if service else None))


def _endpoint(line: Line, word: Word, what: str) -> tuple[Address, str | None]:
    """Address, and port as written; None if there is none, as always for ``fd00::1`` and for ``[192.0.2.1]:80``."""
    text, port = word.text, None
    bracketed = text.startswith("[")
    if bracketed:
        text, _, port = text[1:].partition("]")
        if not port.startswith(":"):
            raise _no_endpoint(line, word, what)
    ipv6 = _ipv6(text)
    if ipv6 is not None:
        return ipv6, port[1:] if port is not None else None
    host, colon, port = text.rpartition(":")
    ipv4 = None if word.text.isdigit() else _ipv4(host if colon else text)
    if ipv4 is None:
        raise _no_endpoint(line, word, what)
    return ipv4, port if colon else None


def _no_endpoint(line: Line, word: Word, what: str) -> Exception:
    return line.error(
        f"{word.text!r} is no {what}: expected 192.0.2.1:80 or [2001:db8::1]:80 "
        "(host names are not looked up: make dumps with ipvsadm -S -n)",
        word,
    )


def _ipv6(text: str) -> IPv6Address | None:
    if text.count(":") < 2 or "%" in text:
        return None
    try:
        return IPv6Address(text)
    except AddressValueError:
        return None


def _ipv4(text: str) -> IPv4Address | None:
    """An address as inet_aton reads it: ``10.1`` is 10.0.0.1, ``010.0.0.1`` is 8.0.0.1, ``0x0a000001`` is 10.0.0.1.

    Source: glibc 2.36 inet_aton().
    """
    numbers = [_aton_number(part) for part in text.split(".")]
    if len(numbers) > 4:
        return None
    value = 0
    for place, number in enumerate(numbers, 1):
        bits = 8 if place < len(numbers) else 8 * (5 - place)  # the last number fills what is left
        if number is None or number >> bits:
            return None
        value = value << bits | number
    return IPv4Address(value)


def _aton_number(text: str) -> int | None:
    part = _ATON_PART.fullmatch(text)
    if part is None:
        return None
    if part["decimal"]:
        return int(part["decimal"])
    return int(part["hex"], 16) if part["hex"] else int(part["octal"] or "0", 8)


def _port(line: Line, word: Word, text: str, protocol: str | None) -> int:
    number = _number(text, 65535)
    if number is not None:
        return number
    if not re.match("[a-z]", text):
        raise line.error(f"{text!r} is no port: expected a number from 0 to 65535", word)
    if protocol is None:
        raise line.error(
            f"port name {text!r} before the service: expected -t or -u before -r, or a number", word
        )
    names = PORTS[protocol]
    if text not in names:
        raise line.error(expected_one_of(text, tuple(names), f"{protocol} port name"), word)
    return names[text]


def _number(text: str, largest: int) -> int | None:
    """A decimal number as strtol reads it, without sign or with a plus; None if it is none or too large."""
    number = _NUMBER.fullmatch(text)
    if number is None or int(number["digits"]) > largest:
        return None
    return int(number["digits"])


def _weight(line: Line, word: Word) -> int:
    weight = _number(word.text.lstrip(), _MAX_WEIGHT)
    if weight is None:
        raise line.error(f"{word.text!r} is no weight: expected a number from 0 to {_MAX_WEIGHT}", word)
    return weight


def _scheduler(line: Line, word: Word) -> str:
    if word.text in SCHEDULERS:
        return word.text
    if not word.text:
        raise line.error(_MISSING_SCHEDULER, word)
    if word.text in _OTHER_SCHEDULERS:
        raise line.error(
            f"lbsim does not model the scheduler {word.text} yet: expected one of {', '.join(SCHEDULERS)}",
            word,
        )
    raise line.error(expected_one_of(word.text, SCHEDULERS, "scheduler"), word)


def _flags(line: Line, word: Word) -> tuple[str, ...]:
    """The flags of a comma list, sorted; that they suit the scheduler is checked when the line is complete."""
    known = tuple(flag for flags in SCHEDULER_FLAGS.values() for flag in flags)
    flags = [flag for flag in word.text.split(",") if flag]
    if word.text and not flags:
        raise line.error(
            f"no flag between the commas of {word.text!r}: expected one of: {', '.join(known)}", word
        )
    for flag in flags:
        if flag in _OTHER_FLAGS:
            raise line.error(
                f"lbsim does not model the scheduler flag {flag} yet: expected one of: {', '.join(known)}",
                word,
            )
        if flag not in known:
            raise line.error(expected_one_of(flag, known, "scheduler flag"), word)
    return tuple(sorted(set(flags)))


# The reverse


def format_command(command: AdminCommand) -> str:
    """The line that makes this command, in the order of options that dumps have.

    >>> from lbsim.model.config import ServiceId
    >>> format_command(AddService(ServiceId.parse("tcp 192.0.2.1:80"), "rr"))
    'ipvsadm -A -t 192.0.2.1:80 -s rr'
    """
    return f"ipvsadm {_arguments(command)}"


def save(config: DirectorConfig) -> str:
    """A script that reads back as an equal table and equal router settings, destinations in the order of adding."""
    lines = iptables.format_settings(config.router)
    for service in config.services():
        lines += [f"ipvsadm {arguments}" for arguments in _table_lines(service)]
    return "".join(f"{line}\n" for line in lines)


def dump(config: DirectorConfig) -> str:
    """The table as ``ipvsadm -S -n`` prints it, sorted as that sorts. Router settings are no part of it.

    Addresses are compared by their difference in 32 bits with a sign, so 192.168.1.10 comes before 10.0.0.1, and
    addresses from all around the circle have no order: then it counts in which order they were before. For
    destinations that is newest first, as in the kernel. For services the kernel's own order differs from boot to
    boot; here it is that of adding.

    Source: ipvsadm 1.31; glibc 2.36 qsort(), a top-down merge sort.
    """
    services = _merge_sorted([(_service_key(service.id), service) for service in config.services()])
    lines = [line for service in services for line in _table_lines(_with_sorted_dests(service))]
    return "".join(f"{line}\n" for line in lines)


def _table_lines(service: Service) -> list[str]:
    return [
        _arguments(AddService(service.id, service.scheduler, service.flags)),
        *(_arguments(AddDest(service.id, dest.id, dest.method, dest.weight)) for dest in service.dests),
    ]


_LETTERS: Mapping[type[AdminCommand], str] = {
    AddService: "-A",
    EditService: "-E",
    DeleteService: "-D",
    AddDest: "-a",
    EditDest: "-e",
    DeleteDest: "-d",
    Clear: "-C",
}


def _arguments(command: AdminCommand) -> str:
    words = [_LETTERS[type(command)]]
    if not isinstance(command, Clear):
        service = command.service
        words += [
            "-t" if service.protocol == "tcp" else "-u",
            _format_endpoint(service.address, service.port),
        ]
    if isinstance(command, AddService | EditService):
        words += ["-s", command.scheduler]
        words += ["-b", ",".join(command.flags)] if command.flags else []
    if isinstance(command, AddDest | EditDest | DeleteDest):
        words += ["-r", _format_endpoint(command.dest.address, command.dest.port)]
    if isinstance(command, AddDest | EditDest):
        words += ["-m", "-w", str(command.weight)]
    return " ".join(words)


def _format_endpoint(address: Address, port: int) -> str:
    """As inet_ntop() writes it: ``[::ffff:10.0.0.1]:80``, which Python spells differently from version to version."""
    if isinstance(address, IPv4Address):
        return f"{address}:{port}"
    high, low = int(address) >> 32, int(address) & 0xFFFFFFFF
    if high == 0xFFFF or (high == 0 and low > 0xFFFF):
        return f"[{'::ffff:' if high else '::'}{IPv4Address(low)}]:{port}"
    return f"[{address}]:{port}"


_Item = TypeVar("_Item")


def _merge_sorted(items: list[tuple[tuple[int, ...], _Item]]) -> list[_Item]:
    """The second parts, in the order that glibc's merge sort makes of the first parts."""
    return [item for _, item in _merged(items)]


def _merged(items: list[tuple[tuple[int, ...], _Item]]) -> list[tuple[tuple[int, ...], _Item]]:
    if len(items) < 2:
        return items
    half = len(items) // 2
    left, right = _merged(items[:half]), _merged(items[half:])
    merged = []
    at_left = at_right = 0
    while at_left < len(left) and at_right < len(right):
        if _not_after(left[at_left][0], right[at_right][0]):
            merged.append(left[at_left])
            at_left += 1
        else:
            merged.append(right[at_right])
            at_right += 1
    return merged + left[at_left:] + right[at_right:]


def _not_after(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    for x, y in zip(a, b, strict=False):
        if x != y:
            return (x - y) & 0x80000000 != 0  # negative as a 32-bit integer
    return True


def _service_key(service: ServiceId) -> tuple[int, ...]:
    return (
        service.address.version,
        6 if service.protocol == "tcp" else 17,
        *_endpoint_key(service.address, service.port),
    )


def _endpoint_key(address: Address, port: int) -> tuple[int, ...]:
    value = int(address)
    shifts = (0,) if address.version == 4 else (96, 64, 32, 0)
    return (*((value >> shift) & 0xFFFFFFFF for shift in shifts), port)


def _with_sorted_dests(service: Service) -> Service:
    newest_first = [(_endpoint_key(dest.id.address, dest.id.port), dest) for dest in reversed(service.dests)]
    return Service(service.id, service.scheduler, service.flags, tuple(_merge_sorted(newest_first)))


# What the kernel refuses

_INVALID = "Invalid operation.  Possibly wrong module version, address not unicast, ..."
_OUT_OF_RANGE = "Numerical result out of range"

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
    **{(command, "EINVAL"): _INVALID for command in _LETTERS},
    **{(command, "ERANGE"): _OUT_OF_RANGE for command in _LETTERS},
}


def refusal(command: AdminCommand, errno: str) -> tuple[int, str]:
    """(exit status, message) of ipvsadm when the kernel answers this command with this error.

    Raises
    ------
    KeyError : the kernel never answers this command so.

    Source: ipvsadm 1.31, run on Linux 6.1.192.
    """
    return 255, KERNEL_MESSAGES[type(command), errno]
