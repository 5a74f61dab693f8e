"""Latchkey in each of its states, over an empty application and over Flask.

Everything is real: a migrated SQLite database, a segment of shared memory, stored credentials.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask

from benchmarks.overhead import asgi, limited
from benchmarks.overhead.environs import PATH, new_environ, new_question, turns
from benchmarks.overhead.limited import nothing as _nothing
from benchmarks.overhead.results import AGAIN, BARE, YARDSTICK
from benchmarks.overhead.timing import Application, Environ, Subject
from fastcache.shared import Segment
from latchkey import Latchkey, OpenRoutes, wsgi
from latchkey.addresses import ClientAddresses
from latchkey.box.counter_names import Count
from latchkey.box.shared import SMALLEST, SharedState
from latchkey.box.sightings import Sightings
from latchkey.box.throttle import FailureThrottle
from latchkey.check._check import Check
from latchkey.check._gate import Gate
from latchkey.check.authenticator import Authenticator
from latchkey.check.cache_levels import Backend
from latchkey.check.headers import read_plain
from latchkey.check.open_routes import routes_of
from latchkey.check.request_conditions import RequestConditions
from latchkey.config import Settings
from latchkey.credentials.audit import Actor, AuditKey
from latchkey.credentials.conditions import ConditionTerms, parse_endpoints, parse_networks
from latchkey.credentials.derivation import DerivationKey, DerivationKeys
from latchkey.credentials.kinds import Sources
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.service import CredentialService
from latchkey.credentials.tokens import lookup_key, new_api_key
from latchkey.flask.requirements import any_credential, enforce_requirements
from latchkey.store.audit_head import HeadFile, Seal
from latchkey.store.database_urls import database_at
from latchkey.store.sqlite.location import database_url
from latchkey.store.sqlite.migrate import migrate
from latchkey_service.verify.surface import with_routes

OPEN = OpenRoutes(
    frozenset(
        {("GET", "/health"), ("GET", "/ready"), ("GET", "/metrics"), ("POST", "/credentials")}
    ),
    ("/docs/", "/console/"),
)
"""The number of routes that the service leaves open."""

PARTS = ("/api/", "/internal/")
"""Parts of an application that do not contain the path of the requests."""

CONDITIONS = ConditionTerms(
    networks=parse_networks(["10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32", "127.0.0.1"]),
    endpoints=parse_endpoints(["POST /v1/orders", "GET /v1/orders/*", "GET /v1/account/**"]),
)
"""The conditions of the keys with conditions; each request meets the last of each."""

_FORGER = DerivationKey(b"\xee" * 32)
_MESSAGE = b"x" * 79
_FAILURES = "999999/minute"


class Ours:
    """The parts of one worker with a database in ``directory``, and applications around them."""

    def __init__(self, directory: Path, segment: Segment, keys: int, rng: random.Random) -> None:
        self._rng = rng
        self._keys = DerivationKeys([DerivationKey(os.urandom(32))], [])
        url = database_url(directory / "ours.db")
        migrate(url)
        self._settings = Settings(database_url=url)
        key = AuditKey(os.urandom(32))
        seal = Seal(key, HeadFile(directory / "audit.head", key))
        seal.head.make()
        self._seal = seal
        self.store = database_at(url).open_store(seal=seal)
        self._opened = [self.store]
        self._shared = SharedState.over(segment)
        publisher = Publisher(self.store.audit, self._shared.invalidate)
        service = CredentialService(self.store, self._keys, publisher)
        by = Actor.command_line("bench")
        self.secrets = [service.issue(name="bench", caller=None, by=by).secret for _ in range(keys)]
        self._conditional = [
            service.issue(name="bench", caller=None, by=by, conditions=CONDITIONS).secret
            for _ in range(keys)
        ]
        self._rated, self._with_quota = (
            [
                service.issue(name="bench", caller=None, by=by, limits=limits).secret
                for _ in range(keys)
            ]
            for limits in (limited.RATE, limited.RATE_AND_QUOTA)
        )
        self._segment = segment
        self._forged = [_FORGER.derive(new_api_key("live")) for _ in range(keys)]
        newest = self._keys.newest
        self._unknown = [newest.derive(new_api_key("live")) for _ in range(keys)]

    def hits(self) -> dict[str, Subject]:
        """A hit in the worker's own cache, over an empty application."""
        warm = self._authenticator()
        return {
            BARE: Subject(_nothing, self.bearer(), None),
            YARDSTICK: Subject(_hash, self.bearer(), None),
            "bearer": self._checked(_nothing, warm, self.bearer(), Count.CACHE_HIT),
            "pair": self._checked(_nothing, warm, self._pair(self.secrets), Count.CACHE_HIT),
            "outside": self._checked(
                _nothing, warm, self.bearer(), Count.OPEN, open_routes=routes_of(OPEN, PARTS)
            ),
        }

    def limits(self) -> dict[str, Subject]:
        """A hit of a key with limits, over an empty application and over one that answers."""
        warm, hit = self._authenticator(), Count.CACHE_HIT
        self._warm(warm, self._with_quota)
        quota = self.bearer(self._with_quota)
        return {
            BARE: Subject(_nothing, self.bearer(), None),
            "plain, bearer": self._checked(_nothing, warm, self.bearer(), hit),
            "plain, pair": self._checked(_nothing, warm, self._pair(self.secrets), hit),
            "rate, bearer": self._checked(_nothing, warm, self.bearer(self._rated), hit),
            "rate, pair": self._checked(_nothing, warm, self._pair(self._rated), hit),
            "rate and quota": self._checked(_nothing, warm, quota, hit),
            "plain, answer": self._checked(_answer, warm, self.bearer(), hit, "200"),
            "rate, answer": self._checked(_answer, warm, self.bearer(self._rated), hit, "200"),
        }

    @contextmanager
    def contended(self) -> Iterator[dict[str, Subject]]:
        """A hit of a key with a rate limit, while other processes use the same key."""
        warm, hit = self._authenticator(), Count.CACHE_HIT
        secret = self._rated[0]
        self._warm(warm, [secret])
        one = self.bearer([secret])

        def reopened() -> SharedState:
            return SharedState.over(self._segment.reopened())

        with limited.used_by_others(warm, self._sources(), reopened, secret, one, OPEN):
            yield {
                BARE: Subject(_nothing, one, None),
                "plain, bearer": self._checked(_nothing, warm, self.bearer(self.secrets[:1]), hit),
                "rate, one key": self._checked(_nothing, warm, one, hit),
            }

    def _warm(self, authenticator: Authenticator, secrets: Sequence[str]) -> None:
        """Read these keys, and grant their quotas."""
        for secret in secrets:
            authenticator.find(read_plain(secret))
        limited.grant_all(authenticator, secrets)

    def asgi(self) -> dict[str, Subject]:
        """A hit of the ASGI middleware, over an application that answers at once."""
        latchkey = Latchkey.from_settings(self._settings, self._keys, self._shared, self._seal)
        self._opened.append(latchkey.store)
        drawn = turns(self.secrets, self._rng)
        return asgi.subjects(latchkey, self.secrets, lambda: next(drawn))

    def verify(self) -> dict[str, Subject]:
        """A hit of a proxy's question, over an application that sends the same headers."""
        latchkey = Latchkey.from_settings(self._settings, self._keys, self._shared, self._seal)
        self._opened.append(latchkey.store)
        count = latchkey.authenticator.counters.value
        drawn = turns(self.secrets, self._rng)

        def asked() -> Environ:
            return new_question(AUTHORIZATION=f"Bearer {next(drawn)}")

        routes = with_routes(_nothing, latchkey)
        sent: list[tuple[str, str]] = []

        def note(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
            sent.extend(headers)

        routes(asked(), note)

        def same_headers(environ: Environ, start_response: Any) -> list[bytes]:
            start_response("200 OK", list(sent))
            return []

        return {
            BARE: Subject(same_headers, asked),
            "verify": Subject(routes, asked, "200", lambda: count(Count.CACHE_HIT)),
        }

    def ways(self) -> dict[str, Subject]:
        """Every other outcome of a check, over an empty application."""
        warm = self._authenticator()
        # With room for one entry, every key comes from the cache between workers ...
        cold = self._authenticator(cache_size=1)
        # ... or, without that cache, from the database.
        colder = self._authenticator(SharedState.private(), cache_size=1)
        slow = self._authenticator(backend="cachetools")
        return {
            BARE: Subject(_nothing, self.bearer(), None),
            "shared cache": self._checked(_nothing, cold, self.bearer(), Count.SHARED_HIT),
            "miss": self._checked(_nothing, colder, self.bearer(), Count.STORE_SELECT),
            "forged pair": self._refused(warm, self._pair(self._forged), Count.FORGED),
            "unknown key": self._refused(warm, self.bearer(self._unknown), Count.UNKNOWN_HIT),
            "networks and endpoints": self._checked(
                _nothing, warm, self.bearer(self._conditional), Count.CACHE_HIT
            ),
            "Python path": self._decided_in_python(warm, self.bearer(), Count.CACHE_HIT),
            "cachetools backend": self._checked(_nothing, slow, self.bearer(), Count.CACHE_HIT),
        }

    def metrics(self) -> dict[str, Subject]:
        """A hit with and without metrics, over an application that calls ``start_response``."""
        warm = self._authenticator()
        hit = Count.CACHE_HIT
        return {
            BARE: Subject(_answer, self.bearer()),
            "check": self._checked(_answer, warm, self.bearer(), hit, "200"),
            "check, metrics": self._checked(_answer, warm, self.bearer(), hit, "200", metrics=True),
        }

    def flask(self) -> dict[str, Subject]:
        """A hit in front of Flask, as far as possible with the same application object.

        Two identical applications have different addresses in memory; their times differ by as much
        as is measured here.
        """
        warm = self._authenticator()

        def over(application: Application, *, metrics: bool) -> Subject:
            return self._checked(
                application, warm, self.bearer(), Count.CACHE_HIT, "200", metrics=metrics
            )

        bare = new_flask().wsgi_app
        return {
            BARE: Subject(bare, self.bearer()),
            AGAIN: Subject(bare, self.bearer()),
            "check": over(bare, metrics=False),
            "check, metrics": over(bare, metrics=True),
            "check, metrics, requirement": over(_requiring_flask().wsgi_app, metrics=True),
        }

    def whole(self) -> Subject:
        """Everything that the service does for a request that reaches a Flask view."""
        return self._checked(
            _requiring_flask().wsgi_app,
            self._authenticator(),
            self.bearer(),
            Count.CACHE_HIT,
            "200",
            metrics=True,
        )

    def close(self) -> None:
        """Close the databases."""
        for store in self._opened:
            store.close()

    def bearer(self, secrets: Sequence[str] | None = None) -> Callable[[], Environ]:
        """Requests with these secrets; by default, with the valid ones."""
        drawn = turns(self.secrets if secrets is None else secrets, self._rng)
        return lambda: new_environ(AUTHORIZATION=f"Bearer {next(drawn)}")

    def _pair(self, secrets: Sequence[str]) -> Callable[[], Environ]:
        drawn = turns(secrets, self._rng)

        def environ() -> Environ:
            secret = next(drawn)
            return new_environ(X_API_KEY=f"ak_{lookup_key(secret)}", X_API_SECRET=secret)

        return environ

    def _authenticator(
        self,
        shared: SharedState | None = None,
        *,
        backend: Backend = "fastcache",
        cache_size: int = 100_000,
    ) -> Authenticator:
        return Authenticator(
            self._sources(),
            shared or self._shared,
            backend=backend,
            cache_size=cache_size,
        )

    def _sources(self) -> Sources:
        return Sources(self._keys, self.store.verifier)

    def _checked(
        self,
        application: Application,
        authenticator: Authenticator,
        environ: Callable[[], Environ],
        way: Count,
        status: str | None = None,
        *,
        metrics: bool = False,
        open_routes: OpenRoutes = OPEN,
    ) -> Subject:
        middleware = wsgi.middleware(
            application, authenticator, open_routes=open_routes, metrics=metrics
        )
        return Subject(middleware, environ, status, lambda: authenticator.counters.value(way))

    def _decided_in_python(
        self, authenticator: Authenticator, environ: Callable[[], Environ], way: Count
    ) -> Subject:
        """The policy over the same cache, with the compiled check disabled."""
        sightings = Sightings(authenticator.shared)
        check = Check(authenticator, known=None, open_routes=OPEN, sightings=sightings)
        conditions = RequestConditions(ClientAddresses(), authenticator.shared.count_refusal)
        policy = wsgi.Policy(authenticator, check, conditions, OPEN, None, None, None, None)
        gate = Gate(_nothing, check, policy)
        return Subject(gate, environ, None, lambda: authenticator.counters.value(way))

    def _refused(
        self, authenticator: Authenticator, environ: Callable[[], Environ], way: Count
    ) -> Subject:
        shared = authenticator.shared
        throttle = FailureThrottle(_FAILURES, shared.failures, shared.failure_digest())
        middleware = wsgi.middleware(_nothing, authenticator, open_routes=OPEN, throttle=throttle)
        return Subject(middleware, environ, "401", lambda: authenticator.counters.value(way))


@contextmanager
def new_ours(directory: Path, keys: int, rng: random.Random) -> Iterator[Ours]:
    """Latchkey in an empty directory, with this number of credentials."""
    regions = SharedState.regions(SMALLEST * 2)
    with Segment.create(directory / "segment", regions, prepare=SharedState.prepare) as segment:
        ours = Ours(directory, segment, keys, rng)
        yield ours
        ours.close()


def new_flask() -> Flask:
    """An open view that answers with a small JSON object."""
    app = Flask("bench")

    @app.get(PATH)
    def show_account() -> dict[str, str]:
        return {"object": "account"}

    return app


def _requiring_flask() -> Flask:
    """The same view, with the hook that checks the declarations of views."""
    app = Flask("bench")
    enforce_requirements(app)

    @app.get(PATH)
    @any_credential
    def show_account() -> dict[str, str]:
        return {"object": "account"}

    return app


def _hash(environ: Environ, start_response: Any) -> list[bytes]:
    hashlib.sha256(_MESSAGE).digest()
    return []


def _answer(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return []
