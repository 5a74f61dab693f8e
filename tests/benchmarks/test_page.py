"""What is made from a run: tables, plots, and docs/benchmarks.md."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from benchmarks.micro import goals, page, plan
from benchmarks.micro import results as records
from benchmarks.micro.cases import Case
from benchmarks.micro.peers import PEERS
from benchmarks.micro.results import Results
from tests.benchmarks.rounds import ALWAYS, ROOT

PAGE = ROOT / "docs" / "benchmarks.md"


def test_the_same_json_gives_the_same_page(results: Results, tmp_path: Path) -> None:
    records.write(results, tmp_path)
    first = page.write_page(results)
    assert first == page.write_page(records.read(tmp_path))
    assert "$" not in first
    assert f"benchmarks/results/{results.name}/cache.json" in first


def test_tables_are_whole(results: Results) -> None:
    for text in (page.write_page(results), page.write_tables(results)):
        for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
            lines = table.splitlines()
            assert set(lines[1]) == set("| -")
            assert len({line.count("|") for line in lines}) == 1, table
        for name in ALWAYS:
            assert f"| {name} |" in text or f"| **{name}** |" in text


def test_each_goal_has_its_row(results: Results) -> None:
    rows = goals.verdicts(results)
    text = page.write_page(results)
    assert len(rows) == 7
    for row in rows:
        assert f"| {row.what} | {row.goal} | {row.measured} | {row.state} |" in text
        assert row.state != goals.MET


def test_a_short_run_says_that_it_proves_nothing(results: Results) -> None:
    assert "Not proved" in page.write_tables(results)
    results.whole = True
    assert "Not proved" not in page.write_tables(results)


def test_what_is_missing_or_was_lost_is_named(results: Results) -> None:
    text = page.write_page(results)
    assert "too large for this machine's memory at 10,000,000 entries" in text
    assert "found every key" in text
    results.interpreters["default"].missing["cachetools"] = "No module named 'cachetools'"
    cell = results.cell(goals.ZIPF)
    assert cell is not None
    cell.kept["cachetools"] = 0.98
    text = page.write_page(results)
    assert "**not measured**: No module named 'cachetools'" in text
    assert "cachetools found 98.0% of the present keys" in text


def test_every_peer_has_a_colour_of_its_own() -> None:
    plots = pytest.importorskip("benchmarks.micro.plots") if _has("matplotlib") else None
    if plots is None:
        pytest.skip("matplotlib is not installed: `pip install latchkey[bench]`")
    assert plots.STYLES.keys() == PEERS.keys()


def test_the_same_json_gives_the_same_plots(results: Results, tmp_path: Path) -> None:
    if not _has("matplotlib"):
        pytest.skip("matplotlib is not installed: `pip install latchkey[bench]`")
    plots = importlib.import_module("benchmarks.micro.plots")
    first = plots.draw(results, tmp_path / "first")
    second = plots.draw(results, tmp_path / "second")
    assert len(first) == 5
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert "<svg" in one.read_text()
        assert f"benchmarks/{one.name}" in page.TEMPLATE.read_text()


def test_a_run_without_a_part_still_has_a_page(results: Results) -> None:
    results.cells = [cell for cell in results.cells if cell.case == Case("get", 64)]
    text = page.write_page(results)
    assert text.count("Not measured.") >= 3
    assert {one.state for one in goals.verdicts(results)} == {goals.UNMEASURED}


def test_the_documentation_is_made_from_the_committed_run() -> None:
    newest = records.latest_whole(ROOT / "benchmarks" / "results")
    if newest is None:
        assert not PAGE.exists(), "docs/benchmarks.md shows a run that is not there"
        return
    results = records.read(newest)
    assert newest.name == results.name
    assert PAGE.read_text() == page.write_page(results)
    assert results.settings["peers"] == list(plan.FULL.peers)
    for drawn in re.findall(r"\]\((benchmarks/\S+\.svg)\)", PAGE.read_text()):
        made = newest / Path(drawn).name
        assert (ROOT / "docs" / drawn).read_bytes() == made.read_bytes()


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
