"""The statements of a check, and their rows, which have only the columns that it needs."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, literal_column, select

from latchkey.credentials.conditions import conditions_of_text
from latchkey.credentials.models import Mode, Principal, Verifier
from latchkey.credentials.times import from_milliseconds_or_none
from latchkey.store.rows import checked_hash
from latchkey.store.tables import credential


class VerifierRow(NamedTuple):
    """The columns of a credential that a check needs, under their names."""

    id: int
    api_key: str
    secret_hash: bytes
    account_id: str
    mode: Mode
    name: str | None
    scopes: str
    expires_at: int | None
    revoked_at: int | None
    conditions: str | None


_VERIFIER = select(*(credential.c[name] for name in VerifierRow._fields))

FIND_VERIFIER = _VERIFIER.where(credential.c.api_key == bindparam("api_key"))
FIND_IMPORTED_VERIFIER = _VERIFIER.where(
    # Literal, as in the index: SQLite uses the index only for the same condition.
    literal_column("origin") == literal_column("'imported'"),
    credential.c.secret_hash == bindparam("secret_hash"),
)


def verifier_of(row: VerifierRow) -> Verifier:
    """The verifier in a row; raises ValueError, TypeError or AttributeError if it is not valid."""
    principal = Principal(
        credential_id=row.id,
        account_id=row.account_id,
        api_key=row.api_key,
        mode=row.mode,
        name=row.name,
        scopes=frozenset(row.scopes.split()),
        expires_at=from_milliseconds_or_none(row.expires_at),
    )
    return Verifier(
        checked_hash(row.id, row.secret_hash),
        row.revoked_at is not None,
        principal,
        conditions_of_text(row.conditions),
    )
