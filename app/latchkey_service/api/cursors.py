"""Cursors of listings: the position after a page, as opaque text.

A cursor names the kind of its listing, so one of another listing is refused. It gives no access:
the account and the mode of the caller are conditions of every query.
"""

from __future__ import annotations

import base64
import binascii
from enum import Enum

from latchkey.errors import InvalidField

_NUMBER_LENGTH = 8


class CursorKind(Enum):
    """The kinds of listings, by the first byte of their cursors."""

    CREDENTIALS = b"k"
    ACCOUNTS = b"a"


def write_cursor(kind: CursorKind, before: int | None) -> str | None:
    """The cursor of the items with numbers below ``before``; None at the end of a listing."""
    if before is None:
        return None
    raw = kind.value + before.to_bytes(_NUMBER_LENGTH)
    return base64.urlsafe_b64encode(raw).decode()


def read_cursor(kind: CursorKind, cursor: str | None) -> int | None:
    """The number that ``write_cursor`` wrote; raises InvalidField for any other text."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor, altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    number = raw[1:]
    if raw[:1] != kind.value or len(number) != _NUMBER_LENGTH or number[0] > 0x7F:
        raise InvalidField("cursor", "must be the next_cursor of the previous page")
    return int.from_bytes(number)
