"""What the page of each benchmark contains."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from benchmarks.parts import Part


def require_whole_page(part: Part, fields: Mapping[str, Any]) -> None:
    """Every table has rows of one width, and the page has a place for each table and word."""
    tables = part.tables(fields)
    for name, table in tables.items():
        assert table.rows, name
        assert {len(row) for row in table.rows} == {len(table.head)}, name
    places = set(re.findall(r"\$(\w+)", part.page()))
    assert places == {f"table_{name}" for name in tables} | part.words(fields).keys()
