"""Limits of keys: the same answers and headers over WSGI, Flask, ASGI and FastAPI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import http_sf
import pytest

from latchkey import Latchkey, require_scope
from latchkey import fastapi as on_fastapi
from latchkey.asgi import LatchkeyMiddleware
from latchkey.box.counter_names import Use
from latchkey.errors import LimitReached
from latchkey.store.protocols import LimitStore
from latchkey.testing import InMemoryLatchkey
from latchkey.wsgi_answers import answer_error
from tests.support.auth.asgi_calls import AsgiApplication, asked, exchange, new_scope
from tests.support.auth.limited_applications import (
    ALL,
    Ask,
    fastapi,
    flask,
    flask_application,
    plain,
    titled,
)
from tests.support.auth.plain_application import Answer, PlainApplication, call
from tests.support.auth.worker import api_key

# Nothing of it is available again while a test runs.
THREE: Mapping[str, Any] = {"rate": "3/day"}
SECONDS_OF_A_DAY = 86_400


@pytest.fixture
def memory() -> Iterator[InMemoryLatchkey]:
    made = InMemoryLatchkey()
    yield made
    made.close()


def listed(answer: Answer, header: str) -> dict[str, dict[str, int]]:
    """The members of a list of Structured Fields, by name."""
    members = cast(Any, http_sf.parse(answer.headers[header].encode(), tltype="list"))
    return dict(members)


def levels(answer: Answer) -> dict[str, int]:
    """What remains of each limit, in their order."""
    return {name: parameters["r"] for name, parameters in listed(answer, "RateLimit").items()}


@pytest.mark.parametrize("surface", ALL)
def test_a_rate(memory: InMemoryLatchkey, surface: Callable[[Latchkey], Ask]) -> None:
    ask = surface(memory.instance)
    headers = memory.issue(scopes=["orders:read"], limits=[THREE])
    for remaining in (2, 1, 0):
        answer = ask("/", headers)
        assert (answer.status, levels(answer)) == (200, {"default": remaining})
        assert listed(answer, "RateLimit-Policy") == {"default": {"q": 3, "w": SECONDS_OF_A_DAY}}
        reset = listed(answer, "RateLimit")["default"]["t"]
        assert reset <= (3 - remaining) * SECONDS_OF_A_DAY // 3
    refused = ask("/", headers)
    assert (refused.status, refused.error["code"]) == (429, "rate_limited")
    assert refused.error["type"] == "rate_limit_error"
    assert "default" in refused.error["message"]
    assert 1 <= int(refused.headers["Retry-After"]) <= SECONDS_OF_A_DAY // 3
    assert levels(refused) == {"default": 0}
    assert refused.headers["Cache-Control"] == "no-store"
    uses, limited, exceeded = counted(memory, headers)
    assert (uses, limited, exceeded) == (3, 1, 0)


@pytest.mark.parametrize("surface", ALL)
def test_quotas_with_and_without_an_end(
    memory: InMemoryLatchkey, surface: Callable[[Latchkey], Ask]
) -> None:
    ask = surface(memory.instance)
    limits: list[Mapping[str, Any]] = [
        {"name": "all", "quota": 2, "period": "total"},
        {"rate": "9/day"},
    ]
    headers = memory.issue(scopes=["orders:read"], limits=limits)
    for remaining in (1, 0):
        answer = ask("/", headers)
        assert levels(answer) == {"all": remaining, "default": 7 + remaining}
        assert "t" not in listed(answer, "RateLimit")["all"]
        assert listed(answer, "RateLimit-Policy")["all"] == {"q": 2}
    refused = ask("/", headers)
    assert (refused.status, refused.error["code"]) == (429, "quota_exceeded")
    # Waiting does not help. Nothing was taken from the rate.
    assert "Retry-After" not in refused.headers
    assert levels(refused) == {"all": 0, "default": 7}
    assert counted(memory, headers) == (2, 0, 1)

    monthly = memory.issue(
        scopes=["orders:read"], limits=[{"name": "m", "quota": 1, "period": "month"}]
    )
    assert ask("/", monthly).status == 200
    refused = ask("/", monthly)
    until = listed(refused, "RateLimit")["m"]["t"]
    assert 1 <= int(refused.headers["Retry-After"]) <= 31 * SECONDS_OF_A_DAY
    assert abs(until - int(refused.headers["Retry-After"])) <= 60


@pytest.mark.parametrize("surface", [flask, fastapi])
def test_streams_and_refusals_take_one(
    memory: InMemoryLatchkey, surface: Callable[[Latchkey], Ask]
) -> None:
    ask = surface(memory.instance)
    headers = memory.issue(scopes=["orders:read"], limits=[{"rate": "9/day"}])
    streamed = ask("/stream", headers)
    assert (streamed.body, levels(streamed)) == (b"hello", {"default": 8})
    # A view's cost is taken only from callers that meet its requirement.
    forbidden = ask("/forbidden", headers)
    assert (forbidden.status, levels(forbidden)) == (403, {"default": 7})
    missing = ask("/nowhere", headers)
    assert (missing.status, levels(missing)) == (404, {"default": 6})


def test_a_failing_view_takes_one(memory: InMemoryLatchkey) -> None:
    ask = flask(memory.instance)
    headers = memory.issue(scopes=["orders:read"], limits=[{"rate": "9/day"}])
    failed = ask("/fails", headers)
    assert (failed.status, levels(failed)) == (500, {"default": 8})


@pytest.mark.parametrize("surface", [flask, fastapi])
def test_the_cost_of_a_view(memory: InMemoryLatchkey, surface: Callable[[Latchkey], Ask]) -> None:
    ask = surface(memory.instance)
    headers = memory.issue(scopes=["orders:read"], limits=[THREE])
    # A miss, then a hit; the headers tell what is left after the whole cost.
    assert levels(ask("/two", headers)) == {"default": 1}
    refused = ask("/two", headers)
    assert (refused.status, refused.error["code"]) == (429, "rate_limited")
    assert int(refused.headers["Retry-After"]) >= 1
    # The 1 that admitted the request stays taken.
    assert levels(refused) == {"default": 0}
    assert counted(memory, headers) == (2, 1, 0)
    memory.set_remaining(headers, 3)
    assert levels(ask("/two", headers)) == {"default": 1}


def test_the_cost_of_a_method_of_a_class(memory: InMemoryLatchkey) -> None:
    application = flask_application(memory.instance)
    headers = memory.issue(scopes=["orders:read"], limits=[{"rate": "9/day"}])
    assert levels(call(application, "/class", headers)) == {"default": 8}
    for remaining in (6, 4):
        answer = call(application, "/class", headers, "POST")
        assert levels(answer) == {"default": remaining}


@pytest.mark.parametrize("cost", [0, -1, 1_000_001, True, 1.5, "2"])
def test_an_invalid_cost(memory: InMemoryLatchkey, cost: Any) -> None:
    for declare in (require_scope, on_fastapi.require_scope):
        with pytest.raises((ValueError, TypeError), match="cost"):
            declare("orders:read", cost=cost)
    with pytest.raises((ValueError, TypeError), match="cost"):
        memory.instance.spend({}, cost)


def test_a_wsgi_application_takes_more(memory: InMemoryLatchkey) -> None:
    latchkey = memory.instance

    def application(environ: Any, start_response: Any) -> Any:
        try:
            latchkey.spend(environ, 2)
        except LimitReached as error:
            return answer_error(error, environ, start_response)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]

    protected = latchkey.middleware(application)
    headers = memory.issue(scopes=["orders:read"], limits=[{"rate": "4/day"}])
    assert levels(call(protected, "/", headers)) == {"default": 1}
    refused = call(protected, "/", headers)
    assert (refused.status, levels(refused)) == (429, {"default": 0})
    # A key without limits pays nothing.
    assert "RateLimit" not in call(protected, "/", memory.issue(scopes=["a:read"])).headers


def test_an_asgi_application_takes_more(memory: InMemoryLatchkey) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await scope["state"]["spend"](2)
        await AsgiApplication()(scope, receive, send)

    protected = LatchkeyMiddleware(application, memory.instance)
    limits = [{"name": "all", "quota": 4, "period": "total"}]
    headers = memory.issue(scopes=["orders:read"], limits=limits)
    assert levels(titled(asked(protected, "/", headers))) == {"all": 1}
    refused = titled(asked(protected, "/", headers))
    assert (refused.status, refused.error["code"]) == (429, "quota_exceeded")
    assert levels(refused) == {"all": 0}


def test_handshakes_have_the_headers(memory: InMemoryLatchkey) -> None:
    inner = AsgiApplication()
    protected = LatchkeyMiddleware(inner, memory.instance)
    headers = memory.issue(scopes=["orders:read"], limits=[THREE])
    more: dict[str, Any] = {"extensions": {"websocket.http.response": {}}}

    async def shake() -> list[Any]:
        scope = new_scope("/ws", headers, kind="websocket", **more)
        return await exchange(protected, scope, {"type": "websocket.connect"})

    async def check_again() -> list[bool]:
        still_valid = inner.scopes[-1]["state"]["still_valid"]
        return [await still_valid() for _ in range(3)]

    (accepted,) = asyncio.run(shake())
    assert accepted["type"] == "websocket.accept"
    assert dict(accepted["headers"])[b"ratelimit"].startswith(b'"default";r=2;t=')
    # Each check takes 1; a refusal by a limit is one like any other.
    assert asyncio.run(check_again()) == [True, True, False]
    start, _ = asyncio.run(shake())
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 429)
    assert dict(start["headers"])[b"ratelimit"].startswith(b'"default";r=0;t=')


def test_the_headers_in_the_other_style() -> None:
    memory = InMemoryLatchkey({"LATCHKEY_RATELIMIT_HEADERS": "x"})
    limits: list[Mapping[str, Any]] = [
        {"rate": "8/day"},
        {"name": "all", "quota": 4, "period": "total"},
    ]
    headers = memory.issue(scopes=["orders:read"], limits=limits)
    remaining: list[str] = []
    for surface in ALL:
        # The quota has the smaller share.
        answer = surface(memory.instance)("/", headers)
        lowered = {name.lower(): value for name, value in answer.headers.items()}
        assert lowered["x-ratelimit-limit"] == "4"
        assert "x-ratelimit-reset" not in lowered
        remaining.append(lowered["x-ratelimit-remaining"])
        assert "ratelimit" not in lowered
    assert remaining == ["3", "2", "1", "0"]
    memory.close()


def test_the_default_limit() -> None:
    memory = InMemoryLatchkey({"LATCHKEY_DEFAULT_LIMIT": "3/day,burst=2"})
    ask = plain(memory.instance)
    first, second = (memory.issue(scopes=["orders:read"]) for _ in range(2))
    own = memory.issue(scopes=["orders:read"], limits=[{"name": "own", "rate": "9/day"}])
    assert [ask("/", first).status for _ in range(3)] == [200, 200, 429]
    # Each key has a state of its own.
    answer = ask("/", second)
    assert levels(answer) == {"default": 1}
    assert listed(answer, "RateLimit-Policy") == {"default": {"q": 3, "w": SECONDS_OF_A_DAY}}
    assert levels(ask("/", own)) == {"own": 8}
    memory.close()


def test_what_remains_can_be_set_in_tests(memory: InMemoryLatchkey) -> None:
    ask = plain(memory.instance)
    limits: list[Mapping[str, Any]] = [
        THREE,
        {"name": "monthly", "quota": 1_000, "period": "month"},
    ]
    headers = memory.issue(scopes=["orders:read"], limits=limits)
    ask("/", headers)
    memory.set_remaining(headers, 0, "monthly")
    refused = ask("/", headers)
    assert (refused.error["code"], levels(refused)["monthly"]) == ("quota_exceeded", 0)
    memory.set_remaining(headers, 7, "monthly")
    assert levels(ask("/", headers)) == {"default": 1, "monthly": 6}
    memory.set_remaining(headers, 3)
    assert levels(ask("/", headers))["default"] == 2
    for remaining, limit in ((4, "default"), (-1, "default"), (1, "daily")):
        with pytest.raises(ValueError, match=limit):
            memory.set_remaining(headers, remaining, limit)


def test_refusals_for_other_reasons_take_nothing(memory: InMemoryLatchkey) -> None:
    only_live = memory.instance.middleware(PlainApplication(), modes={"live"})
    headers = memory.issue(scopes=["orders:read"], limits=[THREE], mode="test")
    refused = call(only_live, "/", headers)
    assert (refused.status, "RateLimit" in refused.headers) == (403, False)
    both = memory.instance.middleware(PlainApplication())
    assert levels(call(both, "/", headers)) == {"default": 2}


def counted(memory: InMemoryLatchkey, headers: dict[str, str]) -> tuple[int, int, int]:
    """The uses of a key, and its refusals by rates and quotas."""
    secret = headers["Authorization"].removeprefix("Bearer ")
    number = memory.instance.credentials.get(api_key(secret), None).id
    row = memory.instance.shared.uses.row(number)
    return row[Use.USES], row[Use.RATE_LIMITED], row[Use.QUOTA_EXCEEDED]


def test_units_are_never_reserved_on_the_event_loop(memory: InMemoryLatchkey) -> None:
    on_loop: list[bool] = []
    limiter = memory.instance.limiter
    quotas = memory.instance.store.limits

    class Watched:
        def reserve(self, *arguments: Any) -> Any:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                on_loop.append(False)
            else:
                on_loop.append(True)
            return quotas.reserve(*arguments)

    limiter._store = cast(LimitStore, Watched())

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await scope["state"]["spend"](2)
        await AsgiApplication()(scope, receive, send)

    protected = LatchkeyMiddleware(application, memory.instance)
    limits = [{"name": "all", "quota": 9, "period": "total"}]
    headers = memory.issue(scopes=["orders:read"], limits=limits)
    for _ in range(3):
        assert asked(protected, "/", headers).status == 200
    assert len(on_loop) >= 6
    assert not any(on_loop)
