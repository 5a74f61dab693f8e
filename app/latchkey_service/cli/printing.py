"""What commands print: JSON, a table, or a list of fields.

A listing may be as long as the database: it is printed while it is read. At a terminal it is a
table; elsewhere each row is a line of cells with tabs between them.
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

# Rows that are aligned with each other; more of them would have to be held.
_ALIGNED = 1_000
# What could move the cursor, end the line, or turn the direction of writing.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def print_json(value: object) -> None:
    """One JSON value, on one line."""
    click.echo(_json(value))


def print_json_list(name: str, items: Iterable[object]) -> None:
    """A JSON object with one list, which may be long, on one line."""
    left = iter(items)
    # Before anything is printed: what fails at once leaves no half of an object.
    first = list(islice(left, 1))
    sys.stdout.write(f'{{"{name}": [')
    for number, item in enumerate(chain(first, left)):
        sys.stdout.write(f"{', ' if number else ''}{_json(item)}")
    click.echo("]}")


def print_table(titles: list[str], rows: Iterable[list[str]]) -> None:
    """A table that cuts nothing off: a shortened key cannot be copied."""
    left = chain([titles], ([_visible(cell) for cell in row] for row in rows))
    lines = _aligned(left) if sys.stdout.isatty() else map("\t".join, left)
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def print_rest(more: int, noun: str, plural: str | None = None) -> None:
    """How many rows a listing left out, for a person."""
    if more > 0:
        click.echo(
            f"and {counted(more, f'more {noun}', plural and f'more {plural}')}; "
            "--all lists them all",
            err=True,
        )


@contextmanager
def secret_shown(issued: IssuedCredential) -> Iterator[None]:
    """For the block that prints a secret, which nobody can print once more.

    Raises LatchkeyError where it could not: the key is there all the same.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        raise LatchkeyError(
            f"{issued.credential.api_key} was made, but its secret could not be printed "
            f"({error.strerror}) and is lost: rotate or revoke that key"
        ) from None


def print_fields(fields: Mapping[str, Any]) -> None:
    """A line for each field, aligned."""
    width = max(map(len, fields))
    for name, value in fields.items():
        text = " ".join(value) if isinstance(value, list) else "" if value is None else value
        click.echo(f"{name:{width}}  {_visible(text)}".rstrip())


def _json(value: object) -> str:
    # Escapes lose nothing where the output has no place for a character.
    return json.dumps(value, ensure_ascii=not _is_unicode())


def _is_unicode() -> bool:
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    return encoding.replace("_", "-").startswith(("utf-8", "utf8"))


def _visible(text: str) -> str:
    """The text with what a terminal would obey spelled out."""
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
    """The columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    # Only a table with such texts pays for loading it.
    from rich.cells import cell_len

    return cell_len(text)
