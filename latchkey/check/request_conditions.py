"""The conditions of a key, evaluated for a request: the same for every path of the check."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Protocol
from wsgiref.types import WSGIEnvironment

from latchkey.addresses import ClientAddresses, address_in
from latchkey.box.counter_names import Use
from latchkey.credentials.conditions import Evaluation, Facts, RequestFacts
from latchkey.errors import (
    AddressNotAllowed,
    ApiError,
    DisabledCredential,
    EndpointNotAllowed,
    NotYetValidCredential,
)

_LONGEST_CACHED_PATH = 256
_ADMITTED, _OBSERVED, _REFUSED = "admitted", "observed", "refused"

CountUse = Callable[[int, Use], None]
"""Counts one request of a credential, by its number, under a reason."""


REFUSED_BY: dict[type[ApiError], Use] = {
    DisabledCredential: Use.DISABLED,
    NotYetValidCredential: Use.NOT_YET_VALID,
    AddressNotAllowed: Use.ADDRESS,
    EndpointNotAllowed: Use.ENDPOINT,
}
"""What a refusal by a condition counts as."""


class EvaluatesConditions(Protocol):
    """What the check and the policy ask about the conditions of keys."""

    def facts_of(self, environ: WSGIEnvironment) -> Facts:
        """The facts of a WSGI request."""

    def admits(
        self, environ: WSGIEnvironment, credential_id: int, evaluation: Evaluation, now: int
    ) -> bool:
        """Whether every condition is met at ``now``, in milliseconds since 1970.

        False leaves the request to the policy, which decides with ``facts_of``. A use that is only
        observed is counted here.
        """


class RequestConditions:
    """Evaluates conditions for WSGI requests, with the callers' addresses behind known proxies."""

    def __init__(self, addresses: ClientAddresses, count: CountUse) -> None:
        self._addresses = addresses
        self._count = count

    def facts_of(self, environ: WSGIEnvironment) -> RequestFacts:
        """The facts of a WSGI request."""
        return facts_of(environ, self._addresses)

    def admits(
        self, environ: WSGIEnvironment, credential_id: int, evaluation: Evaluation, now: int
    ) -> bool:
        """Whether every condition is met at ``now``, in milliseconds since 1970.

        A use that is only observed is counted here; a refusal is not, since the policy evaluates
        the request again and refuses it.
        """
        if evaluation.objection_by_time(now) is not None:
            return False
        path = environ.get("PATH_INFO", "")
        decide = _decide if len(path) <= _LONGEST_CACHED_PATH else _decide.__wrapped__
        decision = decide(
            evaluation,
            self._addresses.trusted_proxies,
            environ.get(self._addresses.source, ""),
            environ["REQUEST_METHOD"],
            path,
        )
        if decision is _OBSERVED:
            self._count(credential_id, Use.OBSERVED)
        return decision is not _REFUSED


@lru_cache(maxsize=8_192)
def _decide(evaluation: Evaluation, proxies: int, source: str, method: str, path: str) -> str:
    """The decision about a request, whatever the time; ``source`` tells its address."""
    facts = RequestFacts(method, path, address_in(source, proxies))
    if evaluation.objection_to(facts) is not None:
        return _REFUSED
    return _OBSERVED if evaluation.observes(facts) else _ADMITTED


def facts_of(environ: WSGIEnvironment, addresses: ClientAddresses) -> RequestFacts:
    """The facts of a WSGI request, with the caller's address behind known proxies."""
    return RequestFacts(
        environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""), addresses.certain(environ)
    )
