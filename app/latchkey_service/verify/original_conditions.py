"""The conditions of keys, evaluated for the original request instead of the proxy's."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from wsgiref.types import WSGIEnvironment

from latchkey.addresses import ClientAddresses
from latchkey.box.counter_names import Use
from latchkey.check.request_conditions import CountUse
from latchkey.credentials.conditions import Evaluation
from latchkey.errors import ApiError
from latchkey_service.verify.originals import Proxy
from latchkey_service.verify.targets import path_of


class OriginalFacts:
    """The facts of an original request, each read only when a condition depends on it."""

    __slots__ = ("_addresses", "_environ", "_proxy")

    def __init__(self, proxy: Proxy, addresses: ClientAddresses, environ: WSGIEnvironment) -> None:
        self._proxy = proxy
        self._addresses = addresses
        self._environ = environ

    @property
    def method(self) -> str:
        """The method; raises InvalidRequest as ``Proxy.read`` does."""
        return self._proxy.read(self._environ).method

    @property
    def path(self) -> str:
        """The path; raises InvalidRequest as ``path_of`` does."""
        return path_of(self._proxy.read(self._environ).target)

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The client's address; None if the proxy did not forward it."""
        return self._addresses.certain(self._environ)


class OriginalConditions:
    """Evaluates conditions for the requests that one kind of proxy asks about."""

    def __init__(self, proxy: Proxy, addresses: ClientAddresses, count: CountUse) -> None:
        self._proxy = proxy
        self._addresses = addresses
        self._count = count

    def facts_of(self, environ: WSGIEnvironment) -> OriginalFacts:
        """The facts of the original request."""
        return OriginalFacts(self._proxy, self._addresses, environ)

    def admits(
        self, environ: WSGIEnvironment, credential_id: int, evaluation: Evaluation, now: int
    ) -> bool:
        """As in ``EvaluatesConditions``. A request that must be refused is left to the policy."""
        if evaluation.objection_by_time(now) is not None:
            return False
        facts = self.facts_of(environ)
        try:
            if evaluation.objection_to(facts) is not None:
                return False
        except ApiError:
            return False
        if evaluation.observes(facts):
            self._count(credential_id, Use.OBSERVED)
        return True
