"""Runs the blocks of a page in order in an empty directory, like a reader who starts with nothing.

The README of an example runs in a copy of its directory.

These parts differ from the page: ports are replaced by free ones, and absolute paths by paths below
the directory. Placeholders of keys become the keys that the commands of the page have printed.
Packages are taken from the running environment, and questions are answered.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support.documents.blocks import Block
from tests.support.documents.checkers import check
from tests.support.documents.programs import Programs
from tests.support.documents.shell import Failed, Server, Shell
from tests.support.documents.system import stop_units, write_programs
from tests.support.ports import free_port

_PORTS = ("80", "443", "2019", "5000", "8000", "8080", "8081", "8443")
_PORT = re.compile(
    r"(:|--port[ =]|-p |listen |PORT=|http\.server |https?_port |port_value: )"
    rf"({'|'.join(_PORTS)})\b"
)
_PATH = re.compile(
    r"(?:(?<![\w.~…/$}*-])|(?<=sqlite:///))/(etc|var|opt|run|srv|backups|mnt)(?=[/\s\"';:,)]|$)"
)
_PLACEHOLDER = re.compile(r"(ak|sk)_(live|test)_…")
_SECRET = re.compile(r"sk_(live|test)_([0-9A-Za-z]{22})[0-9A-Za-z]{49}")
_NAMED = re.compile(r"\A(?:#|//|;|--) (\S+(?:\.\w+|/Caddyfile))\n")
_PASSWORD = "correct horse battery"

# A line, and what takes its place where nobody types answers and nothing is downloaded.
_TYPED = [
    (
        r"(latchkey (?:accounts revoke-keys|apply|keys revoke|limits reset|audit accept|"
        r"audit restart|restore|admin remove)\b"
        r"(?![^#\n]* --yes)[^#\n|]*)",
        r"\1 --yes ",
    ),
    (
        r"(latchkey admin (?:create|password)\b(?![^#\n]* --password-stdin)[^#\n|]*)",
        rf"printf '%s\\n' '{_PASSWORD}' | \1 --password-stdin ",
    ),
    (
        r"(latchkey vendor instance-key\b(?![^#\n]* --master-key-file)[^#\n|]*)",
        r"printf '%064d\\n' 1 >~/master.key; \1 --master-key-file ~/master.key ",
    ),
    (r"python3? -m venv (?!--)", f"{sys.executable} -m venv --without-pip "),
    (r"(?:sudo )?(?:python3? -m |(\S+)/bin/)?pip install\b", r"install-packages '\1'"),
    (r"\.venv/bin/latchkey\b", "latchkey"),
    (r"\bmake serve\b", "latchkey init && latchkey serve"),
]
_DEFAULTS = {"latchkey": "8080", "flask": "5000", "gunicorn": "8000"}


class Page:
    """One run of a page's blocks; use it as a context. ``begun`` is copied into its directory."""

    def __init__(self, begun: Path | None = None) -> None:
        place = os.environ.get("PYTEST_DEBUG_TEMPROOT")
        self._kept = Path(tempfile.mkdtemp(prefix="page-", dir=place))
        self.directory = self._kept / "here"
        self.root = self._kept / "root"
        if begun is None:
            self.directory.mkdir()
        else:
            shutil.copytree(begun, self.directory, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("etc", "var/lib", "opt", "run", "srv", "backups"):
            (self.root / name).mkdir(parents=True, mode=0o700)
        (self._kept / "blocks").mkdir()
        # As at a terminal: no progress in the output.
        (self.directory / ".curlrc").write_text("silent\nshow-error\n")
        self.ports = {port: str(free_port()) for port in _PORTS}
        self.programs = Programs(self._kept)
        write_programs(self.programs.directory, self.root)
        self.shell = Shell(self.directory, self._kept / "blocks", self._environment())
        self.servers: dict[int, Server] = {}
        self.secrets: dict[str, tuple[str, str]] = {}
        self.printed = ""
        self._following: Path | None = None
        self._code: list[str] = []
        self._written: set[str] = set()

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        self.shell.close()
        self.programs.close()
        shutil.rmtree(self._kept, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        path = f"{self.programs.directory}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {
            "PATH": f"{path}:/usr/sbin",
            "HOME": str(self.directory),
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "LATCHKEY_BIND": f"127.0.0.1:{self.ports['8080']}",
            "LATCHKEY_WORKERS": "1",
            "FLASK_RUN_PORT": self.ports["5000"],
        }

    def follow(self, block: Block, rest: str) -> None:
        """Process a block as a reader would; ``rest`` is the text of the later blocks."""
        text = self.here(block.text)
        if "stopped" in block.options:
            self.stop()
        if name := _NAMED.match(text):
            self._write(name[1], text, rest)
        elif block.tag == "run" and block.language == "python":
            self._run_code(text)
        elif block.tag == "run":
            self.run(text, int(block.options.get("exit", 0)))
        elif block.tag == "serve":
            self._serve(text)
        elif block.tag == "output":
            self._compare(text, block.language)
        if block.tag == "check":
            check(block.options["by"], text, self.root)

    def here(self, text: str) -> str:
        """A block's text with the ports and the paths of this run."""
        text = _PORT.sub(lambda found: found[1] + self.ports[found[2]], text)
        return _PATH.sub(lambda found: f"{self.root}/{found[1]}", text)

    def run(self, script: str, status: int = 0) -> None:
        """Run commands in the page's shell."""
        self._keep(self.shell.run(self._typed(script), status))

    def stop(self) -> None:
        """Stop every server that the page started."""
        for server in self.servers.values():
            server.stop()
        self.servers = {}
        stop_units(self.root)

    def _typed(self, script: str) -> str:
        script = _PLACEHOLDER.sub(self._own, script)
        for pattern, replacement in _TYPED:
            script = re.sub(pattern, replacement, script)
        return script

    def _own(self, found: re.Match[str]) -> str:
        """The key, or the secret, that the page's commands created last in this mode."""
        kind, mode = found.groups()
        if mode not in self.secrets:
            made = self.shell.run(f"latchkey keys create --name test --mode {mode}")
            self._keep(made)
        return self.secrets[mode][kind == "sk"]

    def _keep(self, printed: str) -> None:
        self.printed, self._following = printed, None
        for found in _SECRET.finditer(printed):
            self.secrets[found[1]] = (f"ak_{found[1]}_{found[2]}", found[0])

    def _write(self, name: str, text: str, rest: str) -> None:
        named = Path(name)
        if not named.is_absolute() and named.stem not in rest:
            raise Failed(f"{name} is written, and no later block uses it")
        file = named if named.is_absolute() else self.shell.directory() / named
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_PLACEHOLDER.sub(self._own, text), "utf-8")

    def _run_code(self, text: str) -> None:
        """Run the code of a page up to this block, and keep only the output of this block."""
        before = "\n".join(self._code)
        self._code.append(_PLACEHOLDER.sub(self._own, text))
        script = self._kept / "page.py"
        script.write_text(f"{before}\nprint('\\f', flush=True)\n{self._code[-1]}\n", "utf-8")
        printed = self.shell.run(f"{self.shell.python()} -W error {script}")
        self._keep(printed.rpartition("\f\n")[2])

    def _serve(self, text: str) -> None:
        port = self._port(text)
        if port in self.servers:
            self.servers.pop(port).stop()
        server = self.servers[port] = self.shell.serve(self._typed(text))
        deadline = time.monotonic() + 120
        tries = 0
        while not (server.output.exists() and _answers(port)):
            tries += 1
            # Reading the states of all processes takes longer than a try.
            if tries % 20 == 0 and (not server.is_running() or time.monotonic() > deadline):
                said = server.output.read_text() if server.output.exists() else ""
                raise Failed(f"does not serve on {port}:\n{text}\n{said}")
            time.sleep(0.05)
        self._keep(server.output.read_text("utf-8", "replace"))
        self._following = server.output

    def _port(self, text: str) -> int:
        """The port on which a script serves: one that it names, or the default of its program."""
        named = re.findall(r"(?::|--port[ =]|-p )(\d{4,5})\b", text)
        if named:
            return int(named[-1])
        programs = [name for name in _DEFAULTS if re.search(rf"\b{name}\b", text)]
        if "make serve" in text:
            programs = ["latchkey"]
        assert programs, f"which port is this?\n{text}"
        # As in `latchkey init && flask run`.
        return int(self.ports[_DEFAULTS[max(programs, key=text.rfind)]])

    def _compare(self, expected: str, language: str) -> None:
        deadline = time.monotonic() + 60
        while not _matches(expected, self.printed, language):
            if self._following is None or time.monotonic() > deadline:
                raise Failed(f"expected:\n{expected}\n--- printed:\n{self.printed}")
            time.sleep(0.05)
            self.printed = self._following.read_text("utf-8", "replace")


def _matches(expected: str, printed: str, language: str) -> bool:
    if language == "json":
        try:
            return _same(json.loads(expected), json.loads(printed))
        except ValueError:
            pass
    parts = [re.escape(part) for part in _flat(expected).split("…")]
    return re.fullmatch(".*".join(parts), _flat(printed), re.DOTALL) is not None


def _flat(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _same(expected: Any, found: Any) -> bool:
    """Whether data is as a page shows it; "…" stands for any value, or for a part of a text."""
    if isinstance(expected, str) and "…" in expected:
        parts = [re.escape(part) for part in expected.split("…")]
        return expected == "…" or re.fullmatch(".*".join(parts), str(found)) is not None
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(
            _same(value, found[name]) for name, value in expected.items()
        )
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(_same, expected, found))
    return bool(expected == found)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
