"""``latchkey keys export``: all credentials, without secrets and hashes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import click

from latchkey.credentials.listing import AsOf, Selection
from latchkey.credentials.models import Credential
from latchkey.credentials.times import utc_now
from latchkey_service.cli.printing import field_text
from latchkey_service.cli.session import Session, reading
from latchkey_service.cli.streams import output_to
from latchkey_service.shapes.objects import CredentialObject


@click.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), default="-")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="One JSON object per line, or CSV with scopes separated by spaces.",
)
def export_command(file: Path, form: str) -> None:
    """Write all keys to FILE, newest first. The default is standard output (-).

    The output contains no secrets and no hashes.
    """
    with reading() as session:
        rows = _rows(session)
        write = _write_json if form == "jsonl" else _write_csv
        with output_to(file) as output:
            write(output, rows)


def _rows(session: Session) -> Iterator[dict[str, Any]]:
    age = timedelta(days=session.settings.rotation_days)
    now = utc_now()
    for credential in session.listing.newest(Selection(), AsOf(now, age), None):
        yield _row(session, credential, age, now)


def _row(session: Session, credential: Credential, age: timedelta, now: datetime) -> dict[str, Any]:
    last_used_at = session.usage.last_used_at(credential)
    return CredentialObject.of(credential, last_used_at, now, age).model_dump(mode="json")


def _write_json(file: TextIO, rows: Iterator[dict[str, Any]]) -> None:
    for row in rows:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_csv(file: TextIO, rows: Iterator[dict[str, Any]]) -> None:
    writer: Callable[[list[Any]], Any] = csv.writer(file, lineterminator="\n").writerow
    named = list(CredentialObject.model_fields)
    writer(named)
    for row in rows:
        writer([_cell(row[name]) for name in named])


def _cell(value: Any) -> Any:
    """A value for CSV. A text that a spreadsheet would run as a formula is prefixed by a quote."""
    text = field_text(value) if isinstance(value, (list, dict, bool)) else value
    if isinstance(text, str) and text[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{text}"
    return text
