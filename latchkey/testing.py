"""A plugin of pytest for the tests of an application: a Latchkey in memory.

Put ``pytest_plugins = ["latchkey.testing"]`` into the ``conftest.py`` at the root of your tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal

import pytest
from flask import Flask

from latchkey.assembly import Latchkey
from latchkey.config import load_settings
from latchkey.credentials.accounts import Account
from latchkey.credentials.audit import Actor, AuditKey
from latchkey.credentials.derivation import DerivationKey, DerivationKeys
from latchkey.credentials.granting import parse_scopes
from latchkey.credentials.models import Mode, Principal
from latchkey.errors import AccountNotFound
from latchkey.parts import Parts
from latchkey.store.audit_head import Seal
from latchkey.store.memory.head import MemoryHead
from latchkey.store.memory.state import MemoryDatabase
from latchkey.store.memory.store import open_memory_store
from latchkey.wsgi import PRINCIPAL_KEY

__all__ = ["InMemoryLatchkey", "latchkey_in_memory"]

_ACTOR = Actor.command_line("tests")
# Tests send wrong keys on purpose, which must not lead to 429.
_SETTINGS = {"LATCHKEY_FAILURE_LIMIT": "off"}


class InMemoryLatchkey:
    """A Latchkey of one process, with an empty store in memory: no file and no shared memory.

    ``instance`` is a real ``Latchkey``: give it to your application. The methods create keys, and
    principals for requests without a key.
    """

    def __init__(self) -> None:
        key = AuditKey(os.urandom(32))
        parts = Parts.from_settings(
            load_settings(_SETTINGS),
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
    ) -> dict[str, str]:
        """Create a key; returns the headers that send it.

        ``account`` is the external id of its account, which is created if it is new; None is the
        instance account. Raises InvalidField for a malformed scope, and for ``expires_at`` in the
        past.
        """
        issued = self.instance.credentials.issue(
            name=name,
            caller=None,
            by=_ACTOR,
            account=None if account is None else self.account(account).id,
            mode=mode,
            scopes=_scopes(scopes),
            expires_at=expires_at,
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
        secret = headers.get("X-Api-Secret") or headers["Authorization"].removeprefix("Bearer ")
        # The public key has the same mode and the same id as its secret.
        api_key = f"ak_{secret[3:30]}"
        self.instance.credentials.revoke(api_key, None, by=_ACTOR)

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
        app: Flask,
        *,
        scopes: Iterable[str],
        mode: Mode = "live",
        account: str | None = None,
        name: str = "test",
    ) -> Iterator[Principal]:
        """Give every request to a Flask application this principal, without a check.

        The arguments are those of ``issue``. Views still require their scopes. Other WSGI
        middleware of the application is bypassed as well.
        """
        assumed = self.principal(scopes=scopes, mode=mode, account=account, name=name)
        former = app.wsgi_app

        def passed(environ: dict[str, Any], start_response: Any) -> Any:
            environ[PRINCIPAL_KEY] = assumed
            return Flask.wsgi_app(app, environ, start_response)

        app.wsgi_app = passed  # type: ignore[method-assign]
        try:
            yield assumed
        finally:
            app.wsgi_app = former  # type: ignore[method-assign]

    def close(self) -> None:
        """Release what the instance holds."""
        self.instance.store.close()


def _scopes(scopes: Iterable[str]) -> frozenset[str]:
    # A text would be a list of letters.
    return parse_scopes([scopes] if isinstance(scopes, str) else scopes)


@pytest.fixture
def latchkey_in_memory() -> Iterator[InMemoryLatchkey]:
    """A Latchkey in memory, new for each test."""
    made = InMemoryLatchkey()
    yield made
    made.close()
