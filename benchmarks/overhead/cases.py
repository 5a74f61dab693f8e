"""The applications that are compared: bare, and behind the middleware in each of its states.

Everything is real: a migrated SQLite database, a segment of shared memory, stored credentials.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask

from app.auth import Authenticator, AuthMiddleware, OpenRoutes
from app.auth.requirements import any_credential, enforce_requirements
from app.auth.shared import SMALLEST, SharedState
from app.auth.throttle import FailureThrottle
from app.credentials.derivation import DerivationKey, DerivationKeys
from app.credentials.service import CredentialService
from app.credentials.tokens import lookup_key, new_api_key
from app.store import Store
from app.store.migrate import migrate
from benchmarks.overhead.timing import Environ, Subject
from fastcache import Segment

KEYS = 1000
"""Credentials in use, drawn with equal chances."""

OPEN = OpenRoutes(
    frozenset(
        {("GET", "/health"), ("GET", "/ready"), ("GET", "/metrics"), ("POST", "/credentials")}
    ),
    ("/docs/", "/console/"),
)
"""As many routes as the service leaves open."""

_FORGER = DerivationKey(b"\xee" * 32)
_MESSAGE = b"x" * 79


class Bench:
    """One worker's parts over a database in ``directory``, and the applications around them."""

    def __init__(self, directory: Path, segment: Segment, rng: random.Random) -> None:
        self._rng = rng
        self._keys = DerivationKeys([DerivationKey(os.urandom(32))], [])
        url = f"sqlite:///{directory / 'bench.db'}"
        migrate(url)
        self.store = Store(url)
        self._over = SharedState.over(segment)
        self._private = SharedState.private()
        service = CredentialService(self.store, self._keys, self._over.invalidate)
        self._good = [service.issue(name="bench", caller=None).secret for _ in range(KEYS)]
        self._forged = [_FORGER.derive(new_api_key("live")) for _ in range(KEYS)]
        newest = self._keys.newest
        self._unknown = [newest.derive(new_api_key("live")) for _ in range(KEYS)]

    def parts(self) -> Mapping[str, Mapping[str, Subject]]:
        """Series of subjects, by the name of the part; each part is interleaved by itself."""
        warm = self._authenticator(self._over)
        # With room for one entry, every key comes from the cache between workers ...
        cold = self._authenticator(self._over, cache_size=1)
        # ... or, where there is none, from the database.
        colder = self._authenticator(self._private, cache_size=1)
        off = self._throttle(warm)
        bare = self._subject(_nothing, self.bearer)
        return {
            "check": {
                "sha256": self._subject(lambda *_: hashlib.sha256(_MESSAGE).digest(), self.bearer),
                "bare": bare,
                "bearer": self._subject(self._protected(_nothing, warm), self.bearer),
                "pair": self._subject(self._protected(_nothing, warm), self.pair),
            },
            "other ways": {
                "bare": bare,
                "shared cache": self._subject(self._protected(_nothing, cold), self.bearer),
                "miss": self._subject(self._protected(_nothing, colder), self.bearer),
                "forged": self._subject(self._protected(_nothing, warm, off), self.forged),
                "unknown": self._subject(self._protected(_nothing, warm, off), self.unknown),
            },
            "metrics": {
                "bare": self._subject(_answer, self.bearer),
                "check": self._subject(self._protected(_answer, warm), self.bearer),
                "check, metrics": self._subject(
                    self._protected(_answer, warm, metrics=True), self.bearer
                ),
            },
            "flask": {
                "bare": self._subject(_flask(protected=False).wsgi_app, self.bearer),
                "check": self._subject(
                    self._protected(_flask(protected=False).wsgi_app, warm), self.bearer
                ),
                "check, metrics": self._subject(
                    self._protected(_flask(protected=False).wsgi_app, warm, metrics=True),
                    self.bearer,
                ),
                "check, metrics, requirement": self._subject(
                    self._protected(_flask(protected=True).wsgi_app, warm, metrics=True),
                    self.bearer,
                ),
            },
        }

    def bearer(self) -> Environ:
        return self._environ(AUTHORIZATION=f"Bearer {self._rng.choice(self._good)}")

    def pair(self) -> Environ:
        secret = self._rng.choice(self._good)
        return self._environ(
            X_API_KEY=f"ak_{lookup_key(secret)}", X_API_SECRET=secret.encode().decode()
        )

    def forged(self) -> Environ:
        return self._environ(AUTHORIZATION=f"Bearer {self._rng.choice(self._forged)}")

    def unknown(self) -> Environ:
        return self._environ(AUTHORIZATION=f"Bearer {self._rng.choice(self._unknown)}")

    def _environ(self, **headers: str) -> Environ:
        """A request as gunicorn hands it over, headers under names that were made for it."""
        environ: Environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/v1/account",
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
            "RAW_URI": "/v1/account",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8080",
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_PORT": "40000",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": None,
            "wsgi.errors": None,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        for name, value in {"HOST": "127.0.0.1:8080", "ACCEPT": "*/*", **headers}.items():
            environ[f"HTTP_{name}"] = value
        return environ

    def _authenticator(self, shared: SharedState, cache_size: int = 100_000) -> Authenticator:
        return Authenticator(self.store.find, self._keys, shared, cache_size=cache_size)

    def _throttle(self, authenticator: Authenticator) -> FailureThrottle:
        shared = authenticator.shared
        return FailureThrottle("999999/minute", shared.failures, shared.failure_digest())

    def _protected(
        self,
        application: Callable[[Environ, Any], Any],
        authenticator: Authenticator,
        throttle: FailureThrottle | None = None,
        *,
        metrics: bool = False,
    ) -> AuthMiddleware:
        return AuthMiddleware(
            application, authenticator, open_routes=OPEN, throttle=throttle, metrics=metrics
        )

    def _subject(self, application: Callable[..., Any], environ: Callable[[], Environ]) -> Subject:
        return Subject(application, environ, _start_response)


@contextmanager
def new_bench(directory: Path, rng: random.Random) -> Iterator[Bench]:
    """A bench in an empty directory."""
    regions = SharedState.regions(SMALLEST * 2)
    with Segment.create(directory / "segment", regions, prepare=SharedState.prepare) as segment:
        bench = Bench(directory, segment, rng)
        yield bench
        bench.store.close()


def _start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
    pass


def _nothing(environ: Environ, start_response: Any) -> list[bytes]:
    return []


def _answer(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return []


def _flask(*, protected: bool) -> Flask:
    """A view that answers a small JSON, and the hook that looks at what views declare."""
    app = Flask("bench")

    def show_account() -> dict[str, str]:
        return {"object": "account"}

    if protected:
        enforce_requirements(app)
        show_account = any_credential(show_account)
    app.add_url_rule("/v1/account", view_func=show_account)
    return app
