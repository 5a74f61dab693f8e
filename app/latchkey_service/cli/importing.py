"""``latchkey keys import``: keys of another system, which keep working as bearer tokens.

The file holds the SHA-256 of each token, never the token. An error message names an invalid line
by its number and never quotes it, because the line may contain a token by mistake.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress

from latchkey.credentials.accounts import is_account_id, is_external_id
from latchkey.credentials.conditions import Conditions
from latchkey.credentials.granting import parse_allowed
from latchkey.credentials.importing import (
    SHA256_OF_NO_TOKEN,
    Foreign,
    ImportRefused,
    RefusedLine,
    import_keys,
)
from latchkey.credentials.times import utc_now
from latchkey.credentials.tokens import redact_secrets
from latchkey.errors import InvalidField
from latchkey.wording import counted
from latchkey_service import strict_json
from latchkey_service.cli.csv_cells import unescaped_cell
from latchkey_service.cli.options import json_option, read_expiry
from latchkey_service.cli.printing import print_json
from latchkey_service.cli.session import changing
from latchkey_service.cli.streams import input_from
from latchkey_service.command_user import command_line_user
from latchkey_service.shapes.problems import EXTERNAL_ID_FORM, first_problem, shown_name
from latchkey_service.shapes.requests import IssueBody

_HASH = re.compile(r"[0-9a-fA-F]{64}")
_NEEDED = ("name", "sha256")
_COLUMNS = (
    *(*_NEEDED, "mode", "scopes", "expires_at", "enabled", "not_before", "networks"),
    *("networks_mode", "endpoints", "limits", "metadata", "account", "external_id"),
)
_SHOWN = 100


@click.command("import")
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
@click.option("--skip-existing", is_flag=True, help="Skip tokens that were already imported.")
@json_option
def import_command(file: Path, skip_existing: bool, as_json: bool) -> None:
    """Import keys of another system from FILE.

    FILE is CSV with a header line, or JSON lines; - is standard input. Required fields are name and
    sha256, the SHA-256 of the token in hex. Optional fields are mode, scopes, expires_at, enabled,
    not_before, networks, networks_mode, endpoints, limits, metadata, and account or external_id,
    which name the account of the key; the default is the instance account. Keys of other accounts
    need scopes. In CSV, scopes and networks are separated by spaces and endpoints by commas, and
    limits and metadata are JSON. If a line is invalid, nothing is imported, all invalid lines are
    listed, and the exit status is 1.
    """
    data = input_from(file)
    quiet = as_json or not sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as progress:
        keys, refused = _read(data, progress)
        task = progress.add_task("Importing", total=len(keys))
        try:
            with changing(migrate=True) as session:
                made = import_keys(
                    keys,
                    refused,
                    hashlib.sha256(data).hexdigest(),
                    session.store.imported,
                    session.store.accounts,
                    session.publisher,
                    by=command_line_user(),
                    allowed_scopes=parse_allowed(session.settings.scopes),
                    skip_existing=skip_existing,
                    progress=lambda done: progress.advance(task, done),
                )
        except ImportRefused as error:
            problems = error.lines
        else:
            problems, skipped = [], len(keys) - len(made)
    if problems:
        _report(problems, as_json)
        sys.exit(1)
    if as_json:
        fields: dict[str, object] = {"imported": len(made), "skipped": skipped}
        print_json({**fields, "api_keys": [one.api_key for one in made]})
        return
    click.echo(f"imported {counted(len(made), 'key')}")
    if skipped:
        click.echo(f"skipped {counted(skipped, 'key')} imported before")


def _report(problems: list[RefusedLine], as_json: bool) -> None:
    if as_json:
        lines = [{"line": one.line, "reason": one.reason} for one in problems]
        print_json({"imported": 0, "refused": lines})
        return
    for one in problems[:_SHOWN]:
        click.echo(f"line {one.line}: {one.reason}", err=True)
    if len(problems) > _SHOWN:
        click.echo(f"and {len(problems) - _SHOWN} more; --json lists all", err=True)
    click.echo(f"nothing was imported: {counted(len(problems), 'invalid line')}", err=True)


def _read(data: bytes, progress: Progress) -> tuple[list[Foreign], list[RefusedLine]]:
    """The keys of a file, and its invalid lines."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return [], [RefusedLine(1, "the file is not UTF-8")]
    rows = _json_lines(text) if text.lstrip()[:1] == "{" else _csv_lines(text)
    now = utc_now()
    keys, refused = [], []
    for line, fields in progress.track(list(rows), description="Reading"):
        if isinstance(fields, str):
            refused.append(RefusedLine(line, fields))
            continue
        try:
            key = _key(line, fields)
            if key.expires_at is not None and key.expires_at <= now:
                raise InvalidField("expires_at", "must lie in the future")
            keys.append(key)
        except InvalidField as error:
            refused.append(RefusedLine(line, error.message))
    if not keys and not refused:
        refused.append(RefusedLine(1, "the file contains no keys"))
    return keys, refused


def _json_lines(text: str) -> Iterator[tuple[int, dict[str, object] | str]]:
    # Not splitlines(): it would also split at characters that JSON strings may contain.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            fields = strict_json.loads(line)
        except strict_json.RepeatedName as error:
            yield number, f"{shown_name(error.name)}: is given twice"
            continue
        except (ValueError, RecursionError):
            yield number, "not a JSON object"
            continue
        yield number, fields if isinstance(fields, dict) else "not a JSON object"


def _csv_lines(text: str) -> Iterator[tuple[int, dict[str, object] | str]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names: list[str] | None = None
    while True:
        try:
            row = next(reader, None)
        except csv.Error:
            yield reader.line_num, "not valid CSV"
            return
        if row is None:
            return
        if not "".join(row).strip():
            continue
        if names is None:
            names = [cell.strip() for cell in row]
            if not set(_NEEDED) <= set(names) <= set(_COLUMNS) or len(set(names)) < len(names):
                allowed = ", ".join(_COLUMNS)
                needed = " and ".join(_NEEDED)
                yield (
                    reader.line_num,
                    f"the first line must name the columns: {needed} are required, allowed are "
                    f"{allowed}",
                )
                return
            continue
        if len(row) != len(names):
            yield reader.line_num, f"has {counted(len(row), 'column')} instead of {len(names)}"
            continue
        fields: dict[str, object] = {
            name: text for name, cell in zip(names, row, strict=True) if (text := cell.strip())
        }
        try:
            values = {name: _of_cell(name, str(cell)) for name, cell in fields.items()}
        except ValueError as error:
            yield reader.line_num, str(error)
        else:
            yield reader.line_num, values


def _of_cell(name: str, text: str) -> object:
    """The value of a CSV cell, as JSON lines have it; raises ValueError."""
    if name in ("scopes", "networks"):
        return text.split()
    if name == "endpoints":
        return [rule.strip() for rule in text.split(",")]
    if name == "enabled":
        return {"yes": True, "true": True, "no": False, "false": False}.get(text.lower(), text)
    if name in ("limits", "metadata"):
        try:
            return strict_json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError(f"{name}: is not JSON") from None
    if name == "external_id":
        return unescaped_cell(text)
    return text


def _key(line: int, fields: dict[str, object]) -> Foreign:
    """Parse one key. Raises InvalidField, which names the field and never its value."""
    token_hash = fields.pop("sha256", None)
    if not isinstance(token_hash, str) or not _HASH.fullmatch(token_hash):
        raise InvalidField("sha256", "must be the SHA-256 of the token, 64 hex digits")
    digest = bytes.fromhex(token_hash)
    if (of := SHA256_OF_NO_TOKEN.get(digest)) is not None:
        raise InvalidField("sha256", f"is the hash of {of}, not of a token")
    account_id, external_id = _owner(fields)
    if isinstance(expires_at := fields.get("expires_at"), str):
        try:
            fields["expires_at"] = read_expiry(expires_at)
        except ValueError as error:
            raise InvalidField("expires_at", str(error)) from None
    try:
        terms = IssueBody.model_validate(fields).terms()
    except ValidationError as error:
        raise first_problem(error, IssueBody) from None
    if redact_secrets(terms["name"]) != terms["name"]:
        raise InvalidField("name", "contains what looks like an API secret")
    return Foreign(
        line,
        terms["name"],
        digest,
        terms.get("mode", "live"),
        terms.get("scopes"),
        terms.get("expires_at"),
        Conditions(**terms.get("conditions", {})),
        terms.get("metadata"),
        account_id,
        external_id,
        terms.get("limits") or (),
    )


def _owner(fields: dict[str, object]) -> tuple[str | None, str | None]:
    """The id and the external id of a key's account, of which one at most is given."""
    account_id, external_id = fields.pop("account", None), fields.pop("external_id", None)
    if account_id is not None and external_id is not None:
        raise InvalidField("account", "give account or external_id, not both")
    if account_id is not None and not (isinstance(account_id, str) and is_account_id(account_id)):
        raise InvalidField("account", "must be the id of an account, acct_ and 22 characters")
    if external_id is not None and not (
        isinstance(external_id, str) and is_external_id(external_id)
    ):
        raise InvalidField("external_id", EXTERNAL_ID_FORM)
    return account_id, external_id
