"""The output of commands: JSON, a table, or a list of fields.

A listing may be as long as the database, so it is printed while it is read. At a terminal it is a
table; otherwise each row is one line, with tabs between the cells.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

from latchkey.errors import LatchkeyError
from latchkey.wording import counted

if TYPE_CHECKING:
    from latchkey.credentials.service import IssuedCredential

# Rows that are aligned with each other, and the most that are held in memory.
_ALIGNED = 1_000
# Characters that move the cursor, end the line or change the text direction.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def print_json(value: object) -> None:
    """One JSON value, on one line."""
    click.echo(_json(value))


def print_json_list(name: str, items: Iterable[object]) -> None:
    """A JSON object with one list, on one line, streamed."""
    left = iter(items)
    # Read the first item before printing: an immediate failure leaves no partial object.
    first = list(islice(left, 1))
    sys.stdout.write(f'{{"{name}": [')
    for number, item in enumerate(chain(first, left)):
        sys.stdout.write(f"{', ' if number else ''}{_json(item)}")
    click.echo("]}")


def print_table(titles: list[str], rows: Iterable[list[str]]) -> None:
    """A table without truncated cells: a shortened key cannot be copied."""
    left = chain([titles], ([visible(cell) for cell in row] for row in rows))
    lines = _aligned(left) if sys.stdout.isatty() else map("\t".join, left)
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def print_rest(more: int, noun: str, plural: str | None = None) -> None:
    """Print how many more rows there are than the listing shows."""
    if more > 0:
        click.echo(
            f"and {counted(more, f'more {noun}', plural and f'more {plural}')}; "
            "use --all to list all",
            err=True,
        )


@contextmanager
def secret_shown(issued: IssuedCredential) -> Iterator[None]:
    """A context for printing a secret, which cannot be printed again.

    Raises LatchkeyError if the output fails; the key exists nevertheless.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        raise LatchkeyError(
            f"{issued.credential.api_key} was created, but its secret could not be printed "
            f"({error.strerror}) and is lost: rotate or revoke that key"
        ) from None


def print_fields(fields: Mapping[str, Any]) -> None:
    """A line for each field, aligned."""
    width = max(map(len, fields))
    for name, value in fields.items():
        click.echo(f"{name:{width}}  {visible(field_text(value))}".rstrip())


def field_text(value: object) -> str:
    """A field of an object as text: lists separated by spaces, or by commas if items have some.

    Objects are JSON, and so are lists of them.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and not any(isinstance(item, dict) for item in value):
        return (", " if any(" " in str(item) for item in value) else " ").join(map(str, value))
    if isinstance(value, (dict, list)):
        return _json(value)
    return str(value)


def _json(value: object) -> str:
    # Escape characters that the output cannot encode.
    return json.dumps(value, ensure_ascii=not _is_unicode())


def _is_unicode() -> bool:
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    return encoding.replace("_", "-").startswith(("utf-8", "utf8"))


def visible(text: str) -> str:
    """The text with control characters escaped."""
    return _CONTROL.sub(lambda one: ascii(one[0])[1:-1], text)


def _aligned(rows: Iterator[list[str]]) -> Iterator[str]:
    widths: list[int] = []
    while batch := list(islice(rows, _ALIGNED)):
        needed = [max(map(_width, column)) for column in zip(*batch, strict=True)]
        widths = [max(pair) for pair in zip(widths, needed, strict=True)] if widths else needed
        for row in batch:
            padded = (
                cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
            )
            yield "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """The width of a text in terminal columns."""
    if text.isascii():
        return len(text)
    # Imported only if a table needs it.
    from rich.cells import cell_len

    return cell_len(text)
