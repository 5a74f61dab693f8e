"""Every call that opens, creates or changes a file by name is in one module, or listed here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ("latchkey", "app/latchkey_service", "fastcache")

DECIDING = {
    "latchkey/files/shared_places.py",
    # The same for segments: fastcache does not import latchkey.
    "fastcache/shared/segment_file.py",
}

# Attributes of these modules that take a file name or change the owner of a file.
_OF_MODULES = {
    "os": {
        *("open", "mkdir", "makedirs", "mkfifo", "mknod", "link", "symlink", "memfd_create"),
        *("unlink", "remove", "removedirs", "rmdir", "rename", "renames", "replace", "truncate"),
        *("chmod", "lchmod", "fchmod", "chown", "lchown", "fchown", "shm_open"),
    },
    "io": {"open", "open_code", "FileIO"},
    "sqlite3": {"connect"},
    "shutil": None,
    "tempfile": None,
    "shared_memory": None,
}
# Methods of paths and sockets. Methods of other objects with the same name are listed too.
_METHODS = {
    *("open", "touch", "mkdir", "unlink", "rmdir", "rename", "chmod", "lchmod"),
    *("symlink_to", "hardlink_to", "read_text", "read_bytes", "write_text", "write_bytes"),
    *("bind", "connect", "connect_ex"),
}
_COMPILED = re.compile(
    r"(?<![\w.])(?<!cdef int )(?:open|openat|creat|fopen|shm_open|memfd_create|mkstemp|mkdir|unlink"
    r"|rename|link|symlink|connect|bind|truncate|chmod|fchmod|chown|fchown)\s*\("
)

ELSEWHERE = {
    "not a file: a route, a URL map, a segment that a lock names, a pooled connection": {
        "app/latchkey_service/api/docs.py: docs.open",
        "app/latchkey_service/api/health.py: health.open",
        "app/latchkey_service/api/metrics.py: metrics.open",
        "app/latchkey_service/server/master.py: ServiceSegment.open",
        "latchkey/credentials/publishing.py: self._heads.replace",
        "latchkey/store/kept_head.py: self._seal.head.replace",
        "latchkey/membership.py: ServiceSegment.open",
        "latchkey/flask/start_check.py: app.url_map.bind",
        "latchkey/store/sqlite/connections.py: self._reader.connect",
        "latchkey/store/sqlite/connections.py: self._writer.connect",
        "latchkey/store/sqlite/restore.py: engine.connect",
    },
    "a connection to a server": {
        "latchkey/store/postgresql/connecting.py: BoundedConnection.connect",
        "latchkey/store/postgresql/connections.py: self._reader.connect",
        "latchkey/store/postgresql/connections.py: self._writer.connect",
        "latchkey/store/postgresql/connections.py: self.connector.open",
        "latchkey/store/postgresql/lookup.py: self._connector.open",
        "latchkey/store/postgresql/migrate.py: psycopg.connect",
        "latchkey/store/postgresql/upgrade.py: psycopg.connect",
    },
    "a descriptor, opened by the deciding module": {
        "app/latchkey_service/cli/apply.py: open(descriptor)",
        "app/latchkey_service/cli/streams.py: open(descriptor)",
        "app/latchkey_service/restoring.py: open(open_regular(path))",
        "app/latchkey_service/verify/rules_file.py: open(open_regular(path, trusted=True))",
        "latchkey/files/private.py: open(open_regular(path, trusted=True))",
        "latchkey/store/audit_head.py: open(open_regular(self.path))",
        "latchkey/store/sqlite/restore.py: open(open_regular(restored))",
        "latchkey/store/sqlite/backup.py: os.fchown",
    },
    "a standard stream, or a device of the system": {
        "app/latchkey_service/cli/asking.py: Path('/dev/tty').open",
        "app/latchkey_service/cli/streams.py: open(0)",
        "app/latchkey_service/cli/streams.py: open(number)",
        "app/latchkey_service/cli/streams.py: os.open(os.devnull)",
    },
    "a file that the operator names to be read; it may be a pipe of a shell": {
        "app/latchkey_service/cli/streams.py: file.read_bytes",
    },
    "a file of the installation": {
        "app/latchkey_service/console/application.py: path.read_bytes",
    },
    "a TCP address": {
        "app/latchkey_service/server/listening.py: tried.bind",
    },
    "a new name for a draft of this process, given only where no file has it": {
        "latchkey/store/sqlite/backup.py: os.link",
        "latchkey/store/sqlite/restore.py: os.link",
    },
    "a draft of this process under a random name, or a file that it has just made": {
        "app/latchkey_service/cli/apply.py: path.unlink",
        "app/latchkey_service/cli/audit.py: path.unlink",
        "app/latchkey_service/restoring.py: draft.with_name(f'{draft.name}{suffix}').unlink",
        "latchkey/store/sqlite/backup.py: draft.unlink",
        "app/latchkey_service/reconciling.py: tempfile.TemporaryDirectory",
    },
    "names in the database's directory, moved while no service runs; a link is moved as such": {
        "latchkey/store/sqlite/restore.py: beside.rename",
        "latchkey/store/sqlite/restore.py: restored.rename",
    },
    "SQLite's own opening, of what the deciding module has looked at": {
        "latchkey/store/sqlite/opening.py: sqlite3.connect",
    },
    "the name of a segment, while this process alone holds the file that it leads to": {
        "fastcache/shared/segment.py: os.unlink",
    },
}


def _paths(*suffixes: str) -> Iterator[tuple[str, Path]]:
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*")):
            if path.suffix in suffixes:
                yield str(path.relative_to(ROOT)), path


def _named(node: ast.expr) -> str:
    return ast.unparse(node)


def _calls(tree: ast.Module) -> Iterator[str]:
    """Possible openings of files: calls of ``open`` and of methods, and all uses of a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _called(node)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            functions = _OF_MODULES.get(node.value.id, set())
            # os.open is covered by its arguments, above.
            if (functions is None or node.attr in functions) and _named(node) != "os.open":
                yield _named(node)
        elif isinstance(node, ast.ImportFrom) and node.module in _OF_MODULES:
            functions = _OF_MODULES[node.module]
            for name in node.names:
                if functions is None or name.name in functions:
                    yield f"from {node.module} import {name.name}"


def _called(node: ast.Call) -> Iterator[str]:
    first = _named(node.args[0]) if node.args else ""
    match node.func:
        case ast.Name("open"):
            yield f"open({first})"
        case ast.Attribute(ast.Name("os"), "open"):
            yield f"os.open({first})"
        case ast.Attribute(ast.Name(module)) if module in _OF_MODULES:
            pass
        case ast.Attribute(_, name) if name in _METHODS:
            yield _named(node.func)
        # Path.replace: str.replace has two arguments, and datetime.replace has keyword arguments.
        case ast.Attribute(_, "replace") if len(node.args) == 1 and not node.keywords:
            yield _named(node.func)


def _compiled(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if _COMPILED.search(line.partition("#")[0]):
            yield line.strip()


def test_files_are_opened_by_one_module_or_for_a_listed_reason() -> None:
    found = set()
    for name, path in _paths(".py"):
        if name not in DECIDING:
            tree = ast.parse(path.read_text("utf-8"))
            found |= {f"{name}: {call}" for call in _calls(tree)}
    for name, path in _paths(".pyx", ".pxd", ".pxi", ".h"):
        found |= {f"{name}: {line}" for line in _compiled(path.read_text("utf-8"))}
    listed = {entry for entries in ELSEWHERE.values() for entry in entries}
    assert found - listed == set()
    assert listed - found == set()


def test_openings_are_found_in_every_notation() -> None:
    for code in (
        "open(path)",
        "os.open(path, os.O_RDONLY)",
        "partial(os.unlink, path)",
        "path.open('rb')",
        "Path(name).mkdir()",
        "draft.replace(path)",
        "sqlite3.connect(path)",
        "shutil.move(one, other)",
        "from os import rename",
        "from shutil import copy",
        "client.connect('/run/socket')",
    ):
        assert list(_calls(ast.parse(code))), code
    for code in ("text.replace('a', 'b')", "moment.replace(hour=0)", "os.fsync(number)"):
        assert not list(_calls(ast.parse(code))), code
    assert list(_compiled("    fd = shm_open(name, O_RDWR, 0600);"))
