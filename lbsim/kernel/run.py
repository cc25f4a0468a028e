"""Run jobs on a real kernel, on whichever way is asked for or works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import lbsim
from lbsim.errors import KernelUnavailable, expected_one_of
from lbsim.kernel import cache, channel, images, vm
from lbsim.kernel.images import Image
from lbsim.kernel.job import Job, Observation

__all__ = ["WAYS", "netns_ready", "run"]

#: ``vm`` is the newest kernel of the first series in the cache; ``auto`` tries netns before vm.
WAYS = ("auto", "netns", "vm", *(f"vm:{series}" for series in images.SERIES))

_SILENCE = 120.0


def run(
    jobs: Sequence[Job],
    way: str | Image = "auto",
    *,
    real_time: bool = False,
    progress: channel.Progress | None = None,
) -> list[Observation]:
    """What a real kernel did with each job, in their order.

    An observation whose ``error`` is not empty is of a job that could not be carried out to its end.

    Parameters
    ----------
    way : one of :data:`WAYS`, or a kernel that is to be booted.
    real_time : the guest's clock is the host's (always so in ``netns``); else it jumps over idle time.

    Raises
    ------
    KernelUnavailable : the way does not work here, or the kernel panicked, hung or ended early.
    """
    if isinstance(way, Image):
        return vm.run(way, jobs, real_time=real_time, progress=progress)
    if way not in WAYS:
        raise KernelUnavailable("a real kernel", expected_one_of(way, WAYS, "way"), "name one of these")
    if way in ("auto", "netns"):
        try:
            netns_ready()
        except KernelUnavailable:
            if way == "netns":
                raise
        else:
            return _in_namespaces(jobs, progress)
    return vm.run(_image(way), jobs, real_time=real_time, progress=progress)


def netns_ready() -> None:
    """Return if this host's kernel can be used.

    Raises
    ------
    KernelUnavailable : not root, no ``ip_vs``, no ``ipvsadm``, no pyroute2.
    """
    what = "this host's kernel (netns)"
    if os.geteuid() != 0:
        raise KernelUnavailable(what, "it needs root", "run as root, or use the vm: lbsim verify --kernel vm")
    if shutil.which("ipvsadm") is None:
        raise KernelUnavailable(what, "no ipvsadm on PATH", "apt install ipvsadm")
    if not Path("/proc/net/ip_vs").exists():
        program = shutil.which("modprobe")
        if program is None or subprocess.run([program, "-q", "ip_vs"], check=False, capture_output=True).returncode:
            step = f"the kernel {os.uname().release} has no ip_vs and none can be loaded"
            raise KernelUnavailable(what, step, "use the vm: lbsim verify --kernel vm")


def _image(way: str) -> Image:
    if way.startswith("vm:"):
        return images.find(way.removeprefix("vm:"))
    known = {image.series for image in images.installed()}
    return images.find(next((series for series in images.SERIES if series in known), next(iter(images.SERIES))))


def _in_namespaces(jobs: Sequence[Job], progress: channel.Progress | None) -> list[Observation]:
    """By an agent process of its own, so that this one never changes its namespace."""
    home = str(Path(lbsim.__file__).parent.parent)
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([home, *(part for part in sys.path if part)]))
    with cache.temporary(Path(tempfile.gettempdir()), "lbsim-run") as scratch:
        (scratch / "jobs").write_bytes(b"".join(job.to_json().encode() + b"\n" for job in jobs))
        errors = scratch / "errors"
        longest = max((event.at for job in jobs for event in job.events), default=0) / 1e9

        def why() -> str:
            said = [line for line in errors.read_text(errors="replace").splitlines() if line.strip()]
            return "the agent ended early" + (f": {said[-1].strip()}" if said else "")

        argv = [sys.executable, "-m", "lbsim.kernel.agent", str(scratch / "jobs")]
        with channel.started(argv, errors, environment) as process:
            return channel.follow(
                process, jobs, what="this host's kernel (netns)", silence=_SILENCE + longest, why=why, progress=progress
            )
