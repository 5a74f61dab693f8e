"""The ASGI middleware in front of an application: default deny, as in WSGI.

A hit is answered on the event loop by the compiled check. Every other request is decided in a
bounded pool of threads, because it may read the database, so that a miss never blocks the loop.
Check, policy, conditions and refusals are those of WSGI: the scope is translated into an environ
that has everything they read.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, MutableMapping, Set
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, Protocol
from wsgiref.types import WSGIEnvironment

from latchkey.asgi_environ import AsgiScope, environ_of
from latchkey.assembly import Latchkey, log_fault
from latchkey.check._check import Check, Verdict
from latchkey.check._limits import LimitOutcome
from latchkey.check.limiting import LIMITS_KEY, Limiter
from latchkey.check.modes import modes_of
from latchkey.check.open_routes import OpenRoutes, routes_of
from latchkey.credentials.models import Mode, Principal
from latchkey.credentials.requirement import check_cost
from latchkey.current import CURRENT
from latchkey.errors import ApiError, ConfigurationError, StoreError
from latchkey.forks import notify_after_fork
from latchkey.wsgi import Policy, policy_of, require_router
from latchkey.wsgi_answers import PRINCIPAL_KEY, answer_error

__all__ = ["LatchkeyMiddleware", "StillValid"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApplication = Callable[[AsgiScope, Receive, Send], Awaitable[None]]


class Deciding(Protocol):
    """What decides the requests of a middleware."""

    def check(self, environ: WSGIEnvironment) -> Principal | Verdict:
        """Decide on the event loop: a Principal, or a Verdict."""

    async def decide(self, environ: WSGIEnvironment) -> _Refusal | None:
        """Decide a request that ``check`` left undecided: its refusal; None to admit it."""

    async def spend(self, environ: WSGIEnvironment, units: int) -> None:
        """Take units from the limits of an admitted request's key, as ``Latchkey.spend`` does."""


class StillValid(Protocol):
    """Tells whether the credential of a request is still valid, for connections that stay open."""

    async def __call__(self) -> bool:
        """Check again, as a use of the credential, which takes 1 from its limits.

        False if the credential would be refused now, also by its limits.
        """


SCOPE_KEY = "latchkey"
"""The key of the scope that has the Admitted of a request."""

# What a check has left in the environ.
_DECIDED = frozenset({PRINCIPAL_KEY, LIMITS_KEY})
# The messages that have the headers of an answer.
_BEGINNINGS = frozenset(
    {"http.response.start", "websocket.accept", "websocket.http.response.start"}
)
# The code with which a server answers a refused handshake by 403, if it can answer nothing else.
_POLICY_VIOLATION = 1008


class _Refusal(NamedTuple):
    """A refusal's status, its headers and its body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class _Checked:
    """The check and the policy of one worker, and the threads for what may block."""

    def __init__(self, check: Check, policy: Policy, limiter: Limiter, threads: int) -> None:
        self.check = check
        self._policy = policy
        self._limiter = limiter
        self._threads = threads
        self.after_fork()
        notify_after_fork(self)

    def after_fork(self) -> None:
        """Make new threads: those of a parent do not exist in its child."""
        self._pool = ThreadPoolExecutor(self._threads, "latchkey")

    async def decide(self, environ: WSGIEnvironment) -> _Refusal | None:
        """The refusal of a request, from a thread; None to admit it."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, _decide, self._policy, environ)

    async def spend(self, environ: WSGIEnvironment, units: int) -> None:
        """Take units on the event loop if they are there, and decide in a thread otherwise."""
        taken: LimitOutcome | None = environ.get(LIMITS_KEY)
        if taken is None or self._limiter.takes_at_once(taken.plan, units):
            return
        loop = asyncio.get_running_loop()
        credential_id = environ[PRINCIPAL_KEY].credential_id
        await loop.run_in_executor(self._pool, self._limiter.take, taken.plan, credential_id, units)


class Admitted:
    """An admitted request. Its text form does not show the request, which has the secret."""

    __slots__ = ("_cost", "_deciding", "_environ", "has_begun", "latchkey")

    def __init__(self, latchkey: Latchkey, environ: WSGIEnvironment, deciding: Deciding) -> None:
        self.latchkey = latchkey
        self.has_begun = False
        self._environ = environ
        self._deciding = deciding
        self._cost = 1

    async def raise_cost_to(self, cost: int) -> None:
        """Have the request cost at least this; of several costs, the highest counts."""
        more, self._cost = cost - self._cost, max(cost, self._cost)
        if more > 0:
            await self.spend(more)

    async def spend(self, units: int) -> None:
        """Take more units from the limits of the request's key, as ``Latchkey.spend`` does."""
        check_cost(units)
        await self._deciding.spend(self._environ, units)

    def described(self, message: Message) -> Message:
        """A message of an answer, with the headers that tell what is left of the key's limits."""
        taken: LimitOutcome | None = self._environ.get(LIMITS_KEY)
        if taken is None or message["type"] not in _BEGINNINGS:
            return message
        headers = _encoded(taken.headers(self.latchkey.settings.ratelimit_headers))
        return {**message, "headers": [*message.get("headers", ()), *headers]}

    async def answer(self, error: ApiError, scope: AsgiScope, send: Send) -> None:
        """Answer the request with an error, in its dialect; a database failure is logged."""
        if isinstance(error, StoreError):
            log_fault(error)
        await _refuse(_refusal_of(error, self._environ), scope, send)


class _Recheck:
    """Checks a request again. Its text form does not show the request, which has the secret."""

    __slots__ = ("_checked", "_environ", "_principal")

    def __init__(
        self, checked: Deciding, environ: WSGIEnvironment, principal: Principal | None
    ) -> None:
        self._checked = checked
        self._environ = environ
        self._principal = principal

    def __repr__(self) -> str:
        key = None if self._principal is None else self._principal.api_key
        return f"<still_valid of {key}>"

    async def __call__(self) -> bool:
        """Check it again, as a use of its credential; an open route stays open."""
        if self._principal is None:
            return True
        again = {name: value for name, value in self._environ.items() if name not in _DECIDED}
        found = self._checked.check(again)
        if found is Verdict.UNDECIDED:
            if await self._checked.decide(again) is not None:
                return False
            found = again[PRINCIPAL_KEY]
        return isinstance(found, Principal) and found.api_key == self._principal.api_key


class LatchkeyMiddleware:
    """An ASGI application that passes admitted requests and handshakes to another one.

    The application finds a Principal at ``scope["state"]["principal"]``, or None on an open route,
    and a StillValid at ``scope["state"]["still_valid"]``. ``await scope["state"]["spend"](units)``
    takes more from the key's limits than the 1 that each request takes.

    Use it for Starlette and FastAPI with ``app.add_middleware(LatchkeyMiddleware)``, and for any
    other application by calling it.
    """

    def __init__(
        self,
        app: ASGIApplication,
        latchkey: Latchkey | None = None,
        open_routes: OpenRoutes | None = None,
        *,
        only: tuple[str, ...] | None = None,
        modes: Set[Mode] | None = None,
    ) -> None:
        """With ``latchkey`` None, the worker joins the others of the box when it starts to serve.

        ``only`` names the parts of the application that are protected, as ``("/api/",)``; with
        None, all of it is. ``modes`` are the modes of the keys that are admitted; with None, both
        are. A handshake of a WebSocket counts as GET. Raises ConfigurationError for open routes
        with placeholders, and ValueError for an invalid ``only`` or ``modes``.
        """
        self.app = app
        self._latchkey = latchkey or Latchkey()
        self._routes = routes_of(open_routes, only)
        self._modes = modes_of(modes)
        require_router(self._routes, None)
        # FastAPI sets this prefix itself, after this middleware if that is outside of it.
        prefix = getattr(app, "root_path", "")
        self._prefix = prefix if isinstance(prefix, str) else ""
        self.deciding: Deciding | None = None
        self._beginning = threading.Lock()
        notify_after_fork(self)

    def after_fork(self) -> None:
        """In a child, forget a lock that a thread of the parent may have held."""
        self._beginning = threading.Lock()

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Handle an ASGI call: a request, a handshake, or the start and end of the server."""
        kind = scope["type"]
        if kind == "lifespan":
            await self.app(scope, partial(self._receive_start, receive, send), send)
            return
        if kind not in ("http", "websocket"):
            raise ConfigurationError(f"ASGI connections of the type {kind!r} are not supported")
        environ = environ_of(scope, self._prefix)
        checked = self.deciding or await self._begin()
        found = checked.check(environ)
        if found is Verdict.UNDECIDED:
            refusal = await checked.decide(environ)
            if refusal is not None:
                await _refuse(refusal, scope, send)
                return
            found = environ[PRINCIPAL_KEY]
        principal = found if isinstance(found, Principal) else None
        scope[SCOPE_KEY] = admitted = Admitted(self._latchkey, environ, checked)
        scope["state"] = {
            **scope.get("state", {}),
            "principal": principal,
            "spend": admitted.spend,
            "still_valid": _Recheck(checked, environ, principal),
        }
        await self._pass_on(admitted, principal, scope, receive, send)

    async def _pass_on(
        self,
        admitted: Admitted,
        principal: Principal | None,
        scope: AsgiScope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Call the application, and answer an error of Latchkey that it raises."""

        async def note(message: Message) -> None:
            admitted.has_begun = True
            await send(admitted.described(message))

        token = CURRENT.set(principal)
        try:
            await self.app(scope, receive, note)
        except ApiError as error:
            if admitted.has_begun:
                raise
            await admitted.answer(error, scope, note)
        finally:
            CURRENT.reset(token)

    async def _receive_start(self, receive: Receive, send: Send) -> Message:
        """Join the other workers at the start of the server, which an error stops."""
        message = await receive()
        if message["type"] == "lifespan.startup":
            try:
                await self._begin()
            except ConfigurationError as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                raise
        return message

    async def _begin(self) -> Deciding:
        return await asyncio.get_running_loop().run_in_executor(None, self._joined)

    def _joined(self) -> Deciding:
        parts = self._latchkey.begin()
        with self._beginning:
            if self.deciding is not None:
                return self.deciding
            check, policy = policy_of(
                parts.authenticator,
                open_routes=self._routes,
                throttle=parts.throttle,
                on_fault=log_fault,
                sightings=parts.sightings(),
                addresses=parts.addresses,
                modes=self._modes,
            )
            # As many threads as there are connections to the database for them.
            threads = self._latchkey.settings.threads
            self.deciding = _Checked(check, policy, parts.limiter, threads)
            return self.deciding


def _decide(policy: Policy, environ: WSGIEnvironment) -> _Refusal | None:
    """The refusal of a request; None to admit it."""
    begun: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: object = None
    ) -> Callable[[bytes], object]:
        begun.append((status, headers))
        return _write

    body = policy.examine(environ, start_response)
    if body is None:
        return None
    ((status, headers),) = begun
    return _Refusal(int(status[:3]), _encoded(headers), b"".join(body))


def _write(data: bytes) -> object:
    """WSGI's other way to answer, which refusals do not use."""
    raise NotImplementedError


def _refusal_of(error: ApiError, environ: WSGIEnvironment) -> _Refusal:
    begun: list[list[tuple[str, str]]] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: object = None
    ) -> Callable[[bytes], object]:
        begun.append(headers)
        return _write

    body = answer_error(error, environ, start_response)
    return _Refusal(error.status.value, _encoded(begun[0]), b"".join(body))


def _encoded(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [
        (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
        for name, value in headers
    ]


async def _refuse(refusal: _Refusal, scope: AsgiScope, send: Send) -> None:
    if scope["type"] == "http":
        kind = "http.response"
    elif "websocket.http.response" in (scope.get("extensions") or {}):
        kind = "websocket.http.response"
    else:
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        return
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": refusal.headers})
    await send({"type": f"{kind}.body", "body": refusal.body})
