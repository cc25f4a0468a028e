"""The tables of the engine: what one row of each holds. What its numbers mean: ``numbers``.

Every row is integers only. Row 0 of every table means "none" and is never used, so a fresh record of zeros points
nowhere. In the interpreted lane a table is a list of these slotted objects; in the compiled lane it is a numpy record
array whose field types are the ones annotated here. Engine code cannot tell the difference. (No field may bear the name
of a numpy attribute, ``flags`` for one: read outside compiled code, the attribute would win. ``shape`` is only written
there.)

Kernel counterparts: ``struct ip_vs_service``, ``ip_vs_dest``, ``ip_vs_conn`` (include/net/ip_vs.h), ``sk_buff``.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, get_type_hints

# Storage types of the compiled lane; to Python (and to a reader) all of them are int.
i8: TypeAlias = Annotated[int, "i8"]
i4: TypeAlias = Annotated[int, "i4"]
i2: TypeAlias = Annotated[int, "i2"]
i1: TypeAlias = Annotated[int, "i1"]
u4: TypeAlias = Annotated[int, "u4"]  # read as `field + 0` where it is hashed or shifted: signed, of 64 bits
u2: TypeAlias = Annotated[int, "u2"]
u1: TypeAlias = Annotated[int, "u1"]


@dataclass(slots=True, eq=False)
class Director:
    """One row: the clock, the switches, the heads of free lists."""

    now: i8 = 0  # ticks
    hz: i4 = 250
    services_v4: i4 = 0  # how many services of the family exist: none means that IPVS is not hooked in
    services_v6: i4 = 0
    addresses_used: i4 = 0  # rows in use or used before; tables grow above these marks
    services_used: i4 = 0
    dests_used: i4 = 0
    conns_used: i4 = 0
    buckets_used: i4 = 0
    mh_slots_used: i4 = 0
    cache_heads_used: i4 = 0
    cached_used: i4 = 0
    members_used: i4 = 0
    copies_used: i4 = 0
    free_conn: i4 = 0
    free_cached: i4 = 0
    free_member: i4 = 0
    address_mask: i8 = 0  # number of address_heads - 1; likewise below
    service_mask: i8 = 0
    dest_mask: i8 = 0
    conn_mask: i8 = 0
    conns_made: i8 = 0  # ever
    turns: i8 = 0  # how often a timer whose turn matters was put into a slot of the wheel
    wheel_next: i8 = 0  # no timer fires before this tick; 0: no timer is pending
    trash_first: i4 = 0  # removed destinations that may come back, newest first
    trash_fire: i8 = 0  # when the trash is looked at next; 0: trash is empty
    trash_order: i8 = 0  # of its timer, as Link.order
    sweep_fire: i8 = 0  # when connections of removed destinations are deleted; 0: no sweep is due
    scheduler_fire: i8 = 0  # the earliest Service.timer_fire; 0: no scheduler's timer is pending
    copy_fire: i8 = 0  # the earliest Copy.fire; 0: nothing is copied
    copy_age: i8 = 0  # ticks for which the director has existed when its clock starts, see estimator.py
    copying: i1 = 0  # see estimator.py
    copying_stopped: i8 = 0  # since when copying is NEVER
    random_state: i8 = 1  # what twos draws from; the next number depends on nothing else
    port_0: i4 = 0  # how many services have port 0 (those by firewall mark count, too); likewise below
    port_21: i4 = 0
    by_mark: i4 = 0  # how many services by firewall mark there are
    conn_reuse_mode: i4 = 1
    expire_nodest_conn: i4 = 0
    expire_quiescent_template: i4 = 0
    sloppy_tcp: i4 = 0
    sloppy_sctp: i4 = 0
    secure_tcp: i4 = 0
    drop_entry: i4 = 0
    drop_packet: i4 = 0
    am_droprate: i4 = 10
    drop_counter: i4 = 0  # of drop_packet
    dropped_every: i4 = 0  # what the counter was when it began anew
    droprate_due: i8 = 0  # when am_droprate is taken over; until then old_droprate counts
    old_droprate: i4 = 0
    cache_bypass: i4 = 0
    schedule_icmp: i4 = 0
    nat_icmp_send: i4 = 0
    straight_replies: i1 = 0  # 1: some addresses are AddressRow.straight
    own_clients: i1 = 0  # 1: there are or were entries of clients that are the director itself
    accept_local: i1 = 0  # 1: packets from the director's own IPv4 addresses are no martians
    masquerades: i1 = 0  # what is routed gets another source if it comes in where FROM_CLIENTS, FROM_SERVERS are
    ignore_tunneled: i4 = 0
    pmtu_disc: i4 = 1
    plain_length: i8 = 0  # over NAT, packets up to this length may leave unasked: no route is narrower, none is missing
    lblc_expiration: i4 = 86400  # seconds
    lblcr_expiration: i4 = 86400
    wrong_pick: i8 = 0  # what a scheduler of a user's own picked last that it cannot pick; for which service below
    wrong_pick_for: i4 = 0
    # Switches of the profile; 0 is how current kernels do it, see profile.py
    load_of_inactive: i1 = 0
    late_thresholds: i1 = 0
    any_threshold: i1 = 0
    endless_cache: i1 = 0
    miscounted_cache: i1 = 0
    loses_scheduler: i1 = 0
    common_copy: i1 = 0


@dataclass(slots=True, eq=False)
class AddressRow:
    """An interned address: four 32-bit words (IPv4 uses the last), and what is computed of them once."""

    family: i1 = 0
    word0: u4 = 0
    word1: u4 = 0
    word2: u4 = 0
    word3: u4 = 0
    fold: u4 = 0  # xor of the words: what hashing schedulers start from
    odd: i1 = 0  # NEVER_SOURCE, NEVER_TARGET, MANY
    no_route: i1 = 0  # 1: packets to it have nowhere to go
    mtu: i4 = 0  # of the route to it; 0: no limit is known
    local: i1 = 0  # 1: an address of the director (it is or was a service's); 2: only routing delivers it there
    straight: i1 = 0  # 1: answers from it, or to it, do not pass the director
    kept_back: i1 = 0  # the FORWARD rules drop packets from it that come in where FROM_CLIENTS, FROM_SERVERS are
    next_same_hash: i4 = 0


@dataclass(slots=True, eq=False)
class Service:
    """A virtual service. One by firewall mark has protocol TCP, port 0 and an address of zeros, as in the kernel."""

    proto: i2 = 0
    addr: i4 = 0
    port: i4 = 0
    fwmark: i8 = 0  # unsigned 32-bit; 0: a service by address
    family: i1 = 0
    persistent: i1 = 0
    one_packet: i1 = 0
    timeout: i8 = 0  # of its templates, ticks
    netmask: i8 = 0  # for templates: the mask as a number (IPv4), the prefix length (IPv6)
    scheduler: i2 = 0  # see schedulers.NUMBERS; 0: none, nobody ever gets a destination
    sched_flags: i4 = 0
    exists: i1 = 0
    next_same_hash: i4 = 0
    first: i4 = 0  # newest destination
    # Schedulers' own
    cursor: i4 = 0  # rr, wrr: the destination picked last; 0: start at the head of the list
    lap: i4 = 0  # wrr: the weight that this lap asks for
    top_lap: i4 = 0  # wrr: that of the first lap; 0: no destination has a weight
    lap_step: i4 = 0  # wrr: how much less the next lap asks for
    buckets: i4 = 0  # sh, dh: where its 256 buckets begin
    mh_slots: i4 = 0  # mh: where its slots begin
    cache_heads: i4 = 0  # lblc, lblcr: where the 1024 buckets of its cache begin
    cache_count: i4 = 0  # lblc, lblcr: entries, as the kernel counts them
    cache_rounds: i4 = 0  # lblc, lblcr: timer rounds until the full check
    cache_rover: i4 = 0  # lblc, lblcr: the bucket that was looked at last
    timer_fire: i8 = 0  # when the scheduler's timer fires; 0: it is not pending
    own_1: i8 = 0  # for schedulers that do not come with lbsim; so are the next ones
    own_2: i8 = 0
    own_3: i8 = 0
    own_4: i8 = 0
    copy_row: i4 = 0  # in the table of copies
    conns: i8 = 0
    in_packets: i8 = 0
    out_packets: i8 = 0
    in_bytes: i8 = 0
    out_bytes: i8 = 0


@dataclass(slots=True, eq=False)
class Dest:
    """A destination of one service; lives on in the trash after its removal."""

    service: i4 = 0
    addr: i4 = 0
    port: i4 = 0
    weight: i4 = 0
    last_weight: i4 = 0  # the weight that it was added with, and then each one but 0 that it was edited to
    method: i1 = 0
    tun_type: i1 = 0
    tun_flags: i1 = 0
    tun_port: i4 = 0
    upper: i8 = 0  # thresholds of connections; 0: none
    lower: i8 = 0
    available: i1 = 0  # 1: in its service's list; 0: removed
    overload: i1 = 0
    active: i4 = 0
    total: i4 = 0  # entries but templates
    persist: i4 = 0  # templates
    cached: i4 = 0  # how many cache entries of schedulers (lblc, lblcr) refer to it: the trash keeps it as long
    next: i4 = 0  # in the service's list, newest first; in the trash likewise
    prev: i4 = 0
    next_same_hash: i4 = 0
    mh_slot: i4 = 0  # mh, while it fills its slots: the slot taken last
    mh_skip: i4 = 0  # ... and how far away the next one is tried
    own: i8 = 0  # for schedulers that do not come with lbsim
    route: i1 = 0  # the kept route, see forwarding.py; 0: none
    idle_start: i8 = 0  # tick at which the trash first saw it without connections
    busy: i8 = 0  # tick at which the trash still saw a connection whose timer fired in that very tick
    copy_row: i4 = 0  # in the table of copies
    conns: i8 = 0
    in_packets: i8 = 0
    out_packets: i8 = 0
    in_bytes: i8 = 0
    out_bytes: i8 = 0


@dataclass(slots=True, eq=False)
class Conn:
    """A connection entry: what every packet of it needs, in the 64 bytes that a processor fetches at once."""

    expires: i8 = 0  # tick asked for: what listings count down to
    armed: i8 = 0  # tick at which the timer was set
    queued: i8 = 0  # tick of the wheel slot it waits in; 0: not in the wheel
    caddr: i4 = 0
    vaddr: i4 = 0
    daddr: i4 = 0
    dest: i4 = 0
    next_same_hash: i4 = 0  # in its bucket, newest first; in the free list likewise
    timeout: i4 = 0  # ticks; what the timer is armed with at the next put
    serial: i4 = 0  # 1 for the first entry ever made, and so on; 0: this row is free
    cport: u2 = 0
    vport: u2 = 0
    dport: u2 = 0
    proto: u1 = 0
    state: i1 = 0
    marks: u1 = 0  # INACTIVE, NO_OUTPUT, TEMPLATE, ...
    method: i1 = 0


@dataclass(slots=True, eq=False)
class Link:
    """What few entries have: the template that controls the entry with the same row number, and the like.

    Rows are written only for entries that have such; the others take no memory in the compiled lane.
    """

    control: i4 = 0  # the controlling entry
    controls: i4 = 0  # how many entries it controls
    turn: i8 = 0  # tick at which its timer fires
    order: i8 = 0  # of two timers of the same tick, the one with the larger number fires first
    goes_on: i1 = 0  # of a template: its timer fires in this tick before that of an entry that it controlled


@dataclass(slots=True, eq=False)
class CachedAddress:
    """What lblc or lblcr remembers of one address of one service."""

    addr: i4 = 0
    dest: i4 = 0  # lblc: who gets its connections
    member: i4 = 0  # lblcr: the newest member of its set
    next_same_hash: i4 = 0  # in its bucket, newest first; in the free list likewise
    last_use: i8 = 0  # tick
    last_change: i8 = 0  # lblcr: tick at which the set changed


@dataclass(slots=True, eq=False)
class Member:
    """A destination in the set of a :class:`CachedAddress` (lblcr)."""

    dest: i4 = 0
    next: i4 = 0  # in the set, newest first; in the free list likewise


@dataclass(slots=True, eq=False)
class Copy:
    """What was copied last of the counters of a service, a destination or (row 1) all services; see estimator.py."""

    service: i4 = 0
    dest: i4 = 0
    fire: i8 = 0  # tick at which it is copied next; 0: it is not
    conns: i8 = 0
    in_packets: i8 = 0
    out_packets: i8 = 0
    in_bytes: i8 = 0
    out_bytes: i8 = 0
    zero_conns: i8 = 0  # what is shown is the copy less this
    zero_in_packets: i8 = 0
    zero_out_packets: i8 = 0
    zero_in_bytes: i8 = 0
    zero_out_bytes: i8 = 0
    conns_rate: i8 = 0  # per second, in 1/1024
    in_packets_rate: i8 = 0
    out_packets_rate: i8 = 0
    in_bytes_rate: i8 = 0  # in 1/32
    out_bytes_rate: i8 = 0


@dataclass(slots=True, eq=False)
class Timer:
    """Where the timer of the entry with the same row number waits in the wheel."""

    next: i4 = 0  # in its slot, newest first
    prev: i4 = 0
    slot: i2 = 0


@dataclass(slots=True, eq=False)
class Flow:
    """Who answers in a flow of the trace: the end that got its last IN packet."""

    addr: i4 = 0  # STRAIGHT: the answers go past the director
    port: u2 = 0


@dataclass(slots=True, eq=False)
class Packet:
    """One packet of a trace, as the engine sees it. Ports in host order, addresses as ids."""

    tick: i8 = 0
    flow: i4 = 0
    direction: i1 = 0
    shape: i1 = 0
    proto: i2 = 0
    tcp_flags: i2 = 0  # of SCTP the event that its chunks are, see sctp.py
    ttl: i2 = 0
    src: i4 = 0
    dst: i4 = 0
    sport: i4 = 0
    dport: i4 = 0
    length: i4 = 0
    mark: i8 = 0  # netfilter's mark when IPVS sees the packet, unsigned 32-bit
    quote: i4 = 0  # ICMP errors: row of the quoted packet; 0: there is none, or it cannot be read
    may_split: i1 = 0  # 1: IPv4 without "don't fragment", IPv6 that came in fragments


@dataclass(slots=True, eq=False)
class Quote:
    """What an ICMP error quotes: the packet that it is about, as that was on its way."""

    proto: i2 = 0
    src: i4 = 0
    sport: i4 = 0
    dst: i4 = 0
    dport: i4 = 0
    shape: i1 = 0  # NO_PORTS: without ports; FRAGMENT: not the first one
    wrong: i1 = 0  # 1: the checksum of the ICMP message is wrong
    outer: i4 = 0  # of an error about a tunnel's packet, to whom that went: the quoted packet is the one inside; else 0
    limit: i4 = 0  # the MTU that such an error tells; 0: it is about something else
    may_split: i1 = 0  # likewise: the packet inside may be sent in fragments
    length: i4 = 0  # likewise: bytes that are quoted of it


@dataclass(slots=True, eq=False)
class Outcome:
    """What became of one packet. The new header fields are 0 unless it was forwarded, or delivered to
    a local destination.

    Of a forwarded ICMP error the new port that is not 0, and its address, are those of an end of the quoted packet;
    the quoted packet's other end stays. One that the director makes of an error about a tunnel has the MTU that it
    tells as ``new_dport``.

    With direct routing and tunnels they are those that the packet had: it goes to the destination as it is, or inside
    another packet.
    """

    verdict: i1 = 0
    method: i1 = 0  # how it was forwarded: MASQ, DROUTE, ...
    reason: i2 = 0
    dest: i4 = 0
    new_src: i4 = 0
    new_sport: i4 = 0
    new_dst: i4 = 0
    new_dport: i4 = 0


@dataclass(slots=True, eq=False)
class ServiceRequest:
    """What an admin command says of a service (ipvsadm -A, -E, and which one with all the others)."""

    proto: i2 = 0
    addr: i4 = 0
    port: i4 = 0
    fwmark: i8 = 0
    family: i1 = 0
    scheduler: i2 = 0
    sched_flags: i4 = 0
    persistent: i1 = 0
    one_packet: i1 = 0
    timeout: i8 = 0  # ticks
    netmask: i8 = 0


@dataclass(slots=True, eq=False)
class DestRequest:
    """What an admin command says of a destination (ipvsadm -a, -e, -d)."""

    addr: i4 = 0
    port: i4 = 0
    weight: i8 = 0
    method: i1 = 0
    tun_type: i1 = 0
    tun_flags: i1 = 0
    tun_port: i4 = 0
    upper: i8 = 0
    lower: i8 = 0


@dataclass(slots=True, eq=False)
class Tables:
    """Everything a director knows. Each name is a table of records or a plain table of integers.

    In the compiled lane it is a ``CompiledTables``, with the same names.
    """

    director: list[Director]  # one row
    addresses: list[AddressRow]
    services: list[Service]
    dests: list[Dest]
    conns: list[Conn]
    links: list[Link]
    timers: list[Timer]
    flows: list[Flow]
    quotes: list[Quote]
    cached: list[CachedAddress]
    members: list[Member]
    copies: list[Copy]
    address_heads: list[int]  # bucket -> newest address
    service_heads: list[int]  # bucket -> newest service
    dest_heads: list[int]  # bucket -> newest destination
    conn_heads: list[int]  # bucket -> newest connection entry
    wheel_heads: list[int]  # slot -> connection whose timer waits there
    hash_buckets: list[int]  # 256 per sh or dh service: bucket -> destination
    mh_slots: list[int]  # 4093 per mh service: slot -> destination
    cache_heads: list[int]  # 1024 per lblc or lblcr service: bucket -> newest cached address
    tcp_next: list[int]  # (direction, state, flags) -> next state, see tcp.py
    tcp_timeouts: list[int]  # TCP state -> ticks
    udp_timeouts: list[int]  # UDP state (there is one) -> ticks
    sctp_next: list[int]  # (direction, state, event) -> next state, see sctp.py
    sctp_timeouts: list[int]  # SCTP state -> ticks


def field_types(record: type[Any]) -> list[tuple[str, str]]:
    """(field, numpy type) of a record, in order: the row type of the compiled lane."""
    hints = get_type_hints(record, include_extras=True)
    return [(name, hints[name].__metadata__[0]) for name in hints]


def tuple_of_columns(name: str, columns: Iterable[str], module: str) -> Any:
    """A named tuple for a table's columns; ``module`` is its home: kept compiled code knows a type by both names."""
    make: Any = namedtuple  # whose fields a type checker would want to read
    return make(name, list(columns), module=module)
