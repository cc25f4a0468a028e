"""The iptables lines of the classic NAT router set-up <-> RouterSettings.

Options may stand in any order. What is kept is normalised as the kernel keeps it: host bits of a network
cleared, the mask as a prefix length. A flush forgets the rules of its table that came before it, but no
policies. Any other iptables line raises: half a firewall would be worse than none.

Source: iptables 1.8.9, nft and legacy flavour (what ``iptables -S`` prints after each line).
"""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from lbsim.config.iptables_options import given_options
from lbsim.config.lines import Line, Word
from lbsim.model.config import INTERFACES, ForwardRule, RouterSettings

__all__ = ["format_settings", "read"]

_OPTIONS = {
    "-t": "-t", "--table": "-t",
    "-F": "-F", "--flush": "-F",
    "-P": "-P", "--policy": "-P",
    "-A": "-A", "--append": "-A",
    "-i": "-i", "--in-interface": "-i",
    "-o": "-o", "--out-interface": "-o",
    "-s": "-s", "--source": "-s", "--src": "-s",
    "-j": "-j", "--jump": "-j",
}  # fmt: skip
_CHAINS = ("INPUT", "FORWARD", "OUTPUT")  # of the filter table
_ACCEPTED = (
    "expected one of: iptables -F; iptables -t nat -F; iptables -P CHAIN ACCEPT; iptables -P FORWARD DROP; "
    "iptables -A FORWARD [-i INTERFACE] [-s NETWORK] -j ACCEPT|DROP; "
    "iptables -t nat -A POSTROUTING -o INTERFACE -j MASQUERADE"
)
_INTERFACE = re.compile(r"(?!-)[0-9A-Za-z_.:@-]{1,15}")
_MASK_BITS = {str(IPv4Address((0xFFFFFFFF << (32 - bits)) & 0xFFFFFFFF)): bits for bits in range(33)}


def read(line: Line, words: tuple[Word, ...], router: RouterSettings) -> RouterSettings:
    """The settings after an iptables line, given those before it; ``words`` are what follows ``iptables``.

    Raises
    ------
    ConfigError : any other line; the message lists those that are known. A rule of an interface that the director does
        not have, where that decides about packets.
    """
    given = _options(line, words)
    table = given.pop("-t", Word("filter", 0)).text
    chain = given["-A"].text if "-A" in given else ""
    if set(given) == {"-F"} and table in ("filter", "nat"):
        return _flush(router, table)
    if set(given) == {"-P", "policy"} and table == "filter":
        return _with_known_interfaces(line, _set_policy(line, given["-P"], given["policy"], router))
    if (table, chain) == ("filter", "FORWARD") and {"-A", "-j"} <= set(given) <= {"-A", "-i", "-s", "-j"}:
        rule = ForwardRule(
            _interface(line, given["-i"]) if "-i" in given else "",
            _network(line, given["-s"]) if "-s" in given else "",
            _target(line, given["-j"], "target of FORWARD"),
        )
        return _with_known_interfaces(line, replace(router, forward=(*router.forward, rule)))
    if (table, chain, set(given)) == ("nat", "POSTROUTING", {"-A", "-o", "-j"}):
        _expect(line, given["-j"], "MASQUERADE", "target of POSTROUTING")
        return replace(router, masquerade=(*router.masquerade, _interface(line, given["-o"])))
    raise line.error(f"this iptables line is not modelled: {_ACCEPTED}", line.words[0])


def format_settings(router: RouterSettings) -> list[str]:
    """The iptables lines that make these settings out of fresh ones, each without its newline."""
    return [
        *(f"iptables -t {table} -F" if table != "filter" else "iptables -F" for table in router.flushed),
        *(f"iptables -P {chain} {policy}" for chain, policy in router.policies),
        *map(_format_rule, router.forward),
        *(f"iptables -t nat -A POSTROUTING -o {interface} -j MASQUERADE" for interface in router.masquerade),
    ]


def _format_rule(rule: ForwardRule) -> str:
    matches = [f"-i {rule.in_interface} "] if rule.in_interface else []
    matches += [f"-s {rule.source} "] if rule.source else []
    return f"iptables -A FORWARD {''.join(matches)}-j {rule.target}"


def _options(line: Line, words: tuple[Word, ...]) -> dict[str, Word]:
    """The value of each option given; -F has an empty one, the second word of -P is under "policy"."""
    given: dict[str, Word] = {}
    for word, option, values in given_options(line, words, _OPTIONS, _ACCEPTED):
        if option in given:
            raise line.error(f"option {option} is given twice: expected it once", word)
        given[option] = values[0] if values else Word("", word.at)
        if option == "-P":
            given["policy"] = values[1]
    return given


def _target(line: Line, word: Word, what: str) -> Literal["ACCEPT", "DROP"]:
    match word.text:
        case "ACCEPT" | "DROP" as target:
            return target
    raise line.error(f"lbsim does not model the {what} {word.text!r}: expected ACCEPT or DROP", word)


def _with_known_interfaces(line: Line, router: RouterSettings) -> RouterSettings:
    """The settings, if packets can be told apart as their rules want it; as long as all is accepted, no rule counts."""
    for rule in router.forward if router.drops else ():
        if rule.in_interface not in ("", *INTERFACES):
            raise line.error(
                f"the interface {rule.in_interface!r} of a FORWARD rule is not known: expected eth0 (where clients "
                "are) or eth1 (where real servers are)",
                line.words[0],
            )
    return router


def _expect(line: Line, word: Word, wanted: str, what: str) -> None:
    if word.text != wanted:
        raise line.error(f"lbsim does not model the {what} {word.text!r}: expected {wanted}", word)


def _flush(router: RouterSettings, table: str) -> RouterSettings:
    flushed = router.flushed if table in router.flushed else (*router.flushed, table)
    if table == "nat":
        return replace(router, flushed=flushed, masquerade=())
    return replace(router, flushed=flushed, forward=())


def _set_policy(line: Line, chain: Word, policy: Word, router: RouterSettings) -> RouterSettings:
    if chain.text not in _CHAINS:
        raise line.error(f"unknown chain {chain.text!r}: expected one of: {', '.join(_CHAINS)}", chain)
    if chain.text == "FORWARD":
        _target(line, policy, "policy")
    else:
        _expect(line, policy, "ACCEPT", "policy")
    policies = {**dict(router.policies), chain.text: policy.text}
    return replace(router, policies=tuple(policies.items()))


def _interface(line: Line, word: Word) -> str:
    if not _INTERFACE.fullmatch(word.text):
        raise line.error(f"{word.text!r} is no interface name: expected one such as eth1", word)
    return word.text


def _network(line: Line, word: Word) -> str:
    """``10.0.0.0/24`` for ``10.0.0.7/255.255.255.0``, ``10.0.0.7/32`` for ``10.0.0.7``."""
    host, slash, mask = word.text.partition("/")
    try:
        address = IPv4Address(host)
    except ValueError:
        address = None
    prefixes = {str(bits): bits for bits in range(33)} | _MASK_BITS
    if address is None or (slash and mask not in prefixes):
        raise line.error(f"{word.text!r} is no IPv4 network: expected 10.0.0.0/24 or 10.0.0.0/255.255.255.0", word)
    return str(IPv4Network((address, prefixes[mask] if slash else 32), strict=False))
