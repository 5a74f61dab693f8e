"""The plan of ``latchkey apply``: the difference between the declared state and the database.

The mark in the metadata of a key identifies the declared key within its account. If a key was
rotated, its successor is the declared key. Keys without a mark are never part of a plan.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from latchkey.credentials.accounts import Account
from latchkey.credentials.conditions import Conditions
from latchkey.credentials.declared import MARK, DeclaredMark, mark_of, marked
from latchkey.credentials.granting import parse_allowed, require_allowed
from latchkey.credentials.limits import Limit, limit_of_json
from latchkey.credentials.listing import AsOf, Selection
from latchkey.credentials.models import Credential
from latchkey.credentials.times import format_time, utc_now
from latchkey.errors import InvalidField
from latchkey_service.cli.declared_file import DeclaredAccount, DeclaredKey, InvalidFile
from latchkey_service.cli.session import Session
from latchkey_service.shapes.conditions import LONGEST_METADATA
from latchkey_service.shapes.limit_texts import readable_limits
from latchkey_service.shapes.limits import limit_objects

StepKind = Literal["create", "change", "replace", "revoke", "unchanged", "not declared"]
CHANGES: frozenset[StepKind] = frozenset({"create", "change", "replace", "revoke"})

Differences = dict[str, tuple[object, object]]
"""The values that change, by field: the present one and the declared one, as JSON values."""


@dataclass(frozen=True, slots=True)
class AccountStep:
    """The action for a declared account."""

    action: StepKind
    declared: DeclaredAccount
    present: Account | None
    differences: Differences = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyStep:
    """The action for a key; ``declared`` is None for a key that the file does not have.

    ``replace``: the secret of the present key was not delivered, so it is revoked, and created
    again.
    """

    action: StepKind
    account: DeclaredAccount
    id: str
    declared: DeclaredKey | None
    present: Credential | None
    differences: Differences = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps, in the order of the file."""

    accounts: list[AccountStep]
    keys: list[KeyStep]

    @property
    def steps(self) -> list[AccountStep | KeyStep]:
        """Every step."""
        return [*self.accounts, *self.keys]

    @property
    def changes(self) -> int:
        """The number of steps that change something."""
        return sum(step.action in CHANGES for step in self.steps)

    def rows(self) -> list[dict[str, Any]]:
        """The steps as JSON values."""
        return [_row(step) for step in self.steps]


def make_plan(declared: list[DeclaredAccount], session: Session, *, prune: bool) -> Plan:
    """Compare the declared accounts with the database; raises InvalidFile with every problem."""
    problems: list[str] = []
    accounts: list[AccountStep] = []
    keys: list[KeyStep] = []
    allowed = parse_allowed(session.settings.scopes)
    for one in declared:
        if one.external_id is None:
            present: Account | None = session.accounts.instance()
        else:
            present = session.store.accounts.find_external(one.external_id)
            accounts.append(_account_step(one, present))
        there = {} if present is None else _marked_keys(session, present)
        for key in one.keys:
            try:
                keys.append(_key_step(one, key, there.pop(key.id, []), allowed))
            except InvalidField as error:
                problems.append(f"{key.place}.{error.message}")
        for name, strays in there.items():
            action: StepKind = "revoke" if prune else "not declared"
            keys += [KeyStep(action, one, name, None, stray) for stray in strays]
    if problems:
        raise InvalidFile(problems)
    return Plan(accounts, keys)


def current(keys: Iterable[Credential]) -> list[Credential]:
    """The keys that were not rotated. At most one of them should have each id."""
    return [one for one in keys if one.rotated_to is None]


def marked_text(key: DeclaredKey, *, delivered: bool) -> str:
    """The metadata of a declared key with its mark; raises InvalidField if it is too long."""
    mark = DeclaredMark(key.id, delivered)
    text = json.dumps(
        marked(_parsed(key.metadata), mark), ensure_ascii=False, separators=(",", ":")
    )
    # The mark of an undelivered key is the longer one.
    if len(text.encode()) > LONGEST_METADATA:
        raise InvalidField(
            "metadata", f"has more than {LONGEST_METADATA} bytes together with the mark; shorten it"
        )
    return text


def _account_step(declared: DeclaredAccount, present: Account | None) -> AccountStep:
    wanted = {
        "name": declared.name,
        "metadata": _parsed(declared.metadata),
        "limits": limit_objects(declared.limits),
        "status": declared.status or (present.status if present else "active"),
    }
    if present is None:
        return AccountStep("create", declared, None, _from_nothing(wanted))
    found = {
        "name": present.name,
        "metadata": _parsed(present.metadata),
        "limits": limit_objects(present.limits.definitions),
        "status": present.status,
    }
    differences = _differences(found, wanted)
    return AccountStep("change" if differences else "unchanged", declared, present, differences)


def _key_step(
    account: DeclaredAccount, key: DeclaredKey, there: list[Credential], allowed: frozenset[str]
) -> KeyStep:
    marked_text(key, delivered=False)
    present = current(there)
    if len(present) > 1:
        named = " and ".join(sorted(one.api_key for one in present))
        raise InvalidField("id", f"several keys have it: {named}; revoke all but one")
    if not present:
        require_allowed(key.scopes, allowed)
        _require_future(key)
        return KeyStep("create", account, key.id, key, None, _from_nothing(_declared(key, None)))
    (one,) = present
    if one.mode != key.mode:
        raise InvalidField(
            "mode",
            f"cannot be changed: {one.api_key} is a {one.mode} key; give the other key another id",
        )
    mark = mark_of(one.metadata)
    if mark is not None and not mark.delivered:
        require_allowed(key.scopes, allowed)
        _require_future(key)
        wanted = _from_nothing(_declared(key, None))
        return KeyStep("replace", account, key.id, key, one, wanted)
    differences = _differences(_present(one), _declared(key, one))
    if "scopes" in differences:
        require_allowed(key.scopes - one.scopes, allowed)
    if "expires_at" in differences:
        _require_future(key)
    action: StepKind = "change" if differences else "unchanged"
    return KeyStep(action, account, key.id, key, one, differences)


def _marked_keys(session: Session, account: Account) -> dict[str, list[Credential]]:
    """The keys of an account that have a mark and are not revoked, by the id of the mark."""
    as_of = AsOf(utc_now(), timedelta(days=session.settings.rotation_days))
    found: dict[str, list[Credential]] = {}
    for one in session.listing.newest(Selection(account_id=account.id), as_of, None):
        mark = mark_of(one.metadata)
        if mark is not None and one.revoked_at is None:
            found.setdefault(mark.id, []).append(one)
    return found


def _require_future(key: DeclaredKey) -> None:
    if key.expires_at is not None and key.expires_at <= utc_now():
        raise InvalidField("expires_at", "must lie in the future")


def wanted_conditions(key: DeclaredKey, present: Credential | None) -> Conditions:
    """The conditions of a declared key; the file may leave ``enabled`` open."""
    if present is None or key.sets_enabled:
        return key.conditions
    return replace(key.conditions, enabled=present.conditions.enabled)


def _declared(key: DeclaredKey, present: Credential | None) -> dict[str, object]:
    conditions = wanted_conditions(key, present)
    metadata = _parsed(key.metadata)
    return _terms(key.name, key.scopes, key.expires_at, conditions, key.limits, metadata)


def _present(one: Credential) -> dict[str, object]:
    metadata = _parsed(one.metadata) or {}
    metadata.pop(MARK, None)
    # Those of the key that was rotated apply to its successor.
    limits = tuple(stored.limit for stored in one.applied_limits.own)
    return _terms(one.name, one.scopes, one.expires_at, one.conditions, limits, metadata or None)


def _terms(
    name: str | None,
    scopes: frozenset[str],
    expires_at: datetime | None,
    conditions: Conditions,
    limits: Sequence[Limit],
    metadata: dict[str, Any] | None,
) -> dict[str, object]:
    return {
        "name": name,
        "scopes": sorted(scopes),
        "expires_at": _time(expires_at),
        "enabled": conditions.enabled,
        "not_before": _time(conditions.not_before),
        "networks": _texts(conditions.networks),
        "networks_mode": conditions.networks_mode,
        "endpoints": _texts(conditions.endpoints),
        "limits": limit_objects(limits),
        "metadata": metadata or None,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)


def _texts(values: Iterable[object] | None) -> list[str] | None:
    return None if values is None else [str(value) for value in values]


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> Differences:
    return {name: (found[name], value) for name, value in wanted.items() if found[name] != value}


def _from_nothing(wanted: dict[str, Any]) -> Differences:
    """The values of a new account or key that differ from the defaults."""
    usual = (None, True, "enforce", "active")
    return {name: (None, value) for name, value in wanted.items() if value not in usual}


def _parsed(metadata: str | None) -> dict[str, Any] | None:
    return None if metadata is None else json.loads(metadata)


def _row(step: AccountStep | KeyStep) -> dict[str, Any]:
    row: dict[str, Any] = {"action": step.action}
    if isinstance(step, AccountStep):
        row |= {"kind": "account", "account": step.declared.external_id}
    else:
        api_key = None if step.present is None else step.present.api_key
        row |= {"kind": "key", "account": step.account.external_id}
        row |= {"id": step.id, "api_key": api_key}
    row["differences"] = {name: list(pair) for name, pair in step.differences.items()}
    return row


def described(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Lines that describe the rows of a plan to a person."""
    for row in rows:
        name = row["account"] or "instance account"
        if row["kind"] == "key":
            name = f"{name} / {row['id']}"
            if row["api_key"] is not None:
                name += f" ({row['api_key']})"
        yield f"{row['action']:12}  {row['kind']:7}  {name}"
        for field_name, (before, after) in row["differences"].items():
            value = _shown(field_name, after)
            if row["action"] == "change":
                value = f"{_shown(field_name, before)} -> {value}"
            yield f"{'':14}{field_name}: {value}"


def _shown(field_name: str, value: Any) -> str:
    if value is None:
        return "none"
    if field_name == "limits":
        return readable_limits(limit_of_json(limit) for limit in value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, (dict, bool)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
