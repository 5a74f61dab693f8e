"""The cells of CSV files: a text that a spreadsheet would run as a formula gets a quote in front.

A text that already begins with such a quote gets a second one, so that every text can be read back.
"""

from __future__ import annotations

_FORMULA = frozenset("=+-@\t\r")
"""The first characters of formulas."""


def escaped_cell(text: str) -> str:
    """The text as a cell that no spreadsheet runs."""
    return f"'{text}" if _is_formula(text) else text


def unescaped_cell(text: str) -> str:
    """The text of a cell that ``escaped_cell`` wrote."""
    return text[1:] if text[:1] == "'" and _is_formula(text) else text


def _is_formula(text: str) -> bool:
    """Whether a spreadsheet runs the text, or runs it without the quotes in front."""
    return text.lstrip("'")[:1] in _FORMULA
