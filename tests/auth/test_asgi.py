"""The ASGI middleware: requests, handshakes, the start and end of a server, and the principal."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest

from latchkey import Latchkey, OpenRoutes, principal_or_none
from latchkey.asgi import LatchkeyMiddleware
from latchkey.asgi_environ import environ_of
from latchkey.errors import ConfigurationError, InsufficientScope, StoreError
from tests.support.audited import TESTER
from tests.support.auth.asgi_calls import (
    AsgiApplication,
    ask,
    asked,
    exchange,
    new_scope,
)
from tests.support.auth.plain_application import bearer, pair

CONNECT = {"type": "websocket.connect"}
WITH_RESPONSES: dict[str, Any] = {"extensions": {"websocket.http.response": {}}}


@pytest.fixture
def inner() -> AsgiApplication:
    return AsgiApplication()


@pytest.fixture
def app(latchkey: Latchkey, inner: AsgiApplication) -> LatchkeyMiddleware:
    return LatchkeyMiddleware(inner, latchkey, OpenRoutes({("GET", "/open")}, areas=("/docs/",)))


@pytest.fixture
def secret(latchkey: Latchkey) -> str:
    return latchkey.credentials.issue(name="all", caller=None, by=TESTER).secret


def test_every_request_needs_a_credential(
    app: LatchkeyMiddleware, inner: AsgiApplication, secret: str
) -> None:
    for path in ("/", "/nowhere", "/open/", "/docs", "//open", "/OPEN", "/docs%2Fx"):
        refused = asked(app, path)
        assert (refused.status, refused.error["code"]) == (401, "UNAUTHORIZED")
    assert refused.headers["www-authenticate"] == 'Bearer realm="latchkey"'
    assert refused.headers["cache-control"] == "no-store"
    assert inner.scopes == []
    # A miss, then hits.
    for headers in (bearer(secret), pair(secret), bearer(secret)):
        assert asked(app, "/any", headers).body == b"hello"
    assert [principal.name for principal in inner.principals] == ["all"] * 3
    assert asked(app, "/any", bearer(secret[:-1] + "!")).error["code"] == "invalid_api_key"


def test_open_routes_have_no_principal(
    app: LatchkeyMiddleware, inner: AsgiApplication, secret: str
) -> None:
    for path in ("/open", "/docs/x", "/docs/"):
        for headers in ({}, bearer(secret), bearer("sk_wrong")):
            assert asked(app, path, headers).status == 200
    assert set(inner.principals) == {None}
    assert asked(app, "/open", method="HEAD").status == 200
    assert asked(app, "/open", method="POST").status == 401
    assert asked(app, "/nowhere", method="HEAD").body == b""


def test_parts_and_modes(latchkey: Latchkey, inner: AsgiApplication, secret: str) -> None:
    app = LatchkeyMiddleware(inner, latchkey, only=("/api/", "/büro/"), modes={"test"})
    for path in ("/api/x", "/api", "//api/x", "/büro/x", "/api//x"):
        assert asked(app, path).status == 401
        assert asked(app, path, bearer(secret)).error["code"] == "mode_not_allowed"
    for path in ("/", "/apiary", "/API/x", "/bür/x", ""):
        assert asked(app, path).status == 200


@pytest.mark.parametrize(
    ("path", "root_path", "routed"),
    [
        ("/x", "", "/x"),
        ("/api/x", "/api", "/x"),
        ("/api", "/api", ""),
        ("/apix", "/api", "/apix"),
        ("/x", "/api", "/x"),
    ],
)
def test_the_path_is_the_one_that_routers_match(path: str, root_path: str, routed: str) -> None:
    assert environ_of(new_scope(path, root_path=root_path))["PATH_INFO"] == routed


def test_the_prefix_that_an_application_sets_itself(latchkey: Latchkey) -> None:
    """FastAPI takes its own root_path from the path after this middleware has seen it."""

    class Prefixed(AsgiApplication):
        root_path = "/prefix"

    app = LatchkeyMiddleware(Prefixed(), latchkey, only=("/api/",))
    assert asked(app, "/prefix/api/x").status == 401
    assert asked(app, "/api/x").status == 401
    assert asked(app, "/prefix/x").status == 200


def test_headers_are_read_as_in_wsgi() -> None:
    headers = [("X-Api-Key", "a"), ("x-api-key", "é"), ("X_Api_Secret", "b"), ("x-api_more", "c")]
    environ = environ_of(new_scope("/é", [*headers, ("X-Api-Other", "d"), ("Accept", "e")]))
    assert environ == {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/é".encode().decode("latin-1"),
        "REMOTE_ADDR": "192.0.2.7",
        "HTTP_X_API_KEY": "a,é",
        "HTTP_X_API_OTHER": "d",
    }
    # A server that keeps the case of names, and a peer without an address.
    scope = new_scope() | {"headers": [(b"AUTHORIZATION", b"x")], "client": None}
    environ = environ_of(scope)
    assert (environ["HTTP_AUTHORIZATION"], environ["REMOTE_ADDR"]) == ("x", "")


def test_the_state_of_the_server_stays(
    app: LatchkeyMiddleware, inner: AsgiApplication, secret: str
) -> None:
    shared = {"pool": 5}
    asked(app, "/", bearer(secret), state=shared)
    assert inner.scopes[0]["state"]["pool"] == 5
    assert shared == {"pool": 5}
    scope = new_scope("/", bearer(secret))
    del scope["state"]
    asyncio.run(ask(app, scope))
    assert inner.principals[1].name == "all"


def test_a_refused_handshake(app: LatchkeyMiddleware, inner: AsgiApplication, secret: str) -> None:
    async def handshake(headers: dict[str, str], **more: Any) -> list[Any]:
        return await exchange(app, new_scope("/ws", headers, kind="websocket", **more), CONNECT)

    assert asyncio.run(handshake({})) == [{"type": "websocket.close", "code": 1008}]
    start, body = asyncio.run(handshake({}, **WITH_RESPONSES))
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert b"No API key provided" in body["body"]
    assert inner.scopes == []
    assert asyncio.run(handshake(bearer(secret))) == [{"type": "websocket.accept"}]
    assert inner.principals[0].name == "all"


def test_an_open_connection_can_check_again(
    app: LatchkeyMiddleware, inner: AsgiApplication, latchkey: Latchkey, secret: str
) -> None:
    async def connect() -> list[bool]:
        answers = []
        for path, headers in (("/ws", bearer(secret)), ("/open", {})):
            await exchange(app, new_scope(path, headers, kind="websocket"), CONNECT)
            still_valid = inner.scopes[-1]["state"]["still_valid"]
            answers.append(await still_valid())
            answers.append(await still_valid())
            # An application may log its state.
            assert secret not in f"{inner.scopes[-1]['state']!r}"
        latchkey.credentials.revoke(inner.principals[0].api_key, None, by=TESTER)
        for scope in inner.scopes:
            answers.append(await scope["state"]["still_valid"]())
        return answers

    assert asyncio.run(connect()) == [True, True, True, True, False, True]
    # The principal of the handshake is unchanged.
    assert inner.principals[0].name == "all"


def test_the_life_of_the_server_passes(app: LatchkeyMiddleware, inner: AsgiApplication) -> None:
    life = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = asyncio.run(exchange(app, {"type": "lifespan", "state": {}}, *life))
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


def test_an_invalid_configuration_stops_the_start(
    inner: AsgiApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATCHKEY_DATABASE_URL", "sqlite:////nowhere/at/all.db")
    app = LatchkeyMiddleware(inner)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(ConfigurationError, match="there is no database"):
        asyncio.run(app({"type": "lifespan"}, receive, send))
    assert sent[0]["type"] == "lifespan.startup.failed"
    assert "there is no database" in sent[0]["message"]
    # A server without this protocol learns it from the first request, and each later one.
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="there is no database"):
            asked(app)


def test_other_connections_are_refused(app: LatchkeyMiddleware, inner: AsgiApplication) -> None:
    with pytest.raises(ConfigurationError, match="'webtransport' are not supported"):
        asyncio.run(exchange(app, {"type": "webtransport"}))
    assert inner.scopes == []


def test_open_rules_with_placeholders_need_a_router(latchkey: Latchkey) -> None:
    with pytest.raises(ConfigurationError, match="need a router"):
        LatchkeyMiddleware(AsgiApplication(), latchkey, OpenRoutes({("GET", "/<name>")}))


@pytest.mark.parametrize("raised", [InsufficientScope("orders:read"), StoreError("a detail")])
def test_an_error_of_latchkey_is_answered(
    latchkey: Latchkey, secret: str, raised: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise raised

    answer = asked(LatchkeyMiddleware(failing, latchkey), "/", bearer(secret))
    if isinstance(raised, StoreError):
        assert (answer.status, answer.error["code"]) == (500, "internal_error")
        assert "a detail" in caplog.text
    else:
        assert (answer.status, answer.error["code"]) == (403, "insufficient_scope")
        assert 'scope="orders:read"' in answer.headers["www-authenticate"]


def test_an_error_after_the_start_of_the_answer_is_the_servers(
    latchkey: Latchkey, secret: str
) -> None:
    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        raise InsufficientScope("orders:read")

    app = LatchkeyMiddleware(streaming, latchkey)
    with pytest.raises(InsufficientScope):
        asked(app, "/", bearer(secret))


def test_tasks_and_threads_of_a_request_know_the_principal(latchkey: Latchkey, secret: str) -> None:
    names: list[str | None] = []

    def note() -> None:
        principal = principal_or_none()
        names.append(None if principal is None else principal.name)

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        note()
        await asyncio.to_thread(note)
        await AsgiApplication()(scope, receive, send)

    app = LatchkeyMiddleware(noting, latchkey, OpenRoutes({("GET", "/open")}))

    async def both() -> None:
        note()
        await asyncio.gather(ask(app, new_scope("/", bearer(secret))), ask(app, new_scope("/open")))
        note()

    asyncio.run(both())
    assert names.count("all") == 2
    assert names.count(None) == 4


def test_a_child_after_a_fork_refuses(
    app: LatchkeyMiddleware, inner: AsgiApplication, secret: str
) -> None:
    assert asked(app, "/", bearer(secret)).status == 200
    child = os.fork()
    if child == 0:
        status = 1
        try:
            answers = [asked(app, "/", bearer(secret)).status, asked(app, "/open").status]
            status = 0 if answers == [500, 500] else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_nothing_of_a_framework_is_imported() -> None:
    code = (
        "import sys, latchkey.asgi\n"
        "assert not {'starlette', 'fastapi', 'django', 'uvicorn', 'anyio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
