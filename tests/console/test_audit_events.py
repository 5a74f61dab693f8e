"""The actions of administrators are in the audit log, with actor and address."""

from __future__ import annotations

import json
from typing import Any

from tests.support.console.visitor import PASSWORD, Visitor, admin, make_administrator
from tests.support.latchkey_command import run_here
from tests.support.service import Service

PASSWORD_PAGE = "/console/password/"


def entries(service: Service) -> list[dict[str, Any]]:
    """The rows of the log, oldest first."""
    listed = json.loads(run_here(service, "audit", "list", "--json").stdout)["entries"]
    return sorted(listed, key=lambda entry: int(entry["number"]))


def test_each_event_is_recorded_once(console: Service) -> None:
    before = len(entries(console))
    make_administrator(console, "mary")
    visitor = Visitor(console)
    assert visitor.sign_in("mary", "my other password").status == 403
    assert visitor.sign_in("nobody@elsewhere").status == 403
    visitor.sign_in("mary")
    fields = {"current": PASSWORD, "password": "another horse battery"}
    visitor.send(PASSWORD_PAGE, PASSWORD_PAGE, **fields, again=fields["password"])
    visitor.send(PASSWORD_PAGE, "/console/sign-out")
    visitor.sign_in("mary", fields["password"])
    visitor.send(PASSWORD_PAGE, "/console/sign-out-everywhere")
    admin(console, "password", "mary", password=PASSWORD)
    for change in (["disable"], ["enable"], ["remove", "--yes"]):
        admin(console, *change, "mary")
    new = entries(console)[before:]
    command, console_, nobody = "command line", "administrator", "nobody"
    assert [(entry["action"], entry["actor_kind"]) for entry in new] == [
        ("admin.create", command),
        ("admin.sign_in_refused", nobody),
        ("admin.sign_in_refused", nobody),
        ("admin.sign_in", console_),
        ("admin.password", console_),
        ("admin.sign_out", console_),
        ("admin.sign_in", console_),
        ("admin.sign_out_everywhere", console_),
        ("admin.password", command),
        ("admin.disable", command),
        ("admin.enable", command),
        ("admin.remove", command),
    ]
    for entry in new:
        refused = entry["actor_kind"] == nobody
        assert entry["subject"] == (None if refused else "mary")
        assert entry["address"] == (None if entry["actor_kind"] == command else "127.0.0.1")
    # The text that was entered as a name may be a password.
    written = json.dumps(new)
    for typed in ("elsewhere", 'password": "', "my other", PASSWORD, "another horse"):
        assert typed not in written
    assert run_here(console, "audit", "verify").returncode == 0
