"""Virtual environments with only the wheel and its requirements, without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
DISTRIBUTION = "latchkey-auth"
_SOURCES = ("fastcache", "latchkey", "app", "setup.py", "pyproject.toml", "README.md", "LICENSE")
_TIMEOUT = 1800

# In the format that pip writes for an entry point.
_SCRIPT = """\
#!{python}
import sys
from {module} import {attribute}
if __name__ == "__main__":
    sys.exit({attribute}())
"""


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    directory: Path

    @property
    def python(self) -> Path:
        return self.program("python")

    def program(self, name: str) -> Path:
        """A program in the environment's `bin`."""
        return self.directory / "bin" / name

    def run(
        self, name: str, *arguments: str, directory: Path, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment."""
        return subprocess.run(
            [self.program(name), *arguments],
            cwd=directory,
            env=self.variables(**variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )

    def variables(self, **more: str) -> dict[str, str]:
        """The variables of a shell with the activated environment, and `more`."""
        path = f"{self.directory / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.directory), "LANG": "C.UTF-8", **more}


def build_wheel(directory: Path, *, compiled: bool, checkout: Path = ROOT) -> Path:
    """Build the wheel from a copy of the sources of ``checkout`` in a new directory.

    ``compiled`` reuses the extension modules of the checkout that are newer than their sources and
    have the same build mode; all others are compiled.
    """
    sources, wheels = directory / "sources", directory / "wheels"
    sources.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    for name in _SOURCES:
        if (checkout / name).is_dir():
            shutil.copytree(checkout / name, sources / name, ignore=ignored)
        else:
            shutil.copy2(checkout / name, sources / name)
    settings = directory / "extra.cfg"
    settings.write_text(f"[build]\nbuild_lib = {directory / 'built'}\n")
    if compiled:
        if (checkout / "build" / "cython").is_dir():
            shutil.copytree(checkout / "build" / "cython", sources / "build" / "cython")
        for package in ("fastcache", "latchkey"):
            for module in (checkout / package).rglob("*.so"):
                place = directory / "built" / module.relative_to(checkout)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(module, place)
    _run(
        *(sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", str(wheels), str(sources)),
        DIST_EXTRA_CONFIG=str(settings),
    )
    (wheel,) = wheels.glob("*.whl")
    return wheel


def build_sdist(directory: Path) -> Path:
    """Build the source distribution from a copy of the checkout in a new directory."""
    sources, built = directory / "checkout", directory / "sdist"
    everywhere = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info")

    def ignored(place: str, names: list[str]) -> set[str]:
        # In the root: what is built, and the files of an instance.
        here = {"build", "dist", "data", "secrets"} if Path(place) == ROOT else set()
        return everywhere(place, names) | here

    shutil.copytree(ROOT, sources, ignore=ignored)
    # The cached C files save time; the source distribution does not contain them.
    if (ROOT / "build" / "cython").is_dir():
        shutil.copytree(ROOT / "build" / "cython", sources / "build" / "cython")
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(built)!r})"
    built.mkdir()
    _run(sys.executable, "-c", code, directory=sources)
    (made,) = built.iterdir()
    return made


def install_from_registry(
    directory: Path, wheel: Path, *, extra: str = "", beside: tuple[str, ...] = ()
) -> Environment:
    """A new environment into which pip installs the wheel with its requirements."""
    venv.create(directory, with_pip=True)
    constraints = str(ROOT / "constraints.txt")
    _run(
        *(str(directory / "bin" / "python"), "-m", "pip", "--quiet", "install"),
        *("--constraint", constraints, f"{wheel}[{extra}]" if extra else str(wheel), *beside),
    )
    return Environment(directory)


def install_beside_links(
    directory: Path, wheel: Path, *, extra: str = "", beside: tuple[str, ...] = ()
) -> Environment:
    """The same without a download: requirements are linked from the running environment.

    pip finds all of them installed, or fails.
    """
    venv.create(directory, with_pip=False)
    environment = Environment(directory)
    packages = next((directory / "lib").glob("python*")) / "site-packages"
    wanted = [Requirement(f"{DISTRIBUTION}[{extra}]" if extra else DISTRIBUTION)]
    for found in _required([*wanted, *map(Requirement, beside)]):
        for name in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            (packages / name).symlink_to(Path(str(found.locate_file(name))).resolve())
        for point in found.entry_points.select(group="console_scripts"):
            script = environment.program(point.name)
            script.write_text(
                _SCRIPT.format(python=environment.python, module=point.module, attribute=point.attr)
            )
            script.chmod(0o755)
    _run(
        *(sys.executable, "-m", "pip", "--python", str(environment.python)),
        *("--quiet", "install", "--no-index", f"{wheel}[{extra}]" if extra else str(wheel)),
    )
    return environment


def _required(wanted: list[Requirement]) -> Iterator[Distribution]:
    """The installed distributions of the requirements, recursively, without our own."""
    seen: set[tuple[str, str]] = set()
    given: set[str] = {DISTRIBUTION}
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        found = distribution(name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for further in map(Requirement, found.requires or ()):
                if further.marker is None or further.marker.evaluate({"extra": extra}):
                    wanted.append(further)
        if name not in given:
            given.add(name)
            yield found


def _run(*command: str, directory: Path | str = "/", **variables: str) -> None:
    # Without the paths of this process and the settings of the caller's pip and shell.
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PYTEST_", "COVERAGE_", "LATCHKEY_"))
    }
    done = subprocess.run(
        command,
        cwd=directory,
        env={**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
