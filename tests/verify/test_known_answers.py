"""The compiled answers to hits are those of Python, for any request.

Two applications use the same database: one with the compiled check, one whose cache is off, which
decides everything in Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from latchkey.assembly import Latchkey
from latchkey.box.counter_names import Count, Verified, verified_index
from latchkey.check._proxied import Branch, KnownAnswers
from latchkey.config import load_settings
from latchkey_service import create_app
from tests.support.service import Pair, Service
from tests.support.verify.asking import FAMILIES, question

Started = tuple[str, list[tuple[str, str]]]


class Application:
    """One application over the database of a service that does not run."""

    def __init__(self, service: Service, backend: str) -> None:
        settings = {**service.settings, "LATCHKEY_CACHE_BACKEND": backend}
        self.app = create_app(load_settings(settings), migrate=False)
        self.latchkey: Latchkey = self.app.extensions["latchkey"]

    def ask(self, environ: dict[str, Any]) -> tuple[Started, list[bytes]]:
        started: list[Started] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc: Any = None) -> Any:
            started.append((status, list(headers)))
            # The server may change the list.
            headers.clear()

        body = list(self.app.wsgi_app(dict(environ), start_response))
        (answer,) = started
        return answer, body

    def counted(self) -> dict[str, int]:
        authenticator = self.latchkey.authenticator
        counts = {
            f"{proxy} {outcome.name}": authenticator.verified.value(verified_index(proxy, outcome))
            for proxy in (*FAMILIES, "envoy")
            for outcome in Verified
        }
        for count in (Count.AUTHENTICATED, Count.MISSING, Count.INVALID, Count.ADDRESS, Count.OPEN):
            counts[count.name] = authenticator.counters.value(count)
        return counts


@dataclass(frozen=True)
class Stage:
    compiled: Application
    python: Application
    keys: dict[str, Pair]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    service = Service(tmp_path_factory.mktemp("known"), LATCHKEY_FAILURE_LIMIT="off")
    service.initialize()
    keys = {
        "live": service.create_key("live", "--scope", "orders:read"),
        "other": service.create_key("live", "--scope", "*"),
        "test": service.create_key("test", "--scope", "orders:read"),
        "network": service.create_key("live", "--scope", "*", "--network", "192.0.2.0/24"),
        "endpoint": service.create_key("live", "--scope", "*", "--endpoint", "GET /orders/**"),
        "unknown": service.derive_pair("live"),
    }
    made = Stage(Application(service, "fastcache"), Application(service, "none"), keys)
    yield made
    for one in (made.compiled, made.python):
        one.latchkey.store.close()


def environ_of(
    proxy: str, query: str, presented: dict[str, str], changes: dict[str, str | None]
) -> dict[str, Any]:
    asked = question(proxy, query=query, headers=presented)
    environ: dict[str, Any] = {
        f"HTTP_{name.upper().replace('-', '_')}": value for name, value in asked.headers
    }
    path, _, own_query = asked.target.partition("?")
    environ |= {
        "REQUEST_METHOD": asked.method,
        "RAW_URI": asked.target,
        "PATH_INFO": path,
        "QUERY_STRING": own_query,
        "REMOTE_ADDR": "10.0.0.1",
        "wsgi.url_scheme": "http",
    }
    family = FAMILIES.get(proxy, "X-Forwarded").upper().replace("-", "_")
    for name, value in changes.items():
        key = {
            "method": f"HTTP_{family}_METHOD",
            "target": f"HTTP_{family}_URI",
            "host": f"HTTP_{family}_HOST",
            "address": "HTTP_X_FORWARDED_FOR",
            "repeated": "HTTP_(REPEATED)",
            "own": "REQUEST_METHOD",
        }[name]
        environ.pop(key, None)
        if value is not None:
            environ[key] = value
    return environ


changes = st.fixed_dictionaries(
    {},
    optional={
        "method": st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "", None, "G T", "get", "é"]),
        "target": st.sampled_from(
            [
                "/orders",
                "/orders/1?x=y",
                "/orders?scope=orders:read",
                "/x",
                "//",
                "",
                None,
                "*",
                "/é",
            ]
        ),
        "host": st.sampled_from(["api.example.com", "API:443", "", None, "a b", "[::1]:80", "ä"]),
        "address": st.sampled_from(["192.0.2.1", "198.51.100.1", "", None, "x, 192.0.2.1"]),
        "repeated": st.sampled_from(["X-ORIGINAL-URI", "X-FORWARDED-HOST", "COOKIE", "HOST"]),
        "own": st.sampled_from(["HEAD", "POST", "BREW"]),
    },
)
queries = st.sampled_from(
    [
        *("", "scope=orders:read", "scope=orders:write", "mode=test", "mode=live&cost=2", "x=1"),
        *("preflight=pass", "scope_any=orders:read&scope_any=a:b", "cost=0"),
    ]
)
presentations = st.tuples(
    st.sampled_from(["live", "other", "test", "network", "endpoint", "unknown"]),
    st.sampled_from(["bearer", "headers", "both", "none"]),
)


@given(st.sampled_from([*FAMILIES, "envoy"]), queries, presentations, changes)
@example("nginx", "scope=orders:read", ("live", "bearer"), {})
@example("nginx", "", ("live", "headers"), {"repeated": "X-ORIGINAL-URI"})
@example("caddy", "scope=orders:read", ("live", "bearer"), {"target": "/orders?scope=orders:read"})
@example("haproxy", "", ("network", "bearer"), {"address": "198.51.100.1"})
@example("traefik", "", ("live", "bearer"), {"target": ""})
def test_both_ways_answer_alike(
    stage: Stage,
    proxy: str,
    query: str,
    presentation: tuple[str, str],
    changes: dict[str, str | None],
) -> None:
    name, way = presentation
    pair = stage.keys[name]
    presented = {
        "bearer": pair.bearer,
        "headers": pair.headers,
        "both": {**pair.bearer, **pair.headers},
        "none": {},
    }[way]
    plain = environ_of(proxy, query, presented, {})
    changed = environ_of(proxy, query, presented, changes)
    before = stage.compiled.counted(), stage.python.counted()
    for environ in (plain, plain, changed, changed):
        assert stage.compiled.ask(environ) == stage.python.ask(environ)
    after = stage.compiled.counted(), stage.python.counted()
    grown = [
        {label: now[label] - then[label] for label in now}
        for then, now in zip(before, after, strict=True)
    ]
    assert grown[0] == grown[1]


def test_a_hit_is_answered_without_python(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first answer, no function of the service is called."""
    import sys

    asked = environ_of("nginx", "scope=orders:read&cost=7", stage.keys["live"].bearer, {})
    for _ in range(3):
        answer = stage.compiled.ask(asked)
    called: list[str] = []

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and "latchkey" in frame.f_code.co_filename:
            called.append(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        again = stage.compiled.ask(asked)
    finally:
        sys.setprofile(None)
    assert again == answer
    assert [name for name in called if "tests" not in name and "Application" not in name] == []


def test_many_urls_hosts_and_methods_are_answered_alike(stage: Stage) -> None:
    """More than are remembered: what is forgotten is decided by Python again."""
    bearer = stage.keys["live"].bearer
    for number in range(1_100):
        query = f"cost={number % 70 + 1}"
        changes: dict[str, str | None] = {"host": f"h{number}.example.com", "method": f"M{number}"}
        environ = environ_of("haproxy", query, bearer, changes)
        (status, _), _ = stage.compiled.ask(environ)
        assert status == "200 OK"
    again = environ_of("haproxy", "cost=1", bearer, {})
    assert stage.compiled.ask(again) == stage.python.ask(again)


def test_other_kinds_of_calls(stage: Stage) -> None:
    environ = environ_of("nginx", "", stage.keys["live"].bearer, {})
    started: list[str] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        started.append(status)

    application: Any = stage.compiled.app.wsgi_app
    for _ in range(2):
        application(environ, start_response)
    with pytest.raises(TypeError, match="environ"):
        application(environ)
    with pytest.raises(TypeError):
        application(environ=environ, start_response=start_response)
    assert started == ["200 OK"] * 2


def test_objects_are_set_up_once() -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        return []

    branch = Branch("/a/", lambda target: application, application)
    with pytest.raises(RuntimeError):
        branch.__init__("/a/", lambda target: application, application)  # type: ignore[misc]
    with pytest.raises(ValueError, match="ASCII"):
        Branch("/ä/", lambda target: application, application)
    with pytest.raises(TypeError):
        KnownAnswers()  # type: ignore[call-arg]
