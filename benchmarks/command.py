"""The command ``latchkey-bench``: measures into the directory of a run, and shows the results."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from rich.console import Console
from rich.markdown import Markdown

from benchmarks import progress, runs
from benchmarks import report as reports
from benchmarks.machine import describe_source
from benchmarks.metadata import describe_machine
from benchmarks.micro import plan
from benchmarks.micro.peers import PEERS
from benchmarks.overhead.plan import SERIES
from benchmarks.parts import Part, PartName
from benchmarks.suite import PARTS, cache_part, overhead_part

console = Console()

Command = Callable[..., None]


@click.group()
def main() -> None:
    """Measure what Latchkey costs, in comparison with alternatives."""


def _options(command: Command) -> Command:
    """The options of every measuring command."""
    for option in (
        click.option(
            "--quick",
            is_flag=True,
            help="Few rounds, all parts in under two minutes: a smoke test that proves nothing.",
        ),
        click.option(
            "--into",
            type=click.Path(path_type=Path, file_okay=False),
            help="The directory of the run; by default, its name is the date and the commit.",
        ),
        click.option(
            "--root",
            type=click.Path(path_type=Path, exists=True, file_okay=False),
            default=Path(),
            help="The checkout to measure; by default, the working directory.",
        ),
        click.option(
            "--any-build", is_flag=True, help="Also measure packages not installed from a wheel."
        ),
    ):
        command = option(command)
    return command


_free_threaded = click.option(
    "--free-threaded",
    metavar="PYTHON",
    help="A free-threaded interpreter with fastcache, for the measurements with threads.",
)


@main.command("all")
@_options
@_free_threaded
@click.option(
    "--resume",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Continue this run: measure only the parts without figures.",
)
def measure_all(free_threaded: str | None, resume: Path | None, **options: Any) -> None:
    """Measure every part. If one fails, it is reported, and the others continue.

    If everything was measured in full, docs/benchmarks.md is written again.
    """
    parts = [
        cache_part(free_threaded=free_threaded) if free_threaded and part.name == "cache" else part
        for part in PARTS
    ]
    if resume is not None:
        options["into"] = resume
    _measure(parts, resume=resume is not None, **options)


@main.command("cache")
@_options
@_free_threaded
@click.option("--only", multiple=True, type=click.Choice(plan.PARTS), help="Only this scenario.")
@click.option("--peer", multiple=True, type=click.Choice(list(PEERS)), help="Only this peer.")
def measure_cache(
    only: tuple[str, ...], peer: tuple[str, ...], free_threaded: str | None, **options: Any
) -> None:
    """Measure the cache by itself, in comparison with others."""
    part = cache_part(only or plan.PARTS, peer or tuple(PEERS), free_threaded)
    _measure([part], **options)


@main.command("overhead")
@_options
@click.option("--only", multiple=True, type=click.Choice(list(SERIES)), help="Only this series.")
@click.option("--processes", type=click.IntRange(min=1), help="Processes, one after another.")
@click.option("--calls", type=click.IntRange(min=1), help="Calls of each subject per process.")
def measure_overhead(
    only: tuple[str, ...], processes: int | None, calls: int | None, **options: Any
) -> None:
    """Measure what a check adds to a call, within one process."""
    part = overhead_part(only or tuple(SERIES), processes=processes, calls=calls)
    _measure([part], **options)


def _add(part: Part) -> None:
    """Add a command for a part without its own options."""

    @main.command(part.name, help=f"Measure {part.about}.")
    @_options
    def command(**options: Any) -> None:
        _measure([part], **options)


for _part in PARTS:
    if _part.name not in main.commands:
        _add(_part)


@main.command("report")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("later", nargs=-1, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--docs",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A checkout whose docs/benchmarks.md is also written; requires a complete run.",
)
def report(directory: Path, later: tuple[Path, ...], docs: Path | None) -> None:
    """Write the tables, plots and report of a run again, from its JSON files.

    The parts of LATER runs replace those of the run.
    """
    shown = _show(directory, later)
    if docs is not None:
        if not (shown.whole and _is_whole(shown.run)):
            raise click.ClickException("the documentation needs a complete run")
        _document(shown, docs)


def _measure(
    parts: Sequence[Part],
    *,
    quick: bool,
    into: Path | None,
    root: Path,
    any_build: bool,
    resume: bool = False,
) -> None:
    if not any_build:
        _refuse_editable()
    run = runs.new_run(describe_source(root), describe_machine(), quick=quick)
    directory = into or _directory(run, root, parts)
    if (directory / runs.FILE_NAME).exists():
        earlier = runs.read_run(directory)
        if run.continues(earlier):
            run = earlier
        elif resume:
            raise click.ClickException(f"{directory} has another setup; start a new run")
    if resume:
        parts = [part for part in parts if not _is_there(run, part, directory)]
    run.write(directory)
    expected = {} if quick or not all(part.whole for part in parts) else _expected(root)
    course = progress.Course([part.name for part in parts], expected)
    for part in parts:
        run.parts[part.name] = _measure_part(part, quick, directory, course)
        run.write(directory)
    shown = _show(directory)
    if _is_whole(run) and directory.resolve() == _directory(run, root, parts).resolve():
        _document(shown, root)
    failed = [part.name for part in parts if run.parts[part.name].failure is not None]
    if failed:
        raise click.ClickException(f"failed: {', '.join(failed)}; see the errors above")


def _directory(run: runs.Run, root: Path, parts: Sequence[Part]) -> Path:
    """The directory of a run; quick and partial runs go to one that git ignores."""
    whole = not run.quick and all(part.whole for part in parts)
    return root / ("benchmarks/results" if whole else "build/bench/results") / run.name


def _is_there(run: runs.Run, part: Part, directory: Path) -> bool:
    ended = run.parts.get(part.name)
    there = ended is not None and ended.failure is None and (ended.whole or run.quick)
    return there and runs.read_part(directory, part.name) is not None


def _is_whole(run: runs.Run) -> bool:
    return run.is_whole(_required())


def _required() -> tuple[PartName, ...]:
    """The parts without which a run is not complete."""
    return tuple(part.name for part in PARTS if not part.optional)


def _expected(root: Path) -> dict[PartName, float]:
    """The number of seconds that each part took in the newest complete run."""
    latest = runs.latest_whole(root / "benchmarks/results", _required())
    return {} if latest is None else runs.read_run(latest).seconds


def _measure_part(part: Part, quick: bool, directory: Path, course: progress.Course) -> runs.Ended:
    started = runs.now()
    failure = None
    # Figures of an earlier run must not be mistaken for those of this run.
    (directory / f"{part.name}.json").unlink(missing_ok=True)
    with progress.shown(course, part.name, console) as report:
        try:
            part.run(quick, directory, report)
        except Exception as error:  # noqa: BLE001  # the other parts go on, and the run says so
            failure = "".join(traceback.format_exception_only(error)).strip()
            console.print(f"[bold red]{part.name} failed:[/]")
            console.print(traceback.format_exc(), markup=False, highlight=False)
    whole = part.whole and not quick
    return runs.Ended(started=started, finished=runs.now(), whole=whole, failure=failure)


def _show(directory: Path, later: Sequence[Path] = ()) -> reports.Shown:
    try:
        shown = reports.read(directory, PARTS, later)
        reports.write(shown)
    except ValidationError as error:
        raise click.ClickException(
            f"the figures in {directory} have another form than this version reads: use the "
            "version that measured them, whose commit is in run.json"
        ) from error
    console.print(Markdown(reports.goal_table(shown).markdown()))
    if not shown.whole:
        console.print("[bold]Not proved:[/] a quick or partial run. The docs are unchanged.")
    console.print(f"Written to {directory}; see {reports.REPORT}.", highlight=False)
    return shown


def _document(shown: reports.Shown, root: Path) -> None:
    page = reports.write_documentation(shown, root)
    console.print(f"{page} and its plots now show this run.", highlight=False)


def _refuse_editable() -> None:
    """Stop if an imported package is not in this interpreter's own environment."""
    for package in ("fastcache", "latchkey", "latchkey_service"):
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:
            raise click.ClickException(f"{package} is not installed")
        if not Path(found.origin).resolve().is_relative_to(Path(sys.prefix).resolve()):
            raise click.ClickException(f"{package} is not installed from a wheel: use `make bench`")
