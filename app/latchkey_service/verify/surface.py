"""The routes that proxies ask, as WSGI in front of the service: their requests skip Flask."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from types import SimpleNamespace
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask_openapi3.openapi import OpenAPI

from fastcache.shared import Counters
from latchkey import wsgi
from latchkey.addresses import ClientAddresses
from latchkey.assembly import Latchkey, log_fault
from latchkey.box.counter_names import Count, Verified, verified_index
from latchkey.check._check import Check
from latchkey.check._gate import Gate
from latchkey.check._latency import Latency
from latchkey.check._limits import LimitPlan
from latchkey.check._proxied import Branch, KnownAnswers
from latchkey.check.limiting import PLAN_KEY, Limiter
from latchkey.credentials.models import Principal
from latchkey.errors import (
    ApiError,
    InsufficientScope,
    LimitReached,
    ModeNotAllowed,
    StoreError,
)
from latchkey.wsgi import Refuse
from latchkey.wsgi_answers import PRINCIPAL_KEY, showing_limits
from latchkey_service.verify.answers import OK, Headers, ProxyAnswers
from latchkey_service.verify.deciding import Examiner
from latchkey_service.verify.description import describe_routes
from latchkey_service.verify.original_conditions import OriginalConditions
from latchkey_service.verify.originals import AREA, CADDY, ENVOY, PROXIES, Proxy, variable_of
from latchkey_service.verify.rules import Rules


def serve_proxies(app: OpenAPI, latchkey: Latchkey, rules: Rules | None = None) -> None:
    """Put the routes of proxies in front of ``app``, which ``latchkey`` protects; describe them.

    ``rules`` are those of the routes file, if there is one.
    """
    describe_routes(app.paths)
    served = with_routes(app.wsgi_app, latchkey, rules)
    app.wsgi_app = served  # type: ignore[assignment,method-assign]


def with_routes(
    application: WSGIApplication, latchkey: Latchkey, rules: Rules | None = None
) -> Branch:
    """``application`` with the routes of all kinds of proxies in front of it."""
    routes = {proxy: _route(proxy, latchkey, rules) for proxy in PROXIES}
    return Branch(AREA, _finder(routes, application), application)


def _finder(
    routes: dict[Proxy, WSGIApplication], others: WSGIApplication
) -> Callable[[str], WSGIApplication]:
    """A function that returns the route for a raw target, which for Envoy continues the client's.

    Targets of no route are left to the ``others``.
    """
    named = {f"{AREA}{proxy.name}": route for proxy, route in routes.items()}
    # Envoy always sends a path behind the route.
    envoy = named.pop(f"{AREA}{ENVOY.name}")
    below_envoy = f"{AREA}{ENVOY.name}/"

    @lru_cache(maxsize=1_024)
    def find(target: str) -> WSGIApplication:
        if target.startswith(below_envoy):
            return envoy
        return named.get(target.partition("?")[0], others)

    return find


class _Opening:
    """Answers requests that need no key, and passes all others to the check.

    The check must not see them: on an open route, a credential is ignored.
    """

    def __init__(
        self,
        named: object,
        examiner: Examiner,
        answers: ProxyAnswers,
        counters: Counters,
        checked: WSGIApplication,
    ) -> None:
        """``named`` has the name by which durations are measured."""
        self._named = named
        self._is_open = examiner.is_open
        self._answers = answers
        self._counters = counters
        self._checked = checked

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # The measurement finds the name where werkzeug leaves the request.
        environ["werkzeug.request"] = self._named
        if self._is_open(environ):
            self._counters.add(Count.OPEN)
            return self._answers.admit(None, start_response)
        return self._checked(environ, start_response)


class _Decision:
    """Answers requests whose credential is valid; takes from the limits of its key first."""

    def __init__(
        self,
        examiner: Examiner,
        answers: ProxyAnswers,
        limiter: Limiter,
        check: Check,
        refuse: Refuse,
        count_refusal: Callable[[Principal], None],
    ) -> None:
        """``check`` counts uses, and ``refuse`` answers what is refused by a limit.

        ``count_refusal`` is called with a caller that lacks a scope or has another mode.
        """
        self._examiner = examiner
        self._require = examiner.require
        self._answers = answers
        self._limiter = limiter
        self._check = check
        self._refuse = refuse
        self._count_refusal = count_refusal
        self.learn: Callable[[WSGIEnvironment, Principal, str, Headers, int], None] | None = None
        """Called with each answer to an allowed request, for requests like it."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        principal: Principal = environ[PRINCIPAL_KEY]
        plan: LimitPlan | None = environ.get(PLAN_KEY)
        if plan is not None:
            return self._with_limits(plan, principal, environ, start_response)
        return self._decided(principal, environ, start_response)

    def _with_limits(
        self,
        plan: LimitPlan,
        principal: Principal,
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        """The answer to a request of a limited key. It takes its whole cost at once."""
        try:
            cost = self._examiner.cost(environ)
        except ApiError as error:
            return self._answers.refuse(error, environ, start_response)
        try:
            outcome = self._limiter.take(plan, principal.credential_id, cost)
        except (LimitReached, StoreError) as error:
            return self._refuse(error, environ, start_response)
        self._check.admit(environ, principal)
        telling = showing_limits(start_response, outcome, self._limiter.style)
        return self._decided(principal, environ, telling)

    def _decided(
        self, principal: Principal, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """The answer to a request that has been counted as a use."""
        try:
            self._require(environ, principal)
        except ApiError as error:
            if isinstance(error, (InsufficientScope, ModeNotAllowed)):
                self._count_refusal(principal)
            return self._answers.refuse(error, environ, start_response)
        if self.learn is not None:
            headers, cost = self._answers.headers_of(principal), self._examiner.cost(environ)
            self.learn(environ, principal, OK, headers, cost)
        return self._answers.admit(principal, start_response)


def _route(proxy: Proxy, latchkey: Latchkey, rules: Rules | None) -> WSGIApplication:
    """The route of one kind of proxy: latency, what is open, the check, and the decision."""
    parts = latchkey.begin()
    authenticator = parts.authenticator
    # The peer is the proxy, and never the client.
    addresses = ClientAddresses(max(1, parts.settings.trusted_proxies), or_peer=False)
    answers = ProxyAnswers(proxy, authenticator.verified)
    examiner = Examiner(proxy, rules)
    check, policy = wsgi.policy_of(
        authenticator,
        throttle=parts.throttle_by(addresses),
        on_fault=log_fault,
        sightings=parts.sightings(addresses),
        conditions=OriginalConditions(proxy, addresses, authenticator.shared.count_refusal),
        refuse=answers.refuse,
        takes_limits=False,
    )
    decision = _Decision(
        examiner,
        answers,
        authenticator.limiter,
        check,
        policy.refuse,
        latchkey.count_scope_refusal,
    )
    named = SimpleNamespace(url_rule=SimpleNamespace(endpoint=f"verify.{proxy.name}"))
    route: WSGIApplication = _Opening(
        named, examiner, answers, authenticator.counters, Gate(decision, check, policy)
    )
    if rules is None and proxy.reads_query:
        # The decision depends on the URL and the principal only.
        known = KnownAnswers(
            route,
            decision,
            check,
            variables=tuple(map(variable_of, proxy.headers)),
            named=named,
            compares_query=proxy is CADDY,
            counters=authenticator.verified,
            alone=authenticator.counts_alone,
            allowed=verified_index(proxy.name, Verified.ALLOWED),
        )
        decision.learn = known.learn
        route = known
    return Latency(
        route, authenticator.latencies, authenticator.counters, authenticator.counts_alone
    )
