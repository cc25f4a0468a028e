"""The command line: one subcommand per arrow of the data flow.

Exit status: 0 passed or identical, 1 an expectation failed or results differ, 2 something cannot be
understood, read or written (one line on standard error says what), 130 interrupted.

Everything heavy is imported inside the commands, so that ``lbsim --help`` answers at once.
"""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, ParamSpec

import click

from lbsim import __version__
from lbsim.errors import BuiltWithout, LbsimError
from lbsim.meter import Meter

if TYPE_CHECKING:
    from lbsim.explain import Selection
    from lbsim.model.explanation import Explanation
    from lbsim.scenario import Loaded

__all__ = ["main"]

PASSED, FAILED, CANNOT, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141

P = ParamSpec("P")
A_PATH = click.Path(path_type=Path, readable=False)  # whoever reads it says in one line why it cannot be read


def _exits(command: Callable[P, int]) -> Callable[P, NoReturn]:
    """A command that ends with its exit status and never with a traceback for what a user can meet."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> NoReturn:
        _replace_closed_streams()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a test's or a notebook's is none
                stream.reconfigure(errors="backslashreplace")
        try:
            status = command(*args, **kwargs)
            sys.stdout.flush()
        except LbsimError as error:
            status = _complain(error)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            status = INTERRUPTED
        except MemoryError:
            status = _complain("not enough memory: expected less traffic or a shorter run")
        except BrokenPipeError:
            _discard_output()
            status = PIPE_CLOSED
        except OSError as error:
            _discard_output()
            status = _complain(f"{error.filename or 'cannot write the output'}: {error.strerror or error}")
        sys.exit(status)

    return guarded


def _replace_closed_streams() -> None:
    """Python has None for a stream that was closed before it began (``lbsim run ... >&-``): write to nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))


def _complain(error: LbsimError | str) -> int:
    """Say in one line why something cannot be done; PASSED if that is no failure."""
    click.echo(" ".join(str(error).splitlines()), err=True)
    return PASSED if isinstance(error, BuiltWithout) else CANNOT


def _discard_output() -> None:
    """Nobody reads it any more: let the interpreter's last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="lbsim", message="%(prog)s %(version)s")
def main() -> None:
    """A flight simulator for Linux load balancing: what would the kernel's IPVS do?"""


@main.command()
@click.argument("scenarios", nargs=-1, required=True, type=A_PATH, metavar="SCENARIO...")
@click.option(
    "--out",
    type=A_PATH,
    default=Path("reports"),
    show_default=True,
    help="Folder for reports, one folder each.",
)
@click.option("--no-figures", is_flag=True, help="Reports without figures.")
@click.option(
    "--pcap-out",
    type=A_PATH,
    metavar="DIRECTORY|FILE.pcap",
    help="Write what each destination and the clients received, or all of it into one capture; of several scenarios, "
    "into DIRECTORY/NAME or FILE.NAME.pcap.",
)
@click.option(
    "--columns-out",
    type=A_PATH,
    metavar="FILE",
    help="Write every packet's row to a .npz, .arrow or .parquet file; of several scenarios, FILE.NAME.npz and so on.",
)
@click.option(
    "--keep-columns",
    is_flag=True,
    help="Keep every packet in result.json, also of more than 2,000,000; lbsim compare needs them.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Run N scenarios at a time, or N independent services of a single one; default: 1, or one per processor if"
    " figures of more than 3 scenarios are drawn.",
)
@click.option(
    "--lane",
    type=click.Choice(["auto", "interpreted", "compiled"]),
    default="auto",
    show_default=True,
    help="How the engine runs: compiled (numba) pays from about a million packets on. The answers are the same.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document per scenario, one per line.")
@click.option("-q", "--quiet", is_flag=True, help="Print only expectations that failed.")
@click.option(
    "--strict",
    is_flag=True,
    help="Also fail if a command is refused, or lbsim does not model what a kernel would do with a packet.",
)
@_exits
def run(
    *,
    scenarios: tuple[Path, ...],
    out: Path,
    no_figures: bool,
    pcap_out: Path | None,
    columns_out: Path | None,
    keep_columns: bool,
    jobs: int | None,
    lane: str,
    as_json: bool,
    quiet: bool,
    strict: bool,
) -> int:
    """Run scenarios and check their expectations.

    SCENARIO is a file, or a directory: then all *.lbsim.yaml files below it.
    """
    from lbsim.batch import Wanted, outcomes
    from lbsim.export import check_target
    from lbsim.packet.received import folder_of
    from lbsim.pipeline import refuse_unwritable

    refuse_unwritable(out)
    refuse_unwritable(pcap_out and folder_of(pcap_out))
    if columns_out:
        check_target(columns_out)
        refuse_unwritable(columns_out.parent)
    status = PASSED
    files, missing = _scenario_files(scenarios)
    for error in missing:
        status = _complain(error)
    wanted = Wanted(
        out=out,
        figures=not no_figures,
        pcap_out=pcap_out,
        columns_out=columns_out,
        keep_columns=keep_columns,
        as_json=as_json,
        quiet=quiet,
        strict=strict,
        lane=lane,
        width=_terminal_width(),
    )
    hints = set()
    with closing(outcomes(files, wanted, jobs)) as found:
        for one in found:
            if isinstance(one, LbsimError):
                status = _complain(one)
            else:
                click.echo(one.text, nl=False)
                hints.add(one.hint)
                status = max(status, PASSED if one.passed else FAILED)
    for hint in sorted(hints - {""}):
        click.echo(hint, err=True)
    return status


def _terminal_width() -> int | None:
    """Columns of the terminal that standard output goes to; None if it goes elsewhere."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console

    return Console().width


@main.command()
@click.argument("a", type=A_PATH)
@click.argument("b", type=A_PATH)
@click.option("--json", "as_json", is_flag=True, help="The whole comparison as one JSON document.")
@_exits
def compare(a: Path, b: Path, as_json: bool) -> int:
    """Compare two results row by row: the result.json of two reports, or the reports' folders."""
    from lbsim.compare import compare as compare_results
    from lbsim.model.result import Result

    results = [Result.from_json(path / "result.json" if path.is_dir() else path) for path in (a, b)]
    comparison = compare_results(*results)
    if as_json:
        _print_json(comparison.to_dict())
    else:
        click.echo("\n".join(comparison.lines()))
    return PASSED if comparison.identical else FAILED


@main.command()
@click.argument("scenario", type=A_PATH)
@click.option("--packet", type=int, metavar="N", help="Packet number N of the run, counted from 0 as in lbsim compare.")
@click.option(
    "--flow",
    metavar="tcp:CLIENT:PORT->VIP:PORT",
    help="Every packet of this flow, in both directions; also udp: and sctp:, IPv6 in brackets.",
)
@click.option("--at", metavar="TIME", help="Of the flow only the first packet at or after this time (12.5s, 200ms).")
@click.option("--json", "as_json", is_flag=True, help="One JSON document per packet, one per line.")
@_exits
def explain(*, scenario: Path, packet: int | None, flow: str | None, at: str | None, as_json: bool) -> int:
    """Say why the director does what it does with a packet of SCENARIO.

    The scenario runs up to the packet. Then: the service that matches, the connection entry or the scheduler's
    decision with every destination's load, the state, the timer, the new header and the counters that move.
    """
    from dataclasses import asdict

    from lbsim import pipeline
    from lbsim.explain import lines
    from lbsim.scenario import load

    wanted = _wanted_packets(packet, flow, at)
    told = 0

    def tell(found: Explanation) -> None:
        nonlocal told
        if as_json:
            _print_json(asdict(found))
        else:
            click.echo("\n" * (told > 0) + "\n".join(lines(found, _terminal_width() or 100)))
        told += 1

    with Meter("explain") as progress:
        pipeline.explain(load(scenario), wanted, tell, progress=progress)
    return PASSED


def _wanted_packets(packet: int | None, flow: str | None, at: str | None) -> Selection:
    """What is to be explained; LbsimError if that is not said, or in a way that cannot be understood."""
    from lbsim.explain import FlowName, TheFlow, ThePacket
    from lbsim.model.scenario import parse_duration

    if (packet is None) == (flow is None):
        raise LbsimError("which packet? expected either --packet N or --flow tcp:CLIENT:PORT->VIP:PORT")
    if flow is None:
        assert packet is not None
        if at is not None:
            raise LbsimError("--at belongs to --flow: expected --packet N alone")
        return ThePacket(packet)
    try:
        time = None if at is None else parse_duration(at)
    except ValueError as error:
        raise LbsimError(f"--at: {error}") from None
    return TheFlow(FlowName.parse(flow), time)


A_WAY = click.Choice(["auto", "netns", "vm", "vm:6.1", "vm:6.12"])
RECORDED_KERNELS = ("6.1", "6.12")


@main.command()
@click.argument("scenarios", nargs=-1, required=True, type=A_PATH, metavar="SCENARIO...")
@click.option("--kernel", "way", type=A_WAY, default="auto", show_default=True, help="Which kernel, and how.")
@click.option("--recorded", is_flag=True, help="Compare with the recordings beside the scenarios, without any kernel.")
@click.option("--real-time", is_flag=True, help="Let the kernel's clock run like ours, instead of jumping.")
@click.option(
    "--out",
    type=A_PATH,
    metavar="DIRECTORY",
    help="Write both sides' results, for lbsim compare: NAME/linux-6.1/kernel.json and engine.json.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Compare N scenarios with recordings at a time; default: one per processor for more than 3 scenarios, else 1.",
)
@click.option("--allow-skip", is_flag=True, help="Do not fail because of what no kernel could be asked about.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document per verification, one per line.")
@_exits
def verify(
    *,
    scenarios: tuple[Path, ...],
    way: str,
    recorded: bool,
    real_time: bool,
    out: Path | None,
    jobs: int | None,
    allow_skip: bool,
    as_json: bool,
) -> int:
    """Replay scenarios on a real kernel and compare every packet and every table with the engine's.

    SCENARIO is a file, or a directory: then all *.lbsim.yaml files below it.
    """
    if recorded:
        _get_ready(scenarios, jobs)
    from lbsim import replays
    from lbsim.errors import KernelFailed, KernelUnavailable
    from lbsim.pipeline import refuse_unwritable

    refuse_unwritable(out)
    loaded, status = _comparable(*_loaded(scenarios, different_names=out is not None))
    compared = left_out = 0

    def complain(error: LbsimError) -> None:
        nonlocal status, left_out
        left_out += isinstance(error, BuiltWithout)
        if allow_skip and isinstance(error, KernelUnavailable) and not isinstance(error, KernelFailed):
            click.echo(f"skipped: {error}", err=True)
        else:
            status = max(status, _complain(error))

    try:
        with Meter("verify") as progress:
            found = (
                replays.verify_all_recorded(loaded, RECORDED_KERNELS, jobs, out=out, progress=progress)
                if recorded
                else replays.verify(loaded, way=way, real_time=real_time, out=out, progress=progress, complain=complain)
            )
            with closing(found):
                for one in found:
                    if isinstance(one, LbsimError):
                        complain(one)
                        continue
                    compared += 1
                    _print_json(one.to_dict()) if as_json else click.echo("\n".join(one.lines()))
                    status = max(status, PASSED if one.identical else FAILED)
    except KernelUnavailable as error:
        complain(error)
    return max(status, CANNOT) if left_out and not compared else status


def _get_ready(scenarios: tuple[Path, ...], jobs: int | None) -> None:
    """If there will be several processes, let their imports begin, side by side with those of this one."""
    from lbsim.jobs import FOR_RECORDINGS, as_many_as_pay, get_ready

    files, _ = _scenario_files(scenarios)
    if (jobs or as_many_as_pay(len(files))) > 1:
        get_ready(FOR_RECORDINGS)


@main.group()
def kernel() -> None:
    """Real kernels: which there are, and recordings of what they do."""


@kernel.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@_exits
def status(*, as_json: bool) -> int:
    """Say which ways to a real kernel work here, and what is missing for the others."""
    from dataclasses import asdict

    from lbsim.kernel import status as probe

    ways = []
    for way in probe():
        ways.append(way)
        if not as_json:
            click.echo(f"{way.name}: linux-{way.release}" if way.works else f"{way.name}: not here: {way.problem}")
    if as_json:
        _print_json([asdict(way) for way in ways])
    return PASSED if any(way.works for way in ways) else CANNOT


@kernel.command()
@click.argument("which", default="6.1")
@_exits
def fetch(which: str) -> int:
    """Bring a kernel into the user's cache: 6.1, 6.12, or the path of a Debian kernel package."""
    from lbsim.kernel import fetch as fetch_image

    with Meter("fetch") as progress:
        image = fetch_image(which, progress)
    click.echo(f"linux-{image.release}: {image.vmlinuz}")
    return PASSED


@kernel.command()
@click.argument("scenarios", nargs=-1, required=True, type=A_PATH, metavar="SCENARIO...")
@click.option("--kernel", "way", type=A_WAY, default="auto", show_default=True, help="Which kernel, and how.")
@_exits
def record(*, scenarios: tuple[Path, ...], way: str) -> int:
    """Store what a real kernel does with scenarios beside them, for lbsim verify --recorded."""
    from lbsim import replays

    loaded, status = _comparable(*_loaded(scenarios))

    def complain(error: LbsimError) -> None:
        nonlocal status
        status = max(status, _complain(error))

    command = f"lbsim kernel record --kernel {way}"
    with Meter("record") as progress:
        for path, one in replays.record(loaded, way=way, command=command, progress=progress, complain=complain):
            click.echo(str(path))
            click.echo("\n".join(one.lines()))
            status = max(status, PASSED if one.identical else FAILED)
    return status


def _loaded(scenarios: tuple[Path, ...], *, different_names: bool = False) -> tuple[list[Loaded], int]:
    """The scenarios that can be understood; CANNOT if one of them cannot, which is said.

    different_names : refuse a second scenario of the same name.
    """
    from lbsim.scenario import load

    files, missing = _scenario_files(scenarios)
    status = PASSED
    loaded = []
    names: dict[str, Path] = {}
    for error in missing:
        status = _complain(error)
    for path in files:
        try:
            one = load(path)
            if different_names:
                _refuse_known_name(one.scenario.name, path, names)
        except LbsimError as error:
            status = _complain(error)
        else:
            loaded.append(one)
    return loaded, status


def _comparable(loaded: list[Loaded], status: int) -> tuple[list[Loaded], int]:
    """Those that a real kernel can answer, others are told; and the exit status, which is not 0 if none is left."""
    left = [one for one in loaded if not one.not_on_a_kernel]
    for one in loaded:
        if one.not_on_a_kernel:
            click.echo(f"{one.scenario.name}: left out: {one.not_on_a_kernel}", err=True)
    return left, max(status, CANNOT) if loaded and not left else status


def _refuse_known_name(name: str, path: Path, names: dict[str, Path]) -> None:
    """Raise an LbsimError if an earlier scenario has the name: what is written for one would replace the other's."""
    if name in names:
        raise LbsimError(f"name {name!r} is that of {names[name]}, too", file=str(path))
    names[name] = path


@main.command()
@_exits
def profiles() -> int:
    """List the kernels that can be imitated, and what older ones do otherwise."""
    from lbsim.engine.profile import profiles_text

    click.echo(profiles_text())
    return PASSED


@main.command()
@_exits
def schema() -> int:
    """Print the JSON schema of scenario files."""
    from lbsim.model.scenario import Scenario

    _print_json(Scenario.model_json_schema(), indent=2)
    return PASSED


def _scenario_files(scenarios: tuple[Path, ...]) -> tuple[list[Path], list[LbsimError]]:
    """The files to run, each once and in order, and what was wrong with the directories."""
    files: dict[Path, Path] = {}
    errors: list[LbsimError] = []
    for path in scenarios:
        found = _scenarios_below(path, errors) if os.path.isdir(path) else [path]
        for file in found:
            files.setdefault(file.absolute(), file)
    return list(files.values()), errors


def _scenarios_below(directory: Path, errors: list[LbsimError]) -> list[Path]:
    """All scenario files of a directory, in order; folders that cannot be read go to ``errors``."""
    unread: list[OSError] = []
    walked = list(os.walk(directory, onerror=unread.append))
    found = sorted(Path(folder, name) for folder, _, names in walked for name in names if name.endswith(".lbsim.yaml"))
    errors += [LbsimError(f"cannot read: {error.strerror}", file=str(error.filename)) for error in unread]
    if not found and not unread:
        errors.append(LbsimError("no *.lbsim.yaml below this directory", file=str(directory)))
    return found


def _print_json(document: object, *, indent: int | None = None) -> None:
    import json

    click.echo(json.dumps(document, indent=indent, ensure_ascii=False))
