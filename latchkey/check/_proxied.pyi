from collections.abc import Callable, Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from fastcache.shared import Counters
from latchkey.check._check import Check
from latchkey.credentials.models import Principal

class Branch:
    def __init__(
        self, area: str, find: Callable[[str], WSGIApplication], others: WSGIApplication, /
    ) -> None: ...
    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse, /
    ) -> Iterable[bytes]: ...

class KnownAnswers:
    def __init__(
        self,
        undecided: WSGIApplication,
        admitted: WSGIApplication,
        check: Check,
        *,
        variables: tuple[str, ...],
        named: object,
        compares_query: bool,
        counters: Counters,
        alone: bool,
        allowed: int,
    ) -> None: ...
    def learn(
        self,
        environ: WSGIEnvironment,
        principal: Principal,
        status: str,
        headers: tuple[tuple[str, str], ...],
        cost: int = 0,
    ) -> None: ...
    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse, /
    ) -> Iterable[bytes]: ...
