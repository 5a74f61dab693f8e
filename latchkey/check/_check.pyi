from enum import Enum
from typing import Any
from wsgiref.types import WSGIEnvironment

from fastcache import TTLCache
from latchkey.box._sightings import AddressSources
from latchkey.check.authenticator import Authenticator
from latchkey.check.open_routes import OpenRoutes
from latchkey.check.request_conditions import EvaluatesConditions
from latchkey.credentials.models import Mode, Principal
from latchkey.errors.limits import HeaderStyle

class Verdict(Enum):
    OPEN = "open"
    UNDECIDED = "undecided"

class Check:
    def __init__(
        self,
        authenticator: Authenticator,
        *,
        known: TTLCache[Any, Any] | None,
        open_routes: OpenRoutes,
        sightings: AddressSources,
        conditions: EvaluatesConditions | None = None,
        waits: bool = False,
        modes: frozenset[Mode] = ...,
        takes_limits: bool = True,
        header_style: HeaderStyle = "standard",
    ) -> None: ...
    def begin(self) -> None: ...
    def end(self) -> None: ...
    def __call__(self, environ: WSGIEnvironment, /) -> Principal | Verdict: ...
    def admit(self, environ: WSGIEnvironment, principal: Principal) -> None: ...
