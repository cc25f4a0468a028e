"""The emulated computer that a guest runs on: QEMU's command line.

Everything is in memory and the guest's clock is made of executed instructions (``-icount shift=0,sleep=off``): one
instruction is one nanosecond, and when the guest is idle the clock jumps to its next timer. So 15 minutes of waiting
take seconds, and the same jobs give the same times. With ``real_time`` the guest's clock is the host's.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

__all__ = ["Computer"]

_PROCESSOR = "Nehalem,+rdrand"  # wide vector registers are a fifth slower, emulated; Python wants random numbers
_TIME_TRAVEL = ("-icount", "shift=0,sleep=off")
# What an emulated computer does not need costs seconds: all of ACPI but the table that tells of the local timer (else
# the guest cannot sleep longer than 27 ms), self-tests of ciphers. Programs that always lie at the same addresses start
# six times as fast: QEMU translates their code once.
_COMMAND_LINE = (
    "console=ttyS0 quiet panic=-1 acpi=noirq tsc=reliable mitigations=off nokaslr norandmaps cryptomgr.notests "
    "audit=0 PYTHONHOME=/ LD_LIBRARY_PATH=/lib PATH=/bin XTABLES_LIBDIR=/lib/xtables PYTHONDONTWRITEBYTECODE=1"
)


class Computer(NamedTuple):
    """What has to be the same for a frozen guest to go on.

    Parameters
    ----------
    qemu : the program.
    kernel, archive : what is booted: a kernel's image and its first file system.
    megabytes : its memory.
    card : megabytes of the card that brings jobs, see :mod:`lbsim.kernel.parcel`.
    switches : what the guest's agent finds in its environment.
    real_time : the guest's clock is the host's.
    """

    qemu: str
    kernel: Path
    archive: Path
    megabytes: int
    card: int
    switches: tuple[str, ...] = ()
    real_time: bool = False

    def argv(
        self, console: Path, parcel: Path, *more: str, memory: Path | None = None, shared: bool = False
    ) -> list[str]:
        """The command line; results come on its standard output.

        Parameters
        ----------
        console : a file for the kernel's messages.
        parcel : the file that is the card's memory.
        memory : a file that is the guest's memory; ``shared``: what the guest writes gets into it.
        """
        return [
            self.qemu, "-accel", "tcg", "-cpu", _PROCESSOR, "-smp", "1", "-m", str(self.megabytes),
            *(() if memory is None else ("-machine", "memory-backend=ram")),
            *(() if memory is None else ("-object", _file("ram", memory, self.megabytes, shared))),
            "-object", _file("parcel", parcel, self.card, shared),
            "-device", "ivshmem-plain,memdev=parcel,master=on",
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none",
            *(() if self.real_time else _TIME_TRAVEL),
            "-serial", f"file:{console}", "-chardev", "stdio,id=results,signal=off", "-serial", "chardev:results",
            "-kernel", str(self.kernel), "-initrd", str(self.archive),
            "-append", " ".join([_COMMAND_LINE, *self.switches]),
            *more,
        ]  # fmt: skip


def _file(name: str, path: Path, megabytes: int, shared: bool) -> str:
    escaped = str(path).replace(",", ",,")
    return f"memory-backend-file,id={name},size={megabytes}M,share={'on' if shared else 'off'},mem-path={escaped}"
