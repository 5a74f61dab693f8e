"""The architecture, checked in the source: imports point downward only.

An import inside a function counts like any other: it would hide a cycle, not remove it.
"""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter

import pytest

from tests.support.architecture.layers import (
    DEFERRED,
    FOREIGN,
    LAYERS,
    STORE,
    SURFACES,
    WORKS_ON_SQLITE_FILES,
    part_of,
)
from tests.support.architecture.sources import MODULES, ROOT, imports_of, is_ours, is_within


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downward(module: str) -> None:
    part = part_of(module)
    for imported in imports_of(module):
        if not is_ours(imported.module):
            continue
        name = imported.module
        allowed = is_within(name, part)
        for below in LAYERS[part]:
            # Only the factory of the service, not its whole package.
            alone = below == "latchkey_service"
            allowed = allowed or (name == below if alone else is_within(name, below))
        # Values that all modules may use.
        assert allowed, f"{module}:{imported.line} imports {name}, which is not below it"


@pytest.mark.parametrize("module", MODULES)
def test_only_the_store_knows_which_database_it_is(module: str) -> None:
    sqlite, store = "latchkey.store.sqlite", "latchkey.store"
    postgresql = "latchkey.store.postgresql"
    for imported in imports_of(module):
        name, where = imported.module, f"{module}:{imported.line}"
        if is_within(name, sqlite) and not is_within(module, sqlite):
            assert module in WORKS_ON_SQLITE_FILES, f"{where} imports {name}"
        elif is_within(name, postgresql) and not is_within(module, postgresql):
            assert module == "latchkey.store.database_urls", f"{where} imports {name}"
        elif is_within(name, store) and not is_within(module, store):
            in_memory = module == "latchkey.testing" and is_within(name, "latchkey.store.memory")
            assert name in STORE or in_memory, f"{where} imports {name}, not a protocol"
        if name in ("sqlite3", "sqlalchemy.dialects.sqlite"):
            allowed = is_within(module, sqlite) or module in WORKS_ON_SQLITE_FILES
            assert allowed, f"{where} imports {name}"


@pytest.mark.parametrize("module", [one for one in MODULES if is_within(one, "latchkey.store")])
def test_rows_are_read_by_the_names_of_their_columns(module: str) -> None:
    """A column that is added to a table must not become the value of another one."""
    rows = {"row", "rows", "found", "there", "last"}
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        where = f"{module}:{getattr(node, 'lineno', 0)}"
        match node:
            case ast.Subscript(ast.Name("row"), ast.Constant(int())):
                raise AssertionError(f"{where} reads a column by its place")
            case ast.Subscript(ast.Subscript(ast.Name(name), _), ast.Constant(int())):
                assert name not in rows, f"{where} reads a column by its place"
            case ast.Starred(ast.Name("row")):
                raise AssertionError(f"{where} hands a row on by its places")
            case ast.For(ast.Tuple(), ast.Call(ast.Attribute(_, "execute"))) | ast.comprehension(
                ast.Tuple(), ast.Call(ast.Attribute(_, "execute"))
            ):
                raise AssertionError(f"{where} takes rows apart by their places")
            case _:
                pass


def test_every_exception_for_sqlite_is_still_needed() -> None:
    for module in WORKS_ON_SQLITE_FILES:
        named = [imported.module for imported in imports_of(module)]
        assert any(is_within(name, "latchkey.store.sqlite") for name in named), module


@pytest.mark.parametrize("surface", SURFACES)
def test_no_surface_imports_another(surface: str) -> None:
    """In addition to the table above: code that two surfaces need belongs to a shared module."""
    modules = [module for module in MODULES if is_within(module, surface)]
    assert modules
    for module in modules:
        for imported in imports_of(module):
            found = [one for one in SURFACES if is_within(imported.module, one)]
            assert found in ([], [surface]), f"{module}:{imported.line} imports {imported.module}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_stand_at_the_top_of_the_module(module: str) -> None:
    for imported in imports_of(module):
        if is_ours(imported.module) and imported.deferred:
            assert module in DEFERRED, f"{module}:{imported.line} imports inside a function"


def test_every_exception_is_still_needed() -> None:
    for module in DEFERRED:
        assert any(is_ours(one.module) and one.deferred for one in imports_of(module)), module
    for part in LAYERS:
        assert any(is_within(module, part) for module in MODULES), part


@pytest.mark.parametrize("part", FOREIGN)
def test_a_part_does_not_import_forbidden_packages(part: str) -> None:
    modules = [module for module in MODULES if is_within(module, part)]
    assert modules
    for module in modules:
        for imported in imports_of(module):
            package = imported.module.partition(".")[0]
            assert package not in FOREIGN[part], f"{module}:{imported.line} imports {package}"


def test_there_are_no_cycles() -> None:
    graph = {
        module: {
            one.module for one in imports_of(module) if is_ours(one.module) and one.module != module
        }
        for module in MODULES
    }
    # Raises CycleError, which contains the cycle.
    assert list(TopologicalSorter(graph).static_order())


def test_the_compiled_cache_does_not_import_the_application() -> None:
    for path in sorted((ROOT / "fastcache").rglob("*.p[yx][xd]")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            words = line.split()
            if words[:1] in (["import"], ["cimport"], ["from"]):
                assert words[1].partition(".")[0] not in (
                    "latchkey",
                    "latchkey_service",
                    "tests",
                ), f"{path.name}:{number}"


def test_the_compiled_check_imports_downward() -> None:
    """Compiled modules of the library must follow the layer of their package."""
    paths = sorted((ROOT / "latchkey").rglob("*.p[yx]*"))
    for path in (path for path in paths if path.suffix in (".pyx", ".pxd")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        part = part_of(".".join(parts))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            words = line.split()
            if words[:1] in (["import"], ["cimport"], ["from"]) and is_ours(words[1]):
                below = any(is_within(words[1], allowed) for allowed in (part, *LAYERS[part]))
                assert below, f"{path.name}:{number}"
