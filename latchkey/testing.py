"""A plugin of pytest for the tests of an application: a Latchkey in memory.

Put ``pytest_plugins = ["latchkey.testing"]`` into the ``conftest.py`` at the root of your tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal
from wsgiref.types import WSGIEnvironment

import pytest
from flask import Flask

from latchkey.asgi import ASGIApplication, LatchkeyMiddleware
from latchkey.assembly import Latchkey
from latchkey.check._limits import LimitPlan
from latchkey.config import load_settings
from latchkey.credentials.accounts import Account
from latchkey.credentials.audit import Actor, AuditKey
from latchkey.credentials.derivation import DerivationKey, DerivationKeys
from latchkey.credentials.granting import parse_scopes
from latchkey.credentials.limits import (
    DEFAULT_NAME,
    Limit,
    QuotaLimit,
    RateLimit,
    limit_of_json,
)
from latchkey.credentials.models import Change, Mode, Principal
from latchkey.errors import AccountNotFound, ConfigurationError
from latchkey.parts import Parts
from latchkey.store.audit_head import Seal
from latchkey.store.memory.head import MemoryHead
from latchkey.store.memory.state import MemoryDatabase
from latchkey.store.memory.store import open_memory_store
from latchkey.wsgi_answers import PRINCIPAL_KEY

__all__ = ["InMemoryLatchkey", "latchkey_in_memory"]

_ACTOR = Actor.command_line("tests")
# Tests send wrong keys on purpose, which must not lead to 429.
_SETTINGS = {"LATCHKEY_FAILURE_LIMIT": "off"}


class InMemoryLatchkey:
    """A Latchkey of one process, with an empty store in memory: no file and no shared memory.

    ``instance`` is a real ``Latchkey``: give it to your application. The methods create keys, and
    principals for requests without a key.
    """

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        """``settings`` are variables, such as ``{"LATCHKEY_DEFAULT_LIMIT": "100/minute"}``.

        Raises ConfigurationError for an invalid one.
        """
        key = AuditKey(os.urandom(32))
        parts = Parts.from_settings(
            load_settings({**_SETTINGS, **(settings or {})}),
            derivation=DerivationKeys([DerivationKey(os.urandom(32))], []),
            store=open_memory_store(MemoryDatabase(), Seal(key, MemoryHead(key))),
        )
        self.instance = Latchkey.of_parts(parts)
        self._principals = 0

    def issue(
        self,
        *,
        scopes: Iterable[str],
        mode: Mode = "live",
        account: str | None = None,
        name: str = "test",
        expires_at: datetime | None = None,
        scheme: Literal["bearer", "pair"] = "bearer",
        limits: Iterable[Limit | Mapping[str, Any]] = (),
    ) -> dict[str, str]:
        """Create a key; returns the headers that send it.

        ``account`` is the external id of its account, which is created if it is new; None is the
        instance account. ``limits`` are as in the API, such as ``{"rate": "5/minute"}`` and
        ``{"name": "monthly", "quota": 1000, "period": "month"}``. Raises InvalidField for a
        malformed scope, and for ``expires_at`` in the past; ValueError for a malformed limit.
        """
        issued = self.instance.credentials.issue(
            name=name,
            caller=None,
            by=_ACTOR,
            account=None if account is None else self.account(account).id,
            mode=mode,
            scopes=_scopes(scopes),
            expires_at=expires_at,
            limits=[_limit(one) for one in limits],
        )
        if scheme == "pair":
            return {"X-Api-Key": issued.credential.api_key, "X-Api-Secret": issued.secret}
        return {"Authorization": f"Bearer {issued.secret}"}

    def account(self, external_id: str, metadata: str | None = None) -> Account:
        """The account with this external id, created if it is new, with ``metadata`` as JSON."""
        accounts = self.instance.accounts
        try:
            return accounts.named(external_id)
        except AccountNotFound:
            return accounts.create(
                name=external_id,
                external_id=external_id,
                metadata=metadata,
                caller=None,
                by=_ACTOR,
            )

    def revoke(self, headers: dict[str, str]) -> None:
        """Revoke the key of these headers, which ``issue`` returned; effective at once."""
        self.instance.credentials.revoke(_api_key(headers), None, by=_ACTOR)

    def set_remaining(
        self, headers: dict[str, str], remaining: int, limit: str = DEFAULT_NAME
    ) -> None:
        """Set what remains of a limit of the key of these headers, now.

        A rate fills up again as always, so what remains may be more soon. Raises ValueError if the
        key has no such limit, or for more than the limit admits.
        """
        key = self.instance.credentials.get(_api_key(headers), None)
        for stored in key.limits:
            if stored.limit.name == limit:
                break
        else:
            raise ValueError(f"the key has no limit {limit}")
        found = stored.limit
        most = found.burst if isinstance(found, RateLimit) else found.quota
        if not 0 <= remaining <= most:
            raise ValueError(f"what remains of the limit {limit} is 0 to {most}")
        if isinstance(found, RateLimit):
            self.instance.shared.limits.rates.reset(stored.id)
        else:
            change = Change(renewed=frozenset([limit]))
            key = self.instance.credentials.change(key.api_key, change, None, by=_ACTOR)
            (stored,) = (one for one in key.limits if one.id == stored.id)
        if remaining < most:
            self.instance.limiter.take(LimitPlan((stored,)), key.id, most - remaining)

    def principal(
        self,
        *,
        scopes: Iterable[str],
        mode: Mode = "live",
        account: str | None = None,
        name: str = "test",
    ) -> Principal:
        """A principal without a key; the arguments are those of ``issue``."""
        self._principals += 1
        owner = self.instance.accounts.instance() if account is None else self.account(account)
        return Principal(
            credential_id=self._principals,
            account_id=owner.id,
            api_key=f"ak_{mode}_{self._principals:022}",
            mode=mode,
            name=name,
            scopes=_scopes(scopes),
            expires_at=None,
            external_id=owner.external_id,
            metadata_text=owner.metadata,
            in_instance_account=owner.is_instance,
        )

    @contextmanager
    def as_principal(
        self,
        app: Flask | ASGIApplication,
        *,
        scopes: Iterable[str],
        mode: Mode = "live",
        account: str | None = None,
        name: str = "test",
    ) -> Iterator[Principal]:
        """Give every request to a Flask or ASGI application this principal, without a check.

        The arguments are those of ``issue``. Views and dependencies still require their scopes.
        Other WSGI middleware of a Flask application is bypassed as well; that of an ASGI
        application is not. Raises ConfigurationError for an ASGI application without
        LatchkeyMiddleware.
        """
        assumed = self.principal(scopes=scopes, mode=mode, account=account, name=name)
        with _assumed_by(app, assumed) if isinstance(app, Flask) else _decided(app, assumed):
            yield assumed

    def close(self) -> None:
        """Release what the instance holds."""
        self.instance.store.close()


@contextmanager
def _assumed_by(app: Flask, assumed: Principal) -> Iterator[None]:
    former = app.wsgi_app

    def passed(environ: dict[str, Any], start_response: Any) -> Any:
        environ[PRINCIPAL_KEY] = assumed
        return Flask.wsgi_app(app, environ, start_response)

    app.wsgi_app = passed  # type: ignore[method-assign]
    try:
        yield
    finally:
        app.wsgi_app = former  # type: ignore[method-assign]


@contextmanager
def _decided(app: ASGIApplication, assumed: Principal) -> Iterator[None]:
    middleware = _middleware_of(app)
    former = middleware.deciding
    middleware.deciding = _Assumed(assumed)
    try:
        yield
    finally:
        middleware.deciding = former


class _Assumed:
    """Admits every request as one principal."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    def check(self, environ: WSGIEnvironment) -> Principal:
        return self._principal

    async def decide(self, environ: WSGIEnvironment) -> None:
        """Not called, since ``check`` leaves nothing undecided."""

    async def spend(self, environ: WSGIEnvironment, units: int) -> None:
        """Take nothing: a principal without a key has no limits."""


def _middleware_of(app: ASGIApplication) -> LatchkeyMiddleware:
    """The middleware around an ASGI application, or inside of one of Starlette or FastAPI."""
    found: Any = app
    while not isinstance(found, LatchkeyMiddleware):
        if hasattr(found, "build_middleware_stack"):
            if found.middleware_stack is None:
                found.middleware_stack = found.build_middleware_stack()
            found = found.middleware_stack
        elif (found := getattr(found, "app", None)) is None:
            raise ConfigurationError(
                "the application has no LatchkeyMiddleware: protect it first, or pass the "
                "LatchkeyMiddleware itself"
            )
    return found


def _api_key(headers: dict[str, str]) -> str:
    """The public key, which has the same mode and the same id as its secret."""
    secret = headers.get("X-Api-Secret") or headers["Authorization"].removeprefix("Bearer ")
    return f"ak_{secret[3:30]}"


def _limit(given: Limit | Mapping[str, Any]) -> Limit:
    if isinstance(given, RateLimit | QuotaLimit):
        return given
    return limit_of_json({"name": DEFAULT_NAME, **given})


def _scopes(scopes: Iterable[str]) -> frozenset[str]:
    # A text would be a list of letters.
    return parse_scopes([scopes] if isinstance(scopes, str) else scopes)


@pytest.fixture
def latchkey_in_memory() -> Iterator[InMemoryLatchkey]:
    """A Latchkey in memory, new for each test."""
    made = InMemoryLatchkey()
    yield made
    made.close()
