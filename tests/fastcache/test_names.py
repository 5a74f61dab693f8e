"""The public names, and that the package is independent of others."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import fastcache
import fastcache.shared

PACKAGE = Path(fastcache.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.pyx")
)


def test_public_names() -> None:
    assert fastcache.__all__ == (
        "CacheInfo",
        "CacheStats",
        "Cached",
        "LRUCache",
        "TTLCache",
        "cached",
    )
    assert fastcache.shared.__all__ == (
        "BloomFilter",
        "Counters",
        "KeyedDigest",
        "Level",
        "Quota",
        "QuotaState",
        "QuotaTable",
        "Rate",
        "RateTable",
        "Region",
        "Segment",
        "SegmentError",
        "SegmentForbidden",
        "SegmentFull",
        "SegmentMissing",
        "SegmentUnusable",
        "SharedCache",
        "SharedCacheStats",
        "SharedEntry",
        "Stripes",
        "Taken",
        "Tallies",
        "WindowTable",
    )
    for package in (fastcache, fastcache.shared):
        assert all(hasattr(package, name) for name in package.__all__)


@pytest.mark.parametrize("module", ["fastcache", *(f"fastcache.{name}" for name in MODULES)])
def test_each_module_imports_alone(module: str) -> None:
    """Without warnings, and without the service or cachetools."""
    code = (
        f"import sys, {module}; "
        "strangers = {'latchkey', 'cachetools', 'flask', 'sqlalchemy'} & set(sys.modules); "
        "sys.exit(f'imports {strangers}' if strangers else 0)"
    )
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, cwd=PACKAGE.parent, timeout=60
    )


def test_importing_does_not_enable_the_gil() -> None:
    """No module makes a free-threaded interpreter enable the GIL."""
    code = "import sys, fastcache; print(getattr(sys, '_is_gil_enabled', lambda: True)())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        timeout=60,
    )
    assert done.stdout.strip() == str(not sysconfig.get_config_var("Py_GIL_DISABLED"))


def test_every_compiled_module_has_a_stub() -> None:
    assert (PACKAGE / "py.typed").exists()
    for name in MODULES:
        assert (PACKAGE / f"{name.replace('.', '/')}.pyi").exists(), name


def test_missing_compiled_modules_are_named(tmp_path: Path) -> None:
    (tmp_path / "fastcache").mkdir()
    for source in PACKAGE.glob("*.py"):
        shutil.copy(source, tmp_path / "fastcache")
    done = subprocess.run(
        [sys.executable, "-S", "-c", "from fastcache import cached"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: the compiled module fastcache._cached is missing: ")
    assert "build_ext --inplace" in last
