"""The mark of a key that a file declares: a member of the key's metadata.

It identifies the key within its account. The successor of a rotated key has the same mark. Only the
operator can set or remove it: otherwise a key could mark itself, and get another key's rights from
the next run of ``latchkey apply``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from latchkey.errors import InvalidField

MARK = "latchkey"
"""The reserved member of the metadata."""


@dataclass(frozen=True, slots=True)
class DeclaredMark:
    """The id of a declared key. ``delivered``: its secret was written or printed."""

    id: str
    delivered: bool = True


def mark_of(metadata: str | None) -> DeclaredMark | None:
    """The mark in a key's metadata, which is JSON; None if there is none, or an unknown one."""
    found = _member(metadata)
    if not isinstance(found, dict) or not isinstance(found.get("declared"), str):
        return None
    return DeclaredMark(found["declared"], "secret" not in found)


def marked(metadata: dict[str, Any] | None, mark: DeclaredMark) -> dict[str, Any]:
    """The metadata with a mark."""
    member = {"declared": mark.id} if mark.delivered else _undelivered(mark)
    return {**(metadata or {}), MARK: member}


def require_mark_kept(metadata: str | None, present: str | None) -> None:
    """Raise InvalidField if a key would give another mark than the ``present`` metadata has."""
    if _member(metadata) != _member(present):
        raise InvalidField("metadata", f"the member {MARK} is reserved for the operator")


def _undelivered(mark: DeclaredMark) -> dict[str, str]:
    return {"declared": mark.id, "secret": "not delivered"}


def _member(metadata: str | None) -> object:
    return json.loads(metadata).get(MARK) if metadata else None
