"""Which kernel is imitated: the set of behaviours that differ between kernels, and the tunables that exist.

Kernel counterpart: the version chapters of the fact sheets (schedulers.md section 7, packet-path.md section 22). A
difference is a named switch here, never a version comparison in an algorithm. For what is modelled so far 6.1.192
and 6.12.117 agree.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PROFILES", "SYSCTLS", "Profile"]


@dataclass(frozen=True, slots=True)
class Profile:
    """A kernel's switches.

    ``hz`` is the number of ticks per second. ``boot_jiffies`` is the tick counter of a machine that has just booted:
    the kernel starts it five minutes before it passes 2**32.
    """

    name: str
    hz: int = 250

    @property
    def boot_jiffies(self) -> int:
        return 2**32 - 300 * self.hz


#: Name -> profile. Both are Debian's builds (HZ=250).
PROFILES: dict[str, Profile] = {name: Profile(name) for name in ("linux-6.1.192", "linux-6.12.117")}

#: Modelled tunables below net.ipv4.vs. -> the kernel's default.
SYSCTLS: dict[str, int] = {"conn_reuse_mode": 1, "expire_nodest_conn": 0, "sloppy_tcp": 0}
