"""The routes that proxies ask, as WSGI in front of the service: their requests skip Flask."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask_openapi3.openapi import OpenAPI

from fastcache.shared import Counters
from latchkey import wsgi
from latchkey.addresses import ClientAddresses
from latchkey.assembly import Latchkey, log_fault
from latchkey.box.counter_names import Count
from latchkey.check._gate import Gate
from latchkey.check._latency import Latency
from latchkey.credentials.models import Principal
from latchkey.errors import ApiError, InsufficientScope, ModeNotAllowed
from latchkey_service.verify.answers import ProxyAnswers
from latchkey_service.verify.deciding import Examiner
from latchkey_service.verify.description import describe_routes
from latchkey_service.verify.original_conditions import OriginalConditions
from latchkey_service.verify.originals import AREA, ENVOY, PROXIES, Proxy
from latchkey_service.verify.rules import Rules


def serve_proxies(app: OpenAPI, latchkey: Latchkey, rules: Rules | None = None) -> None:
    """Put the routes of proxies in front of ``app``, which ``latchkey`` protects; describe them.

    ``rules`` are those of the routes file, if there is one.
    """
    routes = {proxy: _route(proxy, latchkey, rules) for proxy in PROXIES}
    describe_routes(app.paths)
    app.wsgi_app = Surface(routes, app.wsgi_app)  # type: ignore[method-assign]


class Surface:
    """Passes the requests of proxies to their routes, and all others to the service.

    The raw target decides, since Envoy's continues with that of the client.
    """

    def __init__(self, routes: dict[Proxy, WSGIApplication], others: WSGIApplication) -> None:
        self._routes = {f"{AREA}{proxy.name}": route for proxy, route in routes.items()}
        # Envoy always sends a path behind the route.
        self._envoy = self._routes.pop(f"{AREA}{ENVOY.name}")
        self._others = others

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._route_of(environ.get("RAW_URI", ""))(environ, start_response)

    def _route_of(self, target: str) -> WSGIApplication:
        if not target.startswith(AREA):
            return self._others
        if target.startswith(f"{AREA}{ENVOY.name}/"):
            return self._envoy
        return self._routes.get(target.partition("?")[0], self._others)


class _Opening:
    """ProxyAnswers requests that need no key, and passes all others to the check.

    The check must not see them: on an open route, a credential is ignored.
    """

    def __init__(
        self,
        name: str,
        examiner: Examiner,
        answers: ProxyAnswers,
        counters: Counters,
        checked: WSGIApplication,
    ) -> None:
        """``name`` is that of the route, as durations are measured by."""
        self._named = SimpleNamespace(url_rule=SimpleNamespace(endpoint=name))
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
    """ProxyAnswers requests whose credential is valid."""

    def __init__(
        self, examiner: Examiner, answers: ProxyAnswers, count_refusal: Callable[[Principal], None]
    ) -> None:
        """``count_refusal`` is called with a caller that lacks a scope or has another mode."""
        self._require = examiner.require
        self._answers = answers
        self._count_refusal = count_refusal

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        principal: Principal = environ[wsgi.PRINCIPAL_KEY]
        try:
            self._require(environ, principal)
        except ApiError as error:
            if isinstance(error, (InsufficientScope, ModeNotAllowed)):
                self._count_refusal(principal)
            return self._answers.refuse(error, environ, start_response)
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
    )
    checked = Gate(_Decision(examiner, answers, latchkey.count_scope_refusal), check, policy)
    opening = _Opening(f"verify.{proxy.name}", examiner, answers, authenticator.counters, checked)
    return Latency(
        opening, authenticator.latencies, authenticator.counters, authenticator.counts_alone
    )
