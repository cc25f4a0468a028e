"""ipvsadm command lines -> admin commands and requests for listings.

Lines are read as ipvsadm reads them (:mod:`lbsim.config.command_line`). What it does to arguments is done here, too:
the defaults, the port of a real server without NAT that is replaced by the service's, ``-Z`` of no address at all
that means everything.

In a config file (:func:`read`) a scheduler that no kernel knows is a mistake to correct; at the prompt
(:func:`read_request`) it is a question that the kernel answers.

Source: ipvsadm 1.31 (Debian), read and run; facts: ipvsadm.md sections 1 and 2.
"""

from __future__ import annotations

from collections.abc import Sequence

from lbsim.config.command_line import A_COMMAND, understood
from lbsim.config.lines import Line, Word
from lbsim.config.options import ANY_SCHEDULER_FLAGS, DEFAULT_SCHEDULER, SCHEDULER_FLAGS, SCHEDULERS
from lbsim.config.values import Given
from lbsim.errors import expected_one_of
from lbsim.model.config import (
    AddDest,
    AddService,
    AdminCommand,
    Clear,
    DeleteDest,
    DeleteService,
    DestId,
    EditDest,
    EditService,
    Persistence,
    ServiceId,
    SetTimeouts,
    Tunnel,
    Zero,
)
from lbsim.model.listing import (
    ListConnections,
    ListDaemons,
    ListTable,
    ListTimeouts,
    Request,
    SaveTable,
    ShowVersion,
    View,
)

__all__ = [
    "ANY_SCHEDULER_FLAGS",
    "DEFAULT_SCHEDULER",
    "ENGINES",
    "SCHEDULERS",
    "SCHEDULER_FLAGS",
    "read",
    "read_request",
]

#: The persistence engines that are accepted. Like the kernel's module without any SIP traffic, they do nothing.
ENGINES = ("sip",)
_VIEWS: tuple[View, ...] = ("stats", "rate", "thresholds", "persistent-conn", "tun-info")


def read(line: Line, words: Sequence[Word]) -> AdminCommand:
    """The admin command of a line of a config; ``words`` are what follows ``ipvsadm``.

    Raises
    ------
    CommandRefused : what ipvsadm refuses by itself.
    ConfigError : what makes no sense in a config, and what lbsim does not model.
    """
    if not words:
        raise line.error(f"ipvsadm alone lists the table: {A_COMMAND}", line.words[0])
    given = understood(line, words)
    _refuse_unmodelled(given)
    if given.command.shows:
        message = f"{given.command.letter} {given.command.shows} and changes nothing: {A_COMMAND}"
        raise line.error(message, words[0])
    command = _admin_command(given)
    if isinstance(command, AddService | EditService):
        if command.scheduler not in SCHEDULERS:
            raise line.error(
                expected_one_of(command.scheduler, tuple(SCHEDULERS), "scheduler"), given.values["scheduler"]
            )
        if command.engine and command.engine not in ENGINES:
            raise line.error(expected_one_of(command.engine, ENGINES, "persistence engine"), given.values["pe"])
    return command


def read_request(line: Line, words: Sequence[Word]) -> Request:
    """What a line asks for, be it a change or a listing; ``words`` are what follows ``ipvsadm``.

    Raises
    ------
    CommandRefused : what ipvsadm refuses by itself.
    ConfigError : what lbsim does not model.
    """
    if not words:
        return ListTable(numeric=False)
    given = understood(line, words)
    _refuse_unmodelled(given)
    if given.command.shows:
        return _listing(given)
    return _admin_command(given)


def _refuse_unmodelled(given: Given) -> None:
    match given.command.letter:
        case "-R":
            raise given.line.error("-R reads standard input: expected the lines themselves", given.line.words[0])
        case "-h":
            raise given.line.error(f"lbsim does not print ipvsadm's help: {A_COMMAND}", given.line.words[0])
        case "--start-daemon" | "--stop-daemon":
            message = f"lbsim does not model {given.command.letter} (the sync daemon): {A_COMMAND}"
            raise given.line.error(message, given.line.words[0])


# Listings


def _listing(given: Given) -> Request:
    words = given.words
    if given.command.letter == "-v":
        return ShowVersion()
    if "timeout" in words:
        return ListTimeouts()
    if "daemon" in words:
        return ListDaemons()
    numeric = "numeric" in words
    if given.command.letter == "-S":
        return SaveTable(numeric)
    if "connection" in words:
        return ListConnections(numeric, engine_data="persistent-conn" in words)
    return ListTable(
        view=next((view for view in _VIEWS if view in words), "plain"),
        service=_service(given) if "service-address" in words else None,
        numeric=numeric,
        sort="nosort" not in words,
        exact="exact" in words,
    )


# Changes


def _admin_command(given: Given) -> AdminCommand:
    place, text = given.line.place(given.line.words[0].at), given.line.text
    match given.command.letter:
        case "-C":
            return Clear(place=place, text=text)
        case "--set":
            return SetTimeouts(*given.timeouts, place=place, text=text)
        case "-Z":
            return Zero(_service_to_zero(given), place=place, text=text)
        case "-D":
            return DeleteService(_service(given), place=place, text=text)
        case "-A" | "-E":
            return _change_of_service(given)
        case "-d":
            return DeleteDest(_service(given), DestId(given.server, given.server_port), place=place, text=text)
    return _change_of_dest(given)


def _service(given: Given) -> ServiceId:
    if given.fwmark:
        return ServiceId.marked(given.fwmark, given.address.version)
    return ServiceId(given.protocol, given.address, given.port)


def _service_to_zero(given: Given) -> ServiceId | None:
    if "service-address" not in given.words or not (int(given.address) or given.port or given.fwmark):
        return None
    return _service(given)


def _change_of_service(given: Given) -> AddService | EditService:
    put = AddService if given.command.letter == "-A" else EditService
    return put(
        _service(given),
        given.scheduler or DEFAULT_SCHEDULER,
        given.flags,
        persistence=_persistence(given),
        one_packet="ops" in given.words,
        engine=given.engine,
        place=given.line.place(given.line.words[0].at),
        text=given.line.text,
    )


def _persistence(given: Given) -> Persistence | None:
    """The mask of a service without ``-p`` is of no consequence, and forgotten."""
    if "persistent" not in given.words:
        return None
    every_bit = Persistence().mask(given.address.version)
    return Persistence(given.timeout, None if given.netmask == every_bit else given.netmask)


def _change_of_dest(given: Given) -> AddDest | EditDest:
    change = AddDest if given.command.letter == "-a" else EditDest
    return change(
        _service(given),
        DestId(given.server, given.server_port),
        method=given.method,
        weight=given.weight,
        upper=given.upper,
        lower=given.lower,
        tunnel=_tunnel(given),
        place=given.line.place(given.line.words[0].at),
        text=given.line.text,
    )


def _tunnel(given: Given) -> Tunnel:
    """At most one of the checksum options is given; without any there is no checksum."""
    if "tun-remcsum" in given.words:
        return Tunnel(given.tunnel_type, given.tunnel_port, "remcsum")
    return Tunnel(given.tunnel_type, given.tunnel_port, "csum" if "tun-csum" in given.words else "nocsum")
