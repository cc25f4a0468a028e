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

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeAlias, TypedDict

from lbsim.config.lines import Line, Word, read_lines
from lbsim.errors import ConfigError
from lbsim.model.config import Address, Place

__all__ = ["MarkRule", "Marks", "Network", "read_marks"]

Network: TypeAlias = IPv4Network | IPv6Network

_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_ACCEPTED = (
    "expected one of: nft add rule ip TABLE CHAIN ip daddr ADDRESSES tcp dport PORTS meta mark set MARK; "
    "iptables -t mangle -A PREROUTING -d NETWORK -p tcp --dport PORTS -j MARK --set-mark MARK; "
    "ip rule add fwmark MARK lookup TABLE; ip route add local NETWORK dev lo [table TABLE]"
)
_MOST = 0xFFFFFFFF


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

    def delivers(self, dst: Address, mark: int) -> bool:
        """Whether a routing rule brings a packet with this mark to the director."""
        return any(mark == wanted and dst in network for wanted, network in self.routed)


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
        words = [word.text for word in line.words]
        match words:
            case ["nft", *rest]:
                made = _nft_rule(line, _split(rest))
                rules += [made] if made else []
            case ["iptables" | "ip6tables" as program, *_]:
                rules.append(_iptables_rule(line, 4 if program == "iptables" else 6))
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
            given["protocol"] = _PROTOCOLS[word]
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


def _iptables_rule(line: Line, version: int) -> MarkRule:
    given: _Given = {}
    said: dict[str, str] = {}
    left = iter(word.text for word in line.words[1:])
    for word in left:
        said[word] = next(left, "")
    if said.pop("-t", "") != "mangle" or said.pop("-A", "") != "PREROUTING" or said.pop("-j", "") != "MARK":
        raise _wrong(line)
    said.pop("-m", None)  # tcp, udp, multiport: what they add is said by the options
    for option, value in said.items():
        if option in ("-d", "--destination"):
            given["networks"] = tuple(_network(line, one) for one in value.split(","))
        elif option in ("-p", "--protocol"):
            given["protocol"] = _protocol(line, value)
        elif option in ("--dport", "--dports"):
            given["ports"] = tuple(_ports(line, one, ":") for one in value.split(","))
        elif option == "--set-mark":
            given["mark"] = _mark(line, value)
        else:
            raise _wrong(line)
    return _made(line, version, given)


def _made(line: Line, version: int, given: _Given) -> MarkRule:
    if "mark" not in given or ("ports" in given and "protocol" not in given):
        raise _wrong(line)
    return MarkRule(version, **given)


def _protocol(line: Line, text: str) -> int:
    if text not in _PROTOCOLS:
        raise _wrong(line, f"{text!r} is no protocol that is modelled: expected one of: {', '.join(_PROTOCOLS)}")
    return _PROTOCOLS[text]


def _mark(line: Line, text: str) -> int:
    try:
        mark = int(text, 0)
    except ValueError:
        mark = -1
    if not 0 <= mark <= _MOST:
        raise _wrong(line, f"{text!r} is no mark: expected a number of 32 bits")
    return mark


def _network(line: Line, text: str) -> Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise _wrong(line, f"{text!r} is no address or network: expected 192.168.1.0/24 or the like") from None


def _ports(line: Line, text: str, sign: str) -> tuple[int, int]:
    first, _, last = text.partition(sign)
    numbers = [first, last or first]
    if not all(number.isascii() and number.isdigit() and int(number) <= 65535 for number in numbers):
        raise _wrong(line, f"{text!r} is no port: expected 80 or 80{sign}89")
    return int(numbers[0]), int(numbers[1])


def _wrong(line: Line, message: str = "") -> ConfigError:
    word: Word = line.words[0]
    return line.error(message or f"this line of marks is not modelled: {_ACCEPTED}", word)
