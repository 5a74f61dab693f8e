"""The statements of a check, and their rows, which have only the columns that it needs."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, literal_column, select

from latchkey.credentials.conditions import conditions_of_text
from latchkey.credentials.models import Mode, Principal, Verifier, effective
from latchkey.credentials.times import from_milliseconds_or_none
from latchkey.store.rows import checked_hash
from latchkey.store.tables import account, credential


class VerifierRow(NamedTuple):
    """The columns of a credential and of its account that a check needs."""

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
    external_id: str | None
    account_metadata: str | None
    account_disabled_at: int | None
    account_instance: int


# Without its account a credential is not found, so it is refused.
_VERIFIER = select(
    *(credential.c[name] for name in VerifierRow._fields[:10]),
    account.c.external_id,
    account.c.metadata.label("account_metadata"),
    account.c.disabled_at.label("account_disabled_at"),
    account.c.instance.label("account_instance"),
).join(account, account.c.id == credential.c.account_id)

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
        external_id=row.external_id,
        metadata_text=row.account_metadata,
        in_instance_account=row.account_instance == 1,
    )
    return Verifier(
        checked_hash(row.id, row.secret_hash),
        row.revoked_at is not None,
        principal,
        effective(conditions_of_text(row.conditions), row.account_disabled_at is not None),
    )
