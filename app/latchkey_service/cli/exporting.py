"""``latchkey keys export``: all credentials, without secrets and hashes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

import click

from latchkey.credentials.listing import AsOf, Selection
from latchkey.credentials.times import utc_now
from latchkey_service.cli.csv_cells import escaped_cell
from latchkey_service.cli.key_fields import KEY_FIELDS, key_fields
from latchkey_service.cli.printing import field_text
from latchkey_service.cli.session import Session, reading
from latchkey_service.cli.streams import output_to


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
    as_of = AsOf(utc_now(), timedelta(days=session.settings.rotation_days))
    for credential in session.listing.newest(Selection(), as_of, None):
        yield key_fields(session, credential)


def _write_json(file: TextIO, rows: Iterator[dict[str, Any]]) -> None:
    for row in rows:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_csv(file: TextIO, rows: Iterator[dict[str, Any]]) -> None:
    writer: Callable[[list[Any]], Any] = csv.writer(file, lineterminator="\n").writerow
    writer(list(KEY_FIELDS))
    for row in rows:
        writer([_cell(row[name]) for name in KEY_FIELDS])


def _cell(value: Any) -> Any:
    """A value for CSV."""
    text = field_text(value) if isinstance(value, (list, dict, bool)) else value
    return escaped_cell(text) if isinstance(text, str) else text
