"""Destinations: what the admin commands do to them, and the trash.

Kernel counterpart: ip_vs_ctl.c. A new destination goes to the head of its service's list, an edit moves nothing. A
removed destination goes to the trash, where its connections keep it; if it is added again in time, the same row
comes back with its counters.

A command says what it wants with a DestRequest. It returns 0, or an error (``errnos``). The caller has made room for
one more row.
"""

from __future__ import annotations

from lbsim.engine.addresses import unicast
from lbsim.engine.errnos import EEXIST, EINVAL, ENOENT, ERANGE
from lbsim.engine.estimator import new_copy, start_copy, stop_copy, zero
from lbsim.engine.hashing import row_bucket
from lbsim.engine.lanes import kernel, seldom
from lbsim.engine.records import Dest, DestRequest, Tables
from lbsim.engine.schedulers import add_dest as tell_dest_added
from lbsim.engine.schedulers import del_dest as tell_dest_deleted
from lbsim.engine.schedulers import upd_dest as tell_dest_edited
from lbsim.engine.thresholds import set_thresholds
from lbsim.engine.timers import arm_trash

__all__ = ["add_dest", "clean_trash", "delete_dest", "edit_dest", "to_trash", "unlink_dest"]

# Director.plain_length: some destination has connections of several methods, routes must be looked at
NOTHING_PLAIN = -1
MOST_CONNS = 0x7FFFFFFF
TRASH_IDLE = 120  # seconds without connections after which a removed destination is forgotten


@kernel
def find_dest(t: Tables, s: int, addr: int, port: int) -> int:
    """The service's destination of that address and port, or 0.

    Source
    ------
    facts: schedulers.md section 5.1; ip_vs_ctl.c ip_vs_lookup_dest(), 6.1 and 6.12.
    """
    d = t.dest_heads[row_bucket(addr, port, t.services[s].addr, t.director[0].dest_mask)]
    while d != 0:
        dest = t.dests[d]
        if dest.addr == addr and dest.port == port and dest.service == s and dest.available != 0:
            return d
        d = dest.next_same_hash
    return 0


@kernel
def find_removed(t: Tables, s: int, addr: int, port: int) -> int:
    """The destination of that address and port that a service of the same identity lost last, or 0.

    The services of one firewall mark, for IPv4 and for IPv6, are of the same identity here: each may get back what the
    other one had. So there are at most two.

    Source
    ------
    facts: schedulers.md section 5.4; seen on 6.1.192 and 6.12.117; ip_vs_ctl.c ip_vs_trash_get_dest().
    """
    service = t.services[s]
    found = 0
    d = t.dest_heads[row_bucket(addr, port, service.addr, t.director[0].dest_mask)]
    while d != 0:
        dest = t.dests[d]
        owner = t.services[dest.service]
        if (
            dest.addr == addr
            and dest.port == port
            and dest.available == 0
            and owner.addr == service.addr
            and owner.port == service.port
            and owner.proto == service.proto
            and owner.fwmark == service.fwmark
        ):
            if found != 0:
                return _removed_last(t, found, d)
            found = d
        d = dest.next_same_hash
    return found


@kernel
def _removed_last(t: Tables, a: int, b: int) -> int:
    """Which of two destinations in the trash is nearer to its head."""
    d = t.director[0].trash_first
    while d != a and d != b:
        d = t.dests[d].next
    return d


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
    if find_dest(t, s, u.addr, u.port) != 0:
        return EEXIST
    d = find_removed(t, s, u.addr, u.port)
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
    """Take a destination out of the trash. Under another service of the same identity what is shown of it begins anew.

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
    if d == 0:
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
    if d == 0:
        return ENOENT
    unlink_dest(t, s, d)
    tell_dest_deleted(t, s, d)
    to_trash(t, d)
    return 0


@kernel
def unlink_dest(t: Tables, s: int, d: int) -> None:
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
def to_trash(t: Tables, d: int) -> None:
    """Put a removed destination at the head of the trash and see to it that somebody looks there.

    Source
    ------
    facts: schedulers.md section 5.3, packet-path.md section 11.3; ip_vs_ctl.c __ip_vs_del_dest().
    """
    director = t.director[0]
    dest = t.dests[d]
    if director.trash_first == 0:
        arm_trash(t)
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
        if dest.total == 0 and dest.persist == 0 and dest.cached == 0 and dest.busy != director.now:
            if dest.idle_start == 0:
                dest.idle_start = max(director.now, 1)
            elif director.now >= dest.idle_start + TRASH_IDLE * director.hz:
                _from_trash(t, dest.service, d)
                _forget(t, d)
        d = following
    director.trash_fire = 0
    if director.trash_first != 0:
        arm_trash(t)


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
