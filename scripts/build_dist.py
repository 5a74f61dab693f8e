"""Build what is published into dist/: the source distribution, and a manylinux wheel per CPython.

usage: python -m scripts.build_dist [--output DIRECTORY] [--only RELEASE]

The wheels are built from the source distribution, in empty environments, so that both are complete.
Two builds of a commit give equal wheels: times come from SOURCE_DATE_EPOCH, or else from the
commit, and no path of this machine is recorded.
"""

from __future__ import annotations

import argparse
import email.parser
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

from packaging.metadata import Metadata

from scripts.interpreters import find_interpreters

ROOT = Path(__file__).resolve().parents[1]
_SOURCE_PLACE = "/usr/src/latchkey-auth"


def project_version(directory: Path = ROOT) -> str:
    """The version that pyproject.toml has."""
    table = tomllib.loads((directory / "pyproject.toml").read_text())
    version: str = table["project"]["version"]
    return version


def build(output: Path, only: str | None = None) -> list[Path]:
    """Build everything, or of the wheels only that of one CPython; the files that were made."""
    pythons = find_interpreters()
    if only is not None:
        pythons = {release: path for release, path in pythons.items() if release == only}
    if not pythons:
        sys.exit("no Python of this machine can build a wheel")
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob("latchkey_auth-*"):
        old.unlink()
    variables = _variables()
    with tempfile.TemporaryDirectory(prefix="latchkey-dist-") as directory:
        work = Path(directory)
        print("Building the source distribution ...", flush=True)
        made = work / "sdist"
        _run(sys.executable, "-m", "build", "--sdist", "--outdir", made, ROOT, **variables)
        (sdist,) = made.glob("*.tar.gz")
        with tarfile.open(sdist) as archive:
            archive.extractall(work / "source", filter="data")
        (source,) = (work / "source").iterdir()
        for release, python in pythons.items():
            print(f"Building the wheel for CPython {release} ({python}) ...", flush=True)
            wheels = work / release
            variables["CFLAGS"] = f"-ffile-prefix-map={source}={_SOURCE_PLACE}"
            environment = work / f"environment-{release}"
            _run(python, "-m", "venv", environment)
            # An isolated build: what it needs is installed into an environment of its own.
            _run(
                *(environment / "bin" / "python", "-m", "pip", "--quiet", "wheel", "--no-deps"),
                *("--wheel-dir", wheels, source),
                **variables,
            )
            (wheel,) = wheels.glob("*.whl")
            _run(
                *(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", output, wheel),
                **variables,
            )
        shutil.copy(sdist, output)
    built = sorted(output.glob("latchkey_auth-*"))
    for path in built:
        check_metadata(path)
    return built


def check_metadata(path: Path) -> None:
    """Check the metadata of a distribution as a package index does; faults end the program."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            (name,) = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
            data = archive.read(name)
        if "-manylinux" not in path.name:
            sys.exit(f"{path.name}: has no manylinux tag")
    else:
        with tarfile.open(path) as source:
            file = source.extractfile(f"{path.name.removesuffix('.tar.gz')}/PKG-INFO")
            if file is None:
                sys.exit(f"{path.name}: has no PKG-INFO")
            data = file.read()
    try:
        metadata = Metadata.from_email(data, validate=True)
    except ExceptionGroup as faults:
        sys.exit(f"{path.name}: invalid metadata: {'; '.join(map(str, faults.exceptions))}")
    if str(metadata.version) != project_version():
        sys.exit(f"{path.name}: is version {metadata.version}, not {project_version()}")
    kind = email.parser.BytesParser().parsebytes(data)["Description-Content-Type"]
    if not metadata.description or kind is None or not kind.startswith("text/markdown"):
        sys.exit(f"{path.name}: the README is not its description")


def _variables() -> dict[str, str]:
    """The variables of every build: the release mode, the pins, and the time of the commit."""
    variables = {
        "FASTCACHE_BUILD": "release",
        "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
        "PIP_BUILD_CONSTRAINT": str(ROOT / "constraints.txt"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    if "SOURCE_DATE_EPOCH" not in os.environ:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            variables["SOURCE_DATE_EPOCH"] = done.stdout.strip()
    return variables


def _run(*command: str | Path, **variables: str) -> None:
    done = subprocess.run(  # noqa: S603 - fixed commands
        [str(part) for part in command],
        cwd="/",
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        sys.exit(f"failed: {' '.join(str(part) for part in command)}")


def main() -> None:
    """Build into dist/ and list what was built."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "dist", metavar="DIRECTORY")
    parser.add_argument("--only", metavar="RELEASE", help="build the wheel of one CPython: 3.12")
    given = parser.parse_args()
    for path in build(given.output.resolve(), given.only):
        print(path)


if __name__ == "__main__":
    main()
