"""The architecture, held by what the source says: who imports whom, how long, under what name.

Imports point downward only. An import inside a function counts as any other: it would hide a
cycle, not remove it.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import app
import app.auth
import fastcache

ROOT = Path(app.__file__).parent.parent
MAX_LINES = 400

_FOUNDATION = (
    *("app.binding", "app.errors", "app.config", "app.file_locks", "app.files", "app.wording"),
)
_DOMAIN = ("app.credentials",)
_AUTH = ("app.auth", *_DOMAIN, "app.errors", "fastcache")
_ASSEMBLED = (
    "app.administrators",
    "app.assembly",
    "app.derivation",
    "app.instance_owner",
    "app.key_files",
    "app.log_limit",
    "app.permissions",
    "app.segment",
    "app.store",
    *_FOUNDATION,
    *_AUTH,
)

# What each part may import of ours: modules, or whole packages. The longest name that fits decides;
# a module that fits none is not allowed to exist. Each part may import itself.
LAYERS: dict[str, tuple[str, ...]] = {
    "fastcache": (),
    "app.errors": (),
    "app.files": (),
    "app.file_locks": (),
    "app.config": ("app.binding", "app.errors", "app.files", "app.platform_variables"),
    "app.binding": (),
    "app.platform_variables": (),
    "app.wording": (),
    "app.credentials": ("app.errors", "app.wording"),
    "app.credentials.models": (),
    "app.credentials.audit": (),
    "app.credentials.audit_check": ("app.credentials.audit", "app.wording"),
    "app.credentials.listing": ("app.credentials.models",),
    "app.administrators": (*_FOUNDATION, "app.credentials", "app.store.administrators"),
    "app.administrators.models": (),
    "app.store": (
        "app.administrators.models",
        "app.credentials.audit",
        "app.credentials.audit_check",
        "app.credentials.listing",
        "app.credentials.models",
        "app.errors",
        "app.file_locks",
        "app.files",
        "app.instance_owner",
    ),
    "app.key_files": ("app.store.audit_head", "app.store.location", *_FOUNDATION, *_DOMAIN),
    "app.restoring": ("app.command_user", *_ASSEMBLED),
    # Who runs a command: what the others call an actor.
    "app.command_user": ("app.credentials.audit",),
    "app.auth": _AUTH,
    "app.assembly": _ASSEMBLED,
    "app.derivation": ("app.store.location", *_FOUNDATION, *_DOMAIN),
    # The life of what the workers share: it writes down what an ended service has counted.
    "app.permissions": ("app.store.location", *_FOUNDATION),
    "app.segment": (
        *("app.instance_owner", "app.service_lock", "app.store"),
        *_FOUNDATION,
        *_AUTH,
    ),
    "app.service_lock": _FOUNDATION,
    "app.instance_owner": ("app.errors", "app.files"),
    "app.api": ("app.bodies", "app.url_map", *_ASSEMBLED),
    # Its forms are checked as the API checks a body.
    "app.console": (
        "app.api.problems",
        "app.api.schemas",
        "app.bodies",
        "app.url_map",
        *_ASSEMBLED,
    ),
    "app.first_start": ("app.command_user", "app.console.transport", *_ASSEMBLED),
    # The factory is the one thing of the package itself that others call; the routes and the
    # console are loaded before the workers are forked.
    "app.server": (
        *("app", "app.api.routes", "app.console.mount", "app.listening", "app.open_files"),
        *("app.service_log", "app.worker"),
        *_ASSEMBLED,
    ),
    "app.worker": (
        *("app.answering", "app.arrival", "app.lingering", "app.log_limit"),
        *("app.refusals", "app.request_parser"),
        "app.service_log",
        *_FOUNDATION,
        *_AUTH,
    ),
    "app.log_limit": ("app.wording",),
    "app.request_parser": (),
    "app.bodies": ("app.errors",),
    "app.url_map": (),
    "app.answering": (),
    "app.lingering": (),
    # It reads bytes, and knows nothing of the rest.
    "app.arrival": (),
    "app.refusals": _AUTH,
    "app.service_log": _DOMAIN,
    "app.listening": _FOUNDATION,
    "app.open_files": (),
    # Its commands take their fields from the API's shapes, and run the rest.
    "app.cli": (
        *("app.api.problems", "app.api.schemas", "app.api.strict_json"),
        *("app.command_user", "app.first_start", "app.restoring", "app.server"),
        *_ASSEMBLED,
    ),
    "app": ("app.api", "app.console", *_ASSEMBLED),
}

# Imports of ours inside a function, and why they are there.
DEFERRED = {
    "app": "the package is imported before each of its modules: it must not import them in turn",
    "app.auth": "what is not about views does without Flask",
    "app.cli": "a command loads what it works with only where it runs",
    "app.store": "who asks for the file's place, or whether it is current, needs no SQLAlchemy",
    "app.store.migrate": "Alembic is loaded only where there may be something to migrate",
}

# Packages that a part must not know, in any of its modules.
FOREIGN = {
    "app.credentials": {"flask", "werkzeug", "sqlalchemy", "alembic", "gunicorn", "pydantic"},
    "app.errors": {"flask", "werkzeug", "sqlalchemy", "alembic", "gunicorn", "pydantic"},
    "app.config": {"flask", "werkzeug", "sqlalchemy", "alembic", "gunicorn"},
    "app.store": {"flask", "werkzeug", "gunicorn", "pydantic"},
    "app.auth": {"sqlalchemy", "alembic", "gunicorn", "pydantic"},
    "app.auth.authenticator": {"flask", "werkzeug", "wsgiref"},
    "app.auth.flights": {"flask", "werkzeug", "wsgiref"},
    "app.auth.levels": {"flask", "werkzeug", "wsgiref"},
    "app.auth.middleware": {"flask", "werkzeug"},
    "app.auth.open_routes": {"flask", "werkzeug", "wsgiref"},
    "app.auth.headers": {"flask", "werkzeug"},
    "app.auth.throttle": {"flask", "werkzeug"},
    "app.api": {"sqlalchemy", "alembic", "gunicorn"},
    "app.console": {"sqlalchemy", "alembic", "gunicorn"},
    "fastcache": {"flask", "werkzeug", "sqlalchemy", "gunicorn", "cachetools"},
}


@dataclass(frozen=True)
class Import:
    """One import statement's module, as a full name; ``deferred`` inside a function."""

    module: str
    line: int
    deferred: bool
    typing_only: bool


def _modules() -> dict[str, Path]:
    found = {}
    for package in ("app", "fastcache"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in ("app", "fastcache", "tests", "benchmarks")


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
    """The part of the table that decides about a module: the longest name that fits."""
    # Only the package itself is "app": its modules must be listed.
    fits = [part for part in LAYERS if module == part or (part != "app" and _within(module, part))]
    assert fits, f"{module} belongs to no layer: add it to LAYERS, or put it where it belongs"
    return max(fits, key=len)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downward(module: str) -> None:
    part = _part_of(module)
    for imported in _imports(module):
        if not _is_ours(imported.module):
            continue
        name = imported.module
        allowed = _within(name, part) if part != "app" else False
        for below in LAYERS[part]:
            # "app" allows the package's own names, not all that lies in it.
            allowed = allowed or (name == "app" if below == "app" else _within(name, below))
        # The values that everything may pass around.
        assert allowed, f"{module}:{imported.line} imports {name}, which is not below it"


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
def test_a_part_does_not_know_what_it_should_not(part: str) -> None:
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
    # Raises CycleError, which names the cycle.
    assert list(TopologicalSorter(graph).static_order())


def test_the_compiled_modules_know_nothing_of_the_application() -> None:
    for path in sorted((ROOT / "fastcache").glob("*.p[yx]*")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            words = line.split()
            if words[:1] in (["import"], ["cimport"], ["from"]):
                assert words[1].partition(".")[0] not in ("app", "tests"), f"{path.name}:{number}"


def test_the_compiled_check_imports_downward() -> None:
    """Compiled modules of the application are held to the layer that they lie in."""
    paths = sorted((ROOT / "app").rglob("*.p[yx]*"))
    for path in (path for path in paths if path.suffix in (".pyx", ".pxd")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        part = _part_of(".".join(parts))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            words = line.split()
            if words[:1] in (["import"], ["cimport"], ["from"]) and _is_ours(words[1]):
                below = any(_within(words[1], allowed) for allowed in (part, *LAYERS[part]))
                assert below, f"{path.name}:{number}"


# ---- Each alone

# A fresh interpreter loads what the arguments before "--" name, and then, for each of the others, a
# fork of it imports that one and nothing of ours before it.
_IMPORT_EACH = """
import gc, importlib, json, os, sys, traceback
split = sys.argv.index("--")
for foreign in sys.argv[1:split]:
    importlib.import_module(foreign)
assert not {"app", "fastcache"} & sys.modules.keys()
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

# It runs within Alembic, and asks it for a connection at once.
_NOT_ALONE = "app.store.migrations.env"


def _import_each(modules: list[str], first: list[str]) -> dict[str, set[str]]:
    """Import each of ``modules`` alone; the packages that are loaded afterwards."""
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
    """In bounded rounds those that no other imports, which load all the others."""
    imported = {one.module for module in MODULES for one in _imports(module)}
    modules = [
        module for module in MODULES if module != _NOT_ALONE and (long or module not in imported)
    ]
    assert modules
    # What others wrote is loaded once, before: that makes it quick, and changes nothing for ours.
    foreign = {
        imported.module
        for module in modules
        for imported in _imports(module)
        if not _is_ours(imported.module) and not imported.deferred
    }
    assert _import_each(modules, sorted(foreign)).keys() == set(modules)


def test_the_domain_and_the_cache_load_nothing_foreign() -> None:
    """Not through anything they import either."""
    domain = [module for module in MODULES if _within(module, "app.credentials")]
    cache = [module for module in MODULES if _within(module, "fastcache")]
    loaded = _import_each([*domain, "app.errors", *cache], [])
    # What a venv's start-up hooks load is there in every process.
    (always,) = _import_each(["json"], []).values()
    for module, packages in loaded.items():
        ours = "fastcache" if module in cache else "app"
        # Compiled modules bring Cython's own, which are no packages.
        foreign = {name for name in packages - always - {ours} if "cython" not in name}
        assert not foreign, module


# ---- Sizes and names


def test_no_module_is_longer_than_can_be_read() -> None:
    paths = [path for package in ("app", "fastcache") for path in (ROOT / package).rglob("*.py*")]
    sources = [path for path in paths if path.suffix in (".py", ".pyx", ".pyi")]
    assert sources
    for path in sources:
        lines = len(path.read_text("utf-8").splitlines())
        assert lines <= MAX_LINES, f"{path.relative_to(ROOT)} has {lines} lines"


def test_nothing_is_called_utils() -> None:
    for package in ("app", "fastcache", "tests"):
        for path in (ROOT / package).rglob("*"):
            words = set(path.stem.lower().strip("_").split("_"))
            assert not words & {"util", "utils", "helper", "helpers", "misc", "common"}, path


def test_each_module_says_what_it_is() -> None:
    for module, path in MODULES.items():
        said = ast.get_docstring(ast.parse(path.read_text("utf-8")))
        assert said, module
        assert said.splitlines()[0].endswith((".", "``")), module


def test_the_package_only_wires() -> None:
    tree = ast.parse(MODULES["app"].read_text("utf-8"))
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert [node.name for node in defined] == ["create_app"]
    for node in tree.body:
        assert isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.Expr | ast.If)


def test_the_public_names() -> None:
    assert sorted(app.auth.__all__) == [
        "AuthMiddleware",
        "Authenticator",
        "OpenRoutes",
        "any_credential",
        "current_principal",
        "principal_or_none",
        "require_scope",
    ]
    # Those of fastcache are pinned in tests/fastcache/test_names.py.
    for package in (app.auth, fastcache):
        for name in package.__all__:
            assert getattr(package, name) is not None
