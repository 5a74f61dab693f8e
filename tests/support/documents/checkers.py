"""Checks blocks that cannot be run, with the program that would read them.

``missing`` names a program that is not here, so that a test can be skipped; `.ci/run` installs all.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from latchkey.config import load_settings
from latchkey.errors import ConfigurationError
from tests.support.documents.blocks import Block
from tests.support.service import LATCHKEY

_PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
_NEEDED = {
    "nginx": ("nginx", "openssl"),
    "systemd": ("systemd-analyze",),
    "hadolint": ("hadolint",),
    "caddy": ("caddy",),
}
# Programs of a reader that not every machine has.
_TYPED = ("caddy", "curl", "envoy", "haproxy", "jq", "nginx", "openssl", "sqlite3", "traefik")


class Rejected(AssertionError):
    """The program that reads such a text rejects it."""


def missing(block: Block) -> str | None:
    """A program that a block needs and this machine lacks."""
    needed = _NEEDED.get(block.options.get("by", ""), ())
    if block.language == "sh":
        needed = tuple(name for name in _TYPED if re.search(rf"(?:^|[|(;&]) *{name}\b", block.text))
    for program in needed:
        if shutil.which(program, path=_PATH) is None:
            return program
    return None


def check(name: str, text: str, root: Path) -> None:
    """Check a text with the named program; raises Rejected. ``root`` replaces the root of paths."""
    if name not in CHECKS:
        raise Rejected(f"there is no check {name!r}: {', '.join(sorted(CHECKS))}")
    try:
        CHECKS[name](text, root)
    except (ValueError, SyntaxError, yaml.YAMLError, ConfigurationError) as error:
        raise Rejected(str(error)) from error


def _ran(*command: str | Path) -> str:
    done = subprocess.run(
        command,
        env={"PATH": _PATH, "LANG": "C.UTF-8", "HOME": tempfile.gettempdir()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode != 0:
        raise Rejected(done.stdout + done.stderr)
    return done.stdout + done.stderr


def _nginx(text: str, root: Path) -> None:
    """A site, or the content of one; with a certificate where one is named that does not exist."""
    directory = Path(tempfile.mkdtemp(dir=root))
    for kind, path in re.findall(r"ssl_(certificate|certificate_key)\s+(\S+);", text):
        place = Path(path)
        if place.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        certificate, key = _certificate(directory)
        shutil.copy(certificate if kind == "certificate" else key, place)
    if re.search(r"^\s*http\s*{", text, re.MULTILINE):
        http = text
    else:
        if not re.search(r"^\s*(server|upstream|map|limit_req_zone)\b", text, re.MULTILINE):
            text = f"server {{ {text} }}"
        http = f"http {{ {text} }}"
    places = "".join(
        f"{kind}_temp_path {directory}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    http = http.replace("http {", f"http {{ access_log off; {places}", 1)
    config = directory / "nginx.conf"
    events = "" if re.search(r"^\s*events\b", http, re.MULTILINE) else "events {}"
    config.write_text(f"pid {directory}/pid; error_log stderr; {events} {http}")
    nginx = shutil.which("nginx", path=_PATH)
    assert nginx is not None
    _ran(nginx, "-t", "-c", config)


def _certificate(directory: Path) -> tuple[Path, Path]:
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    if not key.exists():
        _ran(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "1", "-subj", "/CN=keys.example.com"),
            *("-keyout", key, "-out", certificate),
        )
    return certificate, key


def _systemd(text: str, root: Path) -> None:
    """A unit, or a drop-in for the service's unit; systemd looks whether its programs are there."""
    kind = next((kind for kind in ("Timer", "Socket", "Path") if f"[{kind}]" in text), "Service")
    text = re.sub(r"(?m)^(Exec\w+=[-+!@]*)\S*/latchkey\b", rf"\g<1>{LATCHKEY}", text)
    directory = Path(tempfile.mkdtemp(dir=root))
    if kind == "Service" and "ExecStart=" not in text:
        text = f"[Service]\nExecStart=/bin/true\n{text}"
    if kind == "Timer" or (kind == "Socket" and "Service=" not in text):
        (directory / "page.service").write_text("[Service]\nExecStart=/bin/true\n")
    unit = directory / f"page.{kind.lower()}"
    unit.write_text(text)
    if "page." in (said := _ran("systemd-analyze", "verify", unit)):
        raise Rejected(said)


def _caddy(text: str, root: Path) -> None:
    """A Caddyfile, without the files that it names."""
    file = Path(tempfile.mkdtemp(dir=root)) / "Caddyfile"
    file.write_text(text)
    _ran("caddy", "adapt", "--config", file)


def _hadolint(text: str, root: Path) -> None:
    file = Path(tempfile.mkdtemp(dir=root)) / "Dockerfile"
    file.write_text(text)
    _ran("hadolint", file)


def _settings(text: str, root: Path) -> None:
    """Variables in a file that systemd or a shell reads, which the service has to accept."""
    values = dict(re.findall(r"(?m)^(?:export )?(LATCHKEY_\w+)=\"?([^\"\n]*)\"?$", text))
    if not values:
        raise Rejected(f"no settings: {text}")
    load_settings(
        {**values, "LATCHKEY_DERIVATION_KEYS": values.get("LATCHKEY_DERIVATION_KEYS", "")}
    )


def _json(text: str, root: Path) -> None:
    json.loads(text)


def _toml(text: str, root: Path) -> None:
    tomllib.loads(text)


def _yaml(text: str, root: Path) -> None:
    yaml.safe_load(text)


def _sql(text: str, root: Path) -> None:
    """Statements of PostgreSQL, which tests/integration/test_box_pages.py runs."""
    for statement in text.strip().split("\n"):
        if not re.fullmatch(r"(?:CREATE|ALTER|SELECT) [^;]+;", statement):
            raise Rejected(f"not one statement in one line: {statement}")


def _compose(text: str, root: Path) -> None:
    """Lines of `docker compose`, which tests/integration/test_compose_file.py follows."""
    file = Path(__file__).parents[3] / "deploy" / "compose.yaml"
    services = yaml.safe_load(file.read_text("utf-8"))["services"]
    for line in text.splitlines():
        words = [word for word in shlex.split(line) if not word.startswith("--")]
        if words[0] == "sleep" and len(words) == 2 and words[1].isdecimal():
            continue
        if words[:2] != ["docker", "compose"] or not words[2:]:
            raise Rejected(f"not a line of docker compose: {line}")
        if words[2] in ("exec", "run", "restart") and words[3] not in services:
            raise Rejected(f"names no service of deploy/compose.yaml: {line}")


def _pgbouncer(text: str, root: Path) -> None:
    """Settings that tests/integration/test_pooler.py uses."""
    parser = configparser.ConfigParser(delimiters="=")
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise Rejected(str(error)) from error
    if set(parser.sections()) != {"databases", "pgbouncer"}:
        raise Rejected(f"not the sections of pgbouncer.ini: {', '.join(parser.sections())}")


def _python(text: str, root: Path) -> None:
    compile(text, "page", "exec")


def _make(text: str, root: Path) -> None:
    """Lines of `make`, whose targets and variables the Makefile has to have."""
    here = Path(__file__).parents[3]
    for line in text.splitlines():
        command = shlex.split(line, comments=True)
        if not command:
            continue
        if command[0] != "make":
            raise Rejected(f"not a line of make: {line}")
        _ran("make", "-C", here, "--dry-run", "--always-make", *command[1:])


CHECKS: dict[str, Callable[[str, Path], None]] = {
    "caddy": _caddy,
    "compose": _compose,
    "hadolint": _hadolint,
    "json": _json,
    "make": _make,
    "nginx": _nginx,
    "pgbouncer": _pgbouncer,
    "python": _python,
    "settings": _settings,
    "sql": _sql,
    "systemd": _systemd,
    "toml": _toml,
    "yaml": _yaml,
}
