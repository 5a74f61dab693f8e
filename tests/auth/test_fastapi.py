"""FastAPI: dependencies that require scopes, and their OpenAPI description."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Security, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from httpx import ASGITransport, AsyncClient, Response
from starlette.responses import PlainTextResponse

from latchkey import Latchkey, OpenRoutes, Principal, any_of
from latchkey.asgi import LatchkeyMiddleware
from latchkey.box.counter_names import Count
from latchkey.errors import ConfigurationError, InsufficientScope
from latchkey.fastapi import any_credential, protect, require_scope
from tests.support.audited import TESTER
from tests.support.auth.asgi_calls import exchange, new_scope
from tests.support.auth.plain_application import bearer, pair

# FastAPI asks this of pydantic's models, in their lowest versions.
pytestmark = pytest.mark.filterwarnings("ignore:The `__fields__` attribute is deprecated")
OPEN = OpenRoutes({("GET", "/health"), ("GET", "/openapi.json")})
Reader = Annotated[Principal, Depends(require_scope("orders:read"))]
OneReader = Annotated[Principal, Depends(require_scope("orders:read", of="order_id"))]


def shop() -> FastAPI:
    app = FastAPI(title="shop")
    router = APIRouter(prefix="/orders")

    @router.get("/")
    async def orders(principal: Reader) -> dict[str, str]:
        return {"key": principal.api_key}

    @router.get("/{order_id}")
    def show_order(order_id: str, principal: OneReader) -> dict[str, str]:
        return {"order": order_id}

    @router.post("/", dependencies=[Security(require_scope("orders:write"))])
    async def add_order() -> dict[str, str]:
        return {}

    @app.get("/keys/{api_key}")
    async def key(
        principal: Annotated[
            Principal, Depends(require_scope("credentials:read", or_own="api_key"))
        ],
    ) -> dict[str, str | None]:
        return {"name": principal.name}

    @app.get("/either", dependencies=[Depends(require_scope(any_of("a:read", "b:read")))])
    async def either() -> dict[str, str]:
        return {}

    @app.get("/whoami")
    async def show_caller(principal: Annotated[Principal, Depends(any_credential)]) -> str | None:
        return principal.name

    @app.get("/plain")
    async def plain() -> str:
        return "plain"

    @app.get("/health")
    async def health() -> str:
        return "well"

    app.include_router(router)
    return app


def key(latchkey: Latchkey, *scopes: str) -> str:
    return latchkey.credentials.issue(
        name="shop", caller=None, scopes=frozenset(scopes), by=TESTER
    ).secret


def ask(
    app: FastAPI, path: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> Response:
    async def send() -> Response:
        transport = ASGITransport(app=app)
        async with AsyncClient(transport=transport, base_url="http://shop") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(send())


@pytest.fixture
def app(latchkey: Latchkey) -> FastAPI:
    app = shop()
    protect(app, latchkey, OPEN)
    return app


@pytest.mark.parametrize("scheme", [bearer, pair])
def test_scopes_are_required(app: FastAPI, latchkey: Latchkey, scheme: Callable[..., Any]) -> None:
    reader = scheme(key(latchkey, "orders:read"))
    one = scheme(key(latchkey, "orders:read:eu-*"))
    refused = ask(app, "/orders/")
    assert (refused.status_code, refused.json()["error"]["message"]) == (401, "No API key provided")
    assert ask(app, "/nowhere").status_code == 401
    assert ask(app, "/nowhere", reader).status_code == 404
    assert ask(app, "/orders/", reader).status_code == 200
    assert [ask(app, f"/orders/{name}", one).status_code for name in ("eu-1", "us-1")] == [200, 403]
    denied = ask(app, "/orders/", reader, "POST")
    assert denied.status_code == 403
    assert denied.json()["error"]["message"] == "This request needs the scope orders:write"
    if scheme is bearer:
        assert 'scope="orders:write"' in denied.headers["WWW-Authenticate"]
    assert ask(app, "/whoami", one).json() == "shop"
    assert ask(app, "/plain", one).json() == "plain"
    assert ask(app, "/health").json() == "well"
    assert ask(app, "/either", scheme(key(latchkey, "b:read"))).status_code == 200


def test_a_caller_may_act_on_its_own_key(app: FastAPI, latchkey: Latchkey) -> None:
    secret = key(latchkey, "orders:read")
    own = pair(secret)["X-Api-Key"]
    assert ask(app, f"/keys/{own}", bearer(secret)).json() == {"name": "shop"}
    assert ask(app, "/keys/ak_another", bearer(secret)).status_code == 403


def test_a_missing_scope_is_counted(app: FastAPI, latchkey: Latchkey) -> None:
    before = latchkey.authenticator.counters.value(Count.SCOPE)
    ask(app, "/orders/", bearer(key(latchkey, "other:read")))
    assert latchkey.authenticator.counters.value(Count.SCOPE) == before + 1


def test_a_dependency_on_an_open_route_refuses(latchkey: Latchkey) -> None:
    app = shop()
    protect(app, latchkey, OpenRoutes({("GET", "/whoami")}))
    assert ask(app, "/whoami", bearer(key(latchkey, "a:read"))).status_code == 401


def test_a_dependency_without_the_middleware_refuses() -> None:
    with pytest.raises(ConfigurationError, match="did not come through the middleware"):
        ask(shop(), "/whoami")


def test_the_description_names_schemes_scopes_and_refusals(app: FastAPI) -> None:
    # Twice: FastAPI keeps the description.
    for _ in range(2):
        described = ask(app, "/openapi.json").json()
        schemes = described["components"]["securitySchemes"]
        assert schemes["bearer"]["scheme"] == "bearer"
        assert (schemes["key"]["name"], schemes["secret"]["name"]) == ("X-Api-Key", "X-Api-Secret")
        operations = described["paths"]
        orders = operations["/orders/"]["get"]
        assert orders["security"] == [
            {"bearer": ["orders:read"]},
            {"key": ["orders:read"], "secret": []},
        ]
        assert orders["responses"]["403"]["description"] == "The key needs: orders:read"
        assert operations["/orders/"]["post"]["security"][0] == {"bearer": ["orders:write"]}
        plain = operations["/plain"]["get"]
        assert plain["security"] == [{"bearer": []}, {"key": [], "secret": []}]
        for operation in (orders, plain):
            for status in ("401", "403"):
                content = operation["responses"][status]["content"]["application/json"]
                assert content["schema"] == {"$ref": "#/components/schemas/LatchkeyError"}
        assert "security" not in operations["/health"]["get"]
        assert "401" not in operations["/health"]["get"]["responses"]
        # The credential is no parameter of a view.
        assert "parameters" not in orders


def test_routes_that_are_added_later_are_described(app: FastAPI) -> None:
    app.openapi()
    app.openapi_schema = None

    @app.get("/later")
    async def later(principal: Reader) -> None: ...

    assert app.openapi()["paths"]["/later"]["get"]["security"][0] == {"bearer": ["orders:read"]}


def test_cors_headers_reach_refusals(app: FastAPI) -> None:
    """Middleware that is added later is outside of the check."""
    app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example"], allow_methods=["*"])
    origin = {"Origin": "https://shop.example"}
    refused = ask(app, "/orders/", origin)
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    asked = {**origin, "Access-Control-Request-Method": "POST"}
    assert ask(app, "/orders/", asked, "OPTIONS").status_code == 200


def test_an_application_is_protected_once(app: FastAPI, latchkey: Latchkey) -> None:
    with pytest.raises(ConfigurationError, match="the application shop is protected already"):
        protect(app, latchkey)
    with pytest.raises(ValueError, match="only must be"):
        protect(shop(), latchkey, only=())
    with pytest.raises(ConfigurationError, match="need a router"):
        protect(shop(), latchkey, OpenRoutes({("GET", "/<x>")}))


def test_a_malformed_scope_raises_value_error() -> None:
    with pytest.raises(ValueError, match="is not a scope"):
        require_scope("orders")


def test_a_handler_of_the_application_answers(latchkey: Latchkey) -> None:
    app = shop()
    protect(app, latchkey)

    @app.exception_handler(InsufficientScope)
    async def show(request: Any, error: InsufficientScope) -> PlainTextResponse:
        return PlainTextResponse(f"needs {error.scope}", 403)

    assert ask(app, "/orders/", bearer(key(latchkey, "a:read"))).text == "needs orders:read"


def test_websockets_require_scopes(latchkey: Latchkey) -> None:
    app = FastAPI()
    protect(app, latchkey)

    @app.websocket("/ws")
    async def talk(websocket: WebSocket, principal: Reader) -> None:
        await websocket.accept()
        await websocket.close()

    async def handshake(secret: str) -> str:
        scope = new_scope("/ws", bearer(secret), kind="websocket", subprotocols=[])
        sent = await exchange(app, scope, {"type": "websocket.connect"})
        return str(sent[0]["type"])

    assert asyncio.run(handshake(key(latchkey, "orders:read"))) == "websocket.accept"
    assert asyncio.run(handshake(key(latchkey, "a:read"))) == "websocket.close"


def catching() -> FastAPI:
    """An application with middleware that answers every exception."""
    app = shop()

    @app.middleware("http")
    async def catch(request: Any, call_next: Any) -> Any:
        try:
            return await call_next(request)
        except Exception as error:  # noqa: BLE001 - as such applications do
            return PlainTextResponse(f"a fault: {error!r}", 500)

    return app


def protected(latchkey: Latchkey) -> FastAPI:
    app = catching()
    protect(app, latchkey)
    return app


def mounted(latchkey: Latchkey) -> FastAPI:
    app = FastAPI()
    protect(app, latchkey)
    app.mount("", shop())
    return app


def wrapped(latchkey: Latchkey) -> Any:
    return LatchkeyMiddleware(shop(), latchkey)


@pytest.mark.parametrize("build", [protected, mounted, wrapped])
def test_a_missing_scope_is_no_fault(latchkey: Latchkey, build: Callable[[Latchkey], Any]) -> None:
    """For middleware inside of the check, and for an application inside of another one."""
    app = build(latchkey)
    secret = key(latchkey, "a:read")
    refused = ask(app, "/orders/", bearer(secret))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_scope")
    assert 'scope="orders:read"' in refused.headers["www-authenticate"]
    assert ask(app, "/orders/", pair(secret)).json()["error"]["code"] == "INSUFFICIENT_SCOPE"


def test_a_scope_that_is_missing_after_the_handshake(latchkey: Latchkey) -> None:
    app = FastAPI()
    protect(app, latchkey)
    calls: list[Any] = []

    @app.websocket("/ws")
    async def talk(websocket: WebSocket) -> None:
        calls.append(await require_scope("a:read")(websocket))
        await websocket.accept()
        await require_scope("b:read")(websocket)

    scope = new_scope("/ws", bearer(key(latchkey, "a:read")), kind="websocket")
    with pytest.raises(InsufficientScope):
        asyncio.run(exchange(app, scope, {"type": "websocket.connect"}))
    assert len(calls) == 1
