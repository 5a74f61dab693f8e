"""Latencies of responses, measured in the middleware without changing the response."""

from __future__ import annotations

import gc
import os
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, abort

from latchkey import OpenRoutes, wsgi
from latchkey.box._latencies import Latencies
from latchkey.box.counter_names import Count
from tests.support.auth.latencies import memory, seen
from tests.support.auth.worker import Worker

EVERYTHING = OpenRoutes(areas=("/",))


def call(middleware: Any, path: str = "/x", **more: Any) -> Any:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "SERVER_NAME": "x",
        "SERVER_PORT": "80",
    }
    environ |= {"wsgi.url_scheme": "http", "wsgi.input": None, "wsgi.errors": None, **more}
    return middleware(environ, lambda status, headers, exc_info=None: lambda data: None)


def in_flight(worker: Worker) -> int:
    return worker.authenticator.shared.worker_metrics.totals().in_flight


def counted(worker: Worker) -> dict[tuple[str | None, int], int]:
    return seen(worker.authenticator.latencies)


def test_flask_s_answers_by_endpoint_and_status(real_time_worker: Worker) -> None:
    app = Flask("test")

    @app.get("/good/<name>")
    def good(name: str) -> str:
        assert in_flight(real_time_worker) == 1
        return name

    @app.get("/gone")
    def gone() -> str:
        abort(410)

    @app.get("/broken")
    def broken() -> str:
        raise ValueError("a bug")

    middleware = wsgi.middleware(
        app.wsgi_app, real_time_worker.authenticator, open_routes=EVERYTHING
    )
    for path in ("/good/a", "/good/b", "/gone", "/broken", "/nowhere"):
        call(middleware, path)
    closed = wsgi.middleware(app.wsgi_app, real_time_worker.authenticator)
    call(closed, "/good/a")
    assert counted(real_time_worker) == {
        ("good", 200): 2,
        ("gone", 410): 1,
        ("broken", 500): 1,
        (None, 404): 1,
        (None, 401): 1,
    }
    assert in_flight(real_time_worker) == 0
    assert real_time_worker.authenticator.counters.value(Count.STARTED) == 6


def test_the_time_is_measured_until_the_application_returns(real_time_worker: Worker) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        time.sleep(0.03)
        return []

    call(wsgi.middleware(application, real_time_worker.authenticator, open_routes=EVERYTHING))
    assert 30_000_000 <= real_time_worker.authenticator.latencies.series()[None, 200][-1] < 10**10


def test_an_application_that_raises_counts_as_500(real_time_worker: Worker) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        raise KeyboardInterrupt

    middleware = wsgi.middleware(
        application, real_time_worker.authenticator, open_routes=EVERYTHING
    )
    with pytest.raises(KeyboardInterrupt):
        call(middleware)
    assert counted(real_time_worker) == {(None, 500): 1}
    assert in_flight(real_time_worker) == 0


def test_an_error_while_a_failure_is_counted_is_raised(real_time_worker: Worker) -> None:
    class Broken:
        @property
        def url_rule(self) -> None:
            raise ValueError("a bug")

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["werkzeug.request"] = Broken()
        raise KeyboardInterrupt

    middleware = wsgi.middleware(
        application, real_time_worker.authenticator, open_routes=EVERYTHING
    )
    with pytest.raises(ValueError, match="a bug") as raised:
        call(middleware)
    assert isinstance(raised.value.__context__, KeyboardInterrupt)
    assert in_flight(real_time_worker) == 0
    assert real_time_worker.authenticator.counters.value(Count.STARTED) == 1


def test_a_generator_is_counted_when_its_response_starts(real_time_worker: Worker) -> None:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"a"
        start_response("500 No", [], None)
        yield b"b"

    middleware = wsgi.middleware(
        application, real_time_worker.authenticator, open_routes=EVERYTHING
    )
    answer = call(middleware)
    assert counted(real_time_worker) == {}
    assert list(answer) == [b"a", b"b"]
    assert counted(real_time_worker) == {(None, 200): 1}


def test_the_last_status_counts(real_time_worker: Worker) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        try:
            raise ValueError
        except ValueError as error:
            start_response("503 Not now", [], (type(error), error, error.__traceback__))
        return []

    call(wsgi.middleware(application, real_time_worker.authenticator, open_routes=EVERYTHING))
    assert counted(real_time_worker) == {(None, 503): 1}


def test_start_response_is_the_servers_own(real_time_worker: Worker) -> None:
    """Arguments, results and errors of the server's start_response are passed through unchanged."""
    given: list[tuple[Any, ...]] = []

    def start_response(status: Any, headers: Any, exc_info: Any = None) -> str:
        given.append((status, headers, exc_info))
        return "write"

    returned: list[Any] = []

    def application(environ: Any, start: Any) -> list[bytes]:
        returned.append(start("200 OK", [("A", "b")]))
        returned.append(start("200 OK", headers=[], exc_info=(1, 2, 3)))
        returned.append(start.__call__("200 OK", [], exc_info=None))
        returned.append(start(headers=[], status="200 OK"))
        with pytest.raises(TypeError, match="'headers'"):
            start("200 OK")
        with pytest.raises(TypeError, match="'status' and 'headers'"):
            start()
        with pytest.raises(TypeError, match="'body'"):
            start("200 OK", [], body=b"")
        start(headers=[], status="201 Created")
        return []

    middleware = wsgi.middleware(
        application, real_time_worker.authenticator, open_routes=EVERYTHING
    )
    middleware({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, start_response)  # type: ignore[arg-type]
    assert given == [
        ("200 OK", [("A", "b")], None),
        ("200 OK", [], (1, 2, 3)),
        ("200 OK", [], None),
        ("200 OK", [], None),
        ("201 Created", [], None),
    ]
    assert returned == ["write"] * 4
    assert counted(real_time_worker) == {(None, 201): 1}


@pytest.mark.parametrize(
    "status",
    ["", "2", "20", "abc", "200", "2000 x", "099 x", "600 x", "２００ OK", b"200 OK", None, 200],
)
def test_an_invalid_status_is_counted_and_passed_on(real_time_worker: Worker, status: Any) -> None:
    given: list[Any] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response(status, [])
        return []

    middleware = wsgi.middleware(
        application, real_time_worker.authenticator, open_routes=EVERYTHING
    )
    middleware(
        {"REQUEST_METHOD": "GET", "PATH_INFO": "/"},
        lambda status, headers, exc_info=None: given.append(status),  # type: ignore[arg-type]
    )
    assert given == [status]
    expected = (None, 200) if status in ("200", "2000 x") else ("", 0)
    assert counted(real_time_worker) == {expected: 1}


class Hostile:
    """An object in the place of werkzeug's request that is none."""

    def __init__(self, rule: Any) -> None:
        self.url_rule = rule


class Rule:
    endpoint: Any = 5


@pytest.mark.parametrize("request_", [None, 5, Hostile(None), Hostile(Rule())])
def test_an_object_that_is_not_werkzeugs_request(real_time_worker: Worker, request_: Any) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["werkzeug.request"] = request_
        start_response("200 OK", [])
        return []

    call(wsgi.middleware(application, real_time_worker.authenticator, open_routes=EVERYTHING))
    assert counted(real_time_worker) == {(None, 200): 1}


def test_more_routes_than_places_are_distinguished(real_time_worker: Worker) -> None:
    app = Flask("test")
    statuses = (200, 201, 404)
    for number in range(20):
        app.add_url_rule(f"/{number}/<int:status>", f"view{number}", lambda status: ("", status))
    middleware = wsgi.middleware(
        app.wsgi_app, real_time_worker.authenticator, open_routes=EVERYTHING
    )
    for _ in range(3):
        for number in range(20):
            for status in statuses:
                call(middleware, f"/{number}/{status}")
    assert counted(real_time_worker) == {
        (f"view{number}", status): 3 for number in range(20) for status in statuses
    }


def test_the_name_of_a_route_is_read_once_and_never_mixed_up(
    real_time_worker: Worker,
) -> None:
    """Even if a route is destroyed and another one gets its address in memory."""
    asked: list[int] = []

    class Named:
        def __init__(self, number: int) -> None:
            self.number = number

        @property
        def endpoint(self) -> str:
            asked.append(self.number)
            return f"view{self.number}"

    rules: list[Named] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["werkzeug.request"] = Hostile(rules[0])
        start_response("200 OK", [])
        return []

    middleware = wsgi.middleware(
        application, real_time_worker.authenticator, open_routes=EVERYTHING
    )
    addresses = set()
    for number in range(100):
        rules[:] = [Named(number)]
        addresses.add(id(rules[0]))
        call(middleware)
        call(middleware)
    # Routes in use are kept alive; afterwards their addresses are reused. A sanitizer prevents the
    # reuse of freed memory.
    assert len(addresses) < 100 or os.environ.get("PYTHONMALLOC") == "malloc"
    assert counted(real_time_worker) == {(f"view{number}", 200): 2 for number in range(100)}
    assert asked == list(range(100))


def test_a_cached_route_does_not_leak(real_time_worker: Worker) -> None:
    class Named:
        endpoint = "view"

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["werkzeug.request"] = Hostile(rules[0])
        start_response("200 OK", [])
        return []

    latencies = Latencies(memory())
    rules: list[Any] = [Named()]
    # A cycle: the route refers to the object that stores it.
    rules[0].latencies = latencies
    real_time_worker.authenticator.latencies = latencies
    call(wsgi.middleware(application, real_time_worker.authenticator, open_routes=EVERYTHING))
    assert seen(latencies) == {("view", 200): 1}
    gone = weakref.ref(rules.pop())
    real_time_worker.authenticator.latencies = Latencies(memory())
    del latencies
    gc.collect()
    assert gone() is None


def test_a_stored_start_response_does_not_leak(real_time_worker: Worker) -> None:
    """Some applications store it in the environ, to which it refers back."""

    class Environ(dict[str, Any]):
        __slots__ = ("__weakref__",)

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["kept"] = start_response
        start_response("200 OK", [])
        return []

    middleware = wsgi.middleware(
        application, real_time_worker.authenticator, open_routes=EVERYTHING
    )
    environ = Environ(REQUEST_METHOD="GET", PATH_INFO="/")
    kept = weakref.ref(environ)
    middleware(environ, lambda status, headers, exc_info=None: None)  # type: ignore[arg-type]
    del environ
    gc.collect()
    assert kept() is None


def test_metrics_can_be_disabled(real_time_worker: Worker) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return []

    call(
        wsgi.middleware(
            application, real_time_worker.authenticator, open_routes=EVERYTHING, metrics=False
        )
    )
    assert counted(real_time_worker) == {}
    assert real_time_worker.authenticator.counters.value(Count.STARTED) == 0
