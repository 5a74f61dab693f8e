"""Calls of the middleware, and watches of requests: they are reused and never mixed up."""

from __future__ import annotations

import gc
import sysconfig
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from latchkey import OpenRoutes, wsgi
from latchkey.box.counter_names import Count
from latchkey.box.shared import SharedState
from latchkey.box.sightings import Sightings
from latchkey.check._check import Check, Verdict
from latchkey.check._gate import Gate
from latchkey.check._latency import Latency
from tests.support.auth.worker import Running, Worker

EVERYTHING = OpenRoutes(areas=("/",))


def new_middleware(worker: Worker, application: Any) -> Any:
    return wsgi.middleware(application, worker.authenticator, open_routes=EVERYTHING)


def new_environ(**more: Any) -> dict[str, Any]:
    return {"REQUEST_METHOD": "GET", "PATH_INFO": "/", **more}


def ignore(status: str, headers: Any, exc_info: Any = None) -> Any:
    """The start_response of a server."""


def counted(worker: Worker) -> dict[int, int]:
    """The number of responses of each status."""
    series = worker.authenticator.latencies.series()
    return {status: sum(values[:-1]) for (_, status), values in series.items() if any(values)}


def good(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"good"]


@pytest.mark.parametrize(
    "call",
    [
        lambda middleware: middleware(),
        lambda middleware: middleware(new_environ()),
        lambda middleware: middleware(new_environ(), ignore, None),
        lambda middleware: middleware(new_environ(), start_response=ignore),
        lambda middleware: middleware(environ=new_environ(), start_response=ignore),
        lambda middleware: middleware.__call__(new_environ()),
    ],
)
def test_a_call_that_does_not_follow_wsgi_is_refused(
    real_time_worker: Worker, call: Callable[[Any], Any]
) -> None:
    middleware = new_middleware(real_time_worker, good)
    with pytest.raises(TypeError, match="called with an environ and a start_response"):
        call(middleware)
    assert real_time_worker.authenticator.counters.value(Count.STARTED) == 0


def test_every_form_of_a_call(real_time_worker: Worker) -> None:
    middleware = new_middleware(real_time_worker, good)
    for call in (middleware, middleware.__call__):
        assert list(call(new_environ(), ignore)) == [b"good"]
    assert counted(real_time_worker) == {200: 2}


def test_the_classes_cannot_be_subclassed(real_time_worker: Worker) -> None:
    middleware = new_middleware(real_time_worker, good)
    kinds = [type(middleware), type(middleware.application), type(middleware.application.policy)]
    for kind in (*kinds, Check):
        assert kind.__bases__ == (object,)
    for kind in (Latency, Gate, Check):
        with pytest.raises(TypeError, match="not an acceptable base type"):
            type("Derived", (kind,), {})


def test_each_part_is_initialised_once(real_time_worker: Worker) -> None:
    latency = new_middleware(real_time_worker, good)
    gate = latency.application
    authenticator = real_time_worker.authenticator
    check = Check(
        authenticator,
        known=authenticator.compiled,
        open_routes=EVERYTHING,
        sightings=Sightings(authenticator.shared),
    )
    again: list[Callable[[], None]] = [
        lambda: latency.__init__(good, authenticator.latencies, authenticator.counters, True),
        lambda: gate.__init__(good, check, gate.policy),
        lambda: check.__init__(  # type: ignore[misc]
            authenticator,
            known=None,
            open_routes=EVERYTHING,
            sightings=Sightings(authenticator.shared),
        ),
    ]
    for initialize in again:
        with pytest.raises(RuntimeError, match="already initialised"):
            initialize()
    assert latency(new_environ(), ignore) == [b"good"]


def test_a_check_by_itself_returns_its_verdict(real_time_worker: Worker) -> None:
    authenticator = real_time_worker.authenticator
    check = Check(
        authenticator,
        known=authenticator.compiled,
        open_routes=OpenRoutes(frozenset({("GET", "/open")})),
        sightings=Sightings(authenticator.shared),
    )
    secret = real_time_worker.issue()
    presented = {"HTTP_AUTHORIZATION": f"Bearer {secret}"}
    assert check(new_environ(PATH_INFO="/open")) is Verdict.OPEN
    assert check(new_environ()) is Verdict.UNDECIDED
    assert check(new_environ(**presented)) is Verdict.UNDECIDED
    principal = real_time_worker.authenticate(secret)
    assert check(new_environ(**presented)) is principal
    assert check(new_environ(HTTP_AUTHORIZATION="Bearer x")) is Verdict.UNDECIDED


def test_sightings_of_other_memory_are_refused(real_time_worker: Worker) -> None:
    elsewhere = Sightings(SharedState.private())
    with pytest.raises(ValueError, match="sightings must be of the memory"):
        wsgi.middleware(good, real_time_worker.authenticator, sightings=elsewhere)


def test_an_uninitialised_part_cannot_be_called() -> None:
    with pytest.raises(TypeError):
        Gate.__new__(Gate)(new_environ(), ignore)
    with pytest.raises(TypeError):
        Latency.__new__(Latency)(new_environ(), ignore)


BEARER = {"HTTP_AUTHORIZATION": f"Bearer {'x' * 79}"}
KEY = {"HTTP_X_API_KEY": f"ak_{'x' * 27}"}


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("HTTP_AUTHORIZATION", {}),
        ("HTTP_AUTHORIZATION", KEY),
        ("HTTP_X_API_KEY", {}),
        ("HTTP_X_API_KEY", BEARER),
        ("HTTP_X_API_SECRET", {}),
        ("HTTP_X_API_SECRET", BEARER),
        ("HTTP_X_API_SECRET", KEY),
        ("PATH_INFO", {}),
        ("PATH_INFO", BEARER),
    ],
)
def test_an_error_of_an_environ_key_is_raised(
    real_time_worker: Worker, name: str, plain: dict[str, str]
) -> None:
    class Hostile(str):
        def __eq__(self, other: object) -> bool:
            raise ValueError("a bug")

        def __hash__(self) -> int:
            return hash(str(self))

    environ = {Hostile(name): "x", "REQUEST_METHOD": "GET", **plain}
    with pytest.raises(ValueError, match="a bug"):
        wsgi.middleware(good, real_time_worker.authenticator)(environ, ignore)
    assert real_time_worker.authenticator.shared.worker_metrics.totals().in_flight == 0


def test_a_watch_is_reset_between_requests(real_time_worker: Worker) -> None:

    def application(environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/fails":
            raise ValueError
        if environ["PATH_INFO"] == "/answers":
            start_response("201 Created", [])
        return []

    middleware = new_middleware(real_time_worker, application)
    for path in ("/answers", "/says-nothing", "/answers", "/fails", "/says-nothing", "/answers"):
        try:
            middleware(new_environ(PATH_INFO=path), ignore)
        except ValueError:
            assert path == "/fails"
    assert counted(real_time_worker) == {201: 3, 500: 1}


def test_a_watch_is_reused_and_cannot_be_called_in_between(real_time_worker: Worker) -> None:
    watches: list[str] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        watches.append(repr(start_response))
        return []

    def spare() -> Any:
        found = gc.get_referents(middleware)
        return [each for each in found if type(each).__name__ == "Watch"]

    middleware = new_middleware(real_time_worker, application)
    assert spare() == []
    middleware(new_environ(), ignore)
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        [kept] = spare()
        assert [repr(kept)] == watches
        with pytest.raises(TypeError):
            kept("200 OK", [])
    else:
        assert spare() == []
    assert counted(real_time_worker) == {}


def test_a_stored_watch_belongs_to_its_request(real_time_worker: Worker) -> None:
    kept: list[Any] = []
    said: list[tuple[str, str]] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        kept.append(start_response)
        return []

    def server(name: str) -> Any:
        return lambda status, headers, exc_info=None: said.append((name, status))

    middleware = new_middleware(real_time_worker, application)
    for name in ("first", "second", "third"):
        middleware(new_environ(), server(name))
    assert len(set(map(id, kept))) == 3
    for start_response, status in zip(kept, ("200 A", "404 B", "503 C"), strict=True):
        start_response(status, [])
    assert said == [("first", "200 A"), ("second", "404 B"), ("third", "503 C")]
    assert counted(real_time_worker) == {200: 1, 404: 1, 503: 1}


def test_no_object_of_a_request_outlives_it(real_time_worker: Worker) -> None:
    class Value:
        """An object of a request's environ, and its server."""

        def __call__(self, status: str, headers: Any, exc_info: Any = None) -> None:
            """Start the response."""

    middleware = new_middleware(real_time_worker, good)
    for _ in range(3):
        value, server = Value(), Value()
        gone = weakref.ref(value), weakref.ref(server)
        middleware(new_environ(value=value), server)
        del value, server
        assert [reference() for reference in gone] == [None, None]


def test_nested_applications_are_two_requests(real_time_worker: Worker) -> None:
    inner = new_middleware(real_time_worker, good)

    def application(environ: Any, start_response: Any) -> list[bytes]:
        answer = list(inner(environ, start_response))
        assert list(inner(environ, ignore)) == answer
        return answer

    outer = new_middleware(real_time_worker, application)
    for _ in range(3):
        assert outer(new_environ(), ignore) == [b"good"]
    assert counted(real_time_worker) == {200: 9}
    assert real_time_worker.authenticator.counters.value(Count.FINISHED) == 9


def test_concurrent_requests_are_distinguished(real_time_worker: Worker) -> None:
    met = threading.Barrier(8)
    said: dict[str, list[str]] = {}

    def application(environ: Any, start_response: Any) -> list[bytes]:
        met.wait(30)
        start_response(environ["status"], [])
        met.wait(30)
        return []

    middleware = new_middleware(real_time_worker, application)

    def ask(status: str) -> None:
        for _ in range(50):
            middleware(
                new_environ(status=status),
                lambda given, headers, exc_info=None: said[status].append(given),
            )

    statuses = [f"{200 + number} x" for number in range(8)]
    said.update((status, []) for status in statuses)
    running = [Running(lambda status=status: ask(status)) for status in statuses]  # type: ignore[misc]
    for each in running:
        each.value()
    assert said == {status: [status] * 50 for status in statuses}
    assert counted(real_time_worker) == {200 + number: 50 for number in range(8)}
