"""Fills the database of a service with numbered credentials."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from sqlalchemy import create_engine, insert, select

from benchmarks.load.credentials import api_key_of, secret_of
from latchkey.credentials.derivation import DerivationKey
from latchkey.credentials.tokens import hash_secret
from latchkey.store.tables import account, credential

FIRST_SCOPES = "*"
_CHUNK = 20_000


def seed(url: str, maker: DerivationKey, numbers: Iterable[int], real_every: int = 1) -> None:
    """Store the credentials with these numbers in a migrated database, in one transaction.

    Only every `real_every`-th number has the hash of its secret, so that a million can be stored
    in seconds; the others are never presented.
    """
    engine = create_engine(url)
    now = int(time.time() * 1000)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                # Keys are in random order: without room for their index, each insert would access
                # the disk.
                connection.exec_driver_sql("PRAGMA cache_size = -262144")
            instance = connection.execute(
                select(account.c.id).where(account.c.instance == 1)
            ).scalar_one()
            remaining = iter(numbers)
            while rows := list(_rows(islice(remaining, _CHUNK), maker, real_every, now, instance)):
                connection.execute(insert(credential), rows)
    finally:
        engine.dispose()


def _rows(
    numbers: Iterable[int], maker: DerivationKey, real_every: int, now: int, account_id: str
) -> Iterator[dict[str, Any]]:
    for number in numbers:
        real = number % real_every == 0
        yield {
            "api_key": api_key_of(number),
            "secret_hash": hash_secret(secret_of(number, maker)) if real else os.urandom(32),
            "derivation_id": maker.id,
            "account_id": account_id,
            "mode": "live",
            "name": "load",
            "scopes": FIRST_SCOPES,
            "created_at": now,
        }
