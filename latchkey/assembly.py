"""The parts of one worker, built from its settings and connected.

``Latchkey`` protects a Flask or WSGI application; Flask applications have it in
``app.extensions["latchkey"]``.
"""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from wsgiref.types import WSGIApplication, WSGIEnvironment

from flask import Flask

from fastcache.shared import SegmentError
from latchkey import wsgi
from latchkey.addresses import ClientAddresses
from latchkey.box.counter_names import Count, Use
from latchkey.box.flush import Flush
from latchkey.box.replay import Replay
from latchkey.box.segment import ServiceSegment
from latchkey.box.shared import SharedState
from latchkey.box.sightings import Sightings
from latchkey.box.throttle import FailureThrottle
from latchkey.box.upkeep import Upkeep
from latchkey.box.use_counts import LiveTallies
from latchkey.check.authenticator import Authenticator
from latchkey.check.open_routes import NOTHING_OPEN, OpenRoutes
from latchkey.config import Settings, load_settings
from latchkey.credentials.account_service import AccountService
from latchkey.credentials.derivation import DerivationKeys
from latchkey.credentials.granting import parse_allowed
from latchkey.credentials.kinds import Sources
from latchkey.credentials.models import Principal
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.service import CredentialService
from latchkey.credentials.usage import UsageReader
from latchkey.errors import StoreError
from latchkey.flask.error_handlers import answer_our_errors
from latchkey.flask.requirements import enforce_requirements, router_of
from latchkey.flask.start_check import check_declarations
from latchkey.forks import notify_after_fork
from latchkey.key_files import load_derivation, load_seal
from latchkey.log_limit import LOG_LIMIT, limit_log
from latchkey.permissions import weaknesses
from latchkey.store.audit_head import Seal
from latchkey.store.database_urls import database_at
from latchkey.store.places import places_for
from latchkey.store.protocols import Store

log = logging.getLogger("latchkey")


@dataclass(frozen=True, slots=True)
class Latchkey:
    """The parts of one worker.

    ``credentials`` and ``accounts`` change what ``authenticator`` checks.
    """

    settings: Settings
    store: Store
    derivation: DerivationKeys
    shared: SharedState
    authenticator: Authenticator
    publisher: Publisher
    credentials: CredentialService
    accounts: AccountService
    usage: UsageReader
    upkeep: Upkeep
    addresses: ClientAddresses
    throttle: FailureThrottle

    @classmethod
    def from_settings(
        cls,
        settings: Settings | None = None,
        derivation: DerivationKeys | None = None,
        shared: SharedState | None = None,
        seal: Seal | None = None,
    ) -> Latchkey:
        """Build the parts; with None, the settings are read from the environment.

        With ``shared`` None, no state is shared with other processes. No connection is opened yet.
        Raises ConfigurationError for an invalid setting.
        """
        settings = settings or load_settings()
        derivation = derivation or load_derivation(settings)
        # Two more connections than threads, for the upkeep threads.
        store = database_at(settings.database_url).open_store(
            pool_size=settings.threads + 2,
            seal=seal or load_seal(settings),
            change_places=places_for(settings.threads),
        )
        shared = shared or SharedState.private()
        addresses = ClientAddresses(settings.trusted_proxies)
        tallies = LiveTallies(shared)
        replay = Replay(store.invalidations, shared, tallies.forget_written)
        publisher = Publisher(store.audit, shared.invalidate, replay.note)
        flush = Flush(store.usage, store.invalidations, shared, tallies)
        authenticator = Authenticator(
            Sources(
                derivation,
                store.verifier,
                find_imported=store.imported.verifier,
                may_be_imported=shared.may_be_imported,
            ),
            shared,
            backend=settings.cache_backend,
            cache_size=settings.cache_size,
            cache_ttl=settings.cache_ttl,
        )

        def learn_imported() -> None:
            if not shared.knows_imported:
                shared.learn_imported(store.imported.hashes())

        return cls(
            settings=settings,
            store=store,
            derivation=derivation,
            shared=shared,
            authenticator=authenticator,
            publisher=publisher,
            credentials=CredentialService(
                store, derivation, publisher, parse_allowed(settings.scopes)
            ),
            accounts=AccountService(store.accounts, publisher),
            usage=UsageReader(store.usage, tallies),
            upkeep=Upkeep(replay, flush, authenticator.report, learn_imported, store.look_after),
            addresses=addresses,
            throttle=FailureThrottle(
                settings.failure_limit, shared.failures, shared.failure_digest(), addresses
            ),
        )

    @classmethod
    def join(cls, settings: Settings | None = None) -> Latchkey:
        """Build the parts in a worker of your own server, sharing state with the other workers.

        The database must exist and be migrated. Call this after the fork: the background threads
        do not exist in a process that is forked later. Raises ConfigurationError for an invalid
        setting, or if the memory cannot be shared.
        """
        settings = settings or load_settings()
        database_at(settings.database_url).require()
        for line in weaknesses(settings):
            log.warning("%s", line)
        segment = ServiceSegment.open(settings)
        latchkey = cls.from_settings(settings, shared=segment.for_worker())
        limit_log(log.name)
        latchkey.upkeep.start()
        _Membership(latchkey, segment).begin()
        return latchkey

    def middleware(
        self, wsgi_app: WSGIApplication, open_routes: OpenRoutes | None = None
    ) -> WSGIApplication:
        """Wrap any WSGI application in the middleware; only listed routes are open."""
        return self._middleware(wsgi_app, open_routes or NOTHING_OPEN)

    def protect(self, app: Flask, open_routes: OpenRoutes | None = None) -> None:
        """Put the middleware in front of a Flask application and enforce its views' declarations.

        Refusals are answered in the JSON envelope; the application's own errors are unchanged.
        Raises ConfigurationError if a registered view declares nothing or contradicts the open
        routes. Views that are added later are checked before the first request is answered, which
        raises the same.
        """
        routes = open_routes or NOTHING_OPEN
        check_declarations(app, routes, complete=False)
        app.wsgi_app = self._middleware(  # type: ignore[assignment,method-assign]
            app.wsgi_app,
            routes,
            router=router_of(app, routes),
            before_first=partial(check_declarations, app, routes),
        )
        app.extensions["latchkey"] = self
        enforce_requirements(app, self._count_scope_refusal, routes)
        answer_our_errors(app)

    def _middleware(
        self,
        wsgi_app: WSGIApplication,
        open_routes: OpenRoutes,
        router: Callable[[WSGIEnvironment], bool] | None = None,
        before_first: Callable[[], None] | None = None,
    ) -> WSGIApplication:
        return wsgi.middleware(
            wsgi_app,
            self.authenticator,
            open_routes=open_routes,
            throttle=self.throttle,
            on_fault=log_fault,
            sightings=Sightings(self.shared, self.addresses),
            addresses=self.addresses,
            router=router,
            before_first=before_first,
        )

    def _count_scope_refusal(self, principal: Principal) -> None:
        self.shared.count_refusal(principal.credential_id, Use.SCOPE)
        self.authenticator.counters.add(Count.SCOPE)


class _Membership:
    """The threads and locks of ``join``. They end with this process; children do not own them."""

    def __init__(self, latchkey: Latchkey, segment: ServiceSegment) -> None:
        self._latchkey = latchkey
        self._segment = segment

    def begin(self) -> None:
        notify_after_fork(self)
        atexit.register(self.end)

    def end(self) -> None:
        """Persist the counts, and release the memory."""
        self._latchkey.upkeep.stop()
        LOG_LIMIT.report(all_of_them=True)
        try:
            self._segment.close()
        except (StoreError, SegmentError) as error:
            log.error("the shared memory is kept for the next start: %s", error)
        self._latchkey.store.close()

    def after_fork(self) -> None:
        """In a child, leave the threads and locks to the parent."""
        atexit.unregister(self.end)
        self._segment.disown()


def log_fault(error: StoreError) -> None:
    """Log a database failure; the answer does not reveal the reason."""
    log.error("database failure: %s", error.detail)
