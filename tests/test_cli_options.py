"""Options with the same meaning accept the same values in every command."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from latchkey_service.cli import cli
from latchkey_service.cli.options import API_KEY, EXPIRY, MOMENT, TEXT
from tests.support.command_line import fails, made, one_line, shown
from tests.support.latchkey_command import run_here
from tests.support.service import Service

ACCEPTED = [
    ("2036-01-01", "2036-01-01T00:00:00.000Z"),
    (" 2036-02-29 ", "2036-02-29T00:00:00.000Z"),
    ("2036-02-29T12:00:00.5+01:00", "2036-02-29T11:00:00.500Z"),
    ("2036-01-01t00:00:00z", "2036-01-01T00:00:00.000Z"),
    ("never", None),
    ("Never", None),
]
REFUSED = [
    *("", "tomorrow", "2036-02-30", "2036-1-1", "20360101", "2036-W01-1", "2036-001", "2036"),
    *("2036-01-01T00:00:00", "2036-01-01 00:00:00", "2036-01-01T25:00:00Z", "never ever"),
    *("\u0662\u0660\u0663\u0666-01-01", "9999-12-31T23:59:59-23:59", "2036-01-01\n2037-01-01"),
]


def create(box: Service, *options: str) -> list[str]:
    return ["keys", "create", "--name", "x", "--json", *options]


def import_file(tmp_path: Path, expires_at: str, form: str) -> Path:
    digest = "ab" * 31 + f"{len(list(tmp_path.iterdir())):02x}"
    file = tmp_path / f"keys-{digest[-2:]}.{form}"
    if form == "csv":
        file.write_text(f'name,sha256,expires_at\nx,{digest},"{expires_at}"\n')
    else:
        file.write_text(json.dumps({"name": "x", "sha256": digest, "expires_at": expires_at}))
    return file


@pytest.mark.parametrize(("text", "stored"), ACCEPTED)
def test_an_expiry_in_every_command(tmp_path: Path, text: str, stored: str | None) -> None:
    box = Service(tmp_path)
    box.initialize()
    run = run_here(box, *create(box, "--expires-at", text))
    assert run.returncode == 0, run.stderr
    api_key = json.loads(run.stdout)["api_key"]
    assert shown(box, api_key)["expires_at"] == stored
    other = "2040-01-01" if stored is None else "never"
    assert run_here(box, "keys", "change", api_key, "--expires-at", other).returncode == 0
    assert run_here(box, "keys", "change", api_key, "--expires-at", text).returncode == 0
    assert shown(box, api_key)["expires_at"] == stored
    for form in ("csv", "jsonl"):
        file = import_file(tmp_path, text, form)
        run = run_here(box, "keys", "import", str(file), "--json")
        assert run.returncode == 0, run.stdout
        (imported,) = json.loads(run.stdout)["api_keys"]
        assert shown(box, imported)["expires_at"] == stored


RULES = ("must be an RFC 3339 time ", "must be an existing date and time")


@pytest.mark.parametrize("text", REFUSED)
def test_an_invalid_expiry_is_refused_everywhere(box: Service, tmp_path: Path, text: str) -> None:
    api_key = made(box).api_key
    for command in (create(box), ["keys", "change", api_key]):
        said = fails(box, *command, "--expires-at", text, status=2).splitlines()[-1]
        assert said.startswith(
            tuple(f"Error: Invalid value for '--expires-at': {rule}" for rule in RULES)
        )
        assert said.endswith("(the start of that day in UTC), or never")
    said = fails(box, "audit", "list", "--since", text, status=2).splitlines()[-1]
    assert said.startswith(tuple(f"Error: Invalid value for '--since': {rule}" for rule in RULES))
    if text and "\n" not in text:
        run = run_here(box, "keys", "import", str(import_file(tmp_path, text, "csv")))
        assert run.returncode == 1
        assert run.stderr.startswith(tuple(f"line 2: expires_at: {rule}" for rule in RULES))


def test_since_accepts_the_same_times_as_an_expiry(box: Service) -> None:
    made(box)
    for text in ("2020-01-01", "2020-01-01T00:00:00Z", "0001-01-01"):
        listed = json.loads(run_here(box, "audit", "list", "--since", text, "--json").stdout)
        assert listed["entries"], text
    for text in ("9999-12-31", "2036-01-01"):
        listed = json.loads(run_here(box, "audit", "list", "--since", text, "--json").stdout)
        assert listed["entries"] == [], text
    assert fails(box, "audit", "list", "--since", "never", status=2)


@pytest.mark.parametrize("text", ["nonsense", "", "ak_live_short", "ak_live_" + "z" * 22])
def test_a_malformed_key_is_an_error_everywhere(box: Service, text: str) -> None:
    for command in (
        ["audit", "list", "--key", text],
        ["audit", "list", "--key", text, "--json"],
        *(["keys", name, text] for name in ("show", "usage", "rotate", "revoke")),
        ["keys", "change", text, "--name", "x"],
    ):
        said = one_line(fails(box, *command))
        assert said == "latchkey: the argument is not a well-formed API key (ak_…)", command


def test_a_key_without_rows_is_not_an_error(box: Service) -> None:
    run = run_here(box, "audit", "list", "--key", "ak_live_" + "0" * 22, "--json")
    assert (run.returncode, run.stdout) == (0, '{"entries": []}\n')


def parameters() -> list[tuple[str, click.Parameter]]:
    found: list[tuple[str, click.Parameter]] = []

    def visit(command: click.Command, path: str) -> None:
        found.extend((path, one) for one in command.params)
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                visit(below, f"{path} {name}".strip())

    visit(cli, "")
    return found


def test_every_parameter_has_one_of_our_types() -> None:
    """Click's own text type accepts bytes that are not text."""
    for path, one in parameters():
        assert not isinstance(one.type, click.types.StringParamType), (path, one.name)
    types = {"api_key": API_KEY, "key": API_KEY, "expires_at": EXPIRY, "since": MOMENT}
    types |= {"name": TEXT, "actor": TEXT, "scopes": TEXT}
    for path, one in parameters():
        if one.name in types:
            assert one.type is types[str(one.name)], (path, one.name)


def test_options_with_one_name_have_one_description() -> None:
    forms: dict[str, set[str]] = {}
    for _, one in parameters():
        if isinstance(one, click.Option) and one.name in ("as_json", "yes", "limit", "scopes"):
            form = f"{one.opts} {one.type!r} {one.is_flag} {one.multiple} {one.metavar}"
            forms.setdefault(str(one.name), set()).add(form)
    assert {name: len(found) for name, found in forms.items()} == dict.fromkeys(forms, 1)
    assert len(forms) == 4
