"""The same work for several things side by side: a process each, so many at a time, answers in the things' order."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, Generic, TypeVar

from lbsim.errors import LbsimError

__all__ = ["FOR_RECORDINGS", "ProcessError", "as_many_as_pay", "get_ready", "processors", "side_by_side"]

#: What is imported to compare scenarios with recordings; it stands here because this module is imported in no time.
FOR_RECORDINGS = (
    "lbsim.replays",
    "lbsim.kernel.recording",
    "lbsim.kernel.scenario_job",
    "lbsim.kernel.verification",
    "lbsim.traffic.chunks",
    "lbsim.traffic.script",
    "lbsim.traffic.synthetic",
)
FEW = 3
_PATIENCE = 10.0  # seconds that an interrupted process has to clean up

Thing = TypeVar("Thing")
Answer = TypeVar("Answer")


class ProcessError(LbsimError):
    """A process ended without an answer; most likely it was killed because memory ran out."""


def processors() -> int:
    """How many processes can run at the same time here."""
    with suppress(AttributeError):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def as_many_as_pay(things: int) -> int:
    """How many processes work on so many things the fastest: a few are done before processes have started."""
    return processors() if things > FEW else 1


def side_by_side(
    work: Callable[[Thing], Answer],
    things: Sequence[Thing],
    jobs: int,
    *,
    preload: Sequence[str] = (),
    weight: Callable[[Thing], float] = lambda _thing: 0,
    told: Callable[[int], object] = lambda _done: None,
) -> Generator[Answer | ProcessError]:
    """What ``work`` answers to each thing, in their order, with ``jobs`` processes at a time.

    Closing the iterator, also by an exception in the loop over it, interrupts the processes that still run (they get
    SIGINT, once) and waits for them.

    Parameters
    ----------
    work : a function of a module, which gets a thing and gives an answer that can both be pickled.
    preload : modules that it needs and that take long to import: they are imported once for all processes.
    weight : how long a thing takes, in any unit. The heaviest are begun first, so that no processor is idle at the end;
        equally heavy ones in their order.
    told : called with the number of things that are done, when one is.
    """
    context = _context(preload)
    waiting = list(enumerate(things))[::-1]
    waiting.sort(key=lambda numbered: weight(numbered[1]))
    running: dict[Connection, _Process[Answer]] = {}
    answers: dict[int, Answer | ProcessError] = {}
    try:
        for at in range(len(things)):
            while at not in answers:
                while waiting and len(running) < jobs:
                    number, thing = waiting.pop()
                    process = _Process(context, work, number, thing)
                    running[process.answers] = process
                for connection in wait(list(running)):
                    assert isinstance(connection, Connection)
                    process = running.pop(connection)
                    answers[process.number] = process.answer()
                    told(len(things) - len(waiting) - len(running))
            yield answers.pop(at)
    finally:
        for process in running.values():
            process.interrupt()
        for process in running.values():
            process.end()


def get_ready(preload: Sequence[str]) -> None:
    """Begin to import what the processes of a later :func:`side_by_side` need, while this one does something else."""
    if _context(preload).get_start_method() == "forkserver":
        from multiprocessing import forkserver  # not on every system

        forkserver.ensure_running()


class _Process(Generic[Answer]):
    """A process that works on one thing."""

    def __init__(self, context: Any, work: Callable[[Any], Answer], number: int, thing: object) -> None:
        self.number = number
        self.answers, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_worker, args=(os.getcwd(), work, thing, theirs))
        self._process.start()
        theirs.close()

    def answer(self) -> Answer | ProcessError:
        """Its answer, which is there, or why there will be none."""
        try:
            answer, error = self.answers.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            reason = signal.strsignal(-code) if code is not None and code < 0 else f"exit status {code}"
            return ProcessError(f"its process ended early ({reason}); expected enough memory for all, or fewer --jobs")
        finally:
            self.answers.close()
        self._process.join()
        if error is not None:
            raise error
        found: Answer = answer
        return found

    def interrupt(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGINT)

    def end(self) -> None:
        """Wait until it has cleaned up; kill it if it does not."""
        self.answers.close()  # or it might wait for somebody to read
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _context(preload: Sequence[str]) -> Any:
    """Processes that begin fresh (a copy of this one might copy locks of its threads), as quickly as the system can."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # each process runs the main module again, if that is a script: let it find there what the script imports
    context.set_forkserver_preload(["__main__", *preload, *({"lbsim.cli"} & sys.modules.keys())])
    return context


def _worker(folder: str, work: Callable[[Any], Any], thing: Any, answers: Connection) -> None:
    gc.freeze()  # what was imported is no garbage: looking through it would copy it into this process, too
    os.chdir(folder)  # it would begin where the first process began
    signal.signal(signal.SIGINT, _interrupted_once)
    try:
        answer, error = work(thing), None
    except KeyboardInterrupt:
        return
    except Exception as failure:
        answer, error = None, failure
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(BrokenPipeError):  # nobody wants to know any more
        answers.send((answer, error))


def _interrupted_once(_number: int, _frame: FrameType | None) -> None:
    """A terminal interrupts all processes, and so does the first of them: once more must not disturb cleaning up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt
