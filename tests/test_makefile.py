"""The Makefile documents itself, and repeats a step of the set-up only if needed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
DOCUMENTED = re.findall(r"^([a-z-]+):.*?## (.+)$", MAKEFILE, re.MULTILINE)

# A fake interpreter: records its calls, and creates a .venv with a copy of itself.
PYTHON = """\
#!/bin/sh
echo "$*" | head -n 1 >> "$NOTES"
case "$*" in
    "-m venv --clear .venv") rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    *$FAILING*) exit 1 ;;
esac
"""


def make(
    *arguments: str, directory: Path = ROOT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run make as from a new shell, not as a part of the make that runs the tests."""
    inherited = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "FASTCACHE_BUILD"}
    environment = {name: value for name, value in os.environ.items() if name not in inherited}
    return subprocess.run(
        ["make", *arguments],
        cwd=directory,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@dataclass(frozen=True)
class Checkout:
    """A copy of the Makefile with an interpreter that only records its calls."""

    directory: Path

    @property
    def venv(self) -> Path:
        return self.directory / ".venv"

    def test(self, *, failing: str = "nothing", **variables: str) -> list[str]:
        """The steps that `make test` took; a step whose command contains `failing` fails."""
        notes = self.directory / "notes"
        notes.write_text("")
        interpreter = f"PYTHON={self.directory / 'python'}"
        outcome = make(
            "test",
            interpreter,
            directory=self.directory,
            NOTES=str(notes),
            FAILING=failing,
            **variables,
        )
        assert (outcome.returncode == 0) is (failing == "nothing"), outcome.stderr
        return [name_step(line) for line in notes.read_text().splitlines()]

    def change(self, name: str) -> None:
        """Set the time of a file after that of every stamp."""
        later = max(stamp.stat().st_mtime for stamp in self.venv.iterdir()) + 1
        os.utime(self.directory / name, (later, later))


def name_step(command: str) -> str:
    """The purpose of a command."""
    for part, step in {
        "-m venv": "venv",
        "import sys, tomllib": "list",
        "--requirement": "install",
        "--editable": "compile",
        "-m pytest": "test",
    }.items():
        if part in command:
            return step
    return command


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout in a directory with a space in its name, before any step."""
    directory = tmp_path / "a checkout"
    (directory / "scripts").mkdir(parents=True)
    (directory / "fastcache").mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "setup.py"):
        shutil.copy(ROOT / name, directory)
    for name, text in {
        "python": PYTHON,
        "scripts/prerequisites.sh": "#!/bin/sh\n",
        "fastcache/_one.pyx": "",
    }.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
    return Checkout(directory)


WHOLE = ["venv", "list", "install", "list", "install", "compile", "test"]


def test_make_alone_lists_every_target_with_its_purpose() -> None:
    outcome = make()
    assert outcome.returncode == 0
    listed = re.findall(r"^  make (\S+) +(.+)$", outcome.stdout, re.MULTILINE)
    assert listed == DOCUMENTED
    assert {"serve", "test", "test-long", "lint", "coverage", "wheel"} <= dict(listed).keys()


@pytest.mark.parametrize("target", [name for name, _ in DOCUMENTED])
def test_every_target_has_a_valid_recipe(target: str) -> None:
    outcome = make("--dry-run", target)
    assert outcome.returncode == 0, outcome.stderr


def test_test_long_leaves_nothing_out() -> None:
    planned = re.findall(r"-m pytest (.*)", make("--dry-run", "test-long").stdout)
    everything, boxes = planned
    for options in planned:
        assert "--long" in options
        assert "--ignore" not in options
    assert "tests/" not in everything
    assert re.search(r"--integration .*tests/integration\b", boxes)


def test_attack_runs_every_hostile_module_with_the_full_number_of_rounds() -> None:
    planned = make("--dry-run", "attack").stdout
    assert re.search(r"-m pytest .*--long .*-m attack", planned)
    # Those of tests/integration run under `make test-long`, as CONTRIBUTING.md says.
    assert "--integration" not in planned
    modules = [
        *ROOT.glob("tests/faults/test_*.py"),
        *ROOT.glob("tests/**/test_*hostile*.py"),
        *ROOT.glob("tests/**/test_damaged_*.py"),
    ]
    assert len(modules) > 12
    unmarked = [path.name for path in modules if "pytest.mark.attack" not in path.read_text()]
    assert unmarked == []


def test_the_first_run_does_everything_and_the_second_only_its_job(checkout: Checkout) -> None:
    assert checkout.test() == WHOLE
    assert checkout.test() == ["test"]


@pytest.mark.parametrize("name", ["fastcache/_one.pyx", "setup.py"])
def test_a_changed_source_is_compiled_again(checkout: Checkout, name: str) -> None:
    checkout.test()
    checkout.change(name)
    assert checkout.test() == ["compile", "test"]


@pytest.mark.parametrize("name", ["constraints.txt", "pyproject.toml"])
def test_changed_requirements_recreate_the_environment(checkout: Checkout, name: str) -> None:
    checkout.test()
    checkout.change(name)
    (checkout.venv / "left behind").touch()
    os.utime(checkout.venv / "left behind", (0, 0))
    assert checkout.test() == WHOLE
    assert not (checkout.venv / "left behind").exists()


def test_another_build_mode_is_compiled_again_each_time_it_changes(checkout: Checkout) -> None:
    checkout.test()
    assert checkout.test(FASTCACHE_BUILD="debug") == ["compile", "test"]
    assert checkout.test(FASTCACHE_BUILD="debug") == ["test"]
    assert checkout.test() == ["compile", "test"]


def test_a_failed_installation_is_repeated(checkout: Checkout) -> None:
    assert checkout.test(failing="--requirement") == ["venv", "list", "install"]
    assert checkout.test() == WHOLE


def test_an_interrupted_installation_of_tools_is_repeated(checkout: Checkout) -> None:
    checkout.test()
    (checkout.venv / ".tools").unlink()
    assert checkout.test(failing="--requirement") == ["list", "install"]
    assert checkout.test() == WHOLE


def test_a_failed_compilation_is_repeated(checkout: Checkout) -> None:
    assert checkout.test(failing="--editable") == WHOLE[:-1]
    assert checkout.test() == ["compile", "test"]


def test_an_environment_without_its_interpreter_is_recreated(checkout: Checkout) -> None:
    checkout.test()
    (checkout.venv / "bin" / "python").unlink()
    (checkout.venv / "bin" / "python").symlink_to("/nonexistent/python")
    assert checkout.test() == WHOLE


def test_an_environment_that_was_copied_is_recreated(checkout: Checkout) -> None:
    (checkout.venv / "bin").mkdir(parents=True)
    assert checkout.test() == WHOLE


def test_missing_prerequisites_stop_the_run_before_the_first_step(checkout: Checkout) -> None:
    (checkout.directory / "scripts/prerequisites.sh").write_text("#!/bin/sh\nexit 1\n")
    assert make("serve", directory=checkout.directory).returncode != 0
    assert not checkout.venv.exists()


def test_what_one_target_leaves_out_is_run_by_the_other() -> None:
    """And continuous integration runs both."""
    arguments = {
        target: make(target, "--dry-run", "--old-file=ready").stdout.split()
        for target in ("test", "test-integration")
    }
    ignored = {one.removeprefix("--ignore=") for one in arguments["test"] if "--ignore=" in one}
    assert ignored
    assert ignored <= set(arguments["test-integration"])
    assert all((ROOT / directory).is_dir() for directory in ignored)


def test_integration_runs_the_linters_and_then_the_tests() -> None:
    text = (ROOT / ".ci/run").read_text()
    steps = re.findall(r"^step (?:make|tests) ([a-z-]+)", text, re.MULTILINE)
    assert steps == ["lint", "docs", "test", "test-integration"]


def read_pins(name: str) -> dict[str, str]:
    """The versions of a constraints file, by package."""
    pins = {}
    for line in (ROOT / name).read_text().splitlines():
        if not line.startswith("#"):
            package, separator, version = line.partition("==")
            assert separator
            pins[str(canonicalize_name(package))] = version
    return pins


def test_the_lowest_versions_are_those_that_are_tested() -> None:
    pins = read_pins("constraints-lowest.txt")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = [*project["dependencies"], *project["optional-dependencies"]["service"]]
    for requirement in map(Requirement, required):
        (bound,) = requirement.specifier
        assert bound.operator == ">="
        pinned = pins[str(canonicalize_name(requirement.name))]
        assert Version(bound.version) == Version(pinned), requirement


def test_a_lowest_version_takes_the_place_of_the_pin() -> None:
    script = ROOT / "scripts" / "lowest-constraints.sh"
    done = subprocess.run([script], cwd=ROOT, capture_output=True, text=True, check=True)
    printed = [line.partition("==") for line in done.stdout.splitlines()]
    versions = {str(canonicalize_name(name)): version for name, _, version in printed}
    assert len(versions) == len(printed)
    assert versions == read_pins("constraints.txt") | read_pins("constraints-lowest.txt")


def test_all_requirements_are_pinned() -> None:
    pins = read_pins("constraints.txt")
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    required = [*table["build-system"]["requires"], *table["project"]["dependencies"]]
    for extra in table["project"]["optional-dependencies"].values():
        required += extra
    for requirement in map(Requirement, required):
        pinned = pins.get(canonicalize_name(requirement.name))
        assert pinned is not None, requirement
        assert requirement.specifier.contains(pinned), requirement
