"""Firewall marks and rules of the router in a job: its set-up makes them, and from there they are read again."""

from __future__ import annotations

from collections.abc import Iterator

from lbsim.config import parse
from lbsim.config.marks import Marks, format_marks, read_marks
from lbsim.kernel.job import ROUTING, Job
from lbsim.model.config import RouterSettings

__all__ = ["commands_for", "marks_of", "router_of"]


def commands_for(marks: Marks) -> Iterator[tuple[str, ...]]:
    """The commands of the set-up that make the marks."""
    return (tuple(line.split()) for line in format_marks(marks))


def marks_of(job: Job) -> Marks:
    """The marks that the job's set-up makes."""
    lines = [" ".join(argv) for argv in job.setup if "MARK" in argv or argv[:2] in ROUTING]
    return read_marks("\n".join(lines))


def router_of(job: Job) -> RouterSettings:
    """The rules and policies that the job's set-up makes, marks aside."""
    lines = [" ".join(argv) for argv in job.setup if argv[0] == "iptables" and "MARK" not in argv]
    return parse("\n".join(lines)).router
