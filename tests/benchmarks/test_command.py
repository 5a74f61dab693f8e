"""``latchkey-bench``: the files of a run, failures, and resuming."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydantic import BaseModel, ConfigDict

from benchmarks import command, runs
from benchmarks.parts import MET, Part, PartName, Report, Table, Verdict, View
from benchmarks.progress import Course
from benchmarks.suite import PARTS


class Figures(BaseModel):
    """The figures of a small part."""

    model_config = ConfigDict(extra="forbid")

    figures: tuple[int, float]


class Small:
    """A part that is finished immediately, or fails as often as requested."""

    def __init__(self, name: PartName, page: Path) -> None:
        page.write_text(f"## The part {name}\n\nMeasured $times times.\n\n$table_figures\n")
        self.failures: list[str] = []
        self.measured: list[bool] = []
        self.part = Part(
            name=name,
            about="nothing much",
            measure=self._measure,
            view=View(
                results=Figures,
                goals=lambda found: [
                    Verdict(f"what {name} is for", "≤ 3", str(found.figures[1]), MET)
                ],
                tables=lambda found: {
                    "figures": Table(["turn", "figure"], [[str(each) for each in found.figures]])
                },
                words=lambda found: {"times": str(found.figures[0])},
                draw=lambda found, directory: [],
                page=page,
            ),
        )

    def _measure(self, quick: bool, report: Report) -> Figures:
        report(0, 1, "measuring")
        if self.failures:
            raise OSError(self.failures.pop())
        self.measured.append(quick)
        return Figures(figures=(len(self.measured), 2.5))


@dataclass(frozen=True)
class Bench:
    """The command with two small parts, in its own checkout."""

    root: Path
    first: Small
    second: Small

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(command.main, arguments)

    def all(self, *arguments: str) -> Result:
        return self("all", "--any-build", "--root", str(self.root), *arguments)

    @property
    def page(self) -> Path:
        return self.root / "docs" / "benchmarks.md"

    def run_directory(self, kind: str = "benchmarks") -> Path:
        (found,) = (self.root / kind).glob("**/run.json")
        return found.parent


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    (tmp_path / "docs").mkdir()
    git = [
        "git",
        "-C",
        str(tmp_path),
        "-c",
        "user.name=Nobody",
        "-c",
        "user.email=nobody@localhost",
    ]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "Start"], check=True)
    templates = tmp_path / "templates"
    templates.mkdir()
    overhead = Small("overhead", templates / "overhead.md")
    load = Small("load", templates / "load.md")
    monkeypatch.setattr(command, "PARTS", (overhead.part, load.part))
    return Bench(tmp_path, overhead, load)


def commit(root: Path) -> None:
    """Make a commit without changes."""
    who = ["-c", "user.name=Nobody", "-c", "user.email=nobody@localhost"]
    command = ["git", "-C", str(root), *who, "commit", "--quiet", "--allow-empty", "-m", "Next"]
    subprocess.run(command, check=True)


def test_a_complete_run_writes_everything(bench: Bench) -> None:
    done = bench.all()
    assert done.exit_code == 0, done.output
    directory = bench.run_directory()
    assert directory.parent == bench.root / "benchmarks" / "results"
    run = runs.read_run(directory)
    assert directory.name == f"{run.started[:10]}-{run.source.commit}"
    assert run.is_whole(("overhead", "load"))
    assert run.python.packages["Flask"]
    names = {path.name for path in directory.iterdir()}
    assert names == {"run.json", "overhead.json", "load.json", "report.html", "tables.md"}
    text = bench.page.read_text()
    assert "| overhead | what overhead is for | ≤ 3 | 2.5 | **met** |" in text
    assert text.index("## The part overhead") < text.index("## The part load")


def test_a_quick_run_proves_nothing_and_does_not_change_the_docs(bench: Bench) -> None:
    done = bench.all("--quick")
    assert done.exit_code == 0, done.output
    assert "Not proved" in done.output
    assert bench.first.measured == bench.second.measured == [True]
    report = (bench.run_directory("build") / "report.html").read_text()
    assert '<td class="unproved">not proved</td>' in report
    assert "<strong>met</strong></td>" not in report
    assert not bench.page.exists()


def test_a_part_that_fails_does_not_stop_the_others(bench: Bench) -> None:
    bench.first.failures.append("no room left")
    done = bench.all()
    assert done.exit_code == 1
    assert "no room left" in done.output
    assert "failed: overhead" in done.output
    directory = bench.run_directory()
    run = runs.read_run(directory)
    assert run.parts["overhead"].failure == "OSError: no room left"
    assert run.parts["load"].failure is None
    assert not (directory / "overhead.json").exists()
    assert "could not be measured" in (directory / "report.html").read_text()
    assert not bench.page.exists()


def test_a_failed_run_can_be_resumed(bench: Bench) -> None:
    bench.second.failures.append("no room left")
    assert bench.all().exit_code == 1
    directory = bench.run_directory()
    done = bench.all("--resume", str(directory))
    assert done.exit_code == 0, done.output
    assert bench.first.measured == [False]
    assert bench.second.measured == [False]
    assert runs.read_run(directory).is_whole(("overhead", "load"))
    assert bench.page.exists()


def test_a_run_of_another_commit_cannot_be_resumed(bench: Bench) -> None:
    assert bench.all("--into", str(bench.root / "run")).exit_code == 0
    git = [
        "git",
        "-C",
        str(bench.root),
        "-c",
        "user.name=Nobody",
        "-c",
        "user.email=nobody@localhost",
    ]
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "Next"], check=True)
    done = bench.all("--resume", str(bench.root / "run"))
    assert done.exit_code == 1
    assert "has another setup; start a new run" in done.output
    assert bench.first.measured == [False]


def test_without_resume_everything_is_measured_again(bench: Bench) -> None:
    assert bench.all().exit_code == bench.all().exit_code == 0
    assert bench.first.measured == [False, False]
    assert "Measured 2 times." in bench.page.read_text()


def test_the_report_is_written_again_from_the_json(bench: Bench) -> None:
    assert bench.all().exit_code == 0
    directory = bench.run_directory()
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    page = bench.page.read_text()
    for name in ("report.html", "tables.md"):
        (directory / name).unlink()
    bench.page.unlink()
    done = bench("report", str(directory), "--docs", str(bench.root))
    assert done.exit_code == 0, done.output
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    assert bench.page.read_text() == page


def test_parts_of_a_later_run_are_shown_with_a_complete_one(bench: Bench) -> None:
    assert bench.all().exit_code == 0
    directory = bench.run_directory()
    commit(bench.root)
    assert bench.all().exit_code == 0
    (later,) = (
        path.parent for path in directory.parent.glob("*/run.json") if path.parent != directory
    )
    (later / "overhead.json").unlink()
    done = bench("report", str(directory), str(later), "--docs", str(bench.root))
    assert done.exit_code == 0, done.output
    page = bench.page.read_text()
    run = runs.read_run(later)
    assert page.index("Measured 1 times.") < page.index("Measured 2 times.")
    assert f"from benchmarks/results/{directory.name} and benchmarks/results/{later.name}:" in page
    assert (
        f"`load` is of [a later run](../benchmarks/results/{later.name}) on {run.started[:10]} "
        f"at commit `{run.source.commit}`." in page
    )
    (row,) = (line for line in page.splitlines() if line.startswith("| `load` |"))
    assert f"at commit `{run.source.commit}`" in row
    assert f"(../{later.name}/run.json)" not in page
    assert f"../{later.name}/run.json" in (directory / "report.html").read_text()


def test_runs_that_began_later_are_found_in_their_order(bench: Bench) -> None:
    assert bench.all().exit_code == 0
    directory = bench.run_directory()
    run = runs.read_run(directory)
    assert runs.later_than(directory) == []
    for name, started in (("c", "2999-01-02"), ("b", "2999-01-01"), ("a", "2001-01-01")):
        run.model_copy(update={"started": f"{started}T00:00:00Z"}).write(directory.parent / name)
    assert runs.later_than(directory) == [directory.parent / "b", directory.parent / "c"]


def test_a_run_in_another_form_is_not_shown(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench.all().exit_code == 0
    monkeypatch.setattr(command, "PARTS", PARTS)
    done = bench("report", str(bench.run_directory()))
    assert done.exit_code == 1
    assert "use the version that measured them, whose commit is in run.json" in done.output


def test_the_docs_need_a_complete_run(bench: Bench) -> None:
    assert bench.all("--quick").exit_code == 0
    directory = bench.run_directory("build")
    done = bench("report", str(directory), "--docs", str(bench.root))
    assert done.exit_code == 1
    assert "needs a complete run" in done.output


def test_the_working_tree_is_measured_only_on_request(bench: Bench) -> None:
    done = bench("all", "--root", str(bench.root))
    assert done.exit_code == 1
    assert "not installed from a wheel" in done.output
    assert bench.first.measured == []


def test_each_part_has_its_command() -> None:
    assert set(command.main.commands) == {"all", "report", *(part.name for part in PARTS)}
    for part in PARTS:
        assert part.whole


def test_each_step_is_shown_with_the_part_and_the_times(bench: Bench) -> None:
    said = bench.all().output
    assert "part 1 of 2, overhead: 0/1, measuring; 0:00 elapsed" in said
    # The first run has recorded how long each part takes.
    assert "part 2 of 2, load: 0/1, measuring; 0:00 elapsed, about 0:00 left" in bench.all().output


def test_the_remaining_time_is_estimated_from_an_earlier_run() -> None:
    now = 0.0
    course = Course(("overhead", "load"), {"overhead": 100.0, "load": 1_000.0}, lambda: now)
    course.begin("overhead")
    now = 30.0
    assert course.left(0, 10) == 1_070
    now = 130.0
    assert course.left(9, 10) == 1_000
    course.begin("load")
    now = 330.0
    assert course.elapsed == 330
    assert course.left(1, 10) == 800


def test_the_remaining_time_of_the_last_part_is_estimated_from_its_steps() -> None:
    now = 0.0
    course = Course(("overhead", "load"), timer=lambda: now)
    course.begin("overhead")
    now = 30.0
    assert course.left(5, 10) is None
    course.begin("load")
    assert course.left(0, 10) is None
    now = 50.0
    assert course.left(1, 4) == 60
