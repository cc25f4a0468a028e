"""Sentences about the case of its reason that a packet is, and about what its sender is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lbsim.engine.numbers import LEAST_V4, LEAST_V6
from lbsim.explain.way_words import hops
from lbsim.model.config import INTERFACES
from lbsim.model.wording import counted

if TYPE_CHECKING:
    from lbsim.model.explanation import Cause, Explanation

__all__ = ["cause_words"]

ONE_ERROR = "No error is sent about an error."
NO_SOURCE = (
    "Nobody is told: only a routing rule brought the packet to the director, which could answer from no address but "
    "the packet's own target, and that is not its own."
)
UNTOLD = "The sender is told nothing."
OWN_STACK = "The director's own stack gets the packet"
LISTENING = "unless a program listens there"
HEADERS = {"tcp": ("TCP", 20), "udp": ("UDP", 8), "sctp": ("SCTP", 12)}  # bytes that each must have
ODD = {
    "own": "an address that only the director itself has, and accept_local is off",
    "nobody": "the address of a host that has none yet",
    "loopback": "a loopback address, which only programs on one and the same host use",
    "multicast": "a multicast address, which stands for a group of hosts",
    "broadcast": "the broadcast address, which stands for all hosts",
}


def cause_words(e: Explanation, cause: Cause) -> list[str]:
    """Which of its cases the reason is, instead of all of them."""
    return _WORDS[e.reason](e, cause)


# Entries


def _new(e: Explanation, cause: Cause) -> list[str]:
    return [f"From a client: no entry matched, a service did, {_destined(e)}."]


def _destined(e: Explanation) -> str:
    """Where a new entry has its destination from."""
    if e.entry == "bypass":
        return (
            "there was no destination, and with cache_bypass an entry without one was made: the packet goes on to its "
            "own target"
        )
    if e.template is not None and e.template.how == "found":
        return "its template had a destination and an entry was made"
    return "its scheduler gave a destination and an entry was made"


def _known(e: Explanation, cause: Cause) -> list[str]:
    if cause.case == "bypass":
        return [
            "From a client: an entry matched that has no destination (cache_bypass): the packet goes on to its own "
            "target."
        ]
    return ["From a client: an entry matched; the packet goes to the entry's destination."]


def _rescheduled(e: Explanation, cause: Cause) -> list[str]:
    opening = {"tcp": "a SYN", "sctp": "an INIT"}.get(e.packet.protocol, "a packet")
    matched = {
        "finished": f"{opening} matched an entry whose connection is finished, and with conn_reuse_mode it is given up",
        "quiesced": f"{opening} matched an entry whose destination has weight 0, and with expire_nodest_conn it is "
        "given up",
        "removed": "the packet matched an entry whose destination was removed, and with expire_nodest_conn it is "
        "given up",
    }[cause.case]
    return [f"From a client: {matched}; then {_destined(e)}."]


def _translated(e: Explanation, cause: Cause) -> list[str]:
    if cause.case == "masq":
        return ["From a real server: an entry matched; the source is rewritten to the virtual service."]
    return ["From a real server: an entry matched; it is not over NAT, so the source is the virtual service already."]


def _local(e: Explanation, cause: Cause) -> list[str]:
    about = "From a client" if e.packet.icmp is None else "An ICMP error about an answer of an entry"
    entry = "the packet made an entry whose destination" if e.entry == "made" else "the entry's destination"
    end = "with the destination end, as it is over NAT" if cause.case == "masq" else "as it is"
    return [
        f"{about}: {entry} is an address of the director itself.",
        f"A socket of the director gets the packet, {end}; what it answers passes IPVS.",
    ]


# ICMP errors


def _to_dest(e: Explanation, cause: Cause) -> list[str]:
    made = ", which it made itself (schedule_icmp)" if e.entry == "made" else ""
    where = {
        "masq": "the entry's destination, over NAT with the destination end in the quoted packet, too",
        "bypass": "its own target, as the entry has no destination",
        "as it is": "the entry's destination as it is",
    }[cause.case]
    return [f"An ICMP error about an answer of an entry{made}: it goes to {where}."]


def _routed(e: Explanation, cause: Cause) -> list[str]:
    why = "is the director's for packets with a mark only" if cause.case == "by mark" else "is not the director's"
    return [
        "An ICMP error about an answer of an entry: it goes where the entry's packets go.",
        f"The director was forwarding it when IPVS found it, as its target {why}: its {hops(e.packet)} is lowered "
        "twice.",
    ]


def _to_client(e: Explanation, cause: Cause) -> list[str]:
    if cause.case == "masq":
        how = "from the virtual address, with the virtual end in the quoted packet"
    else:
        how = "as it is, for its entry is not over NAT"
    return [f"An ICMP error about a client's packet of an entry: it goes to the client, {how}."]


# What opens no connection


def _own_stack(cause: Cause, but: str = "") -> str:
    """What the director's own stack does with a packet that it did not expect."""
    if not cause.answer:
        return f"{OWN_STACK}. {NO_SOURCE}"
    answer = "a RST" if cause.answer == "RST" else cause.answer
    return f"{OWN_STACK}, and answers with {answer}{f', {but}' if but else ''}."


def _not_opening(e: Explanation, cause: Cause) -> list[str]:
    why = {
        "rst": "a RST opens no connection",
        "no syn": "while sloppy_tcp is 0 only a SYN opens a connection: the packet is none",
        "abort": "an ABORT opens no connection",
        "no init": "while sloppy_sctp is 0 only an INIT opens a connection: the packet is none",
    }[cause.case]
    told = f"{'Its entry is given up' if e.given_up else 'No entry matches'}, and {why}."
    if cause.case == "rst":
        return [told, f"{OWN_STACK}, and answers nothing to a RST."]
    if not cause.answer:
        return [told, _own_stack(cause)]
    if cause.answer == "RST":
        return [told, f"{OWN_STACK}. It does not know the connection either, and answers with a RST."]
    return [
        told,
        f"{OWN_STACK}. Without the module sctp it does not know the protocol, and answers with {cause.answer}.",
    ]


def _ftp_data(e: Explanation, cause: Cause) -> list[str]:
    but = "without the module sctp" if cause.case == "sctp" else LISTENING
    return ["From a client with source port 20, the port of FTP's data: never scheduled.", _own_stack(cause, but)]


def _no_ftp(e: Explanation, cause: Cause) -> list[str]:
    why = {
        "not persistent": "that service is not persistent, so it has no destination for other ports than its own",
        "no destination": "that service has no usable destination",
    }[cause.case]
    return [
        "From a client, to port 20 or one from 1024 on, which only the service of FTP (port 21) takes: " + why + ".",
        _own_stack(cause, LISTENING),
    ]


def _untold(e: Explanation, cause: Cause) -> list[str]:
    if cause.case == "error":
        return [
            "An ICMP error that would open an entry (schedule_icmp): a service matched, but it has no usable "
            "destination.",
            ONE_ERROR,
        ]
    return ["From a client: a service matched, but it has no usable destination.", NO_SOURCE]


def _dropped(e: Explanation, cause: Cause) -> list[str]:
    told = "The packet would have opened a connection, and drop_packet is 3"
    if cause.case == "first":
        return [f"{told}: of such packets the first one is dropped, and it is this.", UNTOLD]
    which = "each one" if cause.every == 1 else f"the {_ordinal(cause.every or 0)} after the last one dropped"
    return [f"{told}: of such packets {which} is dropped, as am_droprate was then, and it is this.", UNTOLD]


def _ordinal(number: int) -> str:
    """``1st``, ``12th``, ``22nd``."""
    teen = number % 100 in (11, 12, 13)
    return f"{number:,}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def _cut(e: Explanation, cause: Cause) -> list[str]:
    name, least = HEADERS[e.packet.protocol]
    told = {
        "ports": f"The {name} header is not complete: it has {least} bytes, and not even the ports can be read.",
        "header": f"The {name} header is not complete: it has {least} bytes.",
        "chunk": "Behind the SCTP header the first chunk's is not complete: it has 4 bytes, and without it a packet "
        "opens no connection.",
    }[cause.case]
    return [told, UNTOLD]


def _no_entry(e: Explanation, cause: Cause) -> list[str]:
    return [
        {
            "real server": "From a real server: no entry matches. The packet leaves with the sender's own address.",
            "director": "From a program on the director: IPVS does not take it, so it goes where it would go without.",
            "error": "An ICMP error that is not about a packet of an entry: it is routed as it is.",
        }[cause.case]
    ]


def _refused(e: Explanation, cause: Cause) -> list[str]:
    to = " (also of what is for the director itself)" if cause.case == "to the director" else ""
    return [
        f"No entry matches, and {e.packet.src} is the address and port of a destination over NAT: with nat_icmp_send "
        f"its packet is refused{to}.",
        f"The director answers with {cause.answer}.",
    ]


# What stops a packet on its way


def _used_up(e: Explanation, cause: Cause) -> list[str]:
    told = f"The packet came with a {hops(e.packet)} of {e.packet.ttl}, so no router may send it on."
    return [told, _whose(e, cause), *_answered(e, cause)]


def _no_way(e: Explanation, cause: Cause) -> list[str]:
    return [f"There is no route to {cause.target}.", _whose(e, cause), *_answered(e, cause)]


def _too_large(e: Explanation, cause: Cause) -> list[str]:
    must = "and must not be sent in fragments" if e.packet.version == 4 else "and IPv6 routers make no fragments"
    told = f"The packet has {counted(e.packet.length, 'byte')}, {must}."
    return [told, _room(cause), _whose(e, cause), *_answered(e, cause)]


def _room(cause: Cause) -> str:
    """What a route and a tunnel leave for a packet."""
    told = f"The route to {cause.target} has an MTU of {counted(cause.mtu or 0, 'byte')}"
    if cause.overhead:
        told += f", and the tunnel's headers take {cause.overhead} of them: {cause.limit:,} are left"
    return f"{told}."


def _too_narrow(e: Explanation, cause: Cause) -> list[str]:
    version, least = ("IPv6", LEAST_V6) if ":" in cause.target else ("IPv4", LEAST_V4)
    less = f"That is less than the {counted(least, 'byte')} that every link of {version} carries."
    return [_room(cause), less, _whose(e, cause), UNTOLD]


def _whose(e: Explanation, cause: Cause) -> str:
    if cause.case == "router":
        return "The director found that as a router, before IPVS saw the packet: nothing is counted, no entry changes."
    if e.packet.icmp is not None:
        return "IPVS found that on the way to the destination: the error was counted all the same."
    return "IPVS found that on the way to the destination: the packet was counted and its entry updated all the same."


def _answered(e: Explanation, cause: Cause) -> list[str]:
    if not cause.answer:
        return [NO_SOURCE if e.packet.icmp is None else ONE_ERROR]
    limit = f", which tells {counted(cause.limit, 'byte')} as what fits" if cause.limit is not None else ""
    return [f"The director answers with {cause.answer}{limit}."]


def _wrong_way(e: Explanation, cause: Cause) -> list[str]:
    why = {
        "to loopback": f"The entry's destination is {cause.target}, a loopback address, and over NAT: that cannot be "
        "reached from outside.",
        "from loopback": f"The packet comes from {cause.target}, a loopback address, and would have to leave the "
        "director.",
        "bypass": f"The entry has no destination (cache_bypass), and the packet's own target {cause.target} is the "
        "director itself.",
    }[cause.case]
    return [why, UNTOLD]


def _odd_source(e: Explanation, cause: Cause) -> list[str]:
    return [f"From {cause.target}, {ODD[cause.case]}: the IP layer drops it, IPVS never sees it.", UNTOLD]


def _odd_target(e: Explanation, cause: Cause) -> list[str]:
    to = f"To {cause.target}, {ODD[cause.case]}"
    if e.reason == "martian_target":
        return [f"{to}: nobody outside can mean it. The IP layer drops it, IPVS never sees it.", UNTOLD]
    return [f"{to}: never balanced or routed.", f"{OWN_STACK}, if it listens there, and gives no answer."]


def _not_ours(e: Explanation, cause: Cause) -> list[str]:
    if cause.case == "protocol":
        return ["From a real server, of a protocol that is none of TCP, UDP, SCTP, AH and ESP: routed."]
    return [f"From a real server: there is no service of IPv{e.packet.version}, so IPVS is not hooked in. Routed."]


def _fragment(e: Explanation, cause: Cause) -> list[str]:
    most = 30 if cause.case == "IPv4" else 60
    return [
        f"A fragment of {cause.case}: the director keeps it until the packet is complete, at most for {most} s. The "
        "one that completes the packet gets the verdict of the whole."
    ]


def _kept_back(e: Explanation, cause: Cause) -> list[str]:
    side, interface = ("clients", INTERFACES[0]) if e.packet.direction == "in" else ("real servers", INTERFACES[1])
    came = f"The packet comes in from the {side} ({interface}), and the director would have to forward it."
    dropped = (
        f"The first rule of the chain FORWARD that matches it drops it: {cause.rule}."
        if cause.case == "rule"
        else f"No rule of the chain FORWARD matches it, and the chain's policy drops it: {cause.rule}."
    )
    return [came, dropped, "That is before IPVS sees it: nothing is counted, no entry changes."]


#: Reason -> how its cases are told.
_WORDS: dict[str, Callable[[Explanation, Cause], list[str]]] = {
    "drop_packet": _dropped,
    "forward_dropped": _kept_back,
    "fragment_kept": _fragment,
    "ftp_data_source": _ftp_data,
    "ftp_no_dest": _no_ftp,
    "header_cut": _cut,
    "icmp_routed": _routed,
    "icmp_to_client": _to_client,
    "icmp_to_dest": _to_dest,
    "known": _known,
    "local_dest": _local,
    "local_new": _local,
    "martian_source": _odd_source,
    "martian_target": _odd_target,
    "mtu_exceeded": _too_large,
    "mtu_untold": _too_large,
    "new": _new,
    "no_connection": _no_entry,
    "no_dest_untold": _untold,
    "no_route": _no_way,
    "no_route_untold": _no_way,
    "not_balanced": _not_ours,
    "not_syn": _not_opening,
    "not_unicast": _odd_target,
    "rescheduled": _rescheduled,
    "server_refused": _refused,
    "too_narrow": _too_narrow,
    "translated": _translated,
    "ttl_exceeded": _used_up,
    "ttl_untold": _used_up,
    "wrong_way": _wrong_way,
}
