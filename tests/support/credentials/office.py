"""The service of credentials with a real store, its keys and its callers."""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from latchkey.credentials.derivation import DerivationKey, DerivationKeys
from latchkey.credentials.models import Mode, NewCredential, Principal
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.scopes import FULL_ACCESS
from latchkey.credentials.service import CredentialService
from latchkey.credentials.times import utc_now
from latchkey.credentials.tokens import new_api_key
from latchkey.errors import StoreError
from latchkey.store.protocols import Store
from tests.support.audited import add, open_store
from tests.support.database import new_database

NEW, OLD, RETIRED, OUTSIDER = (DerivationKey(bytes([number]) * 32) for number in range(4))
KEYS = DerivationKeys([NEW, OLD], [RETIRED])


class Office:
    """The service with a real store, and a record of each invalidation.

    ``seen`` has, for each invalidation, the key and its row as another connection reads it at that
    moment: uncommitted changes are not included.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = open_store(new_database(path))
        self.seen: list[tuple[str, tuple[str, int | None] | None]] = []
        self.service = CredentialService(self.store, KEYS, self.publisher())

    def publisher(self, store: Store | None = None) -> Publisher:
        return Publisher((store or self.store).audit, self._invalidate)

    def caller(
        self,
        scopes: frozenset[str] = FULL_ACCESS,
        mode: Mode = "live",
        expires_at: datetime | None = None,
        account_id: str | None = None,
    ) -> Principal:
        """The principal of a stored key; storing it is not recorded in ``seen``.

        ``account_id`` None is the instance account.
        """
        new = NewCredential(
            api_key=new_api_key(mode),
            secret_hash=secrets.token_bytes(32),
            derivation_id=NEW.id,
            account_id=account_id,
            mode=mode,
            name="caller",
            scopes=scopes,
            created_at=utc_now(),
            expires_at=expires_at,
        )
        return add(self.store, new).principal()

    def lose_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make the store fail after each commit, as if the disk failed then."""

        def lost(files: object) -> None:
            raise StoreError("the answer is lost")

        monkeypatch.setattr(self.store._connections, "_confirm", lost)

    def expire(self, api_key: str) -> None:
        """Let a key expire, as if time had passed."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(
                "UPDATE credential SET expires_at = created_at WHERE api_key = ?", [api_key]
            )

    def row(self, lookup: str) -> tuple[str, int | None] | None:
        with closing(sqlite3.connect(self.path)) as connection:
            found: tuple[str, int | None] | None = connection.execute(
                "SELECT api_key, revoked_at FROM credential WHERE api_key = ?", [f"ak_{lookup}"]
            ).fetchone()
            return found

    def _invalidate(self, lookup: str) -> None:
        self.seen.append((lookup, self.row(lookup)))


def derived(key: DerivationKey, mode: Mode = "live") -> tuple[str, str]:
    api_key = new_api_key(mode)
    return api_key, key.derive(api_key)
