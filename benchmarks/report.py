"""Writes the page about a run, as Markdown for the documentation and as a single HTML file.

Both have the same text, generated from the run's JSON and the parts' templates.
"""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Template

from markdown_it import MarkdownIt

from benchmarks import plots, runs
from benchmarks.parts import UNMEASURED, UNPROVED, Measured, Part, Table, Verdict
from benchmarks.runs import Ended, Run

REPORT = "report.html"
TABLES = "tables.md"

_TEMPLATE = Path(__file__).with_name("page.md")
_FRAME = Path(__file__).with_name("report.html")
_IMAGE = re.compile(r"^!\[(?P<about>[^]]*)\]\((?P<name>[a-z0-9-]+)\)$", re.MULTILINE)
_TITLE = re.compile(r"^## (?P<title>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Shown:
    """A run that was read: its description, and the figures of its parts.

    ``later`` has the run of each part that was measured in another run than ``run``.
    """

    run: Run
    directory: Path
    figures: Mapping[str, tuple[Part, Measured]]
    later: Mapping[str, Run] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether every part in it was measured in full."""
        return bool(self.figures) and all(
            (ended := self.ended(part)) is not None and ended.whole
            for part, _ in self.figures.values()
        )

    def ended(self, part: Part) -> Ended | None:
        """How the measurement of a part ended; None if it was not measured."""
        return self.later.get(part.name, self.run).parts.get(part.name)


def read(directory: Path, parts: Sequence[Part], later: Sequence[Path] = ()) -> Shown:
    """Read the directory of a run, and the parts of ``later`` runs, which replace its own."""
    found: dict[str, tuple[Part, Measured]] = {}
    of_later: dict[str, Run] = {}
    for part in parts:
        for each in (directory, *later):
            measured = runs.read_part(each, part.name)
            if measured is None:
                continue
            found[part.name] = (part, measured)
            if each is not directory:
                of_later[part.name] = runs.read_run(each)
    return Shown(runs.read_run(directory), directory, found, of_later)


def verdicts(shown: Shown) -> dict[str, list[Verdict]]:
    """The goals of each part. A part that was not measured in full proves nothing."""
    found = {}
    for name, (part, measured) in shown.figures.items():
        goals = part.goals(measured)
        ended = shown.ended(part)
        if ended is None or not ended.whole:
            goals = [
                goal if goal.state.startswith(UNMEASURED) else replace(goal, state=UNPROVED)
                for goal in goals
            ]
        found[name] = goals
    return found


def goal_table(shown: Shown) -> Table:
    """All goals of all parts."""
    rows = [
        [name if place == 0 else "", goal.what, goal.goal, goal.measured, goal.state]
        for name, goals in verdicts(shown).items()
        for place, goal in enumerate(goals)
    ]
    return Table(["part", "what", "goal", "measured", ""], rows)


def write(shown: Shown) -> list[Path]:
    """Draw the plots, and write the report and the tables beside the JSON; returns the files."""
    written = []
    for part, measured in shown.figures.values():
        written += part.draw(measured, shown.directory)
    tables = [f"# {_name(shown)}", _warning(shown), "## Goals", goal_table(shown).markdown()]
    for name, (part, measured) in shown.figures.items():
        for title, table in part.tables(measured).items():
            tables += [f"## {name}: {title.replace('_', ' ')}", table.markdown()]
    pages = {
        TABLES: "\n\n".join(filter(None, tables)) + "\n",
        REPORT: _html(shown, _markdown(shown, lambda run: _raw_beside(run, shown))),
    }
    for file_name, text in pages.items():
        (shown.directory / file_name).write_text(text)
        written.append(shown.directory / file_name)
    return written


def write_documentation(shown: Shown, root: Path) -> Path:
    """Write docs/benchmarks.md and its plots in the checkout at ``root``; returns the page."""
    plotted = root / "docs" / "benchmarks"
    plotted.mkdir(parents=True, exist_ok=True)
    for stale in plotted.glob("*.png"):
        stale.unlink()

    for drawn in shown.directory.glob("*.png"):
        shutil.copyfile(drawn, plotted / drawn.name)
    page = root / "docs" / "benchmarks.md"
    page.write_text(documentation(shown, plotted))
    return page


def documentation(shown: Shown, plotted: Path) -> str:
    """The text of docs/benchmarks.md, with plots in the directory ``plotted``."""
    names = " and ".join(f"benchmarks/results/{run.name}" for run in _all_runs(shown))
    note = (
        f"<!-- Made by `make bench` from {names}: edit the "
        "templates in benchmarks, not this file. -->"
    )
    title, _, text = _markdown(shown, lambda run: f"../benchmarks/results/{run.name}").partition(
        "\n\n"
    )
    return _with_images(
        {path.stem for path in plotted.glob("*.png")},
        f"{title}\n\n{note}\n\n{text}",
        lambda about, name: f"![{about}](benchmarks/{name}.png)",
    )


def _all_runs(shown: Shown) -> list[Run]:
    """The run, and each later one once."""
    found = {run.name: run for run in (shown.run, *shown.later.values())}
    return list(found.values())


def _raw_beside(run: Run, shown: Shown) -> str:
    """The address of a run's JSON, from the directory of the shown run."""
    return runs.FILE_NAME if run is shown.run else f"../{run.name}/{runs.FILE_NAME}"


def _markdown(shown: Shown, raw: Callable[[Run], str]) -> str:
    """The whole page; images have no directory and extension yet.

    ``raw`` returns the address of the raw figures of a run.
    """
    sections = []
    for part, measured in shown.figures.values():
        tables = {f"table_{name}": each.markdown() for name, each in part.tables(measured).items()}
        places = {**tables, **part.words(measured)}
        sections.append(Template(part.page()).substitute(places).strip())
    absent = [name for name, ended in shown.run.parts.items() if ended.failure is not None]
    text = Template(_TEMPLATE.read_text()).substitute(
        date=shown.run.started[:10],
        commit=shown.run.source.commit,
        raw=raw(shown.run),
        later=_later(shown, raw),
        duration=_duration(shown.run),
        warning=_warning(shown),
        goals=goal_table(shown).markdown(),
        failed="".join(f"- `{name}` could not be measured.\n" for name in absent),
        sections="\n\n".join(sections),
        cores=shown.run.machine.cores,
        virtual="virtual" if shown.run.machine.virtual else "shared",
        machine=_machine(shown).markdown(),
    )
    # Empty placeholders must leave no gap.
    return re.sub(r"\n{3,}", "\n\n", text)


def _later(shown: Shown, raw: Callable[[Run], str]) -> str:
    """The parts of later runs, as sentences."""
    said = []
    for run in _all_runs(shown)[1:]:
        names = [f"`{name}`" for name, each in shown.later.items() if each.name == run.name]
        said.append(
            f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} of "
            f"[a later run]({raw(run)}) on {run.started[:10]} at commit `{run.source.commit}`."
        )
    return "\n".join(said)


def _duration(run: Run) -> str:
    """The duration of the parts, in minutes."""
    minutes = {name: round(seconds / 60) for name, seconds in run.seconds.items()}
    parts = ", ".join(f"`{name}` {each}" for name, each in minutes.items())
    return f"{round(sum(run.seconds.values()) / 60)} minutes ({parts})"


def _warning(shown: Shown) -> str:
    if shown.whole:
        return ""
    return "**Not proved**: this run was quick or partial. It only shows that everything runs."


def _name(shown: Shown) -> str:
    return f"Benchmarks, {shown.run.started[:10]}, commit {shown.run.source.commit}"


def _machine(shown: Shown) -> Table:
    run = shown.run
    machine = run.machine
    measured = ("flask", "gunicorn", "sqlalchemy", "werkzeug")
    versions = {name.lower(): f"{name} {each}" for name, each in run.python.packages.items()}
    rows = [
        ["processor", f"{machine.cpu}, {machine.cores} cores{' (virtual)' * machine.virtual}"],
        ["processor caches", ", ".join(f"{name} {size}" for name, size in machine.caches.items())],
        ["memory", f"{machine.memory_gib} GiB"],
        ["system", machine.system],
        *([name.replace("_", " "), text] for name, text in machine.details.items()),
        ["Python", f"{run.python.implementation} {run.python.version}, {run.python.compiler}"],
        ["packages", ", ".join(versions[name] for name in measured if name in versions)],
    ]
    rows += [
        [f"`{name}`", _ended(ended)] for name, ended in run.parts.items() if name not in shown.later
    ]
    for name, later in shown.later.items():
        ended = next(each for part, each in later.parts.items() if part == name)
        rows.append([f"`{name}`", f"{_ended(ended)}, {_differing(later, run)}"])
    return Table(["", ""], rows)


def _differing(later: Run, run: Run) -> str:
    """What a later run does not have in common with a run."""
    said = [f"at commit `{later.source.commit}`"]
    if later.machine.cpu != run.machine.cpu:
        said.append(later.machine.cpu)
    load = later.machine.details.get("load_avg_1min")
    if load is not None:
        said.append(f"load avg 1min {load}")
    return ", ".join(said)


def _ended(ended: Ended) -> str:
    said = f"{ended.started} to {ended.finished}"
    if ended.failure is not None:
        return f"{said}: failed"
    return said if ended.whole else f"{said}: not measured in full"


def _with_images(drawn: Collection[str], text: str, show: Callable[[str, str], str]) -> str:
    """Replace each image that was drawn, and remove the others."""

    def image(found: re.Match[str]) -> str:
        name = found["name"]
        if name not in drawn:
            return ""
        return show(found["about"], name)

    return re.sub(r"\n{3,}", "\n\n", _IMAGE.sub(image, text))


# ---- HTML


def _html(shown: Shown, text: str) -> str:
    """A self-contained page: tables, and plots in the colours of the text."""

    def inline(about: str, name: str) -> str:
        drawing = (shown.directory / f"{name}.svg").read_text()
        drawing = drawing[drawing.index("<svg") :].replace(plots.INK, "currentColor")
        # All drawings use the same ids for their shapes.
        drawing = re.sub(r'\bid="', f'id="{name}-', drawing)
        drawing = re.sub(r'((?:xlink:)?href="#|url\(#)', rf"\g<1>{name}-", drawing)
        # HTML has no namespace prefixes, and a blank line would end the block within Markdown.
        drawing = re.sub(
            r"\n\s*\n", "\n", re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.S)
        )
        label = html.escape(about, quote=True)
        return f'<figure role="img" aria-label="{label}">\n{drawing.strip()}\n</figure>'

    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    titles = [found["title"] for found in _TITLE.finditer(text)]
    body = reader.render(
        _with_images({path.stem for path in shown.directory.glob("*.svg")}, text, inline)
    )
    for title in titles:
        heading = html.escape(title, quote=False)
        body = body.replace(f"<h2>{heading}</h2>", f'<h2 id="{_anchor(title)}">{heading}</h2>', 1)
    body = body.replace("<table>", '<div class="table"><table>').replace(
        "</table>", "</table></div>"
    )
    return Template(_FRAME.read_text()).substitute(
        title=html.escape(_name(shown)),
        contents=_contents(titles),
        body=_marked(body),
    )


def _contents(titles: Iterable[str]) -> str:
    items = [f'<li><a href="#{_anchor(one)}">{html.escape(one)}</a></li>' for one in titles]
    return "\n".join(["<ul>", *items, "</ul>"])


def _anchor(title: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", title.lower()))


def _marked(body: str) -> str:
    """Colour the verdicts."""
    for word, cell in {
        "met": r"<td><strong>met</strong>",
        "missed": r"<td><strong>missed</strong>",
        "unproved": r"<td>not proved",
        "unmeasured": r"<td>not measured",
    }.items():
        body = body.replace(cell, cell.replace("<td>", f'<td class="{word}">'))
    return body
