"""The order services, in Flask and in FastAPI: the same answers to the same requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest

from latchkey.testing import InMemoryLatchkey

EXAMPLES = Path(__file__).parents[2] / "examples"

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def keys() -> Iterator[InMemoryLatchkey]:
    made = InMemoryLatchkey()
    yield made
    made.close()


@pytest.fixture(params=["flask_orders", "fastapi_orders"])
def ask(
    request: pytest.FixtureRequest,
    keys: InMemoryLatchkey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Ask]:
    """Sends a request; returns the status of the answer, and its orders if it has them."""
    monkeypatch.syspath_prepend(str(EXAMPLES / request.param))
    app = import_module(request.param).create_app(keys.instance, tmp_path)
    if request.param == "flask_orders":
        client = app.test_client()

        def in_flask(method: str, path: str, headers: Any = None, body: Any = None) -> Any:
            answer = client.open(path, method=method, headers=headers, json=body)
            shown = answer.json
            return answer.status_code, shown.get("orders", shown)

        yield in_flask
        return
    transport = httpx.ASGITransport(app=app)

    async def sent(method: str, path: str, headers: Any, body: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://orders") as client:
            return await client.request(method, path, headers=headers, json=body)

    def in_fastapi(method: str, path: str, headers: Any = None, body: Any = None) -> Any:
        answer = asyncio.run(sent(method, path, headers, body))
        return answer.status_code, answer.json()

    yield in_fastapi


CHAIR = {"item": "chair", "quantity": 4}


def placed(name: str) -> dict[str, object]:
    return {"id": name, **CHAIR}


def test_selectors(keys: InMemoryLatchkey, ask: Ask) -> None:
    everything = keys.issue(scopes=["orders:write"])
    for name in ("eu-1", "eu-2", "us-1"):
        assert ask("PUT", f"/orders/{name}", everything, CHAIR) == (201, placed(name))
    assert ask("PUT", "/orders/eu-1", everything, CHAIR) == (200, placed("eu-1"))
    europe = keys.issue(scopes=["orders:write:eu-*", "orders:read:us-1"])
    assert ask("PUT", "/orders/eu-3", europe, CHAIR)[0] == 201
    assert ask("PUT", "/orders/us-1", europe, CHAIR)[0] == 403
    assert ask("GET", "/orders/us-1", europe) == (200, placed("us-1"))
    assert ask("GET", "/orders/us-2", europe)[0] == 403
    assert ask("GET", "/orders/eu-9", europe)[0] == 404
    for headers, names in (
        (everything, ["eu-1", "eu-2", "eu-3", "us-1"]),
        (europe, ["eu-1", "eu-2", "eu-3", "us-1"]),
        (keys.issue(scopes=["orders:read:eu-*"]), ["eu-1", "eu-2", "eu-3"]),
        (keys.issue(scopes=["orders:read:us-1"]), ["us-1"]),
        (keys.issue(scopes=["invoices:read"]), []),
    ):
        assert ask("GET", "/orders", headers) == (200, [placed(name) for name in names])


def test_modes_are_apart(keys: InMemoryLatchkey, ask: Ask) -> None:
    live, test = (keys.issue(scopes=["orders:write"], mode=mode) for mode in ("live", "test"))
    assert ask("PUT", "/orders/eu-1", live, CHAIR)[0] == 201
    assert ask("GET", "/orders", test) == (200, [])
    assert ask("GET", "/orders/eu-1", test)[0] == 404


def test_callers(keys: InMemoryLatchkey, ask: Ask) -> None:
    assert ask("GET", "/orders")[0] == 401
    headers = keys.issue(scopes=["orders:read"])
    assert ask("GET", "/orders", headers) == (200, [])
    keys.revoke(headers)
    assert ask("GET", "/orders", headers)[0] == 401


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"item": "", "quantity": 1},
        {"item": "chair"},
        *({"item": "chair", "quantity": one} for one in (0, True, "1", 1.5, None, 10**30)),
    ],
)
def test_wrong_bodies(keys: InMemoryLatchkey, ask: Ask, body: object) -> None:
    headers = keys.issue(scopes=["orders:write"])
    assert ask("PUT", "/orders/eu-1", headers, body)[0] in (400, 422)
    assert ask("GET", "/orders", headers) == (200, [])
