"""What shows the boxes of a PostgreSQL database: the command, the console and the metrics."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from functools import partial

import pytest

from tests.support.console.visitor import Visitor, make_administrator
from tests.support.documents.blocks import TEXTS, blocks
from tests.support.faults.service_processes import wait_until
from tests.support.latchkey_command import run_here
from tests.support.postgresql import Postgresql
from tests.support.service import Service

GUIDE = "docs/how-to/several-boxes.md"


def guide(tag: str, language: str) -> list[str]:
    """The texts of the guide's blocks of one kind."""
    found = blocks(GUIDE, TEXTS[GUIDE])
    return [one.text for one in found if (one.tag, one.language) == (tag, language)]


def created(server: Postgresql) -> str:
    """Create a database as the guide says, under another name; returns its URL."""
    creation, standby, connections, _ = guide("check", "sql")
    for statement in creation.strip().splitlines():
        server.execute(statement.replace("latchkey", "guide"))
    for statement in (standby.splitlines()[0], connections.strip()):
        server.execute(statement)
        server.execute("ALTER SYSTEM RESET ALL")
    return server.url("guide", user="guide")


@pytest.fixture(scope="module")
def boxes(
    postgresql: Postgresql, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Service]]:
    """Two boxes of an instance that began with SQLite, as the guide leads to them."""
    one, two = (
        Service(
            tmp_path_factory.mktemp("box"),
            LATCHKEY_WORKERS="1",
            LATCHKEY_SIGN_IN_LIMIT="off",
            LATCHKEY_BOX_NAME=name,
        )
        for name in ("box1", "box2")
    )
    for box in (one, two):
        # On one machine, each has its own place for shared memory.
        box.settings["LATCHKEY_SHARED_MEMORY"] = str(box.directory / "memory")
        (box.directory / "memory").mkdir(mode=0o700)
    one.initialize()
    make_administrator(one)
    url = created(postgresql)
    command = shlex.split(guide("show", "sh")[0])
    assert command[:2] == ["latchkey", "migrate-database"]
    done = run_here(one, command[1], one.settings["LATCHKEY_DATABASE_URL"], url, "--yes")
    assert done.returncode == 0, done.stderr
    shutil.copytree(one.directory / "secrets", two.directory / "secrets")
    # There is no file of a database to look for.
    two.database.parent.mkdir()
    two.database.touch()
    for box in (one, two):
        box.settings["LATCHKEY_DATABASE_URL"] = url
        box.start()
    yield [one, two]
    for box in (one, two):
        box.stop()
    postgresql.drop_database("guide")
    postgresql.execute("DROP ROLE guide")


def listed(box: Service) -> list[dict[str, object]]:
    done = run_here(box, "boxes", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["boxes"]
    assert isinstance(found, list)
    return found


def test_the_command_lists_both_boxes(boxes: list[Service]) -> None:
    wait_until(lambda: len(listed(boxes[0])) == 2, "both boxes to register")
    for box in boxes:
        found = listed(box)
        assert [(one["name"], one["status"], one["workers"]) for one in found] == [
            ("box1", "live", 1),
            ("box2", "live", 1),
        ]
    table = run_here(boxes[0], "boxes").stdout.splitlines()
    assert [line.split("\t")[0] for line in table] == ["name", "box1", "box2"]
    (shown,) = [text for text in guide("show", "text") if text.startswith("name")]
    assert table[0].split("\t") == shown.splitlines()[0].split()


def test_a_change_is_confirmed_by_both(boxes: list[Service]) -> None:
    pair = boxes[0].issue()
    for box in boxes:
        assert box.get("/v1/account", pair.bearer).status == 200
    assert boxes[1].request("DELETE", f"/v1/api_keys/{pair.api_key}", pair.bearer).status == 200
    for box in boxes:
        assert box.get("/v1/account", pair.bearer).status == 401
    assert [one["behind"] for one in listed(boxes[0])] == [0, 0]


def test_a_session_is_valid_at_both_boxes_and_ends_at_both(boxes: list[Service]) -> None:
    one, two = Visitor(boxes[0]), Visitor(boxes[1])
    assert one.sign_in().status == 303
    two.cookies.update(one.cookies)
    page = two.get("/console/boxes/")
    assert page.status == 200
    assert [name in page.text for name in ("box1", "box2", ">Boxes</a>")] == [True] * 3
    assert one.send("/console/boxes/", "/console/sign-out").status == 303
    assert two.get("/console/boxes/").status == 303


def test_the_overview_adds_up_the_refusals_of_a_limit_at_both_boxes(boxes: list[Service]) -> None:
    pair = boxes[0].create_key("live", "--quota", "1/total", name="at its limit")
    sent = [box.get("/v1/account", pair.bearer).status for box in (*boxes, *boxes)]
    assert sent == [200, 429, 429, 429]
    visitor = Visitor(boxes[0])
    assert visitor.sign_in().status == 303
    shown = rf"{pair.api_key}.*?Refused requests\"><div>3<"
    wait_until(
        lambda: re.search(shown, visitor.get("/console/overview/").text, re.DOTALL) is not None,
        "the refusals of both boxes",
    )


def has_lease(box: Service) -> bool:
    return box.metric("latchkey_lease_seconds") > 0


def test_the_metrics_have_the_lease(boxes: list[Service]) -> None:
    for box in boxes:
        wait_until(partial(has_lease, box), "a lease")
    assert boxes[0].metric("latchkey_log_applied_row") > 0
