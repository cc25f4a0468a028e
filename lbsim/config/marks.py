"""Firewall marks: the lines that give packets a mark before IPVS sees them, and those that bring such packets to the
director.

    nft add rule ip T C ip daddr { 192.168.1.10, 192.168.1.11 } tcp dport { 80, 443 } meta mark set 1
    iptables -t mangle -A PREROUTING -d 192.168.1.0/24 -p tcp --dport 80:89 -j MARK --set-mark 1
    ip rule add fwmark 1 lookup 100
    ip route add local 0.0.0.0/0 dev lo table 100

Rules are looked at in their order, all of them; the last one that matches decides. Tables and chains of nft may be
added and change nothing. Any other line raises: a mark that is not there sends packets elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import product
from typing import TypeAlias, TypedDict

from lbsim.config.iptables_options import given_options
from lbsim.config.lines import Line, Word, read_lines
from lbsim.config.port_names import PORT_NAMES
from lbsim.errors import ConfigError, expected_one_of
from lbsim.model.config import Address, Place, Protocol, ServiceId

__all__ = ["MarkRule", "Marks", "Network", "format_marks", "read_marks"]

Network: TypeAlias = IPv4Network | IPv6Network

_PROTOCOLS: Mapping[Protocol, int] = {"tcp": 6, "udp": 17, "sctp": 132}
_ACCEPTED = (
    "expected one of: nft add rule ip TABLE CHAIN ip daddr ADDRESSES tcp dport PORTS meta mark set MARK; "
    "iptables -t mangle -A PREROUTING -d NETWORK -p tcp --dport PORTS -j MARK --set-mark MARK; "
    "ip rule add fwmark MARK lookup TABLE; ip route add local NETWORK dev lo [table TABLE]"
)
#: Options of iptables by all their names -> the one that they have here.
_OPTIONS = {
    **dict.fromkeys(("-t", "--table"), "-t"),
    **dict.fromkeys(("-A", "--append"), "-A"),
    **dict.fromkeys(("-F", "--flush"), "-F"),
    **dict.fromkeys(("-j", "--jump"), "-j"),
    **dict.fromkeys(("-m", "--match"), "-m"),
    **dict.fromkeys(("-d", "--dst", "--destination"), "-d"),
    **dict.fromkeys(("-p", "--proto", "--protocol"), "-p"),
    **dict.fromkeys(("--dport", "--dports", "--destination-port", "--destination-ports"), "--dport"),
    **dict.fromkeys(("--set-mark", "--set-xmark"), "--set-mark"),
    "--comment": "--comment",
}
_MATCHES = ("tcp", "udp", "sctp", "multiport", "comment")
_MODELLED = f"expected some of: {', '.join(sorted(set(_OPTIONS.values())))}"
_MOST = 0xFFFFFFFF
_MOST_PORTS = 1000  # of a rule, to be told one by one
_FIRST_TABLE = 100  # of routes; any but those of the kernel's own


@dataclass(frozen=True, slots=True)
class MarkRule:
    """One rule: packets of this IP version that match all of what is given get the mark.

    ``networks`` holds the packet's destination, ``ports`` (from, to) its destination port; empty: any.
    """

    version: int
    mark: int
    networks: tuple[Network, ...] = ()
    protocol: int = 0  # IP protocol number; 0: any
    ports: tuple[tuple[int, int], ...] = ()

    def matches(self, dst: Address, proto: int, dport: int) -> bool:
        """Whether a packet gets the mark."""
        return (
            dst.version == self.version
            and (not self.networks or any(dst in network for network in self.networks))
            and self.protocol in (0, proto)
            and (not self.ports or any(first <= dport <= last for first, last in self.ports))
        )


class _Given(TypedDict, total=False):
    """What a rule has said so far."""

    mark: int
    networks: tuple[Network, ...]
    protocol: int
    ports: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Marks:
    """Rules in their order, and what is delivered to the director although it is no address of its own.

    ``local`` are networks of the table of local addresses; ``routed`` (mark, network): only packets with the mark.
    """

    rules: tuple[MarkRule, ...] = ()
    local: tuple[Network, ...] = ()
    routed: tuple[tuple[int, Network], ...] = ()

    def mark_of(self, dst: Address, proto: int, dport: int) -> int:
        """The mark of a packet; 0 if no rule matches."""
        return next((rule.mark for rule in reversed(self.rules) if rule.matches(dst, proto, dport)), 0)

    @property
    def hosts(self) -> tuple[Address, ...]:
        """The single addresses that rules name and no routing line brings to the director: whoever marks packets to
        them has them.
        """
        named = ((rule.mark, network) for rule in self.rules for network in rule.networks)
        alone = [(mark, one.network_address) for mark, one in named if one.prefixlen == one.max_prefixlen]
        return tuple(dict.fromkeys(one for mark, one in alone if not self._brings(one, mark)))

    def _brings(self, dst: Address, mark: int) -> bool:
        return self.delivers(dst, mark) or any(dst in network for network in self.local)

    def ends(self) -> Iterator[tuple[int, ServiceId]]:
        """Marks, and the ends of single addresses that get them, as services by address; port 0: every port.

        An end may be named more than once.
        """
        for rule in self.rules:
            for network, protocol in product(rule.networks, _PROTOCOLS):
                if network.prefixlen == network.max_prefixlen and rule.protocol in (0, _PROTOCOLS[protocol]):
                    for port in _each(rule.ports):
                        yield rule.mark, ServiceId(protocol, network.network_address, port)

    def delivers(self, dst: Address, mark: int) -> bool:
        """Whether a routing rule brings a packet with this mark to the director."""
        return any(mark == wanted and dst in network for wanted, network in self.routed)


def _each(ranges: tuple[tuple[int, int], ...]) -> Iterator[int]:
    """Every port of the ranges; 0 for any port, and for more than can be told one by one."""
    if not ranges or sum(last - first + 1 for first, last in ranges) > _MOST_PORTS:
        yield 0
        return
    for first, last in ranges:
        yield from range(first, last + 1)


def read_marks(text: str, *, file: str | None = None, first_line: int = 1) -> Marks:
    """The rules that a text makes.

    Raises
    ------
    ConfigError : the first line that is not modelled, with file, line and column.
    """
    rules: list[MarkRule] = []
    local: list[Network] = []
    lookups: list[tuple[int, str]] = []
    tables: list[tuple[str, Network]] = []
    for line in read_lines(text, Place(file, first_line)):
        words = [line.words[0].text.rpartition("/")[2], *(word.text for word in line.words[1:])]
        match words:
            case ["nft", *rest]:
                made = _nft_rule(line, _split(rest))
                rules += [made] if made else []
            case ["iptables" | "ip6tables" as program, *_]:
                version = 4 if program == "iptables" else 6
                rule = _iptables_rule(line, version)
                rules = [*rules, rule] if rule else [one for one in rules if one.version != version]
            case ["ip", "rule", "add", "fwmark", mark, "lookup" | "table", table]:
                lookups.append((_mark(line, mark), table))
            case ["ip", "route", "add", "local", network, "dev", "lo"]:
                local.append(_network(line, network))
            case ["ip", "route", "add", "local", network, "dev", "lo", "table", table]:
                tables.append((table, _network(line, network)))
            case _:
                raise _wrong(line)
    routed = [(mark, network) for mark, table in lookups for name, network in tables if name == table]
    return Marks(tuple(rules), tuple(local), tuple(routed))


def format_marks(marks: Marks) -> Iterator[str]:
    """The lines of ``iptables`` and ``ip`` that make these marks; one for each network and range of ports."""
    names = {number: name for name, number in _PROTOCOLS.items()}
    for rule in marks.rules:
        program = "iptables" if rule.version == 4 else "ip6tables"
        protocol = f" -p {names[rule.protocol]}" if rule.protocol else ""
        targets = [f" -d {_told(network)}" for network in rule.networks] or [""]
        ports = [f" --dport {first}" + (f":{last}" if last != first else "") for first, last in rule.ports] or [""]
        for target, port in product(targets, ports):
            yield f"{program} -t mangle -A PREROUTING{target}{protocol}{port} -j MARK --set-mark {rule.mark}"
    for network in marks.local:
        yield f"ip route add local {_told(network)} dev lo"
    for table, (mark, network) in enumerate(marks.routed, _FIRST_TABLE):
        yield f"ip rule add fwmark {mark} lookup {table}"
        yield f"ip route add local {_told(network)} dev lo table {table}"


def _told(network: Network) -> str:
    """A network as it is typed; a single address without its length."""
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


def _split(words: list[str]) -> list[str]:
    """The words of an nft command, also if it was one quoted word; braces and commas are words."""
    text = " ".join(words)
    for sign in "{},;":
        text = text.replace(sign, f" {sign} ")
    return text.split()


def _nft_rule(line: Line, words: list[str]) -> MarkRule | None:
    """The rule of an nft line; None for its tables and chains."""
    if words[:2] == ["add", "chain"] or words[:2] == ["add", "table"]:
        return None
    if words[:2] != ["add", "rule"] or len(words) < 5 or words[2] not in ("ip", "ip6", "inet"):
        raise _wrong(line)
    version = 6 if words[2] == "ip6" else 4
    given: _Given = {}
    left = iter(words[5:])
    for word in left:
        pair = word, next(left, "")
        if pair in (("ip", "daddr"), ("ip6", "daddr")):
            version = 6 if word == "ip6" else 4
            given["networks"] = tuple(_network(line, one) for one in _members(line, left))
        elif word in _PROTOCOLS and pair[1] == "dport":
            given["protocol"] = _protocol(line, word)
            given["ports"] = tuple(_ports(line, one, "-") for one in _members(line, left))
        elif pair == ("meta", "l4proto"):
            given["protocol"] = _protocol(line, next(left, ""))
        elif pair == ("meta", "mark") and next(left, "") == "set":
            given["mark"] = _mark(line, next(left, ""))
        else:
            raise _wrong(line)
    return _made(line, version, given)


def _members(line: Line, left: Iterator[str]) -> list[str]:
    """One word, or those between braces."""
    first = next(left, "")
    if first != "{":
        return [first]
    found: list[str] = []
    for word in left:
        if word == "}":
            return found
        found += [word] if word != "," else []
    raise _wrong(line)


def _iptables_rule(line: Line, version: int) -> MarkRule | None:
    """The rule of an iptables line; None if it empties the table."""
    said = _options(line)
    if set(said) == {"-t", "-F"} and said["-t"].text == "mangle":
        return None
    for option, value in (("-t", "mangle"), ("-A", "PREROUTING"), ("-j", "MARK")):
        if option not in said:
            raise _wrong(line)
        if said[option].text != value:
            word = said[option]
            raise _wrong(line, f"{option} {word.text} is not modelled here: expected {option} {value}", word)
    given: _Given = {}
    if "-p" in said:
        given["protocol"] = _protocol(line, said["-p"].text, said["-p"])
    for option, word in said.items():
        match option:
            case "-d":
                given["networks"] = tuple(_network(line, one, word) for one in word.text.split(","))
            case "--dport":
                given["ports"] = tuple(_ports(line, one, ":", word, said.get("-p")) for one in word.text.split(","))
            case "--set-mark":
                given["mark"] = _mark(line, _without_mask(line, word), word)
    return _made(line, version, given)


def _options(line: Line) -> dict[str, Word]:
    """Option -> its value; what ``-m`` loads is said by the options, too, and comments say nothing."""
    said: dict[str, Word] = {}
    for word, option, values in given_options(line, line.words[1:], _OPTIONS, _MODELLED):
        if option == "-m" and values[0].text not in _MATCHES:
            raise _wrong(line, expected_one_of(values[0].text, _MATCHES, "or not modelled iptables match"), values[0])
        if option in said and option != "-m":
            raise _wrong(line, f"option {option} is given twice: expected it once", word)
        said[option] = values[0] if values else word
    return said


def _without_mask(line: Line, word: Word) -> str:
    """The mark, of which all bits are set."""
    mark, slash, mask = word.text.partition("/")
    if slash and mask.lower() != "0xffffffff":
        raise _wrong(line, f"the mask {mask!r} is not modelled: expected none, or 0xffffffff", word)
    return mark


def _made(line: Line, version: int, given: _Given) -> MarkRule:
    if "mark" not in given or ("ports" in given and "protocol" not in given):
        raise _wrong(line)
    return MarkRule(version, **given)


def _protocol(line: Line, text: str, word: Word | None = None) -> int:
    number = next((number for name, number in _PROTOCOLS.items() if name == text), 0)
    if not number:
        raise _wrong(line, f"{text!r} is no protocol that is modelled: expected one of: {', '.join(_PROTOCOLS)}", word)
    return number


def _mark(line: Line, text: str, word: Word | None = None) -> int:
    try:
        mark = int(text, 0)
    except ValueError:
        mark = -1
    if not 0 <= mark <= _MOST:
        raise _wrong(line, f"{text!r} is no mark: expected a number of 32 bits", word)
    return mark


def _network(line: Line, text: str, word: Word | None = None) -> Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        message = f"{text!r} is no address or network: expected 192.168.1.0/24 or the like"
        raise _wrong(line, message, word) from None


def _ports(line: Line, text: str, sign: str, word: Word | None = None, proto: Word | None = None) -> tuple[int, int]:
    """A range of ports; names of ports are known of a protocol."""
    names = PORT_NAMES.get(proto.text, {}) if proto else {}
    first, _, last = text.partition(sign)
    numbers = [str(names.get(part, part)) for part in (first, last or first)]
    if not all(number.isascii() and number.isdigit() and int(number) <= 65535 for number in numbers):
        raise _wrong(line, f"{text!r} is no port: expected 80 or 80{sign}89", word)
    return int(numbers[0]), int(numbers[1])


def _wrong(line: Line, message: str = "", word: Word | None = None) -> ConfigError:
    return line.error(message or f"this line of marks is not modelled: {_ACCEPTED}", word or line.words[0])
