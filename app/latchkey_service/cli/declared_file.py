"""The file of ``latchkey apply``: accounts and keys as they should be, in TOML.

An error names the place of the value and never quotes it, because it may be a secret by mistake.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import Field

from latchkey.credentials.accounts import LARGEST_METADATA, AccountStatus
from latchkey.credentials.conditions import NO_CONDITIONS, Conditions
from latchkey.credentials.declared import MARK
from latchkey.credentials.granting import parse_scopes, require_for_account
from latchkey.credentials.limits import Limit
from latchkey.credentials.models import Mode
from latchkey.credentials.new_keys import require_no_secret
from latchkey.credentials.tokens import redact_secrets
from latchkey.errors import InvalidField, LatchkeyError
from latchkey_service.cli.options import read_moment
from latchkey_service.shapes.conditions import (
    Enabled,
    Endpoints,
    Metadata,
    Networks,
    NotBefore,
    ObservedMode,
    RequestModel,
    condition_terms,
    metadata_text,
)
from latchkey_service.shapes.fields import ExternalId, Name, Scope, Time
from latchkey_service.shapes.limits import Limits, limits_of
from latchkey_service.shapes.problems import validated

_TIMES = ("expires_at", "not_before")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class DeclaredKey:
    """A key as declared. ``id`` is its name within the account; ``metadata`` is JSON.

    ``sets_enabled``: the file says whether it is enabled.
    """

    place: str
    id: str
    name: str
    mode: Mode
    scopes: frozenset[str]
    expires_at: datetime | None
    conditions: Conditions
    sets_enabled: bool
    metadata: str | None
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True)
class DeclaredAccount:
    """An account as declared, with its keys.

    ``status`` None leaves it as it is. The instance account has no external id and no other terms.
    """

    place: str
    external_id: str | None
    name: str | None
    metadata: str | None
    status: AccountStatus | None
    limits: tuple[Limit, ...] = ()
    keys: tuple[DeclaredKey, ...] = field(default=())


class InvalidFile(LatchkeyError):
    """The file cannot be applied, for these reasons."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class _KeyBody(RequestModel):
    id: Annotated[str, Field(min_length=1)]
    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1)]
    mode: Mode = "live"
    expires_at: Time | None = None
    enabled: Enabled = True
    not_before: NotBefore = None
    networks: Networks = None
    networks_mode: ObservedMode = "enforce"
    endpoints: Endpoints = None
    limits: Limits = None
    metadata: Metadata = None


class _AccountBody(RequestModel):
    external_id: ExternalId
    name: Name
    limits: Limits = None
    metadata: Metadata = None
    status: AccountStatus = "active"
    keys: list[Any] = Field(default_factory=list)


class _FileBody(RequestModel):
    accounts: list[Any] = Field(default_factory=list)
    keys: list[Any] = Field(default_factory=list)


def read_declared(text: str) -> list[DeclaredAccount]:
    """The accounts of a file; the instance account is the first, if the file has ``keys``.

    Raises InvalidFile, with every problem.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidFile([f"not valid TOML: {redact_secrets(str(error))}"]) from None
    except RecursionError:
        raise InvalidFile(["the file is nested too deeply"]) from None
    except ValueError:
        raise InvalidFile(["the file has a number that is too long"]) from None
    problems: list[str] = []
    found: list[DeclaredAccount] = []
    body = _body(_FileBody, content, "", problems)
    if body is not None:
        if "keys" in body.model_fields_set:
            keys = _keys(body.keys, "", True, problems)
            found.append(DeclaredAccount("keys", None, None, None, None, keys=keys))
        for number, given in enumerate(body.accounts):
            account = _account(given, f"accounts[{number}]", problems)
            if account is not None:
                found.append(account)
    problems += _repeated([(one.place, "external_id", one.external_id) for one in found])
    if problems:
        raise InvalidFile(problems)
    return found


def _account(given: object, place: str, problems: list[str]) -> DeclaredAccount | None:
    body = _body(_AccountBody, given, place, problems)
    if body is None:
        return None
    keys = _keys(body.keys, f"{place}.", False, problems)
    try:
        for name in ("name", "external_id"):
            if redact_secrets(getattr(body, name)) != getattr(body, name):
                raise InvalidField(name, "contains what looks like an API secret")
        _require_json(body.metadata)
        metadata = metadata_text(body, LARGEST_METADATA) or None
        limits = limits_of(body.limits)
    except InvalidField as error:
        problems.append(f"{place}.{error.message}")
        return None
    status = body.status if "status" in body.model_fields_set else None
    return DeclaredAccount(place, body.external_id, body.name, metadata, status, limits, keys)


def _keys(
    given: list[Any], prefix: str, in_instance: bool, problems: list[str]
) -> tuple[DeclaredKey, ...]:
    found = []
    for number, one in enumerate(given):
        place = f"{prefix}keys[{number}]"
        body = _body(_KeyBody, _with_times(one, place, problems), place, problems)
        if body is None:
            continue
        try:
            found.append(_key(body, place, in_instance))
        except InvalidField as error:
            problems.append(f"{place}.{error.message}")
    problems += _repeated([(one.place, "id", one.id) for one in found])
    return tuple(found)


def _key(body: _KeyBody, place: str, in_instance: bool) -> DeclaredKey:
    if not _ID.fullmatch(body.id):
        raise InvalidField("id", "must be 1 to 64 letters, digits, dots, hyphens and underscores")
    require_no_secret(body.name)
    scopes = parse_scopes(body.scopes)
    require_for_account(scopes, in_instance)
    _require_json(body.metadata)
    if body.metadata is not None and MARK in body.metadata:
        raise InvalidField("metadata", f"the member {MARK} is reserved; remove it")
    return DeclaredKey(
        place,
        body.id,
        body.name,
        body.mode,
        scopes,
        body.expires_at,
        Conditions(**{**_defaults(), **condition_terms(body)}),
        "enabled" in body.model_fields_set,
        metadata_text(body) or None,
        limits_of(body.limits),
    )


def _defaults() -> dict[str, Any]:
    return {name: getattr(NO_CONDITIONS, name) for name in NO_CONDITIONS.__dataclass_fields__}


def _body(model: type[Any], given: object, place: str, problems: list[str]) -> Any:
    """The values of a table, or None after adding the problem."""
    if not isinstance(given, Mapping):
        problems.append(f"{place}: must be a table")
        return None
    try:
        return validated(model, given)
    except InvalidField as error:
        problems.append(f"{place}.{error.message}" if place else error.message)
        return None


def _with_times(given: object, place: str, problems: list[str]) -> object:
    """A table with datetimes for its times, which may also be dates, or texts as in options."""
    if not isinstance(given, dict):
        return given
    converted = dict(given)
    for name in _TIMES:
        value = given.get(name)
        if isinstance(value, (str, date)):
            try:
                converted[name] = read_moment(
                    value if isinstance(value, str) else value.isoformat()
                )
            except ValueError as error:
                problems.append(f"{place}.{name}: {error}")
                del converted[name]
    return converted


def _require_json(metadata: dict[str, Any] | None) -> None:
    try:
        json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError):
        raise InvalidField(
            "metadata", "has a value that JSON cannot express, such as a date: write it as text"
        ) from None


def _repeated(named: list[tuple[str, str, str | None]]) -> Iterator[str]:
    first: dict[str | None, str] = {}
    for place, what, name in named:
        before = first.setdefault(name, place)
        if before != place:
            yield f"{place}.{what}: {before} has the same; choose another"
