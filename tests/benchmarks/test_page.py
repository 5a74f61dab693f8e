"""The output of a run: tables, plots, the report, and docs/benchmarks.md."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from benchmarks import report, runs
from benchmarks.bootstrap import Estimate
from benchmarks.machine import Source
from benchmarks.micro import goals, page, plan, plots
from benchmarks.micro.cases import Case
from benchmarks.micro.peers import PEERS
from benchmarks.micro.results import MicroResults
from benchmarks.parts import MET, MISSED, UNMEASURED, UNPROVED, Part, Table, Verdict
from benchmarks.plots import Dot, dots, draw
from benchmarks.runs import Ended
from benchmarks.suite import PARTS, cache_part
from tests.support.benchmarks.rounds import ALWAYS, MACHINE, ROOT

PAGE = ROOT / "docs" / "benchmarks.md"


@pytest.fixture(scope="module")
def shown(measured: MicroResults, tmp_path_factory: pytest.TempPathFactory) -> report.Shown:
    """The short measurement of the cache, as a report of a quick run."""
    directory = tmp_path_factory.mktemp("run")
    run = new_run()
    run.parts["cache"] = Ended(started=run.started, finished=run.started, whole=False)
    run.write(directory)
    (directory / "cache.json").write_text(measured.model_dump_json())
    shown = report.read(directory, PARTS)
    report.write(shown)
    return shown


def new_run() -> runs.Run:
    return runs.new_run(Source(commit="0123456789"), MACHINE, quick=True)


class Outline(HTMLParser):
    """The tags of a page, and all its addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "data") and value is not None:
                self.addresses.append(value)
            if name == "id" and value is not None:
                self.ids.append(value)


def test_the_report_is_one_file(shown: report.Shown) -> None:
    text = (shown.directory / report.REPORT).read_text()
    outline = Outline()
    outline.feed(text)
    assert outline.tags.count("svg") == 5
    assert outline.tags.count("table") >= 8
    assert not {"script", "link", "img", "iframe", "object"} & set(outline.tags)
    assert len(outline.ids) == len(set(outline.ids))
    inside = [address for address in outline.addresses if address.startswith("#")]
    assert {address[1:] for address in inside} <= set(outline.ids)
    # The remaining addresses are links to the raw measurements.
    rest = [address for address in outline.addresses if not address.startswith("#")]
    assert rest == ["run.json"]
    assert "url(http" not in text
    assert "@import" not in text


def test_the_same_json_gives_the_same_files(shown: report.Shown, tmp_path: Path) -> None:
    for name in (runs.FILE_NAME, "cache.json"):
        (tmp_path / name).write_bytes((shown.directory / name).read_bytes())
    again = report.read(tmp_path, PARTS)
    written = report.write(again)
    assert len(written) == 2 * 5 + 2
    for path in written:
        assert path.read_bytes() == (shown.directory / path.name).read_bytes(), path.name
    assert report.documentation(again, tmp_path) == report.documentation(shown, shown.directory)


def test_the_plots_are_written_beside_the_documentation(
    shown: report.Shown, tmp_path: Path
) -> None:
    (tmp_path / "docs" / "benchmarks").mkdir(parents=True)
    (tmp_path / "docs" / "benchmarks" / "of-an-earlier-run.png").touch()
    text = report.write_documentation(shown, tmp_path).read_text()
    linked = set(re.findall(r"\]\(benchmarks/(\S+\.png)\)", text))
    assert linked == {path.name for path in (tmp_path / "docs" / "benchmarks").iterdir()}
    assert len(linked) == 5
    assert "$" not in text
    assert f"benchmarks/results/{shown.run.name}" in text


def test_tables_are_complete(shown: report.Shown) -> None:
    for text in (
        report.documentation(shown, shown.directory),
        (shown.directory / report.TABLES).read_text(),
    ):
        for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
            lines = table.splitlines()
            assert set(lines[1]) == set("| -")
            assert len({line.count("|") for line in lines}) == 1, table
        for name in ALWAYS:
            assert f"| {name} |" in text or f"| **{name}** |" in text


def test_each_goal_has_its_row(shown: report.Shown, results: MicroResults) -> None:
    rows = goals.verdicts(results)
    text = report.documentation(shown, shown.directory)
    assert len(rows) == 7
    for row in rows:
        state = row.state if row.state.startswith(UNMEASURED) else UNPROVED
        assert f"| {row.what} | {row.goal} | {row.measured} | {state} |" in text


def sure() -> Part:
    """A part whose verdicts are fixed."""
    states = (MET, MISSED, f"{UNMEASURED}: no such machine")
    verdicts = [Verdict("what", "goal", "1 ns", state) for state in states]
    part = cache_part()
    return replace(part, view=replace(part.view, goals=lambda results: verdicts))


def test_a_short_run_proves_nothing(shown: report.Shown, measured: MicroResults) -> None:
    figures = {"cache": (sure(), measured.model_dump(mode="json"))}
    assert "**Not proved**" in (shown.directory / report.TABLES).read_text()
    quick = report.Shown(shown.run, shown.directory, figures)
    states = [one.state for one in report.verdicts(quick)["cache"]]
    assert states == [UNPROVED, UNPROVED, f"{UNMEASURED}: no such machine"]
    whole = shown.run.model_copy(deep=True)
    whole.parts["cache"].whole = True
    full = report.Shown(whole, shown.directory, figures)
    states = [one.state for one in report.verdicts(full)["cache"]]
    assert states == [MET, MISSED, f"{UNMEASURED}: no such machine"]


def test_a_part_that_failed_is_named(shown: report.Shown) -> None:
    run = shown.run.model_copy(deep=True)
    run.parts["overhead"] = Ended(
        started=run.started, finished=run.started, whole=True, failure="OSError: no room"
    )
    text = report.documentation(report.Shown(run, shown.directory, shown.figures), shown.directory)
    assert "`overhead` could not be measured" in text


def test_missing_peers_and_lost_entries_are_named(results: MicroResults) -> None:
    assert "too large for this machine's memory" in page.words(results)["too_large"]
    assert "found every key" in page.words(results)["kept"]
    results.interpreters["default"].missing["cachetools"] = "No module named 'cachetools'"
    cell = results.cell(goals.ZIPF)
    assert cell is not None
    cell.kept["cachetools"] = 0.98
    assert "cachetools found 98.0% of the present keys" in page.words(results)["kept"]
    peers = page.tables(results)["peers"].markdown()
    assert "**not measured**: No module named 'cachetools'" in peers


def test_every_peer_has_its_own_colour() -> None:
    assert plots.STYLES.keys() == PEERS.keys()


@pytest.mark.parametrize("name", ["protected / open, more clients", "check, " * 5, "W" * 40])
def test_a_long_name_is_not_cut_off(name: str, tmp_path: Path) -> None:
    def plot() -> Figure:
        figure = Figure(figsize=(8, 2), layout="constrained")
        dots(figure.subplots(), [Dot(name, Estimate(value=2, low=1, high=3))])
        return figure

    drawn, painted = draw({"named": plot}, tmp_path)
    assert (drawn.suffix, painted.suffix) == (".svg", ".png")
    at_the_left = imread(painted)[:, :3]
    assert at_the_left.min() == 1.0


def test_a_run_without_a_part_still_has_a_page(results: MicroResults) -> None:
    results.cells = [cell for cell in results.cells if cell.case == Case("get", 64)]
    empty = [table for table in page.tables(results).values() if not table.rows]
    assert len(empty) >= 3
    assert empty[0].markdown() == "Not measured."
    assert {one.state for one in goals.verdicts(results)} == {UNMEASURED}


def test_cells_line_up() -> None:
    table = Table(["", "ns"], [["a", "1"], ["b", "2"]])
    assert table.markdown() == "|  | ns |\n| --- | --- |\n| a | 1 |\n| b | 2 |"


def test_the_documentation_is_generated_from_the_committed_run(tmp_path: Path, long: bool) -> None:
    """With ``--long`` all plots are drawn again, otherwise those of one part."""
    required = tuple(part.name for part in PARTS if not part.optional)
    newest = runs.latest_whole(ROOT / "benchmarks" / "results", required)
    if newest is None:
        assert not PAGE.exists(), "docs/benchmarks.md shows a run that is not there"
        return
    shown = report.read(newest, PARTS, runs.later_than(newest))
    assert newest.name == shown.run.name
    assert sum(shown.run.seconds.values()) < 75 * 60
    text = PAGE.read_text()
    assert text == report.documentation(shown, PAGE.with_suffix(""))
    assert shown.figures["cache"][1]["settings"]["peers"] == list(plan.FULL.peers)
    for name, (part, measured) in shown.figures.items():
        if long or name == "scale":
            part.draw(measured, tmp_path)
    shown_there = set(re.findall(r"\]\(benchmarks/(\S+\.png)\)", text))
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == shown_there if long else drawn < shown_there
    assert drawn
    for name in drawn:
        assert (PAGE.with_suffix("") / name).read_bytes() == (tmp_path / name).read_bytes()
