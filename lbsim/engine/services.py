"""Services: what the admin commands do to them, and the lookup that packets need.

Kernel counterpart: ip_vs_ctl.c.

Modelled: services by protocol, address and port or by firewall mark, persistence.

A command says what it wants with a ServiceRequest. It returns 0, or an error (``errnos``). The caller has made room for
one more row.
"""

from __future__ import annotations

from lbsim.engine.destinations import to_trash, unlink_dest
from lbsim.engine.errnos import EEXIST, EINVAL, ESRCH
from lbsim.engine.estimator import TOTAL, new_copy, start_copy, start_total, stop_copy, zero
from lbsim.engine.hashing import row_bucket
from lbsim.engine.lanes import kernel
from lbsim.engine.numbers import IPV4, IPV6, TCP
from lbsim.engine.records import Service, ServiceRequest, Tables
from lbsim.engine.schedulers import done_service, init_service
from lbsim.engine.tcp import ESTABLISHED, FIN_WAIT

__all__ = [
    "FTP",
    "FTP_DATA",
    "add_service",
    "delete_service",
    "edit_service",
    "find_service",
    "hooked_in",
    "requested_service",
    "set_timeouts",
    "zero_all",
    "zero_service",
]

FTP = 21
FTP_DATA = 20
FIRST_UNPRIVILEGED = 1024  # net.ipv4.ip_unprivileged_port_start
LONGEST = 0x7FFFFFFF  # ticks: what an int holds


@kernel
def hooked_in(t: Tables, a: int) -> bool:
    """Whether IPVS looks at packets of the address's family: it is hooked in as long as such a service exists.

    Source
    ------
    facts: packet-path.md section 1; ip_vs_ctl.c ip_vs_add_service(), ip_vs_core.c ip_vs_register_hooks().
    """
    director = t.director[0]
    return (director.services_v4 if t.addresses[a].family == IPV4 else director.services_v6) != 0


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
        unlink_dest(t, s, d)
        to_trash(t, d)
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
