"""Services and destinations: what the admin commands do to the tables, and the lookup that packets need.

Kernel counterpart: ip_vs_ctl.c. A new destination goes to the head of its service's list, an edit moves nothing. A
removed destination goes to the trash, where its connections keep it; if it is added again in time, the same row
comes back with its counters.

Modelled: services by protocol, address and port or by firewall mark, persistence, thresholds, forwarding methods.

A command says what it wants with a ServiceRequest and a DestRequest. It returns 0, or the kernel's error as a negative
number. The caller has made room for one more row.
"""

from __future__ import annotations

from lbsim.engine.addresses import unicast
from lbsim.engine.estimator import TOTAL, new_copy, start_copy, start_total, stop_copy, zero
from lbsim.engine.hashing import row_bucket
from lbsim.engine.lanes import kernel, seldom
from lbsim.engine.records import IPV4, IPV6, TCP, Dest, DestRequest, Service, ServiceRequest, Tables
from lbsim.engine.schedulers import add_dest as tell_dest_added
from lbsim.engine.schedulers import del_dest as tell_dest_deleted
from lbsim.engine.schedulers import done_service, init_service
from lbsim.engine.schedulers import upd_dest as tell_dest_edited
from lbsim.engine.tcp import ESTABLISHED, FIN_WAIT
from lbsim.engine.thresholds import set_thresholds
from lbsim.engine.timers import fire_tick

__all__ = [
    "add_dest",
    "add_service",
    "clean_trash",
    "delete_dest",
    "delete_service",
    "edit_dest",
    "edit_service",
    "find_dest",
    "find_service",
    "requested_service",
    "set_timeouts",
    "zero_all",
    "zero_service",
]

NOTHING_PLAIN = (
    -1
)  # Director.plain_length: some destination has connections of several methods, routes must be looked at
ENOENT = -2
ESRCH = -3
EEXIST = -17
EINVAL = -22
ERANGE = -34

FTP = 21
FTP_DATA = 20
FIRST_UNPRIVILEGED = 1024  # net.ipv4.ip_unprivileged_port_start
MOST_CONNS = 0x7FFFFFFF

LONGEST = 0x7FFFFFFF  # ticks: what an int holds

TRASH_PERIOD = 60  # seconds between two looks at the trash
TRASH_IDLE = 120  # seconds without connections after which a removed destination is forgotten


@kernel
def find_service(t: Tables, proto: int, addr: int, port: int, mark: int) -> int:
    """The service that a packet belongs to, or 0.

    By its mark; else by protocol, address and port; else that of FTP (port 21) for the high ports on which FTP sends
    its data; else that of port 0.

    Source
    ------
    facts: packet-path.md section 3; ip_vs_ctl.c ip_vs_service_find(), 6.1 and 6.12.
    """
    director = t.director[0]
    if mark != 0 and director.by_mark != 0:
        s = marked_service(t, mark, t.addresses[addr].family)
        if s != 0:
            return s
    s = exact_service(t, proto, addr, port)
    if s == 0 and proto == TCP and director.port_21 != 0 and (port == FTP_DATA or port >= FIRST_UNPRIVILEGED):
        s = exact_service(t, TCP, addr, FTP)
    if s == 0 and director.port_0 != 0:
        s = exact_service(t, proto, addr, 0)
    return s


@kernel
def exact_service(t: Tables, proto: int, addr: int, port: int) -> int:
    """The service of exactly that protocol, address and port, or 0.

    Source
    ------
    facts: schedulers.md section 4.1; ip_vs_ctl.c __ip_vs_service_find(), 6.1 and 6.12.
    """
    s = t.service_heads[row_bucket(addr, port, proto, t.director[0].service_mask)]
    while s != 0:
        service = t.services[s]
        if service.port == port and service.addr == addr and service.proto == proto and service.fwmark == 0:
            return s
        s = service.next_same_hash
    return 0


@kernel
def marked_service(t: Tables, mark: int, family: int) -> int:
    """The service of that firewall mark and family, or 0.

    Source
    ------
    facts: schedulers.md section 4.1; ip_vs_ctl.c __ip_vs_svc_fwm_find(), 6.1 and 6.12.
    """
    s = t.service_heads[row_bucket(mark, 0, family, t.director[0].service_mask)]
    while s != 0:
        service = t.services[s]
        if service.fwmark == mark and service.family == family:
            return s
        s = service.next_same_hash
    return 0


@kernel
def requested_service(t: Tables, u: ServiceRequest) -> int:
    """The service that an admin command means, or 0.

    Source
    ------
    ip_vs_ctl.c do_ip_vs_set_ctl(), ip_vs_genl_parse_service().
    """
    if u.fwmark != 0:
        return marked_service(t, u.fwmark, u.family)
    return exact_service(t, u.proto, u.addr, u.port)


@kernel
def _service_bucket(t: Tables, service: Service) -> int:
    """The bucket of :attr:`Tables.service_heads` that a service is in."""
    mask = t.director[0].service_mask
    if service.fwmark != 0:
        return row_bucket(service.fwmark, 0, service.family, mask)
    return row_bucket(service.addr, service.port, service.proto, mask)


@kernel
def add_service(t: Tables, u: ServiceRequest) -> int:
    """Add a service; its address becomes one of the director's.

    Source
    ------
    facts: schedulers.md sections 4.3 and 6.1; ip_vs_ctl.c ip_vs_add_service(), 6.1 and 6.12.
    """
    if requested_service(t, u) != 0:
        return EEXIST
    if _wrong_netmask(u):
        return EINVAL
    director = t.director[0]
    director.services_used += 1
    s = director.services_used
    service = t.services[s]
    service.proto = u.proto
    service.addr = u.addr
    service.port = u.port
    service.fwmark = u.fwmark
    service.family = u.family
    service.scheduler = u.scheduler
    service.exists = 1
    service.copy_row = new_copy(t, s, 0)
    start_total(t)
    start_copy(t, service.copy_row)
    _set_options(service, u)
    bucket = _service_bucket(t, service)
    service.next_same_hash = t.service_heads[bucket]
    t.service_heads[bucket] = s
    if u.fwmark == 0:
        t.addresses[u.addr].local = 1
    _count_service(t, service, 1)
    init_service(t, s)
    return 0


@kernel
def _wrong_netmask(u: ServiceRequest) -> bool:
    """Whether the request's netmask is no prefix length of IPv6; that of IPv4 may be anything.

    Source
    ------
    facts: schedulers.md section 5.2.1; ip_vs_ctl.c ip_vs_add_service(), ip_vs_edit_service(), 6.1 and 6.12.
    """
    return u.family == IPV6 and (u.netmask < 1 or u.netmask > 128)


@kernel
def _set_options(service: Service, u: ServiceRequest) -> None:
    """What adding and editing a service have in common."""
    service.sched_flags = u.sched_flags
    service.persistent = u.persistent
    service.one_packet = u.one_packet
    service.timeout = u.timeout
    service.netmask = u.netmask


@kernel
def _count_service(t: Tables, service: Service, change: int) -> None:
    """Note one service more or less of its family (with none, IPVS is not hooked in) and of its kind.

    Source
    ------
    facts: packet-path.md sections 1 and 3; ip_vs_ctl.c ip_vs_add_service(), __ip_vs_del_service().
    """
    director = t.director[0]
    if service.family == IPV4:
        director.services_v4 += change
    else:
        director.services_v6 += change
    if service.port == 0:
        director.port_0 += change
    elif service.port == FTP:
        director.port_21 += change
    if service.fwmark != 0:
        director.by_mark += change


@kernel
def edit_service(t: Tables, u: ServiceRequest) -> int:
    """Replace a service's scheduler and options. The same scheduler keeps its state, another one starts afresh.

    If the other one cannot start, the old one starts afresh and nothing else changes; kernels before June 2026
    (``Director.loses_scheduler``) leave the service without scheduler.

    Source
    ------
    facts: schedulers.md sections 1.6, 4.3 and 7; ip_vs_ctl.c ip_vs_edit_service(), 6.1.192 and 6.12.117, and before.
    """
    s = requested_service(t, u)
    if s == 0:
        return ESRCH
    if _wrong_netmask(u):
        return EINVAL
    service = t.services[s]
    if service.scheduler != u.scheduler:
        error = _change_scheduler(t, s, u.scheduler)
        if error != 0:
            return error
    _set_options(service, u)
    return 0


@kernel
def _change_scheduler(t: Tables, s: int, scheduler: int) -> int:
    """Give the service another scheduler; 0, or the error with which that one refuses to start.

    Source
    ------
    facts: schedulers.md sections 4.3 and 7; ip_vs_ctl.c ip_vs_edit_service(), 6.1.192 and 6.12.117, and before.
    """
    service = t.services[s]
    before = service.scheduler
    done_service(t, s)
    service.scheduler = scheduler
    error = init_service(t, s)
    if error != 0:
        service.scheduler = 0
        if t.director[0].loses_scheduler == 0:
            service.scheduler = before
            init_service(t, s)
    return error


@kernel
def delete_service(t: Tables, u: ServiceRequest) -> int:
    """Delete a service; its destinations go to the trash, its connections stay.

    Source
    ------
    facts: schedulers.md section 4.3; ip_vs_ctl.c ip_vs_del_service(), 6.1 and 6.12.
    """
    s = requested_service(t, u)
    if s == 0:
        return ESRCH
    service = t.services[s]
    bucket = _service_bucket(t, service)
    before = t.service_heads[bucket]
    if before == s:
        t.service_heads[bucket] = service.next_same_hash
    else:
        while t.services[before].next_same_hash != s:
            before = t.services[before].next_same_hash
        t.services[before].next_same_hash = service.next_same_hash
    service.exists = 0
    stop_copy(t, service.copy_row)
    done_service(t, s)
    while service.first != 0:
        d = service.first
        _unlink(t, s, d)
        _to_trash(t, d)
    _count_service(t, service, -1)
    return 0


@kernel
def zero_service(t: Tables, u: ServiceRequest) -> int:
    """Let what is shown of a service and of its destinations begin anew.

    Source
    ------
    facts: schedulers.md section 4.3; ip_vs_ctl.c ip_vs_zero_service(), 6.1 and 6.12.
    """
    s = requested_service(t, u)
    if s == 0:
        return ESRCH
    _zero(t, s)
    return 0


@kernel
def zero_all(t: Tables) -> int:
    """Likewise for all services, and for what is shown of all of them together.

    Source
    ------
    facts: schedulers.md section 4.3; ip_vs_ctl.c ip_vs_zero_all(), 6.1 and 6.12.
    """
    for s in range(1, t.director[0].services_used + 1):
        if t.services[s].exists != 0:
            _zero(t, s)
    zero(t, TOTAL)
    return 0


@kernel
def _zero(t: Tables, s: int) -> None:
    zero(t, t.services[s].copy_row)
    d = t.services[s].first
    while d != 0:
        zero(t, t.dests[d].copy_row)
        d = t.dests[d].next


@kernel
def find_dest(t: Tables, s: int, addr: int, port: int) -> int:
    """The destination of that address and port, in the service or in the trash of a service of the same identity, or 0.

    There is at most one: adding takes it out of the trash.

    Source
    ------
    facts: schedulers.md sections 5.1 and 5.4; ip_vs_ctl.c ip_vs_lookup_dest(), ip_vs_trash_get_dest().
    """
    service = t.services[s]
    d = t.dest_heads[row_bucket(addr, port, service.addr, t.director[0].dest_mask)]
    while d != 0:
        dest = t.dests[d]
        owner = t.services[dest.service]
        if (
            dest.addr == addr
            and dest.port == port
            and owner.addr == service.addr
            and owner.port == service.port
            and owner.proto == service.proto
            and owner.fwmark == service.fwmark
        ):
            return d
        d = dest.next_same_hash
    return 0


@kernel
def add_dest(t: Tables, s: int, u: DestRequest) -> int:
    """Add a destination at the head of the service's list, out of the trash if it is there.

    Source
    ------
    facts: schedulers.md sections 5.2, 5.4 and 6; ip_vs_ctl.c ip_vs_add_dest(), 6.1 and 6.12.
    """
    error = _wrong_numbers(t, u)
    if error != 0:
        return error
    d = find_dest(t, s, u.addr, u.port)
    if d != 0 and t.dests[d].available != 0:
        return EEXIST
    if d != 0:
        _from_trash(t, s, d)
    elif unicast(t, u.addr):
        d = _new_dest(t, s, u.addr, u.port)
    else:
        return EINVAL
    dest = t.dests[d]
    service = t.services[s]
    dest.last_weight = u.weight
    _set_dest(t, dest, u)
    dest.available = 1
    start_copy(t, dest.copy_row)
    dest.prev = 0
    dest.next = service.first
    if service.first != 0:
        t.dests[service.first].prev = d
    service.first = d
    tell_dest_added(t, s, d)
    return 0


@kernel
def _wrong_numbers(t: Tables, u: DestRequest) -> int:
    """The kernel's error about a request's weight and thresholds, or 0.

    Source
    ------
    facts: schedulers.md sections 6.1 and 7; ip_vs_ctl.c ip_vs_add_dest(), ip_vs_edit_dest(), 6.1.192 and 6.12.117, and
    before August 2026.
    """
    if u.weight < 0 or u.lower > u.upper:
        return ERANGE
    if u.upper > MOST_CONNS and t.director[0].any_threshold == 0:
        return EINVAL
    return 0


@kernel
def _set_dest(t: Tables, dest: Dest, u: DestRequest) -> None:
    """What adding and editing a destination have in common.

    Source
    ------
    facts: schedulers.md sections 1.2 and 5.2; ip_vs_ctl.c __ip_vs_update_dest(), 6.1 and 6.12.
    """
    dest.weight = u.weight
    if u.weight != 0:
        dest.last_weight = u.weight
    if dest.conns != 0 and dest.method != u.method:
        t.director[0].plain_length = NOTHING_PLAIN
    dest.route = 0
    dest.method = u.method
    dest.tun_type = u.tun_type
    dest.tun_flags = u.tun_flags
    dest.tun_port = u.tun_port
    set_thresholds(t, dest, u.upper, u.lower)


@kernel
def _new_dest(t: Tables, s: int, addr: int, port: int) -> int:
    """A fresh row for a destination that nobody remembers.

    Source
    ------
    ip_vs_ctl.c ip_vs_new_dest().
    """
    director = t.director[0]
    director.dests_used += 1
    d = director.dests_used
    dest = t.dests[d]
    dest.service = s
    dest.addr = addr
    dest.port = port
    dest.copy_row = new_copy(t, 0, d)
    bucket = row_bucket(addr, port, t.services[s].addr, director.dest_mask)
    dest.next_same_hash = t.dest_heads[bucket]
    t.dest_heads[bucket] = d
    return d


@kernel
def _from_trash(t: Tables, s: int, d: int) -> None:
    """Take a destination out of the trash. Under a new service of the old identity what is shown of it begins anew.

    Source
    ------
    facts: schedulers.md section 5.4; ip_vs_ctl.c ip_vs_trash_get_dest(), __ip_vs_update_dest().
    """
    dest = t.dests[d]
    if dest.prev != 0:
        t.dests[dest.prev].next = dest.next
    else:
        t.director[0].trash_first = dest.next
    if dest.next != 0:
        t.dests[dest.next].prev = dest.prev
    if t.director[0].trash_first == 0:
        t.director[0].trash_fire = 0
    if dest.service != s:
        dest.service = s
        zero(t, dest.copy_row)


@kernel
def edit_dest(t: Tables, s: int, u: DestRequest) -> int:
    """Replace a destination's weight, method and thresholds; its place in the list and its connections stay.

    Source
    ------
    facts: schedulers.md section 5.2; ip_vs_ctl.c ip_vs_edit_dest(), 6.1 and 6.12.
    """
    error = _wrong_numbers(t, u)
    if error != 0:
        return error
    d = find_dest(t, s, u.addr, u.port)
    if d == 0 or t.dests[d].available == 0:
        return ENOENT
    _set_dest(t, t.dests[d], u)
    tell_dest_edited(t, s, d)
    return 0


@kernel
def delete_dest(t: Tables, s: int, u: DestRequest) -> int:
    """Remove a destination from its service; it goes to the trash, its connections stay.

    Source
    ------
    facts: schedulers.md section 5.3; ip_vs_ctl.c ip_vs_del_dest(), 6.1 and 6.12.
    """
    d = find_dest(t, s, u.addr, u.port)
    if d == 0 or t.dests[d].available == 0:
        return ENOENT
    _unlink(t, s, d)
    tell_dest_deleted(t, s, d)
    _to_trash(t, d)
    return 0


@kernel
def _unlink(t: Tables, s: int, d: int) -> None:
    """Take a destination out of its service's list; its own ``prev`` still tells where it stood.

    Source
    ------
    ip_vs_ctl.c __ip_vs_unlink_dest().
    """
    dest = t.dests[d]
    dest.available = 0
    if dest.prev != 0:
        t.dests[dest.prev].next = dest.next
    else:
        t.services[s].first = dest.next
    if dest.next != 0:
        t.dests[dest.next].prev = dest.prev


@kernel
def _to_trash(t: Tables, d: int) -> None:
    """Put a removed destination at the head of the trash and see to it that somebody looks there.

    Source
    ------
    facts: schedulers.md section 5.3, packet-path.md section 11.3; ip_vs_ctl.c __ip_vs_del_dest().
    """
    director = t.director[0]
    dest = t.dests[d]
    if director.trash_first == 0:
        director.trash_fire = fire_tick(director.now + TRASH_PERIOD * director.hz, director.now)
    else:
        t.dests[director.trash_first].prev = d
    stop_copy(t, dest.copy_row)
    dest.idle_start = 0
    dest.prev = 0
    dest.next = director.trash_first
    director.trash_first = d
    if director.expire_nodest_conn != 0:
        director.sweep_fire = director.now + 1


@seldom
def clean_trash(t: Tables) -> None:
    """Forget removed destinations that nothing has referred to for 120 s; look again in 60 s if any is left.

    Source
    ------
    facts: schedulers.md section 5.3; ip_vs_ctl.c ip_vs_dest_trash_expire(), 6.1 and 6.12.
    """
    director = t.director[0]
    d = director.trash_first
    while d != 0:
        dest = t.dests[d]
        following = dest.next
        if dest.total == 0 and dest.persist == 0 and dest.cached == 0:
            if dest.idle_start == 0:
                dest.idle_start = max(director.now, 1)
            elif director.now >= dest.idle_start + TRASH_IDLE * director.hz:
                _from_trash(t, dest.service, d)
                _forget(t, d)
        d = following
    director.trash_fire = 0
    if director.trash_first != 0:
        director.trash_fire = fire_tick(director.now + TRASH_PERIOD * director.hz, director.now)


@kernel
def _forget(t: Tables, d: int) -> None:
    """Make a destination's row unfindable; adding the same destination again makes a new row.

    Source
    ------
    ip_vs_ctl.c ip_vs_dest_free().
    """
    dest = t.dests[d]
    bucket = row_bucket(dest.addr, dest.port, t.services[dest.service].addr, t.director[0].dest_mask)
    before = t.dest_heads[bucket]
    if before == d:
        t.dest_heads[bucket] = dest.next_same_hash
        return
    while t.dests[before].next_same_hash != d:
        before = t.dests[before].next_same_hash
    t.dests[before].next_same_hash = dest.next_same_hash


@kernel
def set_timeouts(t: Tables, tcp: int, tcpfin: int, udp: int) -> int:
    """Let entries of TCP (ESTABLISHED, FIN_WAIT) and UDP stay so many seconds; 0 leaves what is.

    Timers that are armed stay as they are: an entry takes the new time up with its next packet.

    Source
    ------
    facts: packet-path.md section 7.1; ip_vs_ctl.c ip_vs_set_timeout(), 6.1 and 6.12.
    """
    hz = t.director[0].hz
    longest = LONGEST // hz
    if min(tcp, tcpfin, udp) < 0 or max(tcp, tcpfin, udp) > longest:
        return EINVAL
    if tcp != 0:
        t.tcp_timeouts[ESTABLISHED] = tcp * hz
    if tcpfin != 0:
        t.tcp_timeouts[FIN_WAIT] = tcpfin * hz
    if udp != 0:
        t.udp_timeouts[0] = udp * hz
    return 0
