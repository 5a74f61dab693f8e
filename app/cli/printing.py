"""What commands print: one JSON object, a table, or a list of fields."""

from __future__ import annotations

import json
from typing import Any

import click

_WIDEST = 1000


def print_json(value: object) -> None:
    """One JSON value, on one line."""
    click.echo(json.dumps(value, ensure_ascii=False))


def print_table(titles: list[str], rows: list[list[str]]) -> None:
    """A table that cuts nothing off: a shortened key cannot be copied."""
    # Only who prints a table pays for loading it.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*titles, box=None, pad_edge=False, expand=False)
    for column in table.columns:
        column.no_wrap = True
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(width=_WIDEST, highlight=False).print(table)


def print_fields(fields: dict[str, Any]) -> None:
    """A line for each field, aligned."""
    width = max(map(len, fields))
    for name, value in fields.items():
        text = " ".join(value) if isinstance(value, list) else "" if value is None else value
        click.echo(f"{name:{width}}  {text}".rstrip())
