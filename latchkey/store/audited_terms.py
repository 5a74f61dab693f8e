"""The terms of credentials and accounts in the audit log: all of them, or the changed ones."""

from __future__ import annotations

from collections.abc import Iterable

from latchkey.credentials.accounts import Account
from latchkey.credentials.conditions import conditions_detail
from latchkey.credentials.limits import Limit
from latchkey.credentials.models import Credential
from latchkey.credentials.times import to_milliseconds_or_none

_CHANGING = (
    *("name", "scopes", "expires_at", "enabled", "not_before", "networks", "networks_mode"),
    *("endpoints", "metadata", "limits", "limits_of"),
)

# The values of conditions that are not set.
_DEFAULTS: dict[str, object] = {"enabled": True, "networks_mode": "enforce"}


def terms_of(credential: Credential) -> dict[str, object]:
    """The terms of a new credential; times in milliseconds since 1970, scopes in order."""
    terms = _terms(credential)
    if not credential.account.is_instance:
        terms["account"] = credential.account_id
    return {
        **{name: value for name, value in terms.items() if value is not None},
        "mode": credential.mode,
        "derivation_id": credential.derivation_id,
    }


def difference(before: Credential, after: Credential) -> dict[str, object]:
    """Each changed term as a list of the previous and the new value."""
    old, new = {**_DEFAULTS, **_terms(before)}, {**_DEFAULTS, **_terms(after)}
    return {
        name: [old.get(name), new.get(name)] for name in _CHANGING if old.get(name) != new.get(name)
    }


def _terms(credential: Credential) -> dict[str, object]:
    return {
        "name": credential.name,
        "scopes": sorted(credential.scopes),
        "expires_at": to_milliseconds_or_none(credential.expires_at),
        **conditions_detail(credential.conditions),
        "metadata": credential.metadata,
        "limits": _definitions(stored.limit for stored in credential.limits),
        "limits_of": credential.shared_limits and credential.shared_limits.api_key,
    }


def _definitions(limits: Iterable[Limit]) -> list[dict[str, object]] | None:
    """Limits as JSON values; None for none."""
    return [limit.to_json() for limit in limits] or None


def account_terms_of(account: Account) -> dict[str, object]:
    """The terms of a new account."""
    return {name: value for name, value in _account_terms(account).items() if value is not None}


def account_difference(before: Account, after: Account) -> dict[str, object]:
    """Each changed term as a list of the previous and the new value."""
    old, new = _account_terms(before), _account_terms(after)
    return {name: [old[name], new[name]] for name in new if old[name] != new[name]}


def _account_terms(account: Account) -> dict[str, object]:
    return {
        "name": account.name,
        "external_id": account.external_id,
        "metadata": account.metadata,
        "status": account.status,
        "limits": _definitions(account.limits.definitions),
    }
