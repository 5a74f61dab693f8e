"""The encodings of the audit log: fields as bytes, values as digests, and stored values as text.

docs/reference/audit-format.md describes them. Imports nothing of the project.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

_VALUE_LABEL = b"latchkey.audit.value.v2"

# The prefix of a stored blob. No decoded text begins with it.
_BLOB = "\udc00"
_SURROGATES = re.compile("[\ud800-\udfff]")

Value = str | int | None
"""The value of a column: a text, an integer or None."""


def value_digest(salt: str, name: str, value: str) -> str:
    """The SHA-256 in hex of a value of the column ``name``, with its salt in hex."""
    return hashlib.sha256(encode(_VALUE_LABEL, (salt, name, value))).hexdigest()


def text_of(data: bytes) -> str:
    """A stored text; bytes that are not UTF-8 become lone surrogates, which are never written."""
    return data.decode("utf-8", "surrogateescape")


def blob_of(data: bytes) -> str:
    """A value stored as bytes in place of a text or a number: it equals no text."""
    return f"{_BLOB}x'{data.hex()}'"


def spelled_out(text: str) -> str:
    """A value of ``text_of`` or ``blob_of`` for display."""
    return _SURROGATES.sub(
        lambda one: "" if one[0] == _BLOB else f"\\x{ord(one[0]) & 0xFF:02x}", text
    )


def encode(label: bytes, fields: Sequence[Value]) -> bytes:
    """An unambiguous encoding of fields: each is a netstring, None is ``-``.

    A netstring is the length in bytes, in decimal, then ``:``, the bytes, and ``,``. Numbers are
    in decimal, texts in UTF-8.
    """
    parts = [_netstring(label)]
    for value in fields:
        if value is None:
            parts.append(b"-")
        else:
            # An altered text may not be encodable in UTF-8.
            parts.append(_netstring(str(value).encode("utf-8", "surrogatepass")))
    return b"".join(parts)


def _netstring(data: bytes) -> bytes:
    return b"%d:%b," % (len(data), data)
