"""An instance as a released version left it: recorded into files, and put in place again.

``python -m tests.support.recorded DIRECTORY``, in a checkout of the release, records one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import latchkey
from latchkey.box import segment
from latchkey.box.shared import SharedState
from tests.support.service import Service

ROOT = Path(__file__).parents[2]

_SECRET_FILES = ("derivation.key", "audit.key", "audit.head")
_DUMP, _EXPECTED = "latchkey.sql", "expected.json"
_MEBIBYTES = 8


@dataclass(frozen=True)
class Key:
    """A key of the instance: its secret, and what is known of its uses."""

    name: str
    mode: str
    api_key: str
    secret: str
    accepted: bool
    uses: int

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}


@dataclass(frozen=True)
class Expected:
    """What the new version has to find."""

    version: str
    keys: list[Key]
    audit_rows: list[dict[str, Any]]
    layout: int
    regions: dict[str, Any]


def latest_tag() -> str | None:
    """The tag of the latest release; None without git or in a checkout without tags."""
    try:
        asked = subprocess.run(
            ["git", "-C", ROOT, "describe", "--tags", "--abbrev=0", "--match", "v*"],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None


def memory_layout() -> tuple[int, dict[str, Any]]:
    """The number of the layout of shared memory, and the regions that it stands for."""
    regions = SharedState.regions(_MEBIBYTES << 20)
    return segment._LAYOUT, {name: list(region) for name, region in regions.items()}


def read(recorded: Path) -> Expected:
    """The expected values that were recorded with an instance."""
    fields = json.loads((recorded / _EXPECTED).read_text())
    return Expected(**{**fields, "keys": [Key(**key) for key in fields["keys"]]})


def put_in_place(recorded: Path, service: Service) -> None:
    """Give a service that is not running the database and the secrets of a recorded instance."""
    for directory in (service.database.parent, service.directory / "secrets"):
        directory.mkdir(mode=0o700)
    service.database.touch(mode=0o600)
    with closing(sqlite3.connect(service.database)) as database:
        database.executescript((recorded / _DUMP).read_text())
    for name in _SECRET_FILES:
        place = service.directory / "secrets" / name
        place.touch(mode=0o600)
        place.write_bytes((recorded / name).read_bytes())


def audit_rows(service: Service) -> list[dict[str, Any]]:
    """The whole audit log, oldest first."""
    listed = json.loads(service.command("audit", "list", "--all", "--json").stdout)
    return list(reversed(listed["entries"]))


def uses(service: Service, api_key: str) -> int:
    """The number of uses of a key, from the command line."""
    total: int = json.loads(service.command("keys", "usage", api_key, "--json").stdout)["requests"]
    return total


def record(recorded: Path) -> None:
    """Make an instance with the version that is checked out, use it, and record what it left."""
    recorded.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        service = Service(Path(directory))
        with service:
            made = _make_keys(service)
        keys = [
            Key(name, mode, api_key, secret, accepted, uses(service, api_key))
            for name, mode, api_key, secret, accepted in made
        ]
        service.command("audit", "verify")
        layout, regions = memory_layout()
        expected = Expected(latchkey.__version__, keys, audit_rows(service), layout, regions)
        with closing(sqlite3.connect(service.database)) as database:
            (recorded / _DUMP).write_text("\n".join(database.iterdump()) + "\n")
        for name in _SECRET_FILES:
            shutil.copyfile(service.directory / "secrets" / name, recorded / name)
    (recorded / _EXPECTED).write_text(json.dumps(asdict(expected), indent=1) + "\n")


def _make_keys(service: Service) -> list[tuple[str, str, str, str, bool]]:
    """Keys of every kind, each used as often as its place in the list says."""
    full = service.create_key(name="full access")
    test = service.create_key("test", name="test mode")
    scoped = service.create_key("live", "--scope", "account:read", name="scoped")
    limited = service.create_key("live", "--expires-at", "2199-01-01", name="with an expiry")
    revoked = service.create_key(name="revoked")
    rotated = service.create_key(name="rotated")
    token = "imported-token-of-another-system"
    line = {"name": "imported", "sha256": hashlib.sha256(token.encode()).hexdigest()}
    file = service.directory / "import.jsonl"
    file.write_text(json.dumps(line) + "\n")
    imported = json.loads(service.command("keys", "import", str(file), "--json").stdout)
    listed = [
        ("full access", "live", full.api_key, full.api_secret),
        ("test mode", "test", test.api_key, test.api_secret),
        ("scoped", "live", scoped.api_key, scoped.api_secret),
        ("with an expiry", "live", limited.api_key, limited.api_secret),
        ("revoked", "live", revoked.api_key, revoked.api_secret),
        ("rotated", "live", rotated.api_key, rotated.api_secret),
        ("imported", "live", imported["api_keys"][0], token),
    ]
    for times, (name, _, _, secret) in enumerate(listed, start=1):
        for _ in range(times):
            answer = service.get("/v1/account", {"Authorization": f"Bearer {secret}"})
            assert answer.status == 200, (name, answer)
    service.command("keys", "revoke", revoked.api_key, "--yes")
    successor = json.loads(
        service.command("keys", "rotate", rotated.api_key, "--overlap", "0", "--json").stdout
    )
    listed.append(("successor", "live", successor["api_key"], successor["api_secret"]))
    refused = {"revoked", "rotated"}
    return [(*one, one[0] not in refused) for one in listed]


if __name__ == "__main__":
    record(Path(sys.argv[1]))
