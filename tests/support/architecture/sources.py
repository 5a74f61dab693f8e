"""The modules of the project in the source, and what they import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import latchkey

ROOT = Path(latchkey.__file__).parent.parent

# Each package, and the directory from which it is imported.
SOURCES = {"fastcache": ROOT, "latchkey": ROOT, "latchkey_service": ROOT / "app"}
PACKAGES = tuple(SOURCES)


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


def is_ours(name: str) -> bool:
    return name.partition(".")[0] in (*PACKAGES, "tests", "benchmarks")


def is_within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def imports_of(module: str) -> list[Import]:
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
