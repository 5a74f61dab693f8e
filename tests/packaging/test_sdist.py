"""The source distribution is complete: all sources, nothing compiled, and it builds by itself."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.support.packaging.environment import ROOT, build_sdist, install_from_registry

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sdist(tmp_path_factory.mktemp("sdist"))


def test_it_has_every_source_and_nothing_compiled(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    sources = {
        str(path.relative_to(ROOT))
        for place in ("app", "deploy", "examples", "fastcache", "latchkey", "scripts", "tests")
        for path in (ROOT / place).rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".so", ".c")
    }
    named = {"CHANGELOG.md", "LICENSE", "Makefile", "README.md", "constraints.txt", "setup.py"}
    assert {one for one in sources if ".egg-info" not in one} | named <= found
    assert not [name for name in found if name.endswith((".c", ".so", ".pyc"))]
    assert not [name for name in found if name.startswith("build/")]


def test_it_builds_by_itself(sdist: Path, tmp_path: Path, long: bool) -> None:
    """In an empty environment, with what pip installs for the build; only with ``--long``."""
    if not long:
        return
    environment = install_from_registry(tmp_path / "environment", sdist)
    code = "import fastcache, latchkey; print(latchkey.__version__)"
    done = environment.run("python", "-W", "error", "-c", code, directory=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sdist.name == f"latchkey_auth-{done.stdout.strip()}.tar.gz"
