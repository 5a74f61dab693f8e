"""The modules of the project: importable alone, short, named and documented."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fastcache
import latchkey
from tests.support.architecture.sources import (
    MODULES,
    ROOT,
    SOURCES,
    imports_of,
    is_ours,
    is_within,
)

# ---- Each module alone

# A new interpreter imports the modules before "--". For each other module, it forks a child that
# imports this module first.
_IMPORT_EACH = """
import gc, importlib, json, os, sys, traceback
split = sys.argv.index("--")
for foreign in sys.argv[1:split]:
    importlib.import_module(foreign)
assert not {"latchkey", "latchkey_service", "fastcache"} & sys.modules.keys()
gc.disable()
failed = []
for module in sys.argv[split + 1:]:
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(module)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        loaded = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names
        print(json.dumps([module, sorted(loaded)]), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        failed.append(module)
sys.exit("cannot be imported alone: " + ", ".join(failed) if failed else 0)
"""

# It runs within Alembic, and needs a connection immediately.
_NOT_ALONE = "latchkey.store.migrations.env"


def _import_each(modules: list[str], first: list[str]) -> dict[str, set[str]]:
    """Import each of ``modules`` alone; returns the packages that were loaded afterwards."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _IMPORT_EACH, *first, "--", *modules],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {module: set(loaded) for module, loaded in map(json.loads, done.stdout.splitlines())}


def test_each_module_imports_alone_without_a_warning(long: bool) -> None:
    """In bounded rounds, only modules that no other imports; they load all the others."""
    imported = {one.module for module in MODULES for one in imports_of(module)}
    modules = [
        module for module in MODULES if module != _NOT_ALONE and (long or module not in imported)
    ]
    assert modules
    # Third-party packages are loaded once before: that is fast, and does not affect our modules.
    foreign = {
        imported.module
        for module in modules
        for imported in imports_of(module)
        if not is_ours(imported.module) and not imported.deferred
    }
    assert _import_each(modules, sorted(foreign)).keys() == set(modules)


def test_the_domain_and_the_cache_load_no_third_party_package() -> None:
    """Also not through other imports."""
    domain = [module for module in MODULES if is_within(module, "latchkey.credentials")]
    cache = [module for module in MODULES if is_within(module, "fastcache")]
    loaded = _import_each([*domain, "latchkey.errors", *cache], [])
    # Packages that the start-up hooks of a venv load are in every process.
    (always,) = _import_each(["json"], []).values()
    for module, packages in loaded.items():
        ours = {"fastcache"} if module in cache else {"fastcache", "latchkey"}
        # Compiled modules load modules of Cython, which are not packages.
        foreign = {name for name in packages - always - ours if "cython" not in name}
        assert not foreign, module


# ---- Sizes and names

MAX_LINES = 400


def test_no_module_is_too_long() -> None:
    paths = [path for package in SOURCES for path in (SOURCES[package] / package).rglob("*.py*")]
    sources = [path for path in paths if path.suffix in (".py", ".pyx", ".pyi")]
    assert sources
    for path in sources:
        lines = len(path.read_text("utf-8").splitlines())
        assert lines <= MAX_LINES, f"{path.relative_to(ROOT)} has {lines} lines"


def test_nothing_is_called_utils() -> None:
    for package in ("app", "fastcache", "latchkey", "tests"):
        for path in (ROOT / package).rglob("*"):
            words = set(path.stem.lower().strip("_").split("_"))
            assert not words & {"util", "utils", "helper", "helpers", "misc", "common"}, path


# The forms of a type definition in compiled code.
_COMPILED_TYPE = re.compile(
    r"^(?:cdef (?:packed )?(?:class|struct|union)|ctypedef (?:struct|enum)|class)"
    r" (?:\w+\.)*(\w+)",
    re.MULTILINE,
)


def _types_in(path: Path) -> Iterator[str]:
    """The types that a module defines: classes, structures, and aliases named like a type."""
    text = path.read_text("utf-8")
    if path.suffix != ".py":
        yield from _COMPILED_TYPE.findall(text)
        return
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            variable = isinstance(node.value, ast.Call)
            name = node.targets[0].id
            if not variable and not name.isupper() and re.fullmatch(r"_?[A-Z]\w*", name):
                yield name


def test_no_type_name_stands_for_two_things() -> None:
    """Also in different packages: the meaning of a name must not depend on the place."""
    places: dict[str, set[str]] = {}
    for package, source in SOURCES.items():
        for path in (source / package).rglob("*"):
            if path.suffix in (".py", ".pyx", ".pxd"):
                # A declaration file and its definition are one module.
                module = str(path.relative_to(source).with_suffix(""))
                for name in _types_in(path):
                    places.setdefault(name, set()).add(module)
    assert len(places) > 200
    twice = {name: sorted(found) for name, found in places.items() if len(found) > 1}
    assert twice == {}


def test_code_that_tests_share_is_in_support() -> None:
    """No test module imports another, except for type tests, which only mypy reads."""
    for path in (ROOT / "tests").rglob("*.py"):
        if (ROOT / "tests/support") not in path.parents:
            named = path.stem.startswith("test_")
            assert named or path.name in ("__init__.py", "conftest.py", "typing_check.py"), path
        for line in path.read_text("utf-8").splitlines():
            words = line.split()
            if words[:1] in (["import"], ["from"]) and is_within(words[1], "tests"):
                if path.name == "test_document.py" and words[1] == "tests.fastcache":
                    continue
                assert is_within(words[1], "tests.support"), f"{path}: {line}"


def test_each_module_has_a_docstring() -> None:
    for module, path in MODULES.items():
        said = ast.get_docstring(ast.parse(path.read_text("utf-8")))
        assert said, module
        assert said.splitlines()[0].endswith((".", "``")), module


def test_the_package_contains_only_the_factory() -> None:
    tree = ast.parse(MODULES["latchkey_service"].read_text("utf-8"))
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert [node.name for node in defined] == ["create_app"]
    for node in tree.body:
        assert isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.Expr | ast.If)


def test_the_public_names() -> None:
    assert latchkey.__all__ == [
        "Latchkey",
        "OpenRoutes",
        "Principal",
        "PrincipalFilter",
        "all_of",
        "any_credential",
        "any_of",
        "current_principal",
        "principal_or_none",
        "require_scope",
    ]
    # The names of fastcache are pinned in tests/fastcache/test_names.py.
    for package in (latchkey, fastcache):
        for name in package.__all__:
            assert hasattr(package, name)


def test_importing_the_library_loads_no_framework() -> None:
    code = (
        "import sys, latchkey; "
        "found = {'flask', 'sqlalchemy', 'gunicorn', 'werkzeug'} & set(sys.modules); "
        "sys.exit(f'loads {found}' if found else 0)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True)
