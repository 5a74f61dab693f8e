"""pgbouncer between the boxes and PostgreSQL, with the files of the guide and passwords."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from latchkey.store.protocols import BEHIND_POOLER
from tests.support.boxes.pooler import running
from tests.support.certificates import Authority
from tests.support.documents.blocks import TEXTS, blocks
from tests.support.faults.service_processes import wait_until
from tests.support.latchkey_command import run_here
from tests.support.ports import free_port
from tests.support.postgresql import Postgresql, started
from tests.support.service import Service

GUIDE = "docs/how-to/several-boxes.md"
PASSWORD = "choose-a-long-random-one"
ROLE = "guide"
_JOINING = """
from latchkey.config import load_settings
from latchkey.membership import join_box

join_box(load_settings())
"""


def guide(by: str, mark: str) -> str:
    """The only block of the guide with this check that contains ``mark``."""
    found = [
        block.text
        for block in blocks(GUIDE, TEXTS[GUIDE])
        if block.options.get("by") == by and mark in block.text
    ]
    (text,) = found
    return text


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("the authority of the database")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[Postgresql]:
    """A server with the role and the database of the guide, which asks for TLS and a password."""
    with started(password_encryption="scram-sha-256") as server:
        for statement in guide("sql", "CREATE DATABASE").strip().splitlines():
            server.execute(statement.replace("latchkey", ROLE))
        server.require_tls(*authority.issue("localhost"))
        yield server


@pytest.fixture(scope="module")
def port(server: Postgresql, authority: Authority) -> Iterator[int]:
    """The port of a pgbouncer with the files of the guide."""
    port = free_port()
    settings = guide("pgbouncer", "[pgbouncer]")
    for given, here in (
        ("latchkey = host=db.example.com port=5432", f"{ROLE} = host=localhost port={server.port}"),
        ("listen_port = 6432", f"listen_port = {port}\nunix_socket_dir ="),
    ):
        assert given in settings
        settings = settings.replace(given, here)
    ((line,),) = server.execute(guide("sql", "pg_authid").replace("'latchkey'", f"'{ROLE}'"))
    assert PASSWORD not in line
    files = {
        "pgbouncer.ini": settings,
        "userlist.txt": f"{line}\n",
        "database-ca.crt": authority.pem.decode(),
    }
    with running(port, files):
        yield port


@pytest.fixture
def boxes(port: int, tmp_path: Path) -> Iterator[list[Service]]:
    """Two boxes that do not run yet, with the settings of the guide."""
    lines = guide("settings", ":6432/").strip().splitlines()
    given = dict(line.split("=", 1) for line in lines)
    url = given["LATCHKEY_DATABASE_URL"]
    assert url.endswith("latchkey@127.0.0.1:6432/latchkey")
    made = []
    for name in ("box1", "box2"):
        directory = tmp_path / name
        (directory / "memory").mkdir(parents=True, mode=0o700)
        file = directory / "database.password"
        file.touch(0o600)
        file.write_text(f"{PASSWORD}\n")
        made.append(
            Service(
                directory,
                LATCHKEY_WORKERS="1",
                LATCHKEY_BOX_NAME=name,
                LATCHKEY_SHARED_MEMORY=str(directory / "memory"),
                LATCHKEY_DATABASE_URL=url.replace("latchkey@127.0.0.1:6432/latchkey", "")
                + f"{ROLE}@127.0.0.1:{port}/{ROLE}",
                LATCHKEY_DATABASE_PASSWORD_FILE=str(file),
            )
        )
    yield made
    for box in made:
        box.stop()


def live(box: Service) -> list[str]:
    """The names of the live boxes, by the command."""
    done = run_here(box, "boxes", "--json")
    assert done.returncode == 0, done.stderr
    return [one["name"] for one in json.loads(done.stdout)["boxes"] if one["status"] == "live"]


def says_once_that_it_polls(log: str) -> bool:
    return log.count("do not arrive") == log.count(BEHIND_POOLER) == 1


def test_two_boxes_share_a_database_through_it(boxes: list[Service]) -> None:
    one, two = boxes
    made = run_here(one, "init")
    assert made.returncode == 0, made.stderr
    (two.directory / "secrets").mkdir(mode=0o700)
    for name in ("derivation.key", "audit.key"):
        file = two.directory / "secrets" / name
        file.touch(0o600)
        file.write_bytes((one.directory / "secrets" / name).read_bytes())
    accepted = run_here(two, "audit", "accept", "--yes")
    assert accepted.returncode == 0, accepted.stderr
    for box in boxes:
        # There is no file of a database to look for.
        box.database.parent.mkdir()
        box.database.touch()
        box.start()
    wait_until(lambda: live(one) == ["box1", "box2"], "both boxes to register")
    pair = one.issue()
    for box in boxes:
        assert box.get("/v1/account", pair.bearer).status == 200
    assert two.request("DELETE", f"/v1/api_keys/{pair.api_key}", pair.bearer).status == 200
    for box in boxes:
        assert box.get("/v1/account", pair.bearer).status == 401
        assert says_once_that_it_polls(box.log)
    joined = subprocess.run(
        [sys.executable, "-c", _JOINING],
        cwd=one.directory,
        env=one.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert says_once_that_it_polls(joined.stderr)


def test_a_wrong_password_is_refused_by_it(boxes: list[Service]) -> None:
    box = boxes[0]
    file = Path(box.settings["LATCHKEY_DATABASE_PASSWORD_FILE"])
    file.write_text("another-long-random-one\n")
    for command in (("init",), ("boxes",)):
        done = run_here(box, *command)
        assert done.returncode != 0
        assert "another-long" not in done.stdout + done.stderr
        assert "LATCHKEY_DATABASE_URL" in done.stderr
