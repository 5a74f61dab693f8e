"""Import of another system's keys: only the SHA-256 of each token is known, never the token.

All or nothing: if one key is invalid, none is imported, and each invalid one is named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from latchkey.credentials.accounts import Account
from latchkey.credentials.audit import Actor
from latchkey.credentials.conditions import NO_CONDITIONS, Conditions
from latchkey.credentials.granting import (
    ANY_SCOPE,
    require_allowed,
    require_for_account,
    scopes_missing,
)
from latchkey.credentials.limits import Limit
from latchkey.credentials.models import Mode, NewCredential
from latchkey.credentials.publishing import Publisher, Refusal
from latchkey.credentials.scopes import FULL_ACCESS
from latchkey.credentials.times import utc_now
from latchkey.credentials.tokens import new_ids
from latchkey.errors import InvalidField, LatchkeyError
from latchkey.store.protocols import AccountStore, ImportedCredentials
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

    ``account_id`` or ``external_id`` names its account, or none of them for the instance account.
    ``scopes`` None are all scopes; keys of other accounts have to have scopes.
    """

    line: int
    name: str
    token_hash: bytes = field(repr=False)
    mode: Mode
    scopes: frozenset[str] | None
    expires_at: datetime | None
    conditions: Conditions = NO_CONDITIONS
    metadata: str | None = None
    account_id: str | None = None
    external_id: str | None = None
    limits: tuple[Limit, ...] = ()


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
    accounts: AccountStore,
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
    of ``require_allowed``. ``accounts`` has the accounts that the keys name; they are read again in
    the transaction. ``progress`` is called with the number of further stored keys. With
    ``skip_existing``, a key whose hash exists is left out. Returns the stored keys. Raises
    ImportRefused, with ``refused`` and every other invalid line.
    """
    now = utc_now()
    named = _Accounts(keys, accounts)
    problems = [*refused, *_repeated(keys), *named.unknown()]
    problems += _not_allowed(keys, named, allowed_scopes)

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
            account_id=named.id_of(key),
            mode=key.mode,
            name=key.name,
            scopes=FULL_ACCESS if key.scopes is None else key.scopes,
            created_at=now,
            expires_at=key.expires_at,
            origin="imported",
            conditions=key.conditions,
            metadata=key.metadata,
            limits=key.limits,
        )
        for key in keys
    ]
    detail: dict[str, object] = {"source_sha256": source_digest}
    outcome = store.add_all(made, left_out, detail, by, progress, confirm=named.confirm)
    return publisher.publish(outcome)


class _Accounts:
    """The accounts that the keys of an import name."""

    def __init__(self, keys: Sequence[Foreign], store: AccountStore) -> None:
        self._keys = keys
        ids = {key.account_id for key in keys if key.account_id is not None}
        external_ids = {key.external_id for key in keys if key.external_id is not None}
        found = store.find_many(ids, external_ids) if ids or external_ids else []
        usable = [one for one in found if one.erased_at is None]
        self._by_id = {one.id: one for one in usable if one.id in ids}
        self._by_external_id = {
            one.external_id: one for one in usable if one.external_id in external_ids
        }

    def of(self, key: Foreign) -> Account | None:
        """The account that a key names; None if it names none, or an unknown one."""
        if key.account_id is not None:
            return self._by_id.get(key.account_id)
        return None if key.external_id is None else self._by_external_id.get(key.external_id)

    def id_of(self, key: Foreign) -> str | None:
        """The id of that account."""
        found = self.of(key)
        return None if found is None else found.id

    def unknown(self) -> list[RefusedLine]:
        """The lines of keys that name an unknown account."""
        return [
            RefusedLine(key.line, f"{_reference(key)}: no such account")
            for key in self._keys
            if _reference(key) is not None and self.of(key) is None
        ]

    def confirm(self, present: Mapping[str, Account]) -> None:
        """Raise ImportRefused if an account was erased, or lost its external id, meanwhile."""
        usable = {one.id: one for one in present.values() if one.erased_at is None}
        lost = {account_id for account_id in self._by_id if account_id not in usable}
        lost |= {
            external_id
            for external_id, one in self._by_external_id.items()
            if one.id not in usable or usable[one.id].external_id != external_id
        }
        if lost:
            refused = [
                RefusedLine(
                    key.line, f"{_reference(key)}: the account was changed meanwhile; try again"
                )
                for key in self._keys
                if (key.account_id or key.external_id) in lost
            ]
            raise ImportRefused(refused)


def _reference(key: Foreign) -> str | None:
    """The field in which a key names its account."""
    if key.account_id is not None:
        return "account"
    return None if key.external_id is None else "external_id"


def _not_allowed(
    keys: Sequence[Foreign], accounts: _Accounts, allowed: frozenset[str]
) -> list[RefusedLine]:
    found = []
    for key in keys:
        account = accounts.of(key)
        elsewhere = account is not None and not account.is_instance
        try:
            if key.scopes is None:
                if elsewhere:
                    raise scopes_missing()
                continue
            require_allowed(key.scopes, allowed)
            if elsewhere:
                require_for_account(key.scopes, False)
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
