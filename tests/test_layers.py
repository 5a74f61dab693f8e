"""The architecture, checked in the source: imports, sizes and names of modules.

Imports point downward only. An import inside a function counts like any other: it would hide a
cycle, not remove it.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import fastcache
import latchkey

ROOT = Path(latchkey.__file__).parent.parent
MAX_LINES = 400
# Each package, and the directory from which it is imported.
SOURCES = {"fastcache": ROOT, "latchkey": ROOT, "latchkey_service": ROOT / "app"}
PACKAGES = tuple(SOURCES)

_FOUNDATION = (
    "latchkey.binding",
    "latchkey.config",
    "latchkey.credentials",
    "latchkey.error_answers",
    "latchkey.errors",
    "latchkey.files",
    "latchkey.wording",
)
_LIBRARY = ("latchkey", "fastcache")
# The public side of the store: its protocols, how it is opened, and the audit head.
_STORE = (
    "latchkey.store.audit_head",
    "latchkey.store.carrying.carried",
    "latchkey.store.copying",
    "latchkey.store.database_urls",
    "latchkey.store.lifecycle",
    "latchkey.store.places",
    "latchkey.store.protocols",
    "latchkey.store.reconciling",
)
# The parts of the domain that work on stored objects.
_OVER_A_STORE = (
    "latchkey.credentials",
    "latchkey.errors",
    "latchkey.store.protocols",
    "latchkey.wording",
)
# The modules that the packages of the service share.
_SHARED_BY_SURFACES = (
    "latchkey_service.bodies",
    "latchkey_service.shapes",
    "latchkey_service.strict_json",
    "latchkey_service.repeated_headers",
    "latchkey_service.url_map",
)
# The surfaces for people and programs. None of them imports another.
SURFACES = ("latchkey_service.api", "latchkey_service.console", "latchkey_service.cli")

# The imports within the project that each part may have: modules, or complete packages. The longest
# matching name decides; a module without a match is not allowed. Each part may import itself.
LAYERS: dict[str, tuple[str, ...]] = {
    "fastcache": (),
    # Only the public names; each module is loaded when its name is first used.
    "latchkey": ("latchkey", "fastcache"),
    "latchkey.native": (),
    "latchkey.errors": (),
    "latchkey.error_answers": ("latchkey.errors",),
    "latchkey.wording": (),
    "latchkey.forks": (),
    "latchkey.log_limit": ("latchkey.wording",),
    "latchkey.files": ("latchkey.errors",),
    "latchkey.binding": (),
    "latchkey.platform_variables": (),
    "latchkey.setting_types": (),
    "latchkey.shown_urls": (),
    "latchkey.config": (
        *("latchkey.binding", "latchkey.credentials.granting", "latchkey.platform_variables"),
        *("latchkey.credentials.default_limit", "latchkey.errors", "latchkey.setting_types"),
        "latchkey.shown_urls",
    ),
    "latchkey.credentials": ("latchkey.errors", "latchkey.wording"),
    "latchkey.credentials.account_service": _OVER_A_STORE,
    "latchkey.credentials.accounts": ("latchkey.credentials.limits",),
    "latchkey.credentials.limits": ("latchkey.errors",),
    "latchkey.credentials.quotas": ("latchkey.credentials.limits",),
    "latchkey.credentials.importing": _OVER_A_STORE,
    "latchkey.credentials.limit_service": _OVER_A_STORE,
    "latchkey.credentials.service": _OVER_A_STORE,
    "latchkey.credentials.usage": _OVER_A_STORE,
    "latchkey.credentials.scopes": (),
    "latchkey.credentials.networks": (),
    "latchkey.credentials.endpoints": (),
    "latchkey.credentials.models": (
        *("latchkey.credentials.accounts", "latchkey.credentials.conditions"),
        *("latchkey.credentials.limits", "latchkey.credentials.scopes"),
    ),
    "latchkey.credentials.audit": (
        *("latchkey.credentials.audit_encoding", "latchkey.credentials.conditions"),
    ),
    "latchkey.credentials.audit_encoding": (),
    "latchkey.credentials.audit_findings": ("latchkey.wording",),
    "latchkey.credentials.audit_erasure": (
        *("latchkey.credentials.audit", "latchkey.credentials.audit_findings"),
        "latchkey.credentials.times",
    ),
    "latchkey.credentials.audit_check": (
        *("latchkey.credentials.audit", "latchkey.credentials.audit_encoding"),
        *("latchkey.credentials.audit_erasure", "latchkey.credentials.audit_findings"),
    ),
    "latchkey.credentials.listing": ("latchkey.credentials.models",),
    "latchkey.credentials.administrators": (),
    "latchkey.store": (
        *("latchkey.config", "latchkey.shown_urls"),
        "latchkey.credentials.accounts",
        "latchkey.credentials.administrators",
        "latchkey.credentials.audit",
        "latchkey.credentials.audit_check",
        "latchkey.credentials.audit_encoding",
        "latchkey.credentials.audit_erasure",
        "latchkey.credentials.audit_findings",
        "latchkey.credentials.caller_rights",
        "latchkey.credentials.callers",
        "latchkey.credentials.conditions",
        "latchkey.credentials.idempotency",
        "latchkey.credentials.limit_records",
        "latchkey.credentials.limits",
        "latchkey.credentials.listing",
        "latchkey.credentials.models",
        "latchkey.credentials.publishing",
        "latchkey.credentials.quotas",
        "latchkey.credentials.reach",
        "latchkey.credentials.times",
        "latchkey.errors",
        "latchkey.files",
        "latchkey.forks",
    ),
    "latchkey.store.database_urls": (
        *("latchkey.config", "latchkey.errors", "latchkey.files", "latchkey.store"),
    ),
    # The account that a migration creates.
    "latchkey.store.migrations": (
        *("latchkey.credentials.accounts", "latchkey.credentials.tokens", "latchkey.store.tables"),
    ),
    # A Latchkey in memory, for the tests of applications.
    "latchkey.testing": (
        *("latchkey.asgi", "latchkey.assembly", "latchkey.check._limits", "latchkey.parts"),
        "latchkey.wsgi_answers",
        "latchkey.store.memory",
        *_STORE,
        *_FOUNDATION,
    ),
    # For programs that call an API: they load nothing of the rest.
    "latchkey.client": ("latchkey.errors", "latchkey.files"),
    "latchkey.key_files": (
        *("latchkey.store.audit_head", "latchkey.store.database_urls"),
        *_FOUNDATION,
    ),
    "latchkey.permissions": (
        *("latchkey.key_files", "latchkey.store.database_urls"),
        *_FOUNDATION,
    ),
    "latchkey.preparing": ("latchkey.key_files", *_STORE, *_FOUNDATION),
    "latchkey.addresses": (),
    "latchkey.box": (
        *("latchkey.addresses", "latchkey.native", "latchkey.store.places"),
        *("latchkey.store.protocols", "fastcache"),
        *_FOUNDATION,
    ),
    # The life cycle of shared state: it persists the counts of a service that has ended.
    "latchkey.box.segment": ("latchkey.box", "fastcache", *_STORE, *_FOUNDATION),
    "latchkey.check": (
        *("latchkey.addresses", "latchkey.box", "latchkey.native", "fastcache"),
        "latchkey.store.protocols",
        *_FOUNDATION,
    ),
    "latchkey.wsgi_answers": ("latchkey.check.headers", *_FOUNDATION),
    "latchkey.wsgi": (
        *("latchkey.addresses", "latchkey.check", "latchkey.box", "latchkey.forks", "fastcache"),
        "latchkey.wsgi_answers",
        *_FOUNDATION,
    ),
    "latchkey.current": ("latchkey.credentials.models",),
    "latchkey.flask": ("latchkey.current", "latchkey.wsgi_answers", "latchkey.check", *_FOUNDATION),
    "latchkey.logs": ("latchkey.flask.requirements",),
    "latchkey.parts": (
        *("latchkey.addresses", "latchkey.box", "latchkey.check", "latchkey.key_files", *_STORE),
        *_FOUNDATION,
    ),
    "latchkey.membership": (
        *("latchkey.parts", "latchkey.box", "latchkey.forks", "latchkey.log_limit"),
        *("latchkey.permissions", "fastcache", *_STORE),
        *_FOUNDATION,
    ),
    "latchkey.assembly": (
        *("latchkey.flask", "latchkey.wsgi", "latchkey.check", "latchkey.box", "latchkey.parts"),
        *("latchkey.membership", "latchkey.addresses", "latchkey.forks", *_STORE),
        "latchkey.wsgi_answers",
        *_FOUNDATION,
    ),
    "latchkey.asgi_environ": (),
    "latchkey.asgi": (
        "latchkey.asgi_environ",
        *("latchkey.assembly", "latchkey.box.retention", "latchkey.box.sightings"),
        *("latchkey.check", "latchkey.current", "latchkey.forks", "latchkey.wsgi"),
        "latchkey.wsgi_answers",
        *_FOUNDATION,
    ),
    "latchkey.fastapi": (
        *(
            "latchkey.asgi",
            "latchkey.asgi_environ",
            "latchkey.assembly",
            "latchkey.check",
            "latchkey.wsgi",
        ),
        *_FOUNDATION,
    ),
    # The factory: the only object of the package itself that others call.
    "latchkey_service": (
        *("latchkey_service.api", "latchkey_service.console", "latchkey_service.verify"),
        *_LIBRARY,
    ),
    "latchkey_service.bodies": ("latchkey.errors",),
    "latchkey_service.shapes": _FOUNDATION,
    "latchkey_service.strict_json": (),
    "latchkey_service.command": ("latchkey_service.cli",),
    "latchkey_service.repeated_headers": (),
    "latchkey_service.url_map": (),
    # The user of a command line: the actor of its changes.
    "latchkey_service.command_user": ("latchkey.credentials.audit",),
    "latchkey_service.administrators": (*_FOUNDATION, "latchkey.store.protocols"),
    "latchkey_service.api": ("latchkey_service.verify", *_SHARED_BY_SURFACES, *_LIBRARY),
    # What proxies ask, and the rules of a routes file, which a command explains.
    "latchkey_service.verify": (*_SHARED_BY_SURFACES, *_LIBRARY),
    "latchkey_service.console": (
        "latchkey_service.administrators",
        *_SHARED_BY_SURFACES,
        *_LIBRARY,
    ),
    "latchkey_service.first_start": (
        "latchkey_service.administrators",
        *("latchkey_service.command_user", "latchkey_service.console.transport"),
        *_LIBRARY,
    ),
    # The commands about a whole database.
    "latchkey_service.moving": (
        *("latchkey_service.command_user", "latchkey_service.running_boxes", *_LIBRARY),
    ),
    "latchkey_service.reconciling": (
        *("latchkey_service.command_user", "latchkey_service.restore_rows"),
        *("latchkey_service.running_boxes", *_LIBRARY),
    ),
    "latchkey_service.restore_rows": ("latchkey_service.command_user", *_LIBRARY),
    "latchkey_service.restoring": (
        *("latchkey_service.command_user", "latchkey_service.restore_rows", *_LIBRARY),
    ),
    "latchkey_service.running_boxes": _LIBRARY,
    # The routes and the console are loaded before the workers are forked.
    "latchkey_service.server": (
        *("latchkey_service", "latchkey_service.api.routes", "latchkey_service.console.mount"),
        *("latchkey_service.repeated_headers", "latchkey_service.verify"),
        *_LIBRARY,
    ),
    "latchkey_service.cli": (
        *_SHARED_BY_SURFACES,
        *("latchkey_service.administrators", "latchkey_service.command_user"),
        *("latchkey_service.first_start", "latchkey_service.moving"),
        *("latchkey_service.reconciling", "latchkey_service.restoring", "latchkey_service.server"),
        *("latchkey_service.verify", *_LIBRARY),
    ),
}

# Imports within the project inside a function, with the reason.
DEFERRED = {
    "latchkey_service": "each of its modules imports it first: it must not import them in turn",
    "latchkey_service.cli": "a command loads what it works with only where it runs",
    "latchkey_service.command": "what is missing for it is said in one line",
    "latchkey.store.sqlite.database": "all but opening the store does without SQLAlchemy",
    "latchkey.store.database_urls": "the driver of PostgreSQL need not be installed",
    "latchkey.store.postgresql.database": "all but opening the store does without SQLAlchemy",
    "latchkey.store.postgresql.migrate": "Alembic is loaded only where something is to migrate",
    "latchkey.store.sqlite.migrate": "Alembic is loaded only where something may be to migrate",
}

# Packages that a part must not import, in any of its modules.
_WEB = {"flask", "werkzeug"}
_DATABASE = {"sqlalchemy", "alembic"}
FOREIGN = {
    "fastcache": {*_WEB, "sqlalchemy", "gunicorn", "cachetools"},
    "latchkey": {
        "argon2",
        "click",
        "flask_login",
        "flask_openapi3",
        "flask_wtf",
        "gunicorn",
        "rich",
    },
    "latchkey.credentials": {*_WEB, *_DATABASE, "pydantic"},
    "latchkey.errors": {*_WEB, *_DATABASE, "pydantic"},
    "latchkey.config": {*_WEB, *_DATABASE},
    "latchkey.store": {*_WEB, "pydantic"},
    "latchkey.box": {*_WEB, *_DATABASE, "pydantic"},
    "latchkey.check": {*_WEB, *_DATABASE, "pydantic"},
    "latchkey.check.authenticator": {"wsgiref"},
    "latchkey.check.flights": {"wsgiref"},
    "latchkey.check.cache_levels": {"wsgiref"},
    "latchkey.client": {*_WEB, *_DATABASE, "pydantic", "cryptography"},
    "latchkey.wsgi": {*_WEB, *_DATABASE},
    "latchkey.wsgi_answers": {*_WEB, *_DATABASE},
    "latchkey_service.api": {*_DATABASE, "gunicorn"},
    "latchkey_service.console": {*_DATABASE, "gunicorn"},
}


@dataclass(frozen=True)
class Import:
    """The module of an import statement, as a full name; ``deferred`` inside a function."""

    module: str
    line: int
    deferred: bool
    typing_only: bool


def _modules() -> dict[str, Path]:
    found = {}
    for package, source in SOURCES.items():
        for path in sorted((source / package).rglob("*.py")):
            parts = path.relative_to(source).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in (*PACKAGES, "tests", "benchmarks")


def _within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def _imports(module: str) -> list[Import]:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    return [
        Import(name, line, deferred, typing_only)
        for node, deferred, typing_only in _walk(tree, False, False)
        for name, line in _named(node)
    ]


def _walk(
    node: ast.AST, deferred: bool, typing_only: bool
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, deferred, typing_only
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        yield from _walk(child, deferred or function, typing_only or typing)


def _named(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, int]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name, node.lineno) for alias in node.names)
        return
    assert node.level == 0, "imports are absolute"
    for alias in node.names:
        # "from package import module" is an import of the module.
        full = f"{node.module}.{alias.name}"
        yield (full if full in MODULES else str(node.module)), node.lineno


def _part_of(module: str) -> str:
    """The entry of the table for a module: the longest matching name."""
    # For these, the name means only the package itself; its modules must be listed.
    packages = ("latchkey", "latchkey_service")
    fits = [
        part
        for part in LAYERS
        if module == part or (part not in packages and _within(module, part))
    ]
    assert fits, f"{module} belongs to no layer: add it to LAYERS, or put it where it belongs"
    return max(fits, key=len)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downward(module: str) -> None:
    part = _part_of(module)
    for imported in _imports(module):
        if not _is_ours(imported.module):
            continue
        name = imported.module
        allowed = _within(name, part)
        for below in LAYERS[part]:
            # Only the factory of the service, not its whole package.
            alone = below == "latchkey_service"
            allowed = allowed or (name == below if alone else _within(name, below))
        # Values that all modules may use.
        assert allowed, f"{module}:{imported.line} imports {name}, which is not below it"


# Other modules that work on the files of SQLite, with the reason.
WORKS_ON_SQLITE_FILES = {
    "latchkey.store.database_urls": "the one place that knows which kinds of database there are",
    "latchkey_service.cli.backup": "copies a SQLite file",
    "latchkey_service.reconciling": "reads a copy of a SQLite file",
    "latchkey_service.restoring": "puts a copy of a SQLite file in its place",
}


@pytest.mark.parametrize("module", MODULES)
def test_only_the_store_knows_which_database_it_is(module: str) -> None:
    sqlite, store = "latchkey.store.sqlite", "latchkey.store"
    postgresql = "latchkey.store.postgresql"
    for imported in _imports(module):
        name, where = imported.module, f"{module}:{imported.line}"
        if _within(name, sqlite) and not _within(module, sqlite):
            assert module in WORKS_ON_SQLITE_FILES, f"{where} imports {name}"
        elif _within(name, postgresql) and not _within(module, postgresql):
            assert module == "latchkey.store.database_urls", f"{where} imports {name}"
        elif _within(name, store) and not _within(module, store):
            in_memory = module == "latchkey.testing" and _within(name, "latchkey.store.memory")
            assert name in _STORE or in_memory, f"{where} imports {name}, not a protocol"
        if name in ("sqlite3", "sqlalchemy.dialects.sqlite"):
            allowed = _within(module, sqlite) or module in WORKS_ON_SQLITE_FILES
            assert allowed, f"{where} imports {name}"


@pytest.mark.parametrize("module", [one for one in MODULES if _within(one, "latchkey.store")])
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
        named = [imported.module for imported in _imports(module)]
        assert any(_within(name, "latchkey.store.sqlite") for name in named), module


@pytest.mark.parametrize("surface", SURFACES)
def test_no_surface_imports_another(surface: str) -> None:
    """In addition to the table above: code that two surfaces need belongs to a shared module."""
    modules = [module for module in MODULES if _within(module, surface)]
    assert modules
    for module in modules:
        for imported in _imports(module):
            found = [one for one in SURFACES if _within(imported.module, one)]
            assert found in ([], [surface]), f"{module}:{imported.line} imports {imported.module}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_stand_at_the_top_of_the_module(module: str) -> None:
    for imported in _imports(module):
        if _is_ours(imported.module) and imported.deferred:
            assert module in DEFERRED, f"{module}:{imported.line} imports inside a function"


def test_every_exception_is_still_needed() -> None:
    for module in DEFERRED:
        assert any(_is_ours(one.module) and one.deferred for one in _imports(module)), module
    for part in LAYERS:
        assert any(_within(module, part) for module in MODULES), part


@pytest.mark.parametrize("part", FOREIGN)
def test_a_part_does_not_import_forbidden_packages(part: str) -> None:
    modules = [module for module in MODULES if _within(module, part)]
    assert modules
    for module in modules:
        for imported in _imports(module):
            package = imported.module.partition(".")[0]
            assert package not in FOREIGN[part], f"{module}:{imported.line} imports {package}"


def test_there_are_no_cycles() -> None:
    graph = {
        module: {
            one.module for one in _imports(module) if _is_ours(one.module) and one.module != module
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
        part = _part_of(".".join(parts))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            words = line.split()
            if words[:1] in (["import"], ["cimport"], ["from"]) and _is_ours(words[1]):
                below = any(_within(words[1], allowed) for allowed in (part, *LAYERS[part]))
                assert below, f"{path.name}:{number}"


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
    imported = {one.module for module in MODULES for one in _imports(module)}
    modules = [
        module for module in MODULES if module != _NOT_ALONE and (long or module not in imported)
    ]
    assert modules
    # Third-party packages are loaded once before: that is fast, and does not affect our modules.
    foreign = {
        imported.module
        for module in modules
        for imported in _imports(module)
        if not _is_ours(imported.module) and not imported.deferred
    }
    assert _import_each(modules, sorted(foreign)).keys() == set(modules)


def test_the_domain_and_the_cache_load_no_third_party_package() -> None:
    """Also not through other imports."""
    domain = [module for module in MODULES if _within(module, "latchkey.credentials")]
    cache = [module for module in MODULES if _within(module, "fastcache")]
    loaded = _import_each([*domain, "latchkey.errors", *cache], [])
    # Packages that the start-up hooks of a venv load are in every process.
    (always,) = _import_each(["json"], []).values()
    for module, packages in loaded.items():
        ours = {"fastcache"} if module in cache else {"fastcache", "latchkey"}
        # Compiled modules load modules of Cython, which are not packages.
        foreign = {name for name in packages - always - ours if "cython" not in name}
        assert not foreign, module


# ---- Sizes and names


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
            if words[:1] in (["import"], ["from"]) and _within(words[1], "tests"):
                if path.name == "test_document.py" and words[1] == "tests.fastcache":
                    continue
                assert _within(words[1], "tests.support"), f"{path}: {line}"


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
