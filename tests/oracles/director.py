"""A whole director in dicts: every lookup is a scan, every counter of connections is counted when asked for.

Ends are ``(address, port)`` with addresses as text, times are ticks. TCP and UDP over NAT; every scheduler;
persistence, thresholds, one-packet services, firewall marks, port 0.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple, TypeAlias

from tests.oracles import tcp, thresholds
from tests.oracles.picks import PICKERS, Ask, lots
from tests.oracles.wheel import fire_jiffy, level

__all__ = ["End", "NaiveDirector", "Seen", "Sent", "ServiceKey"]

End: TypeAlias = tuple[str, int]
ServiceKey: TypeAlias = tuple[str, str, int]  # protocol, address, port; or "fwm", mark, IP version
Keeps: TypeAlias = tuple[int, int] | None

HEADER = {"tcp": 20, "udp": 8}


@dataclass(frozen=True)
class Sent:
    """A packet on its way to the director, from a client ("in") or a real server ("out")."""

    proto: str
    src: End
    dst: End
    flags: frozenset[str] = frozenset()
    direction: str = "in"
    ttl: int = 64
    length: int = 40
    header: int = 20  # how many bytes of the transport header are there
    mark: int = 0


class Seen(NamedTuple):
    """What became of it; ``header`` is (src, dst) as it leaves."""

    verdict: str
    reason: str
    dest: End | None = None
    header: tuple[End, End] | None = None


class NaiveDirector:
    """Services by key; destinations and connections as lists of dicts, newest first."""

    def __init__(
        self, *, hz: int = 250, start: int = 2**32 - 300 * 250, old: bool = False, seed: int = 1, **sysctls: int
    ) -> None:
        self.sysctls = {
            "conn_reuse_mode": 1, "expire_nodest_conn": 0, "sloppy_tcp": 0, "expire_quiescent_template": 0,
            "drop_packet": 0, "am_droprate": 10, "secure_tcp": 0,
        } | sysctls  # fmt: skip
        self.dropped_at = 0
        self.armed = 0
        self.hz = hz
        self.now = start
        self.old = old  # a kernel before August 2026
        self.lots = lots(seed)
        self.services: dict[ServiceKey, dict[str, Any]] = {}
        self.own: set[str] = set()
        self.trash: list[dict[str, Any]] = []
        self.conns: list[dict[str, Any]] = []
        self.trash_at: int | None = None
        self.trash_order = (0, 0)
        self.sweep_at: int | None = None

    # Commands: "" or the name of the kernel's error

    def add_service(
        self, key: ServiceKey, scheduler: str, flags: set[str], keeps: Keeps = None, ops: bool = False
    ) -> str:
        """``keeps`` is (seconds, prefix length) of a persistent service."""
        if key in self.services:
            return "EEXIST"
        if key[0] != "fwm":
            self.own.add(key[1])
        service: dict[str, Any] = {"flags": flags, "dests": [], "counters": Counter(), "keeps": keeps, "ops": ops}
        self.services[key] = service
        self._begin(service, scheduler)
        return ""

    def _begin(self, service: dict[str, Any], scheduler: str) -> None:
        """Give the service a scheduler, which begins afresh."""
        picker = PICKERS[scheduler](service["dests"], hz=self.hz, old=self.old, lots=self.lots)
        wakes = fire_jiffy(self.now + picker.period * self.hz, self.now) if picker.period else None
        service.update(scheduler=scheduler, picker=picker, wakes=wakes)

    def edit_service(
        self, key: ServiceKey, scheduler: str, flags: set[str], keeps: Keeps = None, ops: bool = False
    ) -> str:
        if key not in self.services:
            return "ESRCH"
        service = self.services[key]
        if service["scheduler"] != scheduler:
            self._begin(service, scheduler)
        service.update(flags=flags, keeps=keeps, ops=ops)
        return ""

    def delete_service(self, key: ServiceKey) -> str:
        if key not in self.services:
            return "ESRCH"
        for dest in self.services.pop(key)["dests"]:
            self._to_trash(dest)
        return ""

    def clear(self) -> str:
        for key in list(self.services):
            self.delete_service(key)
        return ""

    def _wrong(self, upper: int, lower: int) -> str:
        """The error about thresholds."""
        if lower > upper:
            return "ERANGE"
        return "EINVAL" if upper >= 2**31 and not self.old else ""

    def add_dest(self, key: ServiceKey, end: End, weight: int, upper: int = 0, lower: int = 0) -> str:
        service, dest = self._find(key, end)
        if service is None or self._wrong(upper, lower):
            return "ESRCH" if service is None else self._wrong(upper, lower)
        if dest is not None:
            return "EEXIST"
        old = next((dest for dest in self.trash if dest["key"] == key and dest["end"] == end), None)
        if old is not None:
            self.trash = [dest for dest in self.trash if dest is not old]
            if old["of"] is not service:
                old.update(of=service, counters=Counter())
            old.update(there=True)
        elif is_unicast(end[0]):
            old = {
                "key": key, "of": service, "end": end, "there": True, "counters": Counter(),
                "upper": 0, "lower": 0, "overload": False, "total": 0,
            }  # fmt: skip
        else:
            return "EINVAL"
        old.update(weight=weight, last_weight=weight, total=self.total(old))
        thresholds.change(old, upper, lower, old=self.old)
        service["dests"].insert(0, old)
        service["picker"].added(old)
        return ""

    def edit_dest(self, key: ServiceKey, end: End, weight: int, upper: int = 0, lower: int = 0) -> str:
        service, dest = self._find(key, end)
        if service is None or self._wrong(upper, lower):
            return "ESRCH" if service is None else self._wrong(upper, lower)
        if dest is None:
            return "ENOENT"
        dest.update(weight=weight, last_weight=weight or dest["last_weight"], total=self.total(dest))
        thresholds.change(dest, upper, lower, old=self.old)
        service["picker"].edited(dest)
        return ""

    def delete_dest(self, key: ServiceKey, end: End) -> str:
        service, dest = self._find(key, end)
        if service is None or dest is None:
            return "ESRCH" if service is None else "ENOENT"
        at = next(i for i, other in enumerate(service["dests"]) if other is dest)
        del service["dests"][at]
        service["picker"].deleted(dest, at)
        self._to_trash(dest)
        return ""

    def _find(self, key: ServiceKey, end: End) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        service = self.services.get(key)
        dests = service["dests"] if service else []
        return service, next((dest for dest in dests if dest["end"] == end), None)

    def _to_trash(self, dest: dict[str, Any]) -> None:
        if not self.trash:
            self._arm_trash()
        dest.update(there=False, idle=None)
        self.trash.insert(0, dest)
        if self.sysctls["expire_nodest_conn"]:
            self.sweep_at = self.now + 1

    # Time

    def advance(self, tick: int) -> None:
        """Let everything happen that is due until ``tick``, in the order of ticks."""
        while True:
            pending = [conn["fires"] for conn in self.conns]
            pending += [at for at in (self.sweep_at, self.trash_at if self.trash else None) if at is not None]
            pending += [service["wakes"] for service in self.services.values() if service["wakes"] is not None]
            if not pending or min(pending) > tick:
                break
            self.now = min(pending)
            due = [conn for conn in self.conns if conn["fires"] <= self.now]
            for conn in sorted(due, key=lambda conn: conn["order"], reverse=True):
                if self._is_looked_at() and self.trash_order > conn["order"]:
                    self._clean_trash()
                if self._controls(conn):
                    conn["seconds"] = 60
                    self._put(conn)
                else:
                    self._remove(conn)
            if self.sweep_at is not None and self.sweep_at <= self.now:
                self.sweep_at = None
                for conn in [conn for conn in self.conns if not conn["dest"]["there"]]:
                    self._remove(conn)
            if self._is_looked_at():
                self._clean_trash()
            for service in self.services.values():
                if service["wakes"] == self.now:
                    service["picker"].tick(self.now)
                    service["wakes"] = fire_jiffy(self.now + service["picker"].period * self.hz, self.now)
        self.now = max(self.now, tick)

    def _is_looked_at(self) -> bool:
        return bool(self.trash) and self.trash_at is not None and self.trash_at <= self.now

    def _clean_trash(self) -> None:
        for dest in list(self.trash):
            is_used = any(conn["dest"] is dest for conn in self.conns)
            if is_used or any(s["picker"].refers_to(dest) for s in self.services.values()):
                continue
            if dest["idle"] is None:
                dest["idle"] = self.now
            elif self.now - dest["idle"] >= 120 * self.hz:
                self.trash = [other for other in self.trash if other is not dest]
        self._arm_trash()

    def _arm_trash(self) -> None:
        expires = self.now + 60 * self.hz
        self.armed += 1
        self.trash_at, self.trash_order = fire_jiffy(expires, self.now), (level(expires, self.now), self.armed)

    def _arm(self, conn: dict[str, Any], expires: int) -> None:
        if conn.get("expires") == expires:
            return
        fires, coarse = fire_jiffy(expires, self.now), level(expires, self.now)
        if conn.get("fires", 0) <= self.now or (conn["fires"], conn["order"][0]) != (fires, coarse):
            self.armed += 1  # a coarser slot's turn comes first, and in a slot that of who came last
            conn["order"] = coarse, self.armed
        conn.update(expires=expires, fires=fires)

    def _put(self, conn: dict[str, Any]) -> None:
        self._arm(conn, self.now + conn["seconds"] * self.hz)

    def _controls(self, template: dict[str, Any]) -> bool:
        return any(conn["control"] is template for conn in self.conns)

    def _insert(self, conn: dict[str, Any]) -> None:
        self.conns.insert(0, conn)
        if not conn["template"]:
            conn["dest"]["total"] = self.total(conn["dest"])
            thresholds.bound(conn["dest"], old=self.old)

    def _remove(self, conn: dict[str, Any]) -> None:
        self.conns = [other for other in self.conns if other is not conn]
        if not conn["template"]:
            conn["dest"]["total"] = self.total(conn["dest"])
            thresholds.unbound(conn["dest"], old=self.old)

    def _expire_now(self, conn: dict[str, Any]) -> None:
        if conn["expires"] > self.now:
            self._arm(conn, self.now)

    # Packets

    def receive(self, p: Sent) -> Seen:
        """What becomes of the packet, at this moment."""
        return self._request(p) if p.direction == "in" else self._reply(p)

    def _hooked(self, address: str) -> bool:
        version = ip_address(address).version
        return any(key[2] == version if key[0] == "fwm" else is_of(version, key[1]) for key in self.services)

    def _request(self, p: Sent) -> Seen:
        if p.dst[0] not in self.own:
            return Seen("ROUTE", "not_local")
        if not self._hooked(p.dst[0]):
            return Seen("LOCAL", "ipvs_off")
        if p.proto not in HEADER:
            return Seen("LOCAL", "other_protocol")
        if p.header < 4:
            return Seen("DROP", "header_cut")
        whole = p.header >= HEADER[p.proto]
        conn = self._conn_in(p)
        reason = "known"
        if conn and whole and p.proto == "tcp" and "SYN" in p.flags and self._gives_up(conn):
            self._expire_now(conn)
            conn, reason = None, "rescheduled"
        if conn and not conn["dest"]["there"]:
            if not self.sysctls["expire_nodest_conn"]:
                return Seen("DROP", "dest_removed", conn["dest"]["end"])
            self._expire_now(conn)
            conn, reason = None, "rescheduled"
        if conn is None:
            made = self._schedule(p, whole)
            if isinstance(made, Seen):
                return made
            conn, reason = made, "new" if reason == "known" else reason
        self._count(conn, "in", p.length)
        if whole:
            self._step(conn, p)
        if conn["ops"]:
            self._remove(conn)
        else:
            self._put(conn)
        if p.ttl <= 1:
            return Seen("REJECT", "ttl_exceeded", conn["dest"]["end"])
        if not whole:
            return Seen("DROP", "header_cut", conn["dest"]["end"])
        return Seen("FORWARD", reason, conn["dest"]["end"], (p.src, conn["server"]))

    def _conn_in(self, p: Sent) -> dict[str, Any] | None:
        if p.src[1] == 0:
            return None
        wanted = (p.proto, p.src, p.dst, False)
        return next((c for c in self.conns if (c["proto"], c["client"], c["virtual"], c["template"]) == wanted), None)

    def _conn_out(self, p: Sent) -> dict[str, Any] | None:
        wanted = (p.proto, p.dst, p.src)
        return next((c for c in self.conns if (c["proto"], c["client"], c["server"]) == wanted), None)

    def _gives_up(self, conn: dict[str, Any]) -> bool:
        if self.sysctls["expire_nodest_conn"] and conn["dest"]["weight"] == 0:
            return True
        if conn["control"]:
            return False
        return bool(self.sysctls["conn_reuse_mode"]) and conn["state"] in ("TIME_WAIT", "CLOSE")

    def _schedule(self, p: Sent, whole: bool) -> Seen | dict[str, Any]:
        if not whole:
            return Seen("DROP", "header_cut")
        key = self._service_of(p)
        if key is None:
            return Seen("LOCAL", "no_service")
        if p.proto == "tcp" and ("RST" in p.flags or ("SYN" not in p.flags and not self.sysctls["sloppy_tcp"])):
            return Seen("LOCAL", "not_syn")
        if self.sysctls["drop_packet"] == 3 and self.sysctls["am_droprate"]:
            self.dropped_at += 1
            if self.dropped_at % self.sysctls["am_droprate"] == 1 % self.sysctls["am_droprate"]:
                return Seen("DROP", "drop_packet")
        if p.src[1] == 20:
            return Seen("LOCAL", "ftp_data_source")
        service = self.services[key]
        template = None
        if service["keeps"]:
            template = self._template(key, service, p)
            dest = template["dest"] if template else None
        else:
            dest = self._pick(service, p) if key[0] == "fwm" or key[2] == p.dst[1] else None
        if dest is None:
            if key[0] != "fwm" and key[2] == 21 and p.dst[1] != 21:
                return Seen("LOCAL", "ftp_no_dest")
            return Seen("REJECT", "no_dest")
        for counters in (service["counters"], dest["counters"]):
            counters["conns"] += 1
        own_port = not service["keeps"] or p.dst[1] == (0 if key[0] == "fwm" else key[2])
        server = (dest["end"][0], (own_port and dest["end"][1]) or p.dst[1])
        conn = {
            "proto": p.proto, "client": p.src, "virtual": p.dst, "server": server, "dest": dest,
            "state": "NONE" if p.proto == "tcp" else "UDP", "seconds": 3, "template": False, "control": template,
            "ops": service["ops"] and p.proto == "udp",
        }  # fmt: skip
        self._insert(conn)
        if template:
            self._put(template)
        return conn

    def _service_of(self, p: Sent) -> ServiceKey | None:
        address, port = p.dst
        keys: list[ServiceKey] = [(p.proto, address, port)]
        if p.mark:
            keys.insert(0, ("fwm", str(p.mark), ip_address(address).version))
        if p.proto == "tcp" and (port == 20 or port >= 1024):
            keys.append(("tcp", address, 21))
        keys.append((p.proto, address, 0))
        return next((key for key in keys if key in self.services), None)

    def _template(self, key: ServiceKey, service: dict[str, Any], p: Sent) -> dict[str, Any] | None:
        """The template that the packet's connection is made through, an old or a new one."""
        seconds, prefix = service["keeps"]
        net = (str(ip_network((p.src[0], prefix), strict=False).network_address), 0)
        marked = key[0] == "fwm"
        own_port = p.dst[1] == (0 if marked else key[2])
        proto, virtual = p.proto, (p.dst[0], p.dst[1] if own_port and key[2] != 21 else 0)
        if marked and own_port:
            virtual = (p.dst[0], 0)
        elif marked:
            shift = 0 if is_of(4, p.dst[0]) else 96
            proto, virtual = "ip", (str(type(ip_address(p.dst[0]))(int(key[1]) << shift)), 0)
        wanted = (proto, net, virtual, True)
        old = next((c for c in self.conns if (c["proto"], c["client"], c["virtual"], c["template"]) == wanted), None)
        if old and old["dest"]["there"] and (old["dest"]["weight"] or not self.sysctls["expire_quiescent_template"]):
            return old
        if old and old["virtual"][1] != 65535:
            old.update(virtual=(old["virtual"][0], 65535), server=(old["server"][0], 65535))
            self.conns = [old, *(conn for conn in self.conns if conn is not old)]
        dest = self._pick(service, p)
        if dest is None:
            return None
        port = dest["end"][1] if own_port and (marked or key[2] != 21) else 0
        made = {
            "proto": proto, "client": net, "virtual": virtual, "server": (dest["end"][0], port), "dest": dest,
            "state": "NONE", "seconds": seconds, "template": True, "control": None, "ops": False,
        }  # fmt: skip
        self._insert(made)
        return made

    def _pick(self, service: dict[str, Any], p: Sent) -> dict[str, Any] | None:
        picker = service["picker"]
        picker.flags = service["flags"]
        for dest in [*service["dests"], *self.trash]:  # lblcr's sets may hold removed ones
            dest.update(active=self.active(dest), total=self.total(dest))
        picked: dict[str, Any] | None = picker.pick(Ask(*p.src, p.dst[0], self.now))
        return picked

    def _step(self, conn: dict[str, Any], p: Sent) -> None:
        before = conn["state"]
        if p.proto == "tcp":
            conn["state"] = tcp.after(p.direction, before, p.flags, secure=self.sysctls["secure_tcp"] == 3)
        conn["seconds"] = tcp.SECONDS.get(conn["state"], 300)
        answered = before != conn["state"] == "ESTABLISHED" if p.proto == "tcp" else p.direction == "out"
        if conn["control"] and answered:
            conn["control"]["state"] = "ASSURED"

    def _reply(self, p: Sent) -> Seen:
        if p.ttl <= 1:
            return Seen("REJECT", "ttl_exceeded")
        if not self._hooked(p.src[0]) or p.proto not in HEADER:
            return Seen("ROUTE", "not_balanced")
        conn = self._conn_out(p) if p.header >= 4 else None
        if conn is None:
            return Seen("ROUTE", "no_connection")
        if conn["template"]:
            return Seen("UNMODELLED", "template_answered", conn["dest"]["end"])
        if p.header < HEADER[p.proto]:
            self._put(conn)
            return Seen("DROP", "header_cut", conn["dest"]["end"])
        self._count(conn, "out", p.length)
        self._step(conn, p)
        self._put(conn)
        return Seen("FORWARD", "translated", conn["dest"]["end"], (conn["virtual"], p.dst))

    def _count(self, conn: dict[str, Any], direction: str, length: int) -> None:
        dest = conn["dest"]
        if dest["there"]:
            for counters in (dest["counters"], dest["of"]["counters"]):
                counters.update({f"{direction}_packets": 1, f"{direction}_bytes": length})

    # What there is to see

    def active(self, dest: dict[str, Any]) -> int:
        return sum(conn["dest"] is dest and conn["state"] in tcp.ACTIVE for conn in self.conns)

    def total(self, dest: dict[str, Any]) -> int:
        return sum(conn["dest"] is dest and not conn["template"] for conn in self.conns)


def is_of(version: int, address: str) -> bool:
    return ip_address(address).version == version


def is_unicast(address: str) -> bool:
    """Whether the kernel takes the address as that of a destination."""
    parsed = ip_address(address)
    if parsed.is_multicast or parsed.is_unspecified or address == "255.255.255.255":
        return False
    return parsed.version == 4 or not (parsed.is_link_local or parsed.ipv4_mapped)
