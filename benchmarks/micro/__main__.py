"""``python -m benchmarks.micro``: measure the cache, and write what docs/benchmarks.md shows."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.metadata import describe_machine
from benchmarks.micro import driver, page, plan, plots, results
from benchmarks.micro.peers import PEERS

console = Console()


@click.group()
def main() -> None:
    """Benchmarks of the cache alone."""


@main.command()
@click.option("--quick", is_flag=True, help="Few rounds, under two minutes: proves nothing.")
@click.option("--only", multiple=True, type=click.Choice(plan.PARTS), help="Only this part.")
@click.option("--peer", multiple=True, type=click.Choice(list(PEERS)), help="Only this peer.")
@click.option(
    "--free-threaded",
    metavar="PYTHON",
    help="A free-threaded interpreter that has fastcache; it measures threads as well.",
)
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path(),
    help="The checkout: results and docs are written there. The working directory, by default.",
)
@click.option(
    "--any-build",
    is_flag=True,
    help="Measure fastcache even if it is not installed from a wheel.",
)
def run(
    quick: bool,
    only: tuple[str, ...],
    peer: tuple[str, ...],
    free_threaded: str | None,
    root: Path,
    any_build: bool,
) -> None:
    """Measure everything, and write JSON, tables and plots. A whole run rewrites the docs."""
    if not any_build:
        _refuse_editable()
    settings = plan.QUICK if quick else plan.FULL
    settings = replace(settings, parts=only or settings.parts, peers=peer or settings.peers)
    interpreters = {"default": sys.executable}
    if free_threaded:
        interpreters["free-threaded"] = free_threaded
    with Progress(
        TextColumn("{task.description:<48}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        task = progress.add_task("starting")

        def report(done: int, expected: int, what: str) -> None:
            progress.update(task, completed=done, total=expected, description=what)

        measured = driver.run(settings, interpreters, describe_machine(), root, report)
    directory = root / "benchmarks" / "results" / measured.name
    if not measured.whole:
        # Beside whole runs, but not among them: git ignores it.
        directory = root / "build" / "bench" / "results" / measured.name
    results.write(measured, directory)
    _show(measured, directory)
    if measured.whole:
        _write_docs(measured, directory, root)
    else:
        console.print("[bold]Not proved:[/] a quick or partial run. The docs stay as they are.")


@main.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--docs", type=click.Path(path_type=Path, exists=True, file_okay=False))
def report(directory: Path, docs: Path | None) -> None:
    """Make the tables and plots of a run again, from its JSON; with --docs=., the docs too."""
    measured = results.read(directory)
    _show(measured, directory)
    if docs is not None:
        if not measured.whole:
            raise click.ClickException("the docs are made from whole runs only")
        _write_docs(measured, directory, docs)


def _refuse_editable() -> None:
    found = importlib.util.find_spec("fastcache")
    if found is None or found.origin is None:
        raise click.ClickException("fastcache is not installed")
    if not Path(found.origin).resolve().is_relative_to(Path(sys.prefix).resolve()):
        raise click.ClickException(
            "fastcache is not installed from a wheel: use `make bench-cache`"
        )


def _show(measured: results.Results, directory: Path) -> None:
    (directory / "cache.md").write_text(page.write_tables(measured))
    plots.draw(measured, directory)
    console.print(Markdown(page.write_digest(measured)))
    for label, python in measured.interpreters.items():
        for name, error in python.missing.items():
            console.print(f"[bold red]missing ({label}):[/] {name}: {error}", highlight=False)
    console.print(f"Written to {directory}", highlight=False)


def _write_docs(measured: results.Results, directory: Path, root: Path) -> None:
    target = root / "docs" / "benchmarks"
    target.mkdir(parents=True, exist_ok=True)
    for drawn in directory.glob("cache-*.svg"):
        shutil.copyfile(drawn, target / drawn.name)
    (root / "docs" / "benchmarks.md").write_text(page.write_page(measured))
    console.print("docs/benchmarks.md and its plots are of this run.")


if __name__ == "__main__":
    main()
