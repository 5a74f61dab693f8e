"""The types of settings: strict numbers, files, and texts that a function checks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

_DIGITS = re.compile(r"[0-9]+")
_DECIMAL_TEXT = re.compile(r"([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


def _only_digits(value: object) -> object:
    """Reject texts such as ``4.0`` and ``1_0``, which pydantic accepts as integers."""
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise ValueError("not a whole number")
    return value


def _only_decimal(value: object) -> object:
    """Reject texts such as ``1_0`` and ``+1``, which pydantic accepts as numbers."""
    if isinstance(value, str) and not _DECIMAL_TEXT.fullmatch(value):
        raise ValueError("not a number")
    return value


def _only_file(value: object) -> object:
    """Reject an empty text, and a text that can only name a directory."""
    if isinstance(value, str) and Path(value).name in ("", ".."):
        raise ValueError("not the name of a file")
    return value


def file_or_none(value: object) -> object:
    """Reject what ``_only_file`` rejects, except an empty text."""
    return value if value == "" else _only_file(value)


def not_empty(value: object) -> object:
    """Reject an empty text, which as a path would mean the working directory."""
    if value == "":
        raise ValueError("empty")
    return value


WHOLE = BeforeValidator(_only_digits)
DECIMAL = BeforeValidator(_only_decimal)
FILE = Annotated[Path, BeforeValidator(_only_file)]


def checked_by(parse: Callable[[str], object]) -> AfterValidator:
    """Reject a text that ``parse`` rejects, and keep any other unchanged."""

    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)
