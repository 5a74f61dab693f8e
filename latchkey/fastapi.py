"""FastAPI: the middleware, dependencies that require scopes, and their OpenAPI description."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Set
from typing import Any

from fastapi import FastAPI, Security, WebSocket
from fastapi.openapi.models import HTTPBearer
from fastapi.requests import HTTPConnection
from fastapi.security.base import SecurityBase

from latchkey.asgi import SCOPE_KEY, Admitted, LatchkeyMiddleware, Receive, Send
from latchkey.asgi_environ import AsgiScope
from latchkey.assembly import Latchkey
from latchkey.check.modes import modes_of
from latchkey.check.open_routes import OpenRoutes, routes_of
from latchkey.credentials.models import Mode, Principal
from latchkey.credentials.needs import Need, check_need, scopes_of
from latchkey.credentials.requirement import Requirement
from latchkey.errors import (
    ApiError,
    ConfigurationError,
    InsufficientScope,
    LimitReached,
    MissingCredential,
    StoreError,
)
from latchkey.wsgi import require_router

__all__ = ["any_credential", "protect", "require_scope"]

_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
_BEARER, _KEY, _SECRET = "bearer", "key", "secret"
_SCHEMES = {
    _KEY: {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    _SECRET: {"type": "apiKey", "in": "header", "name": "X-Api-Secret"},
}
_ERROR = "LatchkeyError"
_ERROR_SCHEMA = {
    "type": "object",
    "title": _ERROR,
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["type", "code", "message"],
            "properties": {name: {"type": "string"} for name in ("type", "code", "message")},
        }
    },
}


class _Credential(SecurityBase):
    """The scheme of the OpenAPI description. The middleware makes the check itself."""

    def __init__(self) -> None:
        self.model = HTTPBearer(description="The secret of an API key: `sk_…`")
        self.scheme_name = _BEARER

    async def __call__(self) -> None:
        """Do nothing: the middleware has checked the request."""


_CREDENTIAL = _Credential()
_DESCRIBED = Security(_CREDENTIAL)


def protect(
    app: FastAPI,
    latchkey: Latchkey | None = None,
    open_routes: OpenRoutes | None = None,
    *,
    only: tuple[str, ...] | None = None,
    modes: Set[Mode] | None = None,
) -> None:
    """Put the middleware in front of a FastAPI application, and describe it in its OpenAPI.

    The arguments are those of ``LatchkeyMiddleware``. Routes without ``require_scope`` need a valid
    credential, unless they are open. Raises ConfigurationError if the application is protected
    already or has started, and for open routes with placeholders.
    """
    added: list[object] = [one.cls for one in app.user_middleware]
    if LatchkeyMiddleware in added:
        raise ConfigurationError(
            f"the application {app.title} is protected already: call protect once"
        )
    routes = routes_of(open_routes, only)
    require_router(routes, None)
    modes_of(modes)
    app.add_middleware(
        LatchkeyMiddleware,
        latchkey=latchkey or Latchkey(),
        open_routes=open_routes,
        only=only,
        modes=modes,
    )
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        _describe(schema, routes)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def require_scope(
    need: Need, *, of: str | None = None, or_own: str | None = None, cost: int = 1
) -> Callable[..., Awaitable[Principal]]:
    """A dependency that needs a scope, ``any_of(...)`` or ``all_of(...)`` several.

    ``Depends(require_scope("orders:read"))`` gives the principal, in routes of HTTP and of
    WebSocket. ``of`` and ``or_own`` name path parameters, as in ``latchkey.require_scope``.
    ``cost``, 1 to 1,000,000, is what a request takes from the limits of its key; of several
    dependencies, the highest counts. Raises ValueError for a malformed scope or an invalid cost.
    """
    check_need(need)
    requirement = Requirement(need, or_own, of, cost)
    described = Security(_CREDENTIAL, scopes=list(scopes_of(need)))

    async def scope_required(connection: HTTPConnection, credential: None = described) -> Principal:
        principal = _principal_of(connection)
        admitted: Admitted = connection.scope[SCOPE_KEY]
        try:
            requirement.check(principal, connection.path_params)
            await admitted.raise_cost_to(cost)
        except InsufficientScope as error:
            admitted.latchkey.count_scope_refusal(principal)
            _handle(connection, error)
            raise
        except (LimitReached, StoreError) as error:
            _handle(connection, error)
            raise
        return principal

    return scope_required


async def any_credential(connection: HTTPConnection, credential: None = _DESCRIBED) -> Principal:
    """A dependency that needs a valid credential but no scope, and gives the principal."""
    return _principal_of(connection)


def _principal_of(connection: HTTPConnection) -> Principal:
    if SCOPE_KEY not in connection.scope:
        raise ConfigurationError(
            "the request did not come through the middleware: call latchkey.fastapi.protect"
        )
    principal = connection.scope["state"]["principal"]
    if not isinstance(principal, Principal):
        missing = MissingCredential()
        _handle(connection, missing)
        raise missing
    return principal


def _handle(connection: HTTPConnection, error: ApiError) -> None:
    """Have the innermost application answer an error, unless it has a handler for it.

    Otherwise, middleware between the route and Latchkey's would take it for a fault. A mounted
    application would answer 500 before the error reaches Latchkey's middleware.
    """
    handlers, _ = connection.scope.get("starlette.exception_handlers", ({}, {}))
    if handlers.keys().isdisjoint(type(error).__mro__):
        handlers[type(error)] = _answer


async def _answer(connection: HTTPConnection, error: ApiError) -> _Answering | None:
    admitted: Admitted = connection.scope[SCOPE_KEY]
    if admitted.has_begun:
        raise error
    if isinstance(connection, WebSocket):
        # Not all versions of Starlette send what is returned.
        await admitted.answer(error, connection.scope, connection.send)
        return None
    return _Answering(admitted, error)


class _Answering:
    """An answer of Starlette: the error in the envelope."""

    def __init__(self, admitted: Admitted, error: ApiError) -> None:
        self._admitted = admitted
        self._error = error

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        await self._admitted.answer(self._error, scope, send)


def _describe(schema: dict[str, Any], routes: OpenRoutes) -> None:
    """Add to each protected operation that it needs a credential, and how it is refused."""
    components = schema.setdefault("components", {})
    schemes = components.setdefault("securitySchemes", {})
    schemes.update(
        {_BEARER: _CREDENTIAL.model.model_dump(mode="json", by_alias=True, exclude_none=True)}
    )
    schemes.update(_SCHEMES)
    components.setdefault("schemas", {})[_ERROR] = _ERROR_SCHEMA
    for operation in _protected(schema, routes):
        declared = operation.get("security", [])
        needed = [scope for one in declared for scope in one.get(_BEARER, [])]
        others = [one for one in declared if not {_BEARER, _KEY} & set(one)]
        operation["security"] = [{_BEARER: needed}, {_KEY: needed, _SECRET: []}, *others]
        responses = operation.setdefault("responses", {})
        responses.setdefault("401", _response("The credential is missing or not valid"))
        reason = f"The key needs: {', '.join(needed)}" if needed else "The key is not permitted"
        responses.setdefault("403", _response(reason))
        responses.setdefault("429", _response("A limit of the key is reached"))


def _protected(schema: dict[str, Any], routes: OpenRoutes) -> Iterator[dict[str, Any]]:
    for path, item in schema.get("paths", {}).items():
        for method, operation in item.items():
            if method in _METHODS and not routes.opens(method.upper(), path):
                yield operation


def _response(description: str) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{_ERROR}"}
    return {"description": description, "content": {"application/json": {"schema": reference}}}
