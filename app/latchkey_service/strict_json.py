"""A strict JSON parser: refuses repeated names, and everything that is not JSON."""

from __future__ import annotations

import json
import math
from typing import Any


class RepeatedName(ValueError):
    """An object has ``name`` twice; parsers differ in which value they use (RFC 8259 section 4)."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__("a name is given twice")


def loads(text: str) -> Any:
    """Parse a text.

    Raises RepeatedName, ValueError for invalid JSON (including NaN and Infinity) and for numbers
    beyond the range of a double, and RecursionError for values that are nested too deeply.
    """
    return json.loads(
        text,
        object_pairs_hook=_without_repeats,
        parse_constant=_refuse,
        parse_float=_finite,
    )


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise RepeatedName(name)
            seen.add(name)
    return value


def _finite(digits: str) -> float:
    """A number. One such as 1e400 would become an infinity, which JSON cannot express."""
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _refuse(constant: str) -> None:
    raise ValueError("not a JSON number")
