"""The statements of a check, and their rows, which have only the columns that it needs."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, literal_column, select

from latchkey.credentials.conditions import conditions_of_text
from latchkey.credentials.limits import (
    AppliedLimits,
    account_limits_of_text,
    stored_limits_of_text,
)
from latchkey.credentials.models import Mode, Principal, Verifier, effective
from latchkey.credentials.times import from_milliseconds_or_none
from latchkey.store.rows import SHARED_COLUMNS, SHARING, checked_hash, shared_limits_of
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
    limits: str | None
    limits_of: int | None
    external_id: str | None
    account_metadata: str | None
    account_disabled_at: int | None
    account_instance: int
    account_limits: str | None
    shared_api_key: str | None
    shared_limits: str | None


# Without its account a credential is not found, so it is refused.
_VERIFIER = (
    select(
        *(credential.c[name] for name in VerifierRow._fields[:12]),
        account.c.external_id,
        account.c.metadata.label("account_metadata"),
        account.c.disabled_at.label("account_disabled_at"),
        account.c.instance.label("account_instance"),
        account.c.limits.label("account_limits"),
        *SHARED_COLUMNS,
    )
    .join(account, account.c.id == credential.c.account_id)
    .outerjoin(SHARING, SHARING.c.id == credential.c.limits_of)
)

FIND_VERIFIER = _VERIFIER.where(credential.c.api_key == bindparam("api_key"))
FIND_IMPORTED_VERIFIER = _VERIFIER.where(
    # Literal, as in the index: SQLite uses the index only for the same condition.
    literal_column("credential.origin") == literal_column("'imported'"),
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
        _limits_of(row),
    )


def _limits_of(row: VerifierRow) -> AppliedLimits | None:
    if row.limits is None and row.limits_of is None and row.account_limits is None:
        return None
    account = account_limits_of_text(row.account_limits).of(row.mode)
    if row.limits_of is None:
        return AppliedLimits(stored_limits_of_text(row.limits), account, row.id)
    shared = shared_limits_of(row.limits_of, row.shared_api_key, row.shared_limits)
    return AppliedLimits(shared.limits, account, shared.credential_id)
