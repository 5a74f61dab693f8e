"""``Latchkey``, which protects an application, and whose parts change keys.

A Flask application has it in ``app.extensions["latchkey"]``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Set
from functools import partial
from wsgiref.types import WSGIApplication, WSGIEnvironment

from flask import Flask

from latchkey import wsgi
from latchkey.addresses import ClientAddresses
from latchkey.box.counter_names import Count, Use
from latchkey.box.shared import SharedState
from latchkey.box.throttle import FailureThrottle
from latchkey.box.upkeep import Upkeep
from latchkey.check.authenticator import Authenticator
from latchkey.check.limiting import LIMITS_KEY, Limiter
from latchkey.check.modes import modes_of
from latchkey.check.open_routes import OpenRoutes, routes_of
from latchkey.config import Settings, load_settings
from latchkey.credentials.account_service import AccountService
from latchkey.credentials.derivation import DerivationKeys
from latchkey.credentials.models import Mode, Principal
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.requirement import check_cost
from latchkey.credentials.service import CredentialService
from latchkey.credentials.usage import UsageReader
from latchkey.errors import ConfigurationError, StoreError
from latchkey.flask.error_handlers import Errors, answer_errors, pass_to_handlers
from latchkey.flask.requirements import enforce_requirements, router_of
from latchkey.flask.start_check import check_declarations
from latchkey.forks import notify_after_fork
from latchkey.membership import join_box
from latchkey.parts import Parts
from latchkey.store.audit_head import Seal
from latchkey.store.database_urls import database_of
from latchkey.store.protocols import Store
from latchkey.wsgi_answers import PRINCIPAL_KEY

log = logging.getLogger("latchkey")


class Latchkey:
    """API keys for an application.

    ``Latchkey()`` joins the other workers of the box in the process that serves: when the first
    request arrives, or when one of its parts is first used. ``Latchkey.join()`` joins at once.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        """With None, the settings are read from the environment, when they are first needed."""
        self._settings = settings
        self._parts: Parts | None = None
        notify_after_fork(self)

    @classmethod
    def join(cls, settings: Settings | None = None) -> Latchkey:
        """Build the parts in a worker of your own server, sharing state with the other workers.

        The database must exist and be migrated. Call this after the fork: the background threads
        do not exist in a process that is forked later. Raises ConfigurationError for an invalid
        setting, or if the memory cannot be shared.
        """
        latchkey = cls(settings)
        latchkey.begin()
        return latchkey

    @classmethod
    def from_settings(
        cls,
        settings: Settings | None = None,
        derivation: DerivationKeys | None = None,
        shared: SharedState | None = None,
        seal: Seal | None = None,
    ) -> Latchkey:
        """Build the parts without joining a box; None reads the settings from the environment.

        With ``shared`` None, no state is shared with other processes. No connection is opened yet.
        Raises ConfigurationError for an invalid setting.
        """
        return cls.of_parts(Parts.from_settings(settings, derivation, shared, seal))

    @classmethod
    def of_parts(cls, parts: Parts) -> Latchkey:
        """Use parts that exist already."""
        latchkey = cls(parts.settings)
        latchkey._parts = parts
        return latchkey

    def begin(self) -> Parts:
        """Join the other workers of the box, unless that was done, and return the parts.

        Raises ConfigurationError as ``join`` does; the next call tries again.
        """
        if self._parts is None:
            # Created here: gevent replaces the locks of a process that is forked before.
            with vars(self).setdefault("_joining", threading.Lock()):
                if self._parts is None:
                    self._parts = join_box(self._checked_settings())
        return self._parts

    def after_fork(self) -> None:
        """In a child, forget a lock that a thread of the parent may have held."""
        vars(self).pop("_joining", None)

    @property
    def has_joined(self) -> bool:
        """Whether the parts exist."""
        return self._parts is not None

    @property
    def settings(self) -> Settings:
        """The settings in use."""
        return self._checked_settings() if self._parts is None else self._parts.settings

    @property
    def store(self) -> Store:
        """The database."""
        return self.begin().store

    @property
    def derivation(self) -> DerivationKeys:
        """The keys that secrets are derived from."""
        return self.begin().derivation

    @property
    def shared(self) -> SharedState:
        """The state that the workers of the box share."""
        return self.begin().shared

    @property
    def authenticator(self) -> Authenticator:
        """Checks credentials."""
        return self.begin().authenticator

    @property
    def publisher(self) -> Publisher:
        """Makes changes effective in all workers."""
        return self.begin().publisher

    @property
    def credentials(self) -> CredentialService:
        """Creates, changes and revokes keys."""
        return self.begin().credentials

    @property
    def accounts(self) -> AccountService:
        """Creates, changes and disables accounts."""
        return self.begin().accounts

    @property
    def usage(self) -> UsageReader:
        """Reads how keys were used."""
        return self.begin().usage

    @property
    def upkeep(self) -> Upkeep:
        """The background threads."""
        return self.begin().upkeep

    @property
    def addresses(self) -> ClientAddresses:
        """Identifies callers by their address."""
        return self.begin().addresses

    @property
    def throttle(self) -> FailureThrottle:
        """Throttles refused credentials by address."""
        return self.begin().throttle

    @property
    def limiter(self) -> Limiter:
        """Takes from the limits of keys."""
        return self.begin().limiter

    def middleware(
        self,
        wsgi_app: WSGIApplication,
        open_routes: OpenRoutes | None = None,
        *,
        only: tuple[str, ...] | None = None,
        modes: Set[Mode] | None = None,
    ) -> WSGIApplication:
        """Wrap any WSGI application in the middleware; only listed routes are open.

        ``only`` and ``modes`` are those of ``protect``.
        """
        return self._middleware(wsgi_app, routes_of(open_routes, only), modes_of(modes))

    def protect(
        self,
        app: Flask,
        open_routes: OpenRoutes | None = None,
        *,
        only: tuple[str, ...] | None = None,
        modes: Set[Mode] | None = None,
        errors: Errors = "latchkey",
    ) -> None:
        """Put the middleware in front of a Flask application and enforce its views' declarations.

        ``only`` names the parts of the application that are protected, as ``("/api/",)``; with
        None, all of it is. ``modes`` are the modes of the keys that are admitted, as ``{"live"}``;
        with None, both are. ``errors`` decides how errors are answered:

        - ``latchkey``: refusals in the JSON envelope; the application's own errors are unchanged
        - ``every``: all errors of the application in the JSON envelope
        - ``application``: refusals, too, by the application's error handlers

        Raises ConfigurationError if the application is protected already, or if a registered view
        declares nothing or contradicts the open routes. Views that are added later are checked
        before the first request is answered, which raises the same. Raises ValueError for an
        invalid ``only``, ``modes`` or ``errors``.
        """
        routes = routes_of(open_routes, only)
        admitted = modes_of(modes)
        if "latchkey" in app.extensions:
            raise ConfigurationError(
                f"the application {app.name} is protected already: "
                "call protect or init_app once for each application"
            )
        if not self.has_joined:
            # What can be known before the fork is checked at the start.
            database_of(self._checked_settings()).require()
        check_declarations(app, routes, complete=False)
        answer_errors(app, errors)
        app.extensions["latchkey"] = self
        app.wsgi_app = self._middleware(  # type: ignore[assignment,method-assign]
            app.wsgi_app,
            routes,
            admitted,
            router=router_of(app, routes),
            before_first=partial(check_declarations, app, routes),
            refuse=partial(pass_to_handlers, app) if errors == "application" else None,
        )
        enforce_requirements(app, self.count_scope_refusal, routes, self.spend)

    def init_app(
        self,
        app: Flask,
        open_routes: OpenRoutes | None = None,
        *,
        only: tuple[str, ...] | None = None,
        modes: Set[Mode] | None = None,
        errors: Errors = "latchkey",
    ) -> None:
        """``protect``, under the name that Flask's extensions have, for application factories."""
        self.protect(app, open_routes, only=only, modes=modes, errors=errors)

    def _checked_settings(self) -> Settings:
        if self._settings is None:
            self._settings = load_settings()
        return self._settings

    def _middleware(
        self,
        wsgi_app: WSGIApplication,
        open_routes: OpenRoutes,
        modes: frozenset[Mode],
        router: Callable[[WSGIEnvironment], bool] | None = None,
        before_first: Callable[[], None] | None = None,
        refuse: wsgi.Refuse | None = None,
    ) -> WSGIApplication:
        wsgi.require_router(open_routes, router)

        def build() -> WSGIApplication:
            parts = self.begin()
            return wsgi.middleware(
                wsgi_app,
                parts.authenticator,
                open_routes=open_routes,
                throttle=parts.throttle,
                on_fault=log_fault,
                sightings=parts.sightings(),
                addresses=parts.addresses,
                router=router,
                before_first=before_first,
                modes=modes,
                refuse=refuse,
            )

        return build() if self.has_joined else wsgi.BuiltWhenServing(build)

    def spend(self, environ: WSGIEnvironment, units: int) -> None:
        """Take more units from the limits of a request's key, for a request that costs more than 1.

        The middleware has taken 1. ``units`` are 1 to 1,000,000. Nothing is taken from a key
        without limits. Raises RateLimited or QuotaExceeded, which have been counted; StoreError;
        ValueError for other units.
        """
        check_cost(units)
        taken = environ.get(LIMITS_KEY)
        if taken is not None:
            credential_id = environ[PRINCIPAL_KEY].credential_id
            self.begin().limiter.take(taken.plan, credential_id, units)

    def count_scope_refusal(self, principal: Principal) -> None:
        """Count a request of a caller that lacks a scope."""
        self.shared.count_refusal(principal.credential_id, Use.SCOPE)
        self.authenticator.counters.add(Count.SCOPE)


def log_fault(error: StoreError) -> None:
    """Log a database failure; the answer does not reveal the reason."""
    log.error("database failure: %s", error.detail)
