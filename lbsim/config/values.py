"""What a line has said so far, and the values of options: how ipvsadm reads them, and what it says if it cannot.

Source: ipvsadm 1.31 (Debian), read and run; facts: ipvsadm.md sections 1.4 and 2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from typing import get_args

from lbsim.config.endpoints import HostNameError, read_endpoint, read_ipv4, read_number
from lbsim.config.lines import Line, Word
from lbsim.config.options import Command
from lbsim.errors import ConfigError
from lbsim.model.config import EVERY_BIT_V4, EVERY_BIT_V6, Address, Method, Protocol, TunnelType

__all__ = ["LONGEST", "Given", "read_timeout", "read_value"]

LONGEST = 2678400  # seconds: the longest timeout, 31 days
_LARGEST = 2147483647  # weight (of Debian's ipvsadm) and thresholds
_SCHEDULER_LENGTH = 15
_PROTOCOLS: Mapping[str, Protocol] = {"-t": "tcp", "-u": "udp", "--sctp-service": "sctp"}
_METHODS: Mapping[str, Method] = {"-m": "masq", "-g": "droute", "-i": "tunnel"}
_ILLEGAL_SERVICE = "illegal virtual server address[:port] specified"
_ILLEGAL_SERVER = "illegal real server address[:port] specified"
_NO_ADDRESS = IPv4Address(0)
_NO_WORD = Word("", 0)
_DIGITS = re.compile(r"[ \t]*[+-]?[0-9]*")


@dataclass(slots=True)
class Given:
    """What a line has said so far. Values that were not given are ipvsadm's defaults."""

    line: Line
    command: Command
    words: dict[str, Word] = field(default_factory=dict)  # the options given, by name: their spellings
    values: dict[str, Word] = field(default_factory=dict)  # likewise, those that were given a value
    protocol: Protocol = "tcp"
    address: Address = _NO_ADDRESS
    port: int = 0
    fwmark: int = 0
    scheduler: str = ""
    timeout: int = 0
    netmask: int = EVERY_BIT_V4
    engine: str = ""
    flags_word: Word = _NO_WORD
    flags: tuple[str, ...] = ()
    server: Address = _NO_ADDRESS
    server_port: int = 0
    method: Method = "droute"
    weight: int = 1
    upper: int = 0
    lower: int = 0
    tunnel_type: TunnelType = "ipip"
    tunnel_port: int = 0
    timeouts: tuple[int, int, int] = (0, 0, 0)


def read_value(given: Given, letter: str, word: Word) -> None:
    """Note an option. ``word`` is its value, or what ``given.words`` has if it was given none.

    Raises
    ------
    ConfigError : what ipvsadm refuses; and host names, which it would look up.
    """
    if letter in _PROTOCOLS:
        _service(given, _PROTOCOLS[letter], word)
    elif letter in _METHODS:
        given.method = _METHODS[letter]
    elif letter in _READERS:
        _READERS[letter](given, word)
    elif letter in _CHECKED:
        smallest, largest, what, said = _CHECKED[letter]
        _number(given.line, word, smallest, largest, what, said)


def read_timeout(line: Line, word: Word, smallest: int) -> int:
    """A number of seconds."""
    said = f"invalid timeout value `{word.text}' specified"
    return _number(line, word, smallest, LONGEST, "number of seconds", said)


def _number(line: Line, word: Word, smallest: int, largest: int, what: str, said: str) -> int:
    number = read_number(word.text, largest, smallest)
    if number is None:
        message = f"{word.text!r} is no {what}: expected a number from {smallest} to {largest}"
        raise line.refused(message, word, said)
    return number


def _end(line: Line, word: Word, protocol: str | None, said: str) -> tuple[Address, int | None]:
    try:
        return read_endpoint(word.text, protocol)
    except HostNameError as error:
        raise line.error(str(error), word) from None
    except ValueError as error:
        raise line.refused(str(error), word, said) from None


def _service(given: Given, protocol: Protocol, word: Word) -> None:
    given.protocol = protocol
    given.address, port = _end(given.line, word, protocol, _ILLEGAL_SERVICE)
    given.port = port or 0
    if given.address.version == 6:
        given.netmask = EVERY_BIT_V6


def _mark(given: Given, word: Word) -> None:
    said = f"invalid fwmark value `{word.text}' specified"
    given.fwmark = _number(given.line, word, 1, 0xFFFFFFFF, "firewall mark", said)


def _ipv6(given: Given, word: Word) -> None:
    if not given.fwmark:
        raise given.line.refused("-6 stands before -f: expected -f MARK -6", word, "-6 used before -f\n")
    given.address = ip_address("::")
    given.netmask = EVERY_BIT_V6


def _server(given: Given, word: Word) -> None:
    """The real server; its port, if not given, is that of a service given before it, else 0."""
    protocol = given.protocol if "service-address" in given.words else None
    given.server, port = _end(given.line, word, protocol, _ILLEGAL_SERVER)
    given.server_port = given.port if port is None else port


def _scheduler(given: Given, word: Word) -> None:
    given.scheduler = word.text[:_SCHEDULER_LENGTH]


def _persistent(given: Given, word: Word) -> None:
    is_value = word is not given.words["persistent"]
    given.timeout = read_timeout(given.line, word, 1) if is_value else 360


def _netmask(given: Given, word: Word) -> None:
    """A dotted mask in any form of inet_aton(), or the prefix length if the service is known to be of IPv6."""
    if given.address.version == 6:
        given.netmask = _prefix(given.line, word)
        return
    mask = read_ipv4(word.text)
    if mask is None:
        message = f"{word.text!r} is no netmask: expected one like 255.255.255.0"
        raise given.line.refused(message, word, "illegal virtual server persistent mask specified")
    given.netmask = int(mask)


def _prefix(line: Line, word: Word) -> int:
    """A prefix length, read as atoi() does: what follows the digits does not count."""
    digits = _DIGITS.match(word.text)
    prefix = int(digits[0]) if digits and digits[0].strip(" \t+-") else 0
    if not 1 <= prefix <= EVERY_BIT_V6:
        message = f"{word.text!r} is no prefix length: expected a number from 1 to 128"
        raise line.refused(message, word, "illegal ipv6 netmask specified")
    return prefix


def _engine(given: Given, word: Word) -> None:
    given.engine = word.text[:_SCHEDULER_LENGTH]


def _flags(given: Given, word: Word) -> None:
    """The names are looked at at the end of the line: the scheduler may follow."""
    given.flags_word = word


def _weight(given: Given, word: Word) -> None:
    given.weight = _number(given.line, word, 0, _LARGEST, "weight", "illegal weight specified")


def _upper(given: Given, word: Word) -> None:
    given.upper = _number(given.line, word, 0, _LARGEST, "threshold", "illegal u_threshold specified")


def _lower(given: Given, word: Word) -> None:
    given.lower = _number(given.line, word, 0, _LARGEST, "threshold", "illegal l_threshold specified")


def _tunnel_type(given: Given, word: Word) -> None:
    for known in get_args(TunnelType):
        if word.text == known:
            given.tunnel_type = known
            return
    message = f"{word.text!r} is no tunnel type: expected one of: {', '.join(get_args(TunnelType))}"
    raise given.line.refused(message, word, "illegal tunnel type specified")


def _tunnel_port(given: Given, word: Word) -> None:
    given.tunnel_port = _number(given.line, word, 1, 65535, "port", "illegal tunnel port specified")


def _group(given: Given, word: Word) -> None:
    version = 6 if ":" in word.text else 4
    try:
        address = ip_address(word.text)
    except ValueError:
        address = IPv4Address(0)
    if not address.is_multicast:
        raise _no_group(given.line, word, version)


def _no_group(line: Line, word: Word, version: int) -> ConfigError:
    message = f"{word.text!r} is no multicast group: expected an address like 224.0.0.81"
    return line.refused(message, word, f"invalid IPv{version} mcast-group `{word.text}'")


_READERS: Mapping[str, Callable[[Given, Word], None]] = {
    "-f": _mark,
    "-6": _ipv6,
    "-r": _server,
    "-s": _scheduler,
    "-p": _persistent,
    "-M": _netmask,
    "--pe": _engine,
    "-b": _flags,
    "-w": _weight,
    "-x": _upper,
    "-y": _lower,
    "--tun-type": _tunnel_type,
    "--tun-port": _tunnel_port,
    "--mcast-group": _group,
}
# Numbers that are checked and then not used: of the sync daemon, which is not modelled.
_CHECKED = {
    "--syncid": (0, 255, "syncid", "illegal syncid specified"),
    "--mcast-port": (1, 65535, "port", "illegal mcast-port specified"),
    "--mcast-ttl": (1, 255, "TTL", "illegal mcast-ttl specified"),
    "--sync-maxlen": (1, 65507, "length", "illegal sync-maxlen specified"),
}
