"""The changes of ``latchkey apply``, in an order in which nothing is lost if one fails.

A key is created with the mark of an undelivered key. Its secret is delivered, and only then it gets
its final mark. If a run ends in between, the secret of the key may be lost. The next run replaces
the key.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from latchkey.credentials.accounts import AccountChange
from latchkey.credentials.conditions import Conditions, ConditionTerms
from latchkey.credentials.declared import mark_of
from latchkey.credentials.listing import AsOf, Selection
from latchkey.credentials.models import Change
from latchkey.credentials.service import IssuedCredential
from latchkey.credentials.times import utc_now
from latchkey.errors import CredentialNotFound, LatchkeyError
from latchkey_service.cli.apply_plan import (
    AccountStep,
    KeyStep,
    Plan,
    current,
    marked_text,
    wanted_conditions,
)
from latchkey_service.cli.declared_file import DeclaredKey
from latchkey_service.cli.session import Session
from latchkey_service.command_user import command_line_user


@dataclass(frozen=True, slots=True)
class Created:
    """A created key, with its secret."""

    step: KeyStep
    declared: DeclaredKey
    account_id: str
    issued: IssuedCredential

    def fields(self) -> dict[str, Any]:
        """The fields for the file of secrets, or to print."""
        return {
            "account": self.step.account.external_id,
            "id": self.step.id,
            "api_key": self.issued.credential.api_key,
            "api_secret": self.issued.secret,
        }


def apply_plan(plan: Plan, session: Session, deliver: Callable[[list[Created]], None]) -> None:
    """Make the changes of a plan. ``deliver`` writes the secrets durably, or raises.

    Raises LatchkeyError if another run creates the same keys.
    """
    accounts: dict[str | None, str] = {None: session.accounts.instance().id}
    for account in plan.accounts:
        accounts[account.declared.external_id] = _apply_account(account, session)
    for step in plan.keys:
        if step.action in ("revoke", "replace"):
            _revoke(step, session)
    for step in plan.keys:
        if step.action == "change":
            _change(step, session)
    created = [
        _create(step, step.declared, accounts[step.account.external_id], session)
        for step in plan.keys
        if step.action in ("create", "replace") and step.declared is not None
    ]
    twice = _created_twice(created, session)
    for one in twice:
        session.credentials.revoke(one.issued.credential.api_key, None, by=command_line_user())
    kept = [one for one in created if one not in twice]
    deliver(kept)
    for one in kept:
        terms = Change(metadata=marked_text(one.declared, delivered=True))
        api_key = one.issued.credential.api_key
        session.credentials.change(api_key, terms, None, by=command_line_user())
    if twice:
        raise LatchkeyError(
            "another run of latchkey apply creates the same keys; run the command again"
        )


def _apply_account(step: AccountStep, session: Session) -> str:
    """Create or change an account; returns its id."""
    declared, by = step.declared, command_line_user()
    account = step.present
    if account is None:
        account = session.accounts.create(
            name=declared.name or "",
            external_id=declared.external_id,
            metadata=declared.metadata,
            limits=declared.limits,
            caller=None,
            by=by,
        )
    if step.action == "change" or declared.status == "disabled":
        terms = AccountChange(
            name=declared.name,
            metadata=declared.metadata or "",
            status=declared.status,
            limits=declared.limits if step.present and "limits" in step.differences else None,
            keeps_totals=True,
        )
        session.accounts.change(account.id, terms, None, by=by)
    return account.id


def _revoke(step: KeyStep, session: Session) -> None:
    if step.present is not None:
        # It may have been revoked since the plan was made.
        with suppress(CredentialNotFound):
            session.credentials.revoke(step.present.api_key, None, by=command_line_user())


def _change(step: KeyStep, session: Session) -> None:
    key, present = step.declared, step.present
    if key is None or present is None:
        return
    changed = step.differences
    conditions = _terms(wanted_conditions(key, present))
    terms = Change(
        name=key.name if "name" in changed else None,
        scopes=key.scopes if "scopes" in changed else None,
        sets_expiry="expires_at" in changed,
        expires_at=key.expires_at,
        conditions=conditions if conditions.keys() & changed.keys() else ConditionTerms(),
        metadata=marked_text(key, delivered=True) if "metadata" in changed else None,
        limits=key.limits if "limits" in changed else None,
        keeps_totals=True,
    )
    session.credentials.change(present.api_key, terms, None, by=command_line_user())


def _create(step: KeyStep, key: DeclaredKey, account_id: str, session: Session) -> Created:
    issued = session.credentials.issue(
        name=key.name,
        caller=None,
        by=command_line_user(),
        account=account_id,
        mode=key.mode,
        scopes=key.scopes,
        expires_at=key.expires_at,
        conditions=_terms(key.conditions),
        metadata=marked_text(key, delivered=False),
        limits=key.limits,
    )
    return Created(step, key, account_id, issued)


def _created_twice(created: list[Created], session: Session) -> list[Created]:
    """The created keys whose id another run has given to a key of its own meanwhile.

    Each run reads the keys after it has created its own. Therefore at least one of two concurrent
    runs finds the keys of the other.
    """
    as_of = AsOf(utc_now(), timedelta(0))
    taken: set[tuple[str, str]] = set()
    ours = {one.issued.credential.api_key for one in created}
    for account_id in {one.account_id for one in created}:
        selection = Selection(account_id=account_id)
        for other in current(session.listing.newest(selection, as_of, None)):
            mark = mark_of(other.metadata)
            if mark is not None and other.revoked_at is None and other.api_key not in ours:
                taken.add((account_id, mark.id))
    return [one for one in created if (one.account_id, one.step.id) in taken]


def _terms(conditions: Conditions) -> ConditionTerms:
    return ConditionTerms(
        enabled=conditions.enabled,
        not_before=conditions.not_before,
        networks=conditions.networks,
        networks_mode=conditions.networks_mode,
        endpoints=conditions.endpoints,
    )
