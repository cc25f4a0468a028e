"""Carry out jobs, one after the other, and write what was seen as soon as it was seen.

Runs as the first and only process of a guest (``/init``), or as root on a host: ``python -m lbsim.kernel.agent FILE``.
Each line of the file is a job, each line of the output an observation; lines in between say what is going on, so that
after a crash or a hang it is known which job was at work.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import json
import os
import re
import signal
import subprocess
import sys
import termios
import time
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from struct import pack
from typing import Protocol

from lbsim.kernel import netlink
from lbsim.kernel.bench import Bench, set_sysctl
from lbsim.kernel.job import (
    ASKING,
    REPLY,
    ROUTING,
    Command,
    CommandSeen,
    Job,
    Observation,
    Packet,
    PacketSeen,
    Seen,
    Show,
    ShowSeen,
)
from lbsim.kernel.parcel import Parcel
from lbsim.kernel.reply import Responders
from lbsim.kernel.wiring import route_to_director

__all__ = ["WAITING", "decode", "encode", "import_all", "main", "release"]


class SupportsWrite(Protocol):
    """What results are written to."""

    def write(self, line: bytes, /) -> object: ...
    def flush(self) -> object: ...


_libc = ctypes.CDLL(None, use_errno=True)

#: The line that a guest says which has been given nothing yet.
WAITING = b'{"waiting": true}'

_MODULES = Path("/lib/lbsim")
_RESULTS = "/dev/ttyS1"
_ALWAYS = ("veth", "bridge", "ip_vs")
_FOR_RULES = (
    "nf_tables", "nft_compat", "nft_chain_nat", "xt_MASQUERADE", "xt_mark", "xt_tcpudp", "xt_sctp",
    "iptable_filter", "iptable_nat", "iptable_mangle", "ip6table_filter", "ip6table_nat", "ip6table_mangle",
)  # fmt: skip
_DEFAULT_SCHEDULER = "wlc"
_HOST_PROGRAMS = ("ipvsadm", "iptables", "ip6tables", "sysctl")
_QUIET = 0.001  # a packet that has not come out after this many seconds does not come out
_LEAD = 2_000_000  # nanoseconds between the end of the set-up and time 0, at least
_TICKS_ALIGNED = 4096  # timers of up to 1048 s expire on multiples of this many ticks
_PROGRESS_EVERY = 2000  # events
_LIFE_SIGN_EVERY = 40_000_000_000  # nanoseconds of waiting
_PR_SET_PDEATHSIG, _PR_SET_TIMERSLACK = 1, 29
_FINIT_MODULE = 313
_CLOCK_MONOTONIC_COARSE = 6
_RB_AUTOBOOT = 0x01234567
_RNDADDENTROPY, _RNDRESEEDCRNG = 0x40085203, 0x5207
_NOW = re.compile(r"now at (\d+) nsecs")
_JIFFIES = re.compile(r"^jiffies: (\d+)", re.MULTILINE)
_BUILT_FROM = re.compile(r"\bDebian (\d+\.\d+\.\d+)\b")
_EDGE = re.compile(r"\.last_tick\s*: (\d+) nsecs")


def import_all() -> None:
    """Import what is imported late, so that the guest's file system gets it."""
    netlink.import_all()


def main() -> None:
    """Do the jobs: in a guest those of its parcel, on a host those of the file named on the command line."""
    if os.getpid() == 1:
        _guest()
    else:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # a packet's whole way on one processor
        with open(sys.argv[1], "rb") as jobs:
            _all(jobs, sys.stdout.buffer, aligned=False, prepare=_refuse_more_than_a_director_needs)


def _refuse_more_than_a_director_needs(job: Job) -> None:
    """On a host a namespace keeps the network apart and nothing else: no other program, no way to start one."""
    for argv in job.commands():
        starts_another = any(word.startswith(("-M", "--mod")) for word in argv if "tables" in argv[0])
        if starts_another or not (argv[:2] in ROUTING or argv[0] in _HOST_PROGRAMS):
            raise SystemExit(f"job {job.name!r}: not run on a host: {' '.join(argv)}")


def release() -> str:
    """The kernel's version: ``6.1.192``, if it says which upstream version it was built from (Debian's do)."""
    found = _BUILT_FROM.search(os.uname().version)
    return found[1] if found else os.uname().release


def encode(line: str) -> bytes:
    """One line of the output: JSON, packed if that pays."""
    raw = line.encode()
    return raw + b"\n" if len(raw) < 500 else b64encode(zlib.compress(raw, 1)) + b"\n"


def decode(line: bytes) -> str:
    """The JSON of :func:`encode`; ValueError if it is none of ours."""
    if line.startswith(b"{"):
        return line.decode()
    try:
        return zlib.decompress(b64decode(line, validate=True)).decode()
    except zlib.error as error:
        raise ValueError(str(error)) from error


def _guest() -> None:
    """Everything that an init has to do."""
    for kind, place in (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/run")):
        _libc.mount(kind.encode(), place.encode(), kind.encode(), 0, None)
    with suppress(OSError):  # global in 6.1, absent from namespaces
        set_sysctl("net.ipv4.icmp_msgs_per_sec", "1000000000")
        set_sysctl("net.ipv4.icmp_msgs_burst", "1000000000")
    with open(os.open(_RESULTS, os.O_WRONLY | os.O_NOCTTY), "wb", buffering=0) as out:
        attributes = termios.tcgetattr(out)
        attributes[0] = attributes[1] = attributes[3] = 0  # raw: nothing is changed on its way
        termios.tcsetattr(out, termios.TCSANOW, attributes)
        modules = _Modules(_MODULES)
        parcel = Parcel()
        if parcel.empty:
            out.write(WAITING + b"\n")
            termios.tcdrain(out)
        parcel.wait()
        _draw_anew(parcel.seed)
        netlink.know(json.loads(parcel.messages))
        if "LBSIM_NETNS" in os.environ:
            _as_a_host(parcel.jobs(), out, modules.prepare)
        else:
            _all(parcel.jobs(), out, aligned="LBSIM_ALIGNED" in os.environ, prepare=modules.prepare)
        termios.tcdrain(out)
    _libc.reboot(_RB_AUTOBOOT)


def _draw_anew(seed: bytes) -> None:
    """Let the kernel's random numbers be others than those of the guests that were woken up from the same memory."""
    with open("/dev/urandom", "wb", buffering=0) as random:
        fcntl.ioctl(random, _RNDADDENTROPY, pack("ii", 8 * len(seed), len(seed)) + seed)
        fcntl.ioctl(random, _RNDRESEEDCRNG)


def _as_a_host(lines: Iterable[bytes], out: SupportsWrite, prepare: Callable[[Job], None]) -> None:
    """The guest as a host that has ``ip_vs``: it does the jobs by the way ``netns``, all of it."""
    from lbsim.kernel.run import run

    jobs = [Job.from_json(line) for line in lines]
    for job in jobs:
        prepare(job)
    begun = [{"ready": release()}, {"start": "netns"}]
    rows = [json.dumps(words) for words in begun] + [seen.to_json() for seen in run(jobs, "netns")]
    for row in (*rows, json.dumps({"end": len(jobs)})):
        out.write(encode(row))
    out.flush()


class _Modules:
    """The kernel modules of the guest's file system, loaded when a job needs them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._needs: dict[str, list[str]] = json.loads((folder / "needs.json").read_bytes())
        self._loaded: set[str] = set()
        self._load(*_ALWAYS)

    def prepare(self, job: Job) -> None:
        for argv in job.commands():
            if argv[0].startswith(("iptables", "ip6tables")):
                self._load(*_FOR_RULES)
            elif argv[0] == "ipvsadm":
                self._load(f"ip_vs_{_DEFAULT_SCHEDULER}")
                for option, value in pairwise((*argv, "")):
                    if option in ("-s", "--scheduler"):
                        self._load(f"ip_vs_{value}")

    def _load(self, *names: str) -> None:
        for name in names:
            if name in self._loaded or name not in self._needs:
                continue
            self._loaded.add(name)
            self._load(*self._needs[name])
            with (self._folder / f"{name}.ko").open("rb") as module:
                if _libc.syscall(_FINIT_MODULE, module.fileno(), b"", 0) != 0:
                    number = ctypes.get_errno()
                    raise OSError(number, f"module {name}: {os.strerror(number)}")


def _all(jobs: Iterable[bytes], out: SupportsWrite, *, aligned: bool, prepare: Callable[[Job], None]) -> None:
    def say(**words: object) -> None:
        out.write(encode(json.dumps(words)))
        out.flush()

    _libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)  # wake up on time, not 50 us later
    say(ready=release())
    gc.disable()  # a collection in between would make packets late, and there are no cycles to be collected
    count = 0
    for line in jobs:
        job = Job.from_json(line)
        say(start=job.name)
        prepare(job)
        seen = _do(job, aligned, partial(say, start=job.name))
        out.write(encode(seen.to_json()))
        out.flush()
        count += 1
    say(end=count)


def _do(job: Job, aligned: bool, progress: Callable[[], None]) -> Observation:
    """Carry out a job in fresh namespaces; whatever goes wrong is said in the observation."""
    jiffies, start, late = -1, time.monotonic_ns(), 0
    setup: list[CommandSeen] = []
    rows: list[Seen] = []
    error = ""
    try:
        with closing(Bench(job.vips, job.servers, job.mtu, job.listening)) as bench:
            for name, value in job.sysctls:
                set_sysctl(name, value)
            setup.extend(_command(Command(0, argv), 0) for argv in job.setup)
            jiffies, start = _time_zero(aligned)
            late = _events(job, bench, start, rows, progress)
    except Exception as problem:  # one bad job must not cost the others
        where = f"event {len(rows)}" if jiffies >= 0 else "the set-up"
        error = f"{type(problem).__name__} in {where}: {problem}"
    return Observation(job.name, release(), jiffies, tuple(setup), tuple(rows), error, late)


def _events(job: Job, bench: Bench, start: int, rows: list[Seen], progress: Callable[[], None]) -> int:
    """Do the events at their times, each to its end before the next; by how much the latest was late."""
    responders = Responders(job.straight)
    late = 0
    for event in job.events:
        now = _sleep_until(start + event.at, progress) - start
        stray = bench.arrivals(start, 0)
        if stray and rows:
            rows[-1] = rows[-1]._replace(arrivals=(*rows[-1].arrivals, *stray))
        late = max(late, now - event.at)
        if isinstance(event, Packet):
            rows.append(_packet(event, bench, start, now, responders))
        elif isinstance(event, Command):
            done = _command(event, now)
            rows.append(done._replace(arrivals=tuple(bench.arrivals(start, _QUIET))))
        else:
            rows.append(_show(event, start, now))
        if len(rows) % _PROGRESS_EVERY == 0:
            progress()
    return late


def _packet(event: Packet, bench: Bench, start: int, now: int, responders: Responders) -> PacketSeen:
    if event.side != REPLY:
        bench.send(event.side, event.content)
        seen = PacketSeen(now, tuple(bench.arrivals(start, _QUIET)))
        if event.side in ASKING:
            responders.note(event.flow, ((arrival.where, arrival.content) for arrival in seen.arrivals))
        return seen
    answer = responders.answer(event.flow, event.content)
    if answer is None:
        return PacketSeen(now, (), b"")
    side, content = answer
    bench.send(side, content)
    return PacketSeen(now, tuple(bench.arrivals(start, _QUIET)), content)


def _command(command: Command, now: int) -> CommandSeen:
    if command.argv[0] == "sysctl":
        return _sysctl(command, now)
    if command.argv[:2] in ROUTING:
        return _routing(command, now)
    try:
        done = subprocess.run(
            command.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    except OSError as error:
        return CommandSeen(now, command.argv, 127, f"{command.argv[0]}: {os.strerror(error.errno or 0)}")
    return CommandSeen(now, command.argv, done.returncode, done.stdout.decode(errors="replace"))


def _sysctl(command: Command, now: int) -> CommandSeen:
    try:
        for setting in command.argv[1:]:
            if setting != "-w":
                name, _, value = setting.partition("=")
                set_sysctl(name.strip(), value.strip())
    except FileNotFoundError:
        path = f"/proc/sys/{name.replace('.', '/')}"
        return CommandSeen(now, command.argv, 1, f"sysctl: cannot stat {path}: No such file or directory")
    except OSError as error:
        return CommandSeen(now, command.argv, 1, f'sysctl: setting key "{name}": {os.strerror(error.errno or 0)}')
    return CommandSeen(now, command.argv, 0, "")


def _routing(command: Command, now: int) -> CommandSeen:
    """The lines of ``ip`` that bring packets to the director; the program itself is not needed for them."""
    with netlink.requests() as ask:
        if not route_to_director(ask, command.argv):
            return CommandSeen(now, command.argv, 255, f"ip: not understood: {' '.join(command.argv[1:])}")
    return CommandSeen(now, command.argv, 0, "")


def _show(event: Show, start: int, now: int) -> ShowSeen:
    conns = Path("/proc/net/ip_vs_conn").read_text(encoding="ascii")
    listing = _output("ipvsadm", "-Ln", "--nosort")
    stats = _output("ipvsadm", "-Ln", "--nosort", "--stats", "--exact") if event.stats else ""
    return ShowSeen(now, time.monotonic_ns() - start, listing, stats, conns)


def _output(*argv: str) -> str:
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True).stdout.decode()


def _sleep_until(moment: int, progress: Callable[[], None]) -> int:
    while (now := time.monotonic_ns()) < moment:
        if moment - now > 2 * _LIFE_SIGN_EVERY:
            time.sleep(_LIFE_SIGN_EVERY / 1e9)
            progress()
        else:
            time.sleep((moment - now) / 1e9)
    return now


def _time_zero(aligned: bool) -> tuple[int, int]:
    """The tick counter and the time of a job's time 0: the start of a tick, a multiple of 4096 if ``aligned``.

    Timers expire on multiples of up to 4096 ticks: an aligned job sees the same whatever was done before it.
    """
    tick = round(time.clock_getres(_CLOCK_MONOTONIC_COARSE) * 1e9)  # that clock is moved on by the ticks
    jiffies, edge = _jiffies(tick)
    ahead = max(0, time.monotonic_ns() + _LEAD - edge) // tick + 1
    if aligned:
        ahead += -(jiffies + ahead) % _TICKS_ALIGNED
    return jiffies + ahead, edge + ahead * tick


def _jiffies(tick: int) -> tuple[int, int]:
    """The kernel's tick counter, and when its present tick began; read away from a tick's edges."""
    for _ in range(1000):
        text = Path("/proc/timer_list").read_text(encoding="ascii", errors="replace")
        found = _NOW.search(text), _JIFFIES.search(text), _EDGE.search(text)
        if None in found:
            break
        now, jiffies, edge = (int(match[1]) for match in found if match)
        into = (now - edge) % tick
        if tick // 8 < into < tick // 2:
            return jiffies, now - into
        time.sleep((tick // 4 - into) % tick / 1e9)
    return 0, time.monotonic_ns()


if __name__ == "__main__":
    main()
