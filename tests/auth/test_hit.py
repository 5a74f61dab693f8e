"""The compiled check of a hit has the same outcome as the policy in Python, for any headers.

Both belong to one middleware: when it is called, its gate runs the compiled check first; the policy
can also be called by itself.
"""

from __future__ import annotations

import gc
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latchkey import OpenRoutes, wsgi
from latchkey.box.counter_names import Count, Use
from latchkey.credentials.models import Principal
from tests.support.auth.worker import Running, Worker, api_key, derive, forge
from tests.support.times import in_time

OPEN = OpenRoutes(
    frozenset({("GET", "/health"), ("POST", "/credentials"), ("GET", "/é"), ("GET", "")}),
    ("/docs/", "/ü/"),
)
PRINCIPAL = "latchkey.principal"


class Text(str):
    """A subclass of str with misleading methods."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 7

    def __len__(self) -> int:
        return 79


class Stage:
    """A worker in real time with all kinds of credentials; its application records calls."""

    def __init__(self, directory: Path) -> None:
        self.worker = Worker(directory / "latchkey.db", real_time=True)
        self.seen: list[dict[str, Any]] = []
        self.middleware: Any = wsgi.middleware(
            self.application, self.worker.authenticator, open_routes=OPEN
        )
        self.good, self.revoked, self.cold = (self.worker.issue() for _ in range(3))
        self.expired = self.worker.issue(datetime.now(UTC) + timedelta(hours=1))
        self.unknown = derive(self.worker.keys.newest)
        self.forged = forge(self.good)
        self.worker.revoke(self.revoked)
        with closing(sqlite3.connect(self.worker.path)) as database, database:
            database.execute(
                "UPDATE credential SET expires_at = created_at WHERE api_key = ?",
                [api_key(self.expired)],
            )
        self.account, disabled = self.worker.new_account(), self.worker.new_account()
        self.customer = self.worker.issue(account=self.account)
        self.disabled = self.worker.issue(account=disabled)
        self.worker.disable(disabled)
        warm = (self.good, self.revoked, self.expired, self.unknown, self.customer, self.disabled)
        for secret in warm:
            self.worker.outcome(secret)

    def application(self, environ: Any, start_response: Any) -> list[bytes]:
        self.seen.append(dict(environ))
        start_response("200 OK", [("X-Through", "yes")])
        return [b"through"]

    def plainly(self, environ: Any, start_response: Any) -> Any:
        """Call the middleware without its compiled part."""
        answer = self.middleware.application.policy.examine(environ, start_response)
        return self.application(environ, start_response) if answer is None else answer

    def came_to(self, call: Callable[..., Any], environ: Any) -> tuple[Any, ...]:
        """The outcome of a call: the response, the error, and the application's principal."""
        started: list[Any] = []
        self.seen.clear()

        def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
            started.append((status, headers))

        try:
            body: Any = list(call(environ, start_response))
        except Exception as error:  # noqa: BLE001 - compared with the other way's
            body = (type(error), str(error))
        return started, body, [seen[PRINCIPAL] for seen in self.seen]

    def both(self, environ: dict[str, Any]) -> tuple[Any, ...]:
        """The outcome of both paths, which must be the same."""
        compiled = self.came_to(self.middleware, dict(environ))
        plain = self.came_to(self.plainly, dict(environ))
        assert compiled == plain
        return compiled


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("hit"))
    yield stage
    stage.worker.close()


def request(path: str = "/v1/account", method: str = "GET", **headers: Any) -> dict[str, Any]:
    return {"REQUEST_METHOD": method, "PATH_INFO": path, "REMOTE_ADDR": "192.0.2.7"} | {
        f"HTTP_{name}": value for name, value in headers.items()
    }


def bearer(secret: str, **more: Any) -> dict[str, Any]:
    return request(AUTHORIZATION=f"Bearer {secret}", **more)


def pair(secret: str, **more: Any) -> dict[str, Any]:
    return request(X_API_KEY=api_key(secret), X_API_SECRET=secret, **more)


def hits(stage: Stage) -> int:
    return stage.worker.authenticator.counters.value(Count.CACHE_HIT)


@pytest.mark.parametrize("scheme", [bearer, pair])
def test_a_hit_runs_no_python_code(
    stage: Stage, scheme: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise AssertionError("not decided by compiled code")

    monkeypatch.setattr(wsgi.Policy, "examine", fail)
    monkeypatch.setattr(wsgi.Policy, "examine_unknown", fail)
    before = hits(stage)
    started, body, principals = stage.came_to(stage.middleware, scheme(stage.good))
    assert (started, body) == ([("200 OK", [("X-Through", "yes")])], [b"through"])
    assert [type(one) for one in principals] == [Principal]
    assert principals[0].api_key == api_key(stage.good)
    assert hits(stage) == before + 1
    # The same holds for open routes.
    assert stage.came_to(stage.middleware, request("/health"))[2] == [None]
    assert stage.came_to(stage.middleware, request("/docs/x", "PUT"))[2] == [None]


@pytest.mark.parametrize("scheme", [bearer, pair])
def test_every_kind_of_credential(stage: Stage, scheme: Callable[[str], dict[str, Any]]) -> None:
    kinds = ("good", "cold", "customer", "disabled", "revoked", "expired", "unknown", "forged")
    statuses = [stage.both(scheme(getattr(stage, kind)))[0][0][0][:3] for kind in kinds]
    assert statuses == ["200"] * 3 + ["401"] * 5


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "get", ""])
@pytest.mark.parametrize(
    "path",
    [
        "/health",
        "/healthx",
        "/Health",
        "/credentials",
        "/docs/",
        "/docs",
        "/docs/a",
        "",
        "/é",
        "/ü/a",
    ],
)
def test_open_routes(stage: Stage, method: str, path: str) -> None:
    _, _, principals = stage.both(request(path, method))
    assert principals == ([None] if OPEN.admits(method, path) else [])
    # A credential does not change an open route, and its principal is not passed on.
    _, _, [principal] = stage.both(bearer(stage.good, path=path, method=method))
    assert (principal is None) == OPEN.admits(method, path)


def _values(stage: Stage) -> st.SearchStrategy[Any]:
    kinds = ("good", "revoked", "expired", "forged", "unknown", "disabled")
    secrets = [getattr(stage, kind) for kind in kinds]
    keys = [api_key(secret) for secret in secrets]
    marks = ["Bearer", "bearer", "BEARER", "Basic", " ", "  ", ",", "\t", "", "é", "\udc80", "sk_"]
    words = st.sampled_from([*marks, *secrets, *keys])
    composed = st.lists(words, max_size=4).map("".join)
    spaced = st.tuples(st.sampled_from(["Bearer ", "bearer ", "BeArEr ", "Bearer  "]), words).map(
        "".join
    )
    edited = st.tuples(
        st.sampled_from(["", "Bearer "]),
        st.sampled_from(secrets + keys),
        st.integers(0, 78),
        st.characters(codec="latin-1"),
    ).map(lambda edit: edit[0] + edit[1][: edit[2]] + edit[3] + edit[1][edit[2] + 1 :])
    odd = st.sampled_from(
        [b"Bearer", None, 7, Text(f"Bearer {stage.good}"), Text(stage.good), "x" * 100_000]
    )
    return st.one_of(words, spaced, composed, edited, st.text(), odd)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_headers_have_the_same_outcome(stage: Stage, data: st.DataObject) -> None:
    environ = request(
        data.draw(st.sampled_from(["/v1/x", "/x", "/health", "/docs/", "/é", "/\udc80", ""])),
        data.draw(st.sampled_from(["GET", "POST", "HEAD"])),
    )
    names = ("HTTP_AUTHORIZATION", "HTTP_X_API_KEY", "HTTP_X_API_SECRET", "HTTP_X_API_OTHER")
    values = _values(stage)
    for name in names:
        if data.draw(st.booleans()):
            environ[name] = data.draw(values)
    _, _, principals = stage.both(environ)
    if principals and principals[0] is not None:
        # Only the valid credential is admitted, and only with its secret.
        assert principals[0].api_key == api_key(stage.good)
        assert any(stage.good in value for value in environ.values() if isinstance(value, str))


@pytest.mark.parametrize("value", [Text("/health"), Text("/v1/x"), b"/health", None, 5])
def test_hostile_paths_and_methods(stage: Stage, value: Any) -> None:
    stage.both(bearer(stage.good) | {"PATH_INFO": value})
    stage.both(request() | {"PATH_INFO": value})
    stage.both(request("/health") | {"REQUEST_METHOD": value})


def test_an_environ_that_is_no_dict_is_left_to_python(stage: Stage) -> None:
    class Environ(dict[str, Any]):
        pass

    for headers in (bearer(stage.good), bearer(stage.forged), request("/health")):
        compiled = stage.came_to(stage.middleware, Environ(headers))
        assert compiled == stage.came_to(stage.plainly, Environ(headers))


def test_without_a_path_nothing_is_open(stage: Stage) -> None:
    closed = wsgi.middleware(stage.application, stage.worker.authenticator)
    environ = request()
    del environ["PATH_INFO"]
    assert stage.came_to(closed, environ)[0][0][0] == "401 Unauthorized"


def test_uses_are_counted_on_every_path(stage: Stage) -> None:
    secret = stage.worker.issue()
    principal = stage.worker.authenticate(secret)
    uses = stage.worker.authenticator.shared.uses
    before = time.time_ns() // 1_000_000
    for count, environ in enumerate((bearer(secret), pair(secret)), 1):
        stage.both(environ)
        assert uses.value(principal.credential_id, Use.USES) == 2 * count
    last = uses.value(principal.credential_id, Use.LAST_USED)
    assert before - 100 <= last <= time.time_ns() // 1_000_000
    assert uses.row(principal.credential_id)[2:5] == (0, 0, 0)


def test_refusals_of_correct_secrets_are_counted_by_key(stage: Stage) -> None:
    worker = stage.worker
    uses = worker.authenticator.shared.uses

    def refusals(secret: str) -> tuple[int, ...]:
        return uses.row(worker.service.get(api_key(secret), None).id)[2:5]

    revoked, expired = refusals(stage.revoked), refusals(stage.expired)
    stage.both(bearer(stage.revoked))
    stage.both(pair(stage.expired))
    assert refusals(stage.revoked) == (revoked[0] + 2, 0, 0)
    assert refusals(stage.expired) == (0, expired[1] + 2, 0)
    stage.both(bearer(forge(stage.revoked)))
    assert refusals(stage.revoked) == (revoked[0] + 2, 0, 0)
    assert refusals(stage.good) == (0, 0, 0)


def test_an_entry_expires_at_its_deadline_and_a_key_at_its_expiry(tmp_path: Path) -> None:
    """In real time, close to both limits, where the coarse clocks are not precise enough."""
    worker = Worker(tmp_path / "latchkey.db", real_time=True, cache_ttl=0.3)
    seen: list[str] = []
    middleware: Any = wsgi.middleware(lambda environ, start_response: [], worker.authenticator)

    def status(secret: str) -> str:
        del seen[:]
        middleware(bearer(secret), lambda status, headers, exc_info=None: seen.append(status))
        return seen[0] if seen else "through"

    secret, _ = in_time(worker.issue)
    started = time.monotonic()
    expires_at = worker.service.get(api_key(secret), None).expires_at
    assert expires_at is not None
    while (begun := datetime.now(UTC)) < expires_at + timedelta(seconds=0.2):
        came_to = status(secret)
        if begun >= expires_at:
            assert came_to == "401 Unauthorized"
        elif datetime.now(UTC) < expires_at:
            assert came_to == "through"
    # 0.3 seconds each, and one more read when the key had expired.
    assert 2 <= worker.reads.count <= 2 + (time.monotonic() - started) / 0.3
    worker.close()


def test_a_revocation_reaches_the_compiled_check(stage: Stage) -> None:
    for _ in range(50):
        secret = stage.worker.issue()
        assert stage.both(bearer(secret))[1] == [b"through"]
        stage.worker.revoke(secret)
        [(status, _)], _, principals = stage.came_to(stage.middleware, bearer(secret))
        assert (status, principals) == ("401 Unauthorized", [])


def test_a_change_of_an_account_reaches_the_compiled_check(stage: Stage) -> None:
    for _ in range(20):
        for change, status in ((stage.worker.disable, "401"), (stage.worker.enable, "200")):
            stage.both(bearer(stage.customer))
            change(stage.account)
            assert stage.both(bearer(stage.customer))[0][0][0][:3] == status


def test_an_entry_read_under_an_older_ticket_is_not_admitted(stage: Stage) -> None:
    """Even if it happens to be current: the ticket decides."""
    secret = stage.worker.issue()
    stage.worker.outcome(secret)
    stage.worker.authenticator.invalidate(secret[3:30])
    reads = stage.worker.reads.count
    assert stage.both(bearer(secret))[1] == [b"through"]
    assert stage.worker.reads.count == reads + 1


def test_many_threads_at_once(stage: Stage, long: bool) -> None:
    rounds = 20_000 if long else 2_000
    secrets = [stage.worker.issue() for _ in range(4)]
    uses = stage.worker.authenticator.shared.uses
    seeing: Any = lambda environ, start_response: [environ[PRINCIPAL]]  # noqa: E731
    quiet: Any = wsgi.middleware(seeing, stage.worker.authenticator)

    def check(secret: str) -> None:
        for _ in range(rounds):
            [principal] = quiet(bearer(secret), print)
            assert principal.api_key == api_key(secret)

    threads = [Running(partial(check, secret)) for secret in secrets * 2]
    for thread in threads:
        thread.value()
    for secret in secrets:
        row = stage.worker.service.get(api_key(secret), None).id
        assert uses.value(row, Use.USES) == 2 * rounds


def test_nothing_leaks(stage: Stage) -> None:
    """No objects that the collector tracks, and no references to objects that all calls share."""
    shapes = [
        bearer(stage.good), pair(stage.good), bearer(stage.forged), bearer(stage.unknown),
        bearer(stage.revoked), bearer(stage.expired), request("/health"), request(),
    ]  # fmt: skip

    def round_of_calls() -> None:
        for environ in shapes:
            for way in (stage.middleware, stage.plainly):
                stage.came_to(way, dict(environ))
        stage.seen.clear()

    principal = stage.worker.authenticate(stage.good)
    for _ in range(3):
        round_of_calls()
    gc.collect()
    objects = len(gc.get_objects())
    references = [sys.getrefcount(one) for one in (principal, None, True, stage.good)]
    for _ in range(200):
        round_of_calls()
    gc.collect()
    assert abs(len(gc.get_objects()) - objects) < 50
    after = [sys.getrefcount(one) for one in (principal, None, True, stage.good)]
    assert all(abs(now - before) < 50 for now, before in zip(after, references, strict=True))


def test_no_error_contains_a_secret(stage: Stage) -> None:
    assert stage.good not in repr(stage.middleware)
    entry = stage.worker.authenticator.known.get(stage.good[3:30])
    assert stage.good not in repr(entry)
