"""Which kernel is imitated: the set of behaviours that differ between kernels, and the tunables that exist.

Kernel counterpart: the version chapters of the fact sheets (schedulers.md section 7, packet-path.md section 22). A
difference is a named switch here, never a version comparison in an algorithm. What is modelled so far is
the same in 6.1.192 and 6.12.117 but for when shown counters are copied. Numbers of inactive connections are listed
differently by older kernels, but as long as one packet follows the other there is nothing to see of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "PROFILES",
    "SWITCHES",
    "SYSCTLS",
    "TAKEN",
    "Profile",
    "Switch",
    "Sysctl",
    "profiles_text",
    "refused_by_kernel",
    "refused_value",
    "sysctls_page",
    "unmodelled_value",
]


@dataclass(frozen=True, slots=True)
class Switch:
    """A behaviour that differs between kernels: how current ones do it, and what it was like if the switch is on."""

    current: str
    older: str


#: Field of the engine's Director, name -> what it changes. All are off in the newest kernel.
SWITCHES: Mapping[str, Switch] = {
    "load_of_inactive": Switch(
        "lc, wlc, lblc, lblcr, twos: a destination's load is 256 x active + all connections",
        "it is 256 x active + inactive connections",
    ),
    "late_thresholds": Switch(
        "an edit of thresholds makes a destination full, or takes it back, at once",
        "a lower upper threshold has an effect with the next connection; a higher one takes the destination back",
    ),
    "any_threshold": Switch(
        "an upper threshold above 2147483647 is refused (EINVAL)",
        "it is accepted",
    ),
    "endless_cache": Switch(
        "lblc, lblcr: a cache has at most 24576 addresses",
        "it has no limit",
    ),
    "miscounted_cache": Switch(
        "lblc: an address that moves to another destination is one entry",
        "it counts once more with each move, so that the cache is cleaned earlier",
    ),
    "loses_scheduler": Switch(
        "a service whose new scheduler cannot start (mh with more than 4093 destinations) keeps its old one",
        "it has no scheduler any more",
    ),
    "common_copy": Switch(
        "shown counters: each service, each destination and the total is copied every 2 s, in a turn of its own",
        "all are copied at once, every 2.016 s at HZ=250",
    ),
}


@dataclass(frozen=True, slots=True)
class Profile:
    """A kernel's switches.

    ``hz`` is the number of ticks per second. ``boot_jiffies`` is the tick counter of a machine that has just booted:
    the kernel starts it five minutes before it passes 2**32. ``on`` are the names of the switches that are on.
    """

    name: str
    hz: int = 250
    on: frozenset[str] = frozenset()

    @property
    def boot_jiffies(self) -> int:
        return 2**32 - 300 * self.hz


#: Name -> profile. All are Debian's builds (HZ=250); the newest of a series comes first.
PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("linux-6.1.192", on=frozenset({"common_copy"})),
        Profile("linux-6.12.117"),
        Profile("linux-6.1.0", on=frozenset(SWITCHES)),
        Profile("linux-6.12.0", on=frozenset(SWITCHES) - {"common_copy"}),
    )
}


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A tunable below net.ipv4.vs.

    ``default`` is the kernel's. ``kernel`` are the least and the greatest value that it takes, ``modelled`` those that
    lbsim knows; None: any. ``power`` says that it must be a power of two. ``switch`` says whether it is a field of the
    engine's director of the same name; all others change nothing here, and ``effect`` says why. ``refused`` says that
    lbsim takes no value at all. ``absent`` is the switch of the kernels that do not have it.
    """

    default: int
    effect: str
    kernel: tuple[int, int] | None = None
    modelled: tuple[int, int] | None = None
    power: bool = False
    switch: bool = False
    refused: bool = False
    absent: str = ""


_MEMORY = "1 and 2 are on only when memory runs short, which it never does here (2 then reads back as 1)"
_INT = (-(2**31), 2**31 - 1)
_SECONDS = (-8_589_934, 8_589_934)  # which as ticks of 4 ms are an int
_SYNC = "none: the connection synchronisation daemon is not modelled, so none runs"

#: Name -> tunable. The page docs/sysctls.md is generated from here.
SYSCTLS: dict[str, Sysctl] = {
    "am_droprate": Sysctl(
        10,
        "drop_packet=3 drops each packet of this number. Taken over within a second, or when drop_entry, drop_packet "
        "or secure_tcp changes",
        switch=True,
    ),
    "amemthresh": Sysctl(1024, "none: memory never runs short here"),
    "backup_only": Sysctl(0, _SYNC),
    "cache_bypass": Sysctl(
        0,
        "1: a service by firewall mark without a usable destination sends packets on to where their sender wanted "
        "them, if only a routing rule brought them to the director (IPv6: those to its own addresses are dropped)",
        switch=True,
    ),
    "conn_reuse_mode": Sysctl(
        1,
        "a SYN (SCTP: INIT) on an entry that is finished and has no template is scheduled anew, unless 0; bit 2 adds "
        "FIN_WAIT of entries of which no answer was seen",
        switch=True,
    ),
    "conntrack": Sysctl(0, "0: entries take no part in connection tracking. 1 is not modelled", modelled=(0, 0)),
    "debug_level": Sysctl(0, "the kernel of Debian does not have it (CONFIG_IP_VS_DEBUG)", refused=True),
    "drop_entry": Sysctl(0, f"{_MEMORY}. 3 drops entries at random and is not modelled", (0, 3), (0, 2), switch=True),
    "drop_packet": Sysctl(
        0,
        f"3: of the packets that would open a connection the first one is dropped, and then each am_droprate-th. "
        f"{_MEMORY}",
        (0, 3),
        switch=True,
    ),
    "est_cpulist": Sysctl(
        0, "a list of processors, and there is one; kernels before 6.2 do not have the tunable", refused=True
    ),
    "est_nice": Sysctl(
        0,
        "none: counters are copied in time, whatever else runs. Kernels before 6.2 do not have it",
        (-20, 19),
        absent="common_copy",
    ),
    "expire_nodest_conn": Sysctl(
        0,
        "1: entries of a removed destination are deleted, and a SYN (INIT) on an entry whose destination has weight 0 "
        "is scheduled anew",
        switch=True,
    ),
    "expire_quiescent_template": Sysctl(
        0, "1: templates of a destination with weight 0 are no longer followed", switch=True
    ),
    "ignore_tunneled": Sysctl(0, "none: the director itself takes no packet out of another one here", switch=True),
    "lblc_expiration": Sysctl(
        86400, "seconds after which lblc forgets an address that nobody asked for", _SECONDS, switch=True
    ),
    "lblcr_expiration": Sysctl(86400, "likewise for lblcr; and after which a set shrinks", _SECONDS, switch=True),
    "nat_icmp_send": Sysctl(
        0,
        "1: a packet of a destination over NAT that belongs to no entry is refused, with port unreachable",
        switch=True,
    ),
    "pmtu_disc": Sysctl(1, "1: what is too large for a tunnel is refused if it must not be fragmented", switch=True),
    "run_estimation": Sysctl(1, "0: counters in listings stay as they are, and rates; those of results go on"),
    "schedule_icmp": Sysctl(0, "1: ICMP errors may open connections", switch=True),
    "secure_tcp": Sysctl(0, f"3: the stricter state table of TCP. {_MEMORY}", (0, 3), switch=True),
    "sloppy_sctp": Sysctl(0, "1: any SCTP packet but an ABORT may open a connection", switch=True),
    "sloppy_tcp": Sysctl(0, "1: any TCP packet but a RST may open a connection", switch=True),
    "snat_reroute": Sysctl(1, "none: routing by source address is not modelled"),
    "sync_persist_mode": Sysctl(0, _SYNC),
    "sync_ports": Sysctl(1, _SYNC, (1, 2**30), power=True),
    "sync_qlen_max": Sysctl(0, f"{_SYNC}; the kernel's default depends on the memory", (0, _INT[1])),
    "sync_refresh_period": Sysctl(0, _SYNC, _SECONDS),
    "sync_retries": Sysctl(0, _SYNC, (0, 3)),
    "sync_sock_size": Sysctl(0, _SYNC),
    "sync_threshold": Sysctl(3, f"{_SYNC}; this is the first of its two numbers, the second stays 50", (0, 49)),
    "sync_version": Sysctl(1, _SYNC, (0, 1)),
}

#: The names of those that lbsim takes.
TAKEN: tuple[str, ...] = tuple(name for name, known in SYSCTLS.items() if not known.refused)


def refused_value(name: str, value: int) -> str:
    """Why the tunable cannot have this value; ``""`` if it can.

    Source
    ------
    lbsim's own.
    """
    if refused_by_kernel(name, value) and not SYSCTLS[name].refused:
        return f"the kernel refuses net.ipv4.vs.{name}={value} (EINVAL): expected {_taken(SYSCTLS[name])}"
    return unmodelled_value(name, value)


def refused_by_kernel(name: str, value: int) -> bool:
    """Whether the kernel answers such a value with EINVAL.

    Source
    ------
    facts: packet-path.md section 20 (all limits checked live); ip_vs_ctl.c proc_do_defense_mode(),
    proc_do_sync_threshold(), proc_do_sync_ports().
    """
    known = SYSCTLS[name]
    least, greatest = known.kernel or _INT
    return not least <= value <= greatest or (known.power and value.bit_count() != 1)


def unmodelled_value(name: str, value: int) -> str:
    """Why lbsim does not know what a kernel does with this value; ``""`` if it does.

    Source
    ------
    lbsim's own.
    """
    known = SYSCTLS[name]
    if known.refused:
        return f"net.ipv4.vs.{name} is not modelled: {known.effect}"
    if known.modelled and not known.modelled[0] <= value <= known.modelled[1] and not refused_by_kernel(name, value):
        return f"net.ipv4.vs.{name}={value} is not modelled: expected {_range(known.modelled)}"
    return ""


def _taken(known: Sysctl) -> str:
    """The values that the kernel takes."""
    return f"a power of two, {_range(known.kernel or _INT)}" if known.power else _range(known.kernel or _INT)


def _range(values: tuple[int, int]) -> str:
    return f"{values[0]} to {values[1]}" if values[0] < values[1] else f"{values[0]}"


def sysctls_page() -> str:
    """The page ``docs/sysctls.md``: every tunable, its default, the values that lbsim takes, its effect.

    Source
    ------
    lbsim's own.
    """
    rows = []
    for name, known in SYSCTLS.items():
        values = _range(known.modelled) if known.modelled else _taken(known) if known.kernel else "any"
        said = f"| none | not modelled: {known.effect} |" if known.refused else f"| {values} | {known.effect} |"
        rows.append(f"| `{name}` | {'' if known.refused else known.default} {said}")
    lines = [
        "# Tunables",
        "",
        "What lbsim makes of the kernel's tunables `net.ipv4.vs.*`. Another value than those listed is refused, and so",
        "are other names. They are set under `sysctls` of a scenario or of `lbsim.Director`; later, and in mid-run, by",
        "lines of the config or the timeline, or by `Director.run`: `sysctl -w net.ipv4.vs.NAME=VALUE`, or",
        "`echo VALUE > /proc/sys/net/ipv4/vs/NAME`. If nothing else is said, the next packet goes by the new value.",
        "This page is generated from `lbsim.engine.profile`.",
        "",
        "| name | default | values | effect |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
    ]
    return "\n".join(lines)


def profiles_text() -> str:
    """Every profile by name, and below it what that kernel does otherwise than current ones.

    Source
    ------
    lbsim's own.
    """
    lines = []
    for profile in PROFILES.values():
        lines.append(f"{profile.name}, HZ={profile.hz}{'' if profile.on else ': as current kernels do it'}")
        for name, switch in SWITCHES.items():
            if name in profile.on:
                lines += [f"  {name}", f"    here:    {switch.older}", f"    current: {switch.current}"]
    return "\n".join(lines)
