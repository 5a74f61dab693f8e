"""Other ways to protect a Flask view, each written as briefly as its documentation allows.

All store the same secrets, as SHA-256 in a SQLite table with an index. Their caches use the secret
itself as the key, and they do not check expiry or revocation, which is in their favour.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from cachetools import TTLCache
from flask import Flask, Response, abort, g, request
from flask_httpauth import HTTPTokenAuth

from benchmarks.overhead.environs import PATH
from benchmarks.overhead.timing import Environ, Subject

CACHE_SIZE = 100_000
CACHE_SECONDS = 300
_SCHEME = "Bearer "


class FlaskPeers:
    """A database of the given secrets in ``directory``, and the applications that use it."""

    def __init__(self, directory: Path, secrets: Sequence[str]) -> None:
        self._selects = 0
        path = directory / "peers.db"
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("CREATE TABLE account (secret_hash BLOB PRIMARY KEY, id INTEGER)")
        # Flask-HTTPAuth treats account 0 as a refusal.
        rows = [(_hash(secret), number) for number, secret in enumerate(secrets, 1)]
        self._connection.executemany("INSERT INTO account VALUES (?, ?)", rows)

    def subjects(self, bearer: Callable[[], Callable[[], Environ]]) -> dict[str, Subject]:
        """Every peer by name, each with its own requests."""
        return {
            "before_request, TTLCache": Subject(self._hook().wsgi_app, bearer()),
            "Flask-HTTPAuth, TTLCache": Subject(self._httpauth(cached=True).wsgi_app, bearer()),
            "Flask-HTTPAuth, SQLite": Subject(
                self._httpauth(cached=False).wsgi_app, bearer(), went=lambda: self._selects
            ),
        }

    def close(self) -> None:
        self._connection.close()

    def _find(self, secret: str) -> int | None:
        self._selects += 1
        row = self._connection.execute(
            "SELECT id FROM account WHERE secret_hash = ?", (_hash(secret),)
        ).fetchone()
        return None if row is None else int(row[0])

    def _hook(self) -> Flask:
        app = Flask("hook")
        cache: TTLCache[str, int] = TTLCache(CACHE_SIZE, CACHE_SECONDS)

        @app.before_request
        def authenticate() -> Response | None:
            presented = request.headers.get("Authorization", "")
            if not presented.startswith(_SCHEME):
                abort(401)
            secret = presented[len(_SCHEME) :]
            account = cache.get(secret)
            if account is None:
                account = self._find(secret)
                if account is None:
                    abort(401)
                cache[secret] = account
            g.account = account
            return None

        @app.get(PATH)
        def show_account() -> dict[str, str]:
            return {"object": "account"}

        return app

    def _httpauth(self, *, cached: bool) -> Flask:
        app = Flask("httpauth")
        auth = HTTPTokenAuth(scheme="Bearer")
        cache: TTLCache[str, int] = TTLCache(CACHE_SIZE, CACHE_SECONDS)

        if cached:

            @auth.verify_token  # type: ignore[untyped-decorator]
            def verify(secret: str) -> int | None:
                account = cache.get(secret)
                if account is None:
                    account = self._find(secret)
                    if account is not None:
                        cache[secret] = account
                return account

        else:
            auth.verify_token(self._find)

        @app.get(PATH)
        @auth.login_required  # type: ignore[untyped-decorator]
        def show_account() -> dict[str, str]:
            return {"object": "account"}

        return app


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
