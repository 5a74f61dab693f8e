"""The set-up link for the first administrator, and the commands for administrators."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.console.visitor import PASSWORD, Visitor, admin, make_administrator, set_up_path
from tests.support.latchkey_command import run_here
from tests.support.service import Service

StartService = Callable[..., Service]
FIRST = {"name": "Ada", "password": PASSWORD, "again": PASSWORD}


def use(service: Service, path: str, **fields: str) -> tuple[Visitor, int]:
    """Open a link and submit its form; returns the client and the status."""
    visitor = Visitor(service)
    page = visitor.get(path)
    if page.status != 200:
        return visitor, page.status
    sent = {**page.fields("/console/set-up"), **FIRST, **fields}
    return visitor, visitor.post("/console/set-up", sent).status


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """The directory of a service, initialised once."""
    return Service(tmp_path_factory.mktemp("set-up"))


def test_the_link_works_once(start_service: StartService) -> None:
    service = start_service()
    path = set_up_path(service)
    page = Visitor(service).get(path)
    assert (page.status, page.headers["Cache-Control"]) == (200, "no-store")
    # An invalid form does not consume the link.
    assert use(service, path, again="different horse")[1] == 400
    assert use(service, path, password="short", again="short")[1] == 400
    assert use(service, path, name="no spaces")[1] == 400
    visitor, status = use(service, path)
    assert status == 303
    assert "You are the first administrator" in visitor.get("/console/password/").text
    assert use(service, path)[1] == 403
    assert Visitor(service).sign_in("ada").status == 303
    # As soon as there is an administrator, no more links are printed.
    assert "set-up" not in run_here(service, "init").stdout
    token = path.partition("=")[2]
    kept = b"".join(one.read_bytes() for one in service.database.parent.iterdir())
    assert token.encode() not in kept
    assert token not in service.log
    assert "set-up" not in service.log


def test_two_forms_at_once_create_one_administrator(start_service: StartService) -> None:
    service = start_service()
    path = set_up_path(service)
    visitors = [Visitor(service), Visitor(service)]
    forms = [visitor.get(path).fields("/console/set-up") for visitor in visitors]
    statuses = [
        visitor.post("/console/set-up", {**form, **FIRST, "name": name}).status
        for visitor, form, name in zip(visitors, forms, ("one", "two"), strict=True)
    ]
    assert statuses == [303, 403]
    listed = admin(service, "list", "--json").stdout
    assert ("one" in listed, "two" in listed) == (True, False)


def test_a_link_expires_or_is_replaced_or_is_no_longer_needed(
    start_service: StartService,
) -> None:
    service = start_service()
    first, second = set_up_path(service), set_up_path(service)
    assert use(service, first)[1] == 403
    assert Visitor(service).get(second).status == 200
    with closing(sqlite3.connect(service.database)) as connection, connection:
        (expires,) = connection.execute("SELECT expires_at FROM set_up_link").fetchone()
        connection.execute("UPDATE set_up_link SET expires_at = ?", (expires - 3_600_000,))
    assert use(service, second)[1] == 403
    third = set_up_path(service)
    assert Visitor(service).get(third).status == 200
    make_administrator(service)
    assert use(service, third)[1] == 403
    for nonsense in ("", "?token=", "?token=x", "?token=%00", f"?token={'x' * 3000}"):
        assert Visitor(service).get(f"/console/set-up{nonsense}").status == 403


def test_serve_alone_prints_no_link(start_service: StartService) -> None:
    service = start_service()
    assert "set-up" not in service.log


@pytest.mark.parametrize(
    ("settings", "origin", "note"),
    [
        ({"BIND": "0.0.0.0:8123"}, "http://127.0.0.1:8123", "the address that the service listens"),
        ({"BIND": "[::]:8123"}, "http://[::1]:8123", "the address that the service listens on"),
        ({"BIND": "unix:a,localhost:8123,b:1"}, "http://localhost:8123", "the service listens on"),
        (
            {"BIND": "127.0.0.1:9204", "CONSOLE_HOSTS": "keys.example"},
            "http://127.0.0.1:9204",
            "proxy, with one of the host names in LATCHKEY_CONSOLE_HOSTS: keys.example",
        ),
        ({"BIND": "a:1", "CONSOLE_TLS": "on"}, "http://a:1", "through your proxy"),
        # Addresses that a browser cannot open, or without a known port.
        ({"BIND": "unix:/run/a.sock"}, "", "listens on unix:/run/a.sock: put the address of your"),
        ({"BIND": "127.0.0.1:0"}, "", "put the address of your proxy before this path"),
        ({"BIND": "unix:/run/a", "PUBLIC_URL": "https://keys.example"}, "https://keys.example", ""),
        ({"PUBLIC_URL": "https://Keys.Example:443/"}, "https://keys.example", ""),
        ({"PUBLIC_URL": "http://keys.example:9000"}, "http://keys.example:9000", ""),
    ],
)
def test_the_address_of_the_link(
    tmp_path: Path, settings: dict[str, str], origin: str, note: str
) -> None:
    service = Service(tmp_path)
    service.settings |= {f"LATCHKEY_{name}": value for name, value in settings.items()}
    printed = service.initialize()
    _, _, after = printed.partition(f"\n{origin}/console/set-up?token=")
    assert after
    _, _, said = after.partition("\n")
    assert (note in said) if note else not said.strip()


def test_the_console_accepts_the_public_host_name(start_service: StartService) -> None:
    service = start_service(LATCHKEY_WORKERS="1", LATCHKEY_PUBLIC_URL="https://keys.example")
    for host, status in (("keys.example", 200), ("keys.example:9204", 200), ("else.example", 400)):
        assert service.get("/console/sign-in", {"Host": host}).status == status


def test_the_commands(empty: Service) -> None:
    made = admin(empty, "create", "Ada", password=PASSWORD)
    assert (made.returncode, made.stdout) == (0, "created the administrator ada\n")
    refused = {
        ("create", "ada"): "name: is taken",
        ("create", "a b"): "name: must have",
        ("disable", "nobody"): "name: there is no such administrator",
        ("enable", "nobody"): "name: there is no such administrator",
        ("remove", "nobody"): "name: there is no such administrator",
        ("password", "nobody"): "name: there is no such administrator",
    }
    for arguments, said in refused.items():
        needs_password = arguments[0] in ("create", "password")
        run = admin(empty, *arguments, password=PASSWORD if needs_password else None)
        assert run.returncode == 1, arguments
        assert run.stderr.startswith(f"latchkey: {said}"), arguments
        assert PASSWORD not in run.stderr
    short = admin(empty, "create", "bob", password="short")
    assert short.stderr == "latchkey: password: must have 12 to 1000 characters\n"
    assert admin(empty, "list").stdout.splitlines()[1].split()[:2] == ["ada", "enabled"]
    assert admin(empty, "disable", "ada").stdout == "disabled ada\n"
    assert admin(empty, "list").stdout.splitlines()[1].split()[:2] == ["ada", "disabled"]
    assert admin(empty, "remove", "ada", "--yes").stdout == "removed ada\n"
    assert admin(empty, "list", "--json").stdout == '{"administrators": []}\n'
