"""The WSGI middleware in front of the application: default deny.

A route that is not open by name needs a valid credential before the application sees the request.
So a refused request is never routed, and a route that was forgotten is closed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from functools import partial
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from latchkey.addresses import ClientAddresses
from latchkey.box.counter_names import Count, Use
from latchkey.box.sightings import Sightings
from latchkey.box.throttle import FailureThrottle
from latchkey.check._check import Check
from latchkey.check._entry import CacheEntry
from latchkey.check._gate import Gate
from latchkey.check._latency import Latency
from latchkey.check.authenticator import Authenticator
from latchkey.check.headers import read_credential, read_plain
from latchkey.check.limiting import LIMITS_KEY, PLAN_KEY
from latchkey.check.mistakes import explain
from latchkey.check.modes import ALL_MODES
from latchkey.check.open_routes import NOTHING_OPEN, OpenRoutes
from latchkey.check.request_conditions import EvaluatesConditions, RequestConditions
from latchkey.credentials.kinds import kind_of_bearer
from latchkey.credentials.models import Mode, Principal
from latchkey.errors import (
    AddressNotAllowed,
    ApiError,
    ConfigurationError,
    DisabledCredential,
    EndpointNotAllowed,
    ExpiredCredential,
    InternalError,
    InvalidCredential,
    InvalidRequest,
    LimitReached,
    MissingCredential,
    ModeNotAllowed,
    NotYetValidCredential,
    QuotaExceeded,
    RateLimited,
    RevokedCredential,
    StoreError,
    TooManyFailures,
)
from latchkey.forks import NOT_OURS, notify_after_fork
from latchkey.wsgi_answers import PRINCIPAL_KEY, answer_error, showing_limits

log = logging.getLogger("latchkey")

Refuse = Callable[[ApiError, WSGIEnvironment, StartResponse], Iterable[bytes]]
"""Answers a refused request."""

_INVALID = InvalidCredential()
_OUTCOMES: dict[type[ApiError], Count] = {
    MissingCredential: Count.MISSING,
    InvalidCredential: Count.INVALID,
    RevokedCredential: Count.REVOKED,
    ExpiredCredential: Count.EXPIRED,
    DisabledCredential: Count.DISABLED,
    NotYetValidCredential: Count.NOT_YET_VALID,
    AddressNotAllowed: Count.ADDRESS,
    EndpointNotAllowed: Count.ENDPOINT,
    ModeNotAllowed: Count.SCOPE,
    RateLimited: Count.RATE_LIMITED,
    QuotaExceeded: Count.QUOTA_EXCEEDED,
    InvalidRequest: Count.AMBIGUOUS,
    TooManyFailures: Count.TOO_MANY_FAILURES,
    StoreError: Count.FAILED,
}


def middleware(
    wsgi_app: WSGIApplication,
    authenticator: Authenticator,
    *,
    open_routes: OpenRoutes = NOTHING_OPEN,
    throttle: FailureThrottle | None = None,
    on_fault: Callable[[StoreError], None] | None = None,
    metrics: bool = True,
    sightings: Sightings | None = None,
    addresses: ClientAddresses | None = None,
    router: Callable[[WSGIEnvironment], bool] | None = None,
    before_first: Callable[[], None] | None = None,
    modes: frozenset[Mode] = ALL_MODES,
    refuse: Refuse | None = None,
) -> Gate | Latency:
    """Wrap ``wsgi_app`` in the latency measurement, the gate and the check.

    A request is passed on with its principal in ``environ["latchkey.principal"]``: a Principal, or
    None on an open route. Without ``open_routes``, every request needs a credential; without
    ``throttle``, no request is answered with 429. ``on_fault`` receives database failures, for the
    log. ``metrics`` measures durations and the number of requests in flight. ``sightings`` records
    the addresses of uses, and ``addresses`` finds the callers' addresses for conditions; with None,
    no proxy is trusted. ``router`` tells whether a request leads to an open rule with placeholders.
    ``before_first`` is called before the first request is examined; if it raises, the next request
    calls it again. ``modes`` are the modes of the keys that are admitted. ``refuse`` answers
    refused requests; with None, they are answered in the JSON envelope.

    In a child that is forked afterwards, every request is answered with 500, and the first logs the
    reason.
    """
    check, policy = policy_of(
        authenticator,
        open_routes=open_routes,
        throttle=throttle,
        on_fault=on_fault,
        sightings=sightings,
        addresses=addresses,
        router=router,
        before_first=before_first,
        modes=modes,
        refuse=refuse,
    )
    gate = Gate(wsgi_app, check, policy)
    if not metrics:
        return gate
    return Latency(
        gate, authenticator.latencies, authenticator.counters, authenticator.counts_alone
    )


def policy_of(
    authenticator: Authenticator,
    *,
    open_routes: OpenRoutes = NOTHING_OPEN,
    throttle: FailureThrottle | None = None,
    on_fault: Callable[[StoreError], None] | None = None,
    sightings: Sightings | None = None,
    addresses: ClientAddresses | None = None,
    router: Callable[[WSGIEnvironment], bool] | None = None,
    before_first: Callable[[], None] | None = None,
    modes: frozenset[Mode] = ALL_MODES,
    refuse: Refuse | None = None,
    conditions: EvaluatesConditions | None = None,
    takes_limits: bool = True,
) -> tuple[Check, Policy]:
    """The check and the policy of ``middleware``, whose arguments these are.

    ``conditions`` evaluates the conditions of keys; with None, for the request itself. Without
    ``takes_limits``, a request of a key with limits is passed on with its LimitPlan in
    ``environ["latchkey.plan"]``, and is not counted: the application takes from the plan, and then
    calls ``Check.admit``.
    """
    require_router(open_routes, router)
    conditions = conditions or RequestConditions(
        addresses or ClientAddresses(), authenticator.shared.count_refusal
    )
    check = Check(
        authenticator,
        known=authenticator.compiled,
        open_routes=open_routes,
        sightings=sightings or Sightings(authenticator.shared),
        conditions=conditions,
        takes_limits=takes_limits,
        header_style=authenticator.limiter.style,
        waits=before_first is not None,
        modes=modes,
    )
    policy = Policy(
        authenticator,
        check,
        conditions,
        open_routes,
        throttle,
        on_fault,
        router,
        before_first,
        modes,
        refuse,
        takes_limits=takes_limits,
    )
    return check, policy


def require_router(
    open_routes: OpenRoutes, router: Callable[[WSGIEnvironment], bool] | None
) -> None:
    """Raise ConfigurationError for open routes that need a router, without one."""
    if open_routes.rules and router is None:
        raise ConfigurationError(
            "open routes with placeholders need a router: protect a Flask application, "
            "or name an area"
        )


class BuiltWhenServing:
    """A WSGI application that is built for its first request, in the process that serves it.

    A process that is forked before then builds its own.
    """

    def __init__(self, build: Callable[[], WSGIApplication]) -> None:
        """``build`` may be called again if it raises, or by several threads at once."""
        self._build = build
        self._application: WSGIApplication = self._first

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._application(environ, start_response)

    def _first(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self._application = self._build()
        return self._application(environ, start_response)


class Policy:
    """The policy in Python, which can decide any request: open, admitted or refused.

    The gate calls it for requests that the compiled check leaves undecided.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        check: Check,
        conditions: EvaluatesConditions,
        open_routes: OpenRoutes,
        throttle: FailureThrottle | None,
        on_fault: Callable[[StoreError], None] | None,
        router: Callable[[WSGIEnvironment], bool] | None,
        before_first: Callable[[], None] | None,
        modes: frozenset[Mode] = ALL_MODES,
        refuse: Refuse | None = None,
        *,
        takes_limits: bool = True,
    ) -> None:
        """The arguments are those of ``policy_of``; ``check`` is the gate's, which counts uses."""
        self._authenticator = authenticator
        self._check = check
        self._conditions = conditions
        self._open_routes = open_routes
        self._throttle = throttle
        self._on_fault = on_fault
        self._router = router
        self._before_first = before_first
        self._modes = modes
        self._answer_refused = refuse or answer_error
        self._takes_limits = takes_limits
        self._first = threading.Lock()
        self._forked = False
        self._told = False
        notify_after_fork(self)

    def after_fork(self) -> None:
        """Refuse all requests in a child, because it would not learn of revocations."""
        self._forked = True
        self._check.end()

    def examine(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes] | None:
        """Decide any request: None passes it to the application, otherwise the refusal's body."""
        if self._forked:
            return self._refuse_to_serve(environ, start_response)
        if self._before_first is not None:
            self._begin()
        authenticator = self._authenticator
        if self._open_routes.admits(environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")) or (
            self._router is not None and self._router(environ)
        ):
            environ[PRINCIPAL_KEY] = None
            authenticator.counters.add(Count.OPEN)
            return None
        try:
            self._admit(authenticator.find(read_credential(environ)), environ)
        except ApiError as error:
            return self.refuse(error, environ, start_response)
        return None

    def examine_unknown(
        self, environ: WSGIEnvironment, start_response: StartResponse, secret: str, digest: bytes
    ) -> Iterable[bytes] | None:
        """The same for a secret that compiled code has parsed but not found in the caches."""
        authenticator = self._authenticator
        presented = read_plain(secret)
        if not authenticator.is_proven(presented):
            if "HTTP_AUTHORIZATION" in environ and kind_of_bearer(secret) is not presented.kind:
                # It has the form of a Latchkey secret but a wrong checksum: it may be a token of
                # another system.
                return self.examine(environ, start_response)
            # Decided without an exception: these come in floods.
            return self.refuse(_INVALID, environ, start_response)
        try:
            self._admit(authenticator.look_up(presented, digest), environ)
        except ApiError as error:
            return self.refuse(error, environ, start_response)
        return None

    def _admit(self, entry: CacheEntry, environ: WSGIEnvironment) -> None:
        """Admit a request with the credential of an entry, or raise why it is refused.

        Limits come last: what is refused for another reason takes nothing from them.
        """
        principal = self._authenticator.result_of(
            entry, partial(self._conditions.facts_of, environ)
        )
        self._require_mode(principal)
        if entry.limits is not None:
            if not self._takes_limits:
                environ[PRINCIPAL_KEY] = principal
                environ[PLAN_KEY] = entry.limits
                return
            limiter = self._authenticator.limiter
            environ[LIMITS_KEY] = limiter.take(entry.limits, entry.credential_id)
        self._check.admit(environ, principal)

    def _require_mode(self, principal: Principal) -> None:
        if principal.mode not in self._modes:
            self._authenticator.shared.count_refusal(principal.credential_id, Use.SCOPE)
            raise ModeNotAllowed(
                f"API keys of the mode {principal.mode} are not accepted here: "
                f"use a {' or '.join(sorted(self._modes))} key"
            )

    def _begin(self) -> None:
        """Run before the first request; until then ``examine`` gets every request."""
        with self._first:
            if self._before_first is not None:
                self._before_first()
                self._before_first = None
                self._check.begin()

    def _refuse_to_serve(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer 500 in a child. Only the first request logs a line."""
        if not self._told:
            self._told = True
            log.error(NOT_OURS)
        return answer_error(InternalError(), environ, start_response)

    def refuse(
        self, error: ApiError, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer a refused request, and count the refusal."""
        if isinstance(error, InvalidCredential):
            if self._throttle is not None:
                try:
                    self._throttle.count_failure(environ)
                except TooManyFailures as limited:
                    return self._answer(limited, environ, start_response)
            error = _explained(error, environ)
        elif isinstance(error, MissingCredential):
            error = _explained(error, environ)
        elif isinstance(error, StoreError) and self._on_fault is not None:
            self._on_fault(error)
        return self._answer(error, environ, start_response)

    def _answer(
        self, error: ApiError, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        self._authenticator.counters.add(_OUTCOMES[type(error)])
        if isinstance(error, LimitReached) and error.outcome is not None:
            style = self._authenticator.limiter.style
            start_response = showing_limits(start_response, error.outcome, style)
        return self._answer_refused(error, environ, start_response)


def _explained(error: ApiError, environ: WSGIEnvironment) -> ApiError:
    """The same refusal, with the formal mistake in the credential if there is one."""
    told = explain(environ)
    return error if told is None else type(error)(told)
