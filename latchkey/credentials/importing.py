"""Import of another system's keys: only the SHA-256 of each token is known, never the token.

All or nothing: if one key is invalid, none is imported, and each invalid one is named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from latchkey.credentials.audit import Actor
from latchkey.credentials.conditions import NO_CONDITIONS, Conditions
from latchkey.credentials.granting import ANY_SCOPE, require_allowed
from latchkey.credentials.models import Mode, NewCredential
from latchkey.credentials.publishing import Publisher, Refusal
from latchkey.credentials.times import utc_now
from latchkey.credentials.tokens import new_ids
from latchkey.errors import InvalidField, LatchkeyError
from latchkey.store.protocols import ImportedCredentials
from latchkey.wording import counted

NO_DERIVATION_KEY = ""
"""The id that imported credentials have in place of a derivation key's."""

SHA256_OF_NO_TOKEN = {
    **{bytes([byte] * 32): "nothing (a placeholder)" for byte in (0x00, 0xFF)},
    **{
        hashlib.sha256(text).digest(): name
        for text, name in [
            (b"", "an empty text"),
            *((end, "a line end alone") for end in (b"\n", b"\r\n", b"\r", b"\n\n")),
            *((space, "white space alone") for space in (b" ", b"\t", b" \n")),
            (b"\0", "a NUL alone"),
            (b"\xef\xbb\xbf", "a byte order mark alone"),
            *((quotes, "quotes alone") for quotes in (b'""', b"''", b'""\n', b"''\n")),
            *(
                (word + end, f"the word {word.decode()}")
                for word in (
                    *(b"null", b"NULL", b"None", b"nil", b"undefined", b"NaN", b"true", b"false"),
                    *(b"0", b"-", b"N/A", b"token", b"sha256"),
                )
                for end in (b"", b"\n")
            ),
        ]
    },
}
"""Hashes that result from mistakes, by SHA-256: anybody could guess such a token."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A key of another system, from line ``line`` of the import.

    ``account_id`` None stands for the instance account.
    """

    line: int
    name: str
    token_hash: bytes = field(repr=False)
    mode: Mode
    scopes: frozenset[str]
    expires_at: datetime | None
    conditions: Conditions = NO_CONDITIONS
    metadata: str | None = None
    account_id: str | None = None


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that cannot be imported, and the reason; never its content."""

    line: int
    reason: str


class ImportRefused(LatchkeyError):
    """Nothing was imported, because of these lines."""

    def __init__(self, lines: Sequence[RefusedLine]) -> None:
        self.lines = list(lines)
        super().__init__(f"nothing was imported: {counted(len(self.lines), 'invalid line')}")


def import_keys(
    keys: Sequence[Foreign],
    refused: Sequence[RefusedLine],
    source_digest: str,
    store: ImportedCredentials,
    publisher: Publisher,
    *,
    by: Actor,
    allowed_scopes: frozenset[str] = ANY_SCOPE,
    skip_existing: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> list[NewCredential]:
    """Store the keys, each under a new ``api_key``. Takes effect before it returns.

    ``refused`` are lines that could not be read. ``source_digest`` is the SHA-256, in hex, of the
    imported file, for the audit log, which gets one row for all keys. ``allowed_scopes`` are those
    of ``require_allowed``. ``progress`` is called with the number of further stored keys. With
    ``skip_existing``, a key whose hash exists is left out. Returns the stored keys. Raises
    ImportRefused, with ``refused`` and every other invalid line.
    """
    now = utc_now()
    problems = [*refused, *_repeated(keys), *_not_allowed(keys, allowed_scopes)]

    def left_out(present: Collection[bytes]) -> Collection[bytes]:
        there = [key for key in keys if key.token_hash in present]
        refused_lines = list(problems)
        if not skip_existing:
            reason = "a key with this SHA-256 already exists"
            refused_lines += [RefusedLine(key.line, reason) for key in there]
        if refused_lines:
            error = ImportRefused(sorted(refused_lines, key=lambda one: one.line))
            # An import that died after its commit may have stored them without invalidation.
            raise Refusal(error, [key.token_hash.hex() for key in there])
        return {key.token_hash for key in there}

    ids = new_ids(len(keys))
    made = [
        NewCredential(
            api_key=f"ak_{key.mode}_{next(ids)}",
            secret_hash=key.token_hash,
            derivation_id=NO_DERIVATION_KEY,
            account_id=key.account_id,
            mode=key.mode,
            name=key.name,
            scopes=key.scopes,
            created_at=now,
            expires_at=key.expires_at,
            origin="imported",
            conditions=key.conditions,
            metadata=key.metadata,
        )
        for key in keys
    ]
    detail: dict[str, object] = {"source_sha256": source_digest}
    return publisher.publish(store.add_all(made, left_out, detail, by, progress))


def _not_allowed(keys: Sequence[Foreign], allowed: frozenset[str]) -> list[RefusedLine]:
    found = []
    for key in keys:
        try:
            require_allowed(key.scopes, allowed)
        except InvalidField as error:
            found.append(RefusedLine(key.line, error.message))
    return found


def _repeated(keys: Sequence[Foreign]) -> list[RefusedLine]:
    first: dict[bytes, int] = {}
    found = []
    for key in keys:
        line = first.setdefault(key.token_hash, key.line)
        if line != key.line:
            found.append(RefusedLine(key.line, f"repeats the SHA-256 of line {line}"))
    return found
