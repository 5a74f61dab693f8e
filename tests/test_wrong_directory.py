"""Commands and applications without a database: one line that names the place and the setting."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from latchkey import Latchkey
from latchkey.config import load_settings
from latchkey.errors import ConfigurationError
from latchkey_service.cli import cli
from tests.support.command_line import fails, one_line
from tests.support.service import Service

KEY = "ak_live_0000000000000000000000"
LOOKING = [
    ["accounts", "change", "customer-17", "--name", "x"],
    ["accounts", "disable", "customer-17"],
    ["accounts", "enable", "customer-17"],
    ["accounts", "erase", "customer-17"],
    ["accounts", "erase", "customer-17", "--yes"],
    ["accounts", "list"],
    ["accounts", "revoke-keys", "customer-17"],
    ["accounts", "revoke-keys", "customer-17", "--yes"],
    ["accounts", "show", "customer-17"],
    ["accounts", "usage", "customer-17"],
    ["admin", "disable", "ada"],
    ["admin", "enable", "ada"],
    ["admin", "list"],
    ["admin", "password", "ada", "--password-stdin"],
    ["admin", "remove", "ada"],
    ["admin", "remove", "ada", "--yes"],
    ["audit", "accept"],
    ["audit", "export"],
    ["audit", "list"],
    ["audit", "restart"],
    ["audit", "verify"],
    ["backup", "copy.db"],
    ["boxes"],
    ["cache", "clear"],
    ["cache", "stats"],
    ["keys", "change", KEY, "--name", "x"],
    ["keys", "export"],
    ["keys", "list"],
    ["keys", "revoke", KEY],
    ["keys", "revoke", KEY, "--yes"],
    ["keys", "rotate", KEY],
    ["keys", "show", KEY],
    ["keys", "usage", KEY],
    ["limits", "reset", KEY],
    ["limits", "show", KEY],
    ["reconcile", "before.db"],
    ["verify", "explain", "GET", "/orders", "--key", KEY],
]
# Commands that create a database, are about a backup, or need none.
OTHERS = {
    *(
        "accounts create",
        "admin create",
        "apply",
        "config",
        "vendor generate",
        "vendor instance-key",
        "init",
    ),
    *("keys create", "keys import", "migrate-database", "restore", "serve"),
}
# Commands of one word.
ALONE = ("backup", "boxes", "reconcile")


def leaves(group: click.Group, *path: str) -> set[str]:
    context = click.Context(group)
    found = set()
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            found |= leaves(command, *path, name)
        else:
            found.add(" ".join((*path, name)))
    return found


def test_every_command_is_listed() -> None:
    looking = {" ".join(command[: 1 if command[0] in ALONE else 2]) for command in LOOKING}
    assert looking | OTHERS == leaves(cli)
    assert not looking & OTHERS


@pytest.fixture
def nowhere(tmp_path: Path) -> Service:
    """An empty directory, and no settings."""
    box = Service(tmp_path)
    box.settings.clear()
    return box


@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
def test_a_command_in_another_directory(nowhere: Service, command: list[str]) -> None:
    assert one_line(fails(nowhere, *command)) == (
        f"latchkey: there is no database at {nowhere.directory}/data/latchkey.db "
        "(LATCHKEY_DATABASE_URL names it from the working directory): change to the instance's "
        "directory; to create a new instance, run: latchkey init"
    )
    assert list(nowhere.directory.iterdir()) == []


def test_a_command_with_an_absolute_path(nowhere: Service) -> None:
    (nowhere.directory / "file").touch()
    for path in (nowhere.directory / "none" / "x.db", nowhere.directory / "file" / "x.db"):
        nowhere.settings["LATCHKEY_DATABASE_URL"] = f"sqlite:///{path}"
        assert one_line(fails(nowhere, "keys", "list")) == (
            f"latchkey: there is no database at {path} (LATCHKEY_DATABASE_URL names it): "
            "correct that setting; to create a new instance, run: latchkey init"
        )


@pytest.mark.parametrize("command", [["serve"], ["keys", "create", "--name", "x"]])
def test_commands_that_create_a_database_need_the_keys(
    nowhere: Service, command: list[str]
) -> None:
    said = one_line(fails(nowhere, *command))
    assert "LATCHKEY_DERIVATION_KEYS" in said
    assert f"LATCHKEY_DERIVATION_KEYS_FILE, which names {nowhere.directory}/secrets/" in said
    assert list(nowhere.directory.iterdir()) == []


def test_the_key_of_the_audit_log_elsewhere(box: Service, tmp_path: Path) -> None:
    lost = Service(tmp_path)
    lost.settings = dict(box.settings)
    del lost.settings["LATCHKEY_AUDIT_KEY_FILE"]
    said = one_line(fails(lost, "audit", "verify"))
    assert f"LATCHKEY_AUDIT_KEY_FILE names {tmp_path}/secrets/audit.key" in said


def test_a_users_own_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=f"there is no database at {tmp_path}/data/lat"):
        Latchkey.join(load_settings({}))
    assert list(tmp_path.iterdir()) == []
