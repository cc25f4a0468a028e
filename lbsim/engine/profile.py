"""Which kernel is imitated: the set of behaviours that differ between kernels, and the tunables that exist.

Kernel counterpart: the version chapters of the fact sheets (schedulers.md section 7, packet-path.md section 22). A
difference is a named switch here, never a version comparison in an algorithm. For what is modelled so far 6.1.192
and 6.12.117 agree. Numbers of inactive connections are listed differently by older kernels, but as long as one packet
follows the other there is nothing to see of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["PROFILES", "SWITCHES", "SYSCTLS", "Profile", "Switch", "profiles_text"]


@dataclass(frozen=True, slots=True)
class Switch:
    """A behaviour that differs between kernels: how current ones do it, and what it was like if the switch is on."""

    current: str
    older: str


#: Field of the engine's Director, name -> what it changes. All are off in current kernels.
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
        Profile("linux-6.1.192"),
        Profile("linux-6.12.117"),
        Profile("linux-6.1.0", on=frozenset(SWITCHES)),
        Profile("linux-6.12.0", on=frozenset(SWITCHES)),
    )
}

#: Modelled tunables below net.ipv4.vs. -> the kernel's default.
SYSCTLS: dict[str, int] = {
    "conn_reuse_mode": 1,
    "expire_nodest_conn": 0,
    "sloppy_tcp": 0,
    "lblc_expiration": 86400,
    "lblcr_expiration": 86400,
}


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
