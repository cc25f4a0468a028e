"""Run jobs on a real kernel, on whichever way is asked for or works."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import lbsim
from lbsim.errors import KernelUnavailable, expected_one_of
from lbsim.kernel import cache, channel, images, process, vm
from lbsim.kernel.images import Image
from lbsim.kernel.job import Job, Observation, Show

__all__ = ["PROBE", "WAYS", "netns_ready", "run"]

#: ``vm`` is the newest kernel of the first series in the cache; ``auto`` tries netns before vm.
WAYS = ("auto", "netns", "vm", *(f"vm:{series}" for series in images.SERIES))

#: The least that shows that a kernel can be used: a bench, and a look at the tables.
PROBE = Job("probe", ("192.168.1.10",), ("10.0.0.11",), events=(Show(0),))

_SILENCE = 120.0  # seconds; an agent that only waits says so more often
_PROBE_SILENCE = 20.0


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
    KernelUnavailable : the way does not work here: no kernel was asked.
    KernelFailed : the kernel panicked, hung or ended early.
    """
    if isinstance(way, Image):
        return vm.run(way, jobs, real_time=real_time, progress=progress)
    if way not in WAYS:
        raise KernelUnavailable("a real kernel", expected_one_of(way, WAYS, "way"), "name one of these")
    if way in ("auto", "netns"):
        try:
            netns_ready(jobs)
        except KernelUnavailable:
            if way == "netns":
                raise
        else:
            return _in_namespaces(jobs, progress)
    return vm.run(_image(way), jobs, real_time=real_time, progress=progress)


def netns_ready(jobs: Sequence[Job] = ()) -> None:
    """Return if this host's kernel can do jobs; a small one was done then.

    Raises
    ------
    KernelUnavailable : not root, no ``ip_vs``, no pyroute2, no ``ipvsadm`` or another program that the jobs run, or
        something that only shows when it is done: a container without the right to make namespaces, for example.
    """
    what = "this host's kernel (netns)"
    elsewhere = "use the vm: lbsim verify --kernel vm"
    if os.geteuid() != 0:
        raise KernelUnavailable(what, "it needs root", f"run as root, or {elsewhere}")
    for name in sorted({"ipvsadm", *(argv[0] for job in jobs for argv in job.commands())}):
        if name in process.PACKAGES and process.which(name) is None:
            raise KernelUnavailable(what, f"no {name} on this computer", f"apt install {process.PACKAGES[name]}")
    if importlib.util.find_spec("pyroute2") is None:
        raise KernelUnavailable(what, "no pyroute2", "pip install 'lbsim[kernel]'")
    if not Path("/proc/net/ip_vs").exists():
        modprobe = process.which("modprobe")
        if not modprobe or subprocess.run([modprobe, "-q", "ip_vs"], check=False, capture_output=True).returncode:
            raise KernelUnavailable(
                what, f"the kernel {os.uname().release} has no ip_vs and none can be loaded", elsewhere
            )
    try:
        (seen,) = _in_namespaces([PROBE], None, _PROBE_SILENCE)
    except KernelUnavailable as error:
        raise KernelUnavailable(what, error.step, elsewhere) from error
    if seen.error:
        raise KernelUnavailable(
            what, f"a bench cannot be built: {seen.error}", f"in a container, give it all privileges; or {elsewhere}"
        )


def _image(way: str) -> Image:
    if way.startswith("vm:"):
        return images.find(way.removeprefix("vm:"))
    known = {image.series for image in images.installed()}
    return images.find(next((series for series in images.SERIES if series in known), next(iter(images.SERIES))))


def _in_namespaces(
    jobs: Sequence[Job], progress: channel.Progress | None, silence: float = _SILENCE
) -> list[Observation]:
    """By an agent process of its own, so that this one never changes its namespace."""
    home = str(Path(lbsim.__file__).parent.parent)
    path = os.pathsep.join([home, *(part for part in sys.path if part)])
    environment = os.environ | {"PYTHONPATH": path, "PATH": process.search_path()}
    with cache.scratch() as scratch:
        errors = scratch / "errors"
        with cache.room(scratch.parent, "TMPDIR"):
            (scratch / "jobs").write_bytes(b"".join(job.to_json().encode() + b"\n" for job in jobs))

        def why() -> tuple[str, str]:
            said = [line for line in errors.read_text(errors="replace").splitlines() if line.strip()]
            step = "the agent ended early" + (f": {said[-1].strip()}" if said else "")
            return step, "try again, or use the vm: lbsim verify --kernel vm"

        argv = [sys.executable, "-m", "lbsim.kernel.agent", str(scratch / "jobs")]
        with process.started(argv, errors, environment) as agent:
            return channel.follow(
                agent, jobs, what="this host's kernel (netns)", silence=silence, why=why, progress=progress
            )
