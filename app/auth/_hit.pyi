from collections.abc import Iterable
from typing import Any, TypeVar
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from app.auth._latency import Latencies
from app.auth._sightings import Sources
from app.auth.authenticator import Authenticator
from app.auth.open_routes import OpenRoutes
from app.credentials.models import Principal
from fastcache import TTLCache

_Path = TypeVar("_Path", bound=type["HitPath"])

class HitPath:
    def __init__(
        self,
        wsgi_app: WSGIApplication,
        authenticator: Authenticator,
        *,
        known: TTLCache[Any, Any] | None,
        open_routes: OpenRoutes,
        latencies: Latencies | None,
        sightings: Sources,
        waits: bool,
    ) -> None: ...
    def decide(self) -> None: ...
    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse, /
    ) -> Iterable[bytes]: ...
    def admit(self, environ: WSGIEnvironment, principal: Principal) -> None: ...

def called_by_vector(cls: _Path) -> _Path: ...
