"""The auth classes against real servers: rotation, Retry-After, redirects between two ports."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import requests

from latchkey.client import HttpxAuth, RequestsAuth
from latchkey.client.keys import KeyFile, Scheme
from tests.support.client.scripted_server import Received, Reply, ScriptedServer
from tests.support.client.senders import SENDERS, Sender, write_key

OLD, NEW = "sk_live_old", "sk_live_new"
SCHEMES: list[Scheme] = ["bearer", "pair"]

each_sender = pytest.mark.parametrize("sender", SENDERS, ids=lambda one: type(one).__name__)
each_scheme = pytest.mark.parametrize("scheme", SCHEMES)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def other() -> Iterator[ScriptedServer]:
    """A server at another port, which is another origin."""
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_key(tmp_path / "client.key", OLD)


def only(secret: str) -> Any:
    """A server's answers when only this secret is valid."""
    return lambda received: Reply(200 if received.secret == secret else 401)


@each_sender
@each_scheme
def test_a_key_is_sent(sender: Sender, scheme: Scheme, server: ScriptedServer, file: Path) -> None:
    assert sender.send(sender.auth(KeyFile(file), scheme=scheme), "GET", server.url) == 200
    (received,) = server.received
    sent = {name for name in received.headers if name.startswith(("x-api", "authorization"))}
    assert sent == ({"authorization"} if scheme == "bearer" else {"x-api-key", "x-api-secret"})
    assert received.secret == OLD
    assert received.headers.get("x-api-key", "ak_live_of_the_test") == "ak_live_of_the_test"


@each_sender
@each_scheme
def test_a_replaced_key_is_used_after_a_401(
    sender: Sender, scheme: Scheme, server: ScriptedServer, file: Path
) -> None:
    auth = sender.auth(KeyFile(file), scheme=scheme)
    write_key(file, NEW)
    server.script = only(NEW)
    assert sender.send(auth, "POST", server.url, b"an order") == 200
    assert server.secrets == [OLD, NEW]
    assert [one.body for one in server.received] == [b"an order"] * 2
    assert sender.send(auth, "GET", server.url) == 200
    assert server.secrets == [OLD, NEW, NEW]


@each_sender
def test_the_same_key_is_not_sent_again(sender: Sender, server: ScriptedServer, file: Path) -> None:
    server.script = only(NEW)
    assert sender.send(sender.auth(KeyFile(file)), "GET", server.url) == 401
    assert server.secrets == [OLD]


@each_sender
def test_a_request_is_sent_with_a_new_key_only_once(
    sender: Sender, server: ScriptedServer, file: Path
) -> None:
    auth = sender.auth(KeyFile(file))

    def replaced_each_time(received: Received) -> Reply:
        write_key(file, f"sk_live_{len(server.received)}")
        return Reply(401)

    server.script = replaced_each_time
    assert sender.send(auth, "GET", server.url) == 401
    assert server.secrets == [OLD, "sk_live_1"]


@each_sender
def test_a_key_that_cannot_be_read_again_leaves_the_401(
    sender: Sender, server: ScriptedServer, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    auth = sender.auth(KeyFile(file))
    server.script = only(NEW)
    file.unlink()
    assert sender.send(auth, "GET", server.url) == 401
    assert "cannot be read again: the key file" in caplog.text
    write_key(file, NEW)
    assert sender.send(auth, "GET", server.url) == 200


@each_sender
def test_a_body_that_cannot_be_sent_again_is_sent_once(
    sender: Sender, server: ScriptedServer, file: Path
) -> None:
    auth = sender.auth(KeyFile(file))
    write_key(file, NEW)
    server.script = only(NEW)
    assert sender.send(auth, "POST", server.url, iter([b"an ", b"order"])) == 401
    assert [one.body for one in server.received] == [b"an order"]
    # Its 401 has changed nothing: the next request finds the new key.
    assert sender.send(auth, "GET", server.url) == 200


def test_requests_sends_a_file_again_from_its_position(server: ScriptedServer, file: Path) -> None:
    auth = RequestsAuth(KeyFile(file))
    write_key(file, NEW)
    server.script = only(NEW)
    content = io.BytesIO(b"skipped, sent")
    content.seek(9)
    assert requests.post(server.url, data=content, auth=auth, timeout=60).status_code == 200
    assert [one.body for one in server.received] == [b"sent"] * 2


def test_httpx_does_not_send_a_file_again(server: ScriptedServer, file: Path) -> None:
    auth = HttpxAuth(KeyFile(file))
    write_key(file, NEW)
    server.script = only(NEW)
    sent = httpx.post(server.url, content=io.BytesIO(b"sent"), auth=auth, timeout=60)
    assert sent.status_code == 401
    assert [one.body for one in server.received] == [b"sent"]


# ---- Retry-After


def refused(times: int, reply: Reply) -> Any:
    """A script that gives this answer to the first requests."""
    left = iter([reply] * times)
    return lambda received: next(left, Reply())


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited, without waiting."""
    waited: list[float] = []

    async def note(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(anyio, "sleep", note)
    return waited


@each_sender
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed(
    sender: Sender, status: int, server: ScriptedServer, file: Path, pauses: list[float]
) -> None:
    server.script = refused(1, Reply(status, {"Retry-After": "7"}))
    assert sender.send(sender.auth(KeyFile(file)), "POST", server.url, b"an order") == 200
    assert [one.body for one in server.received] == [b"an order"] * 2
    assert pauses == [7.0]


@each_sender
def test_a_date_is_obeyed(
    sender: Sender, server: ScriptedServer, file: Path, pauses: list[float]
) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    server.script = refused(1, Reply(503, {"Retry-After": later}))
    assert sender.send(sender.auth(KeyFile(file), max_wait=3600), "GET", server.url) == 200
    (pause,) = pauses
    assert 0 < pause <= 3600


@each_sender
def test_the_time_to_wait_is_bounded_in_all(
    sender: Sender, server: ScriptedServer, file: Path, pauses: list[float]
) -> None:
    server.script = refused(10, Reply(429, {"Retry-After": "20"}))
    auth = sender.auth(KeyFile(file), max_retries=9, max_wait=50)
    assert sender.send(auth, "GET", server.url) == 429
    assert pauses == [20.0, 20.0]


@each_sender
def test_retries_are_bounded(sender: Sender, server: ScriptedServer, file: Path) -> None:
    server.script = refused(10, Reply(503, {"Retry-After": "0"}))
    assert sender.send(sender.auth(KeyFile(file), max_retries=2), "GET", server.url) == 503
    assert len(server.received) == 3


@each_sender
@pytest.mark.parametrize("headers", [{}, {"Retry-After": "soon"}, {"Retry-After": "11"}])
def test_what_would_take_too_long_is_returned(
    sender: Sender, headers: dict[str, str], server: ScriptedServer, file: Path
) -> None:
    server.script = refused(1, Reply(429, headers))
    assert sender.send(sender.auth(KeyFile(file), max_wait=10), "GET", server.url) == 429
    assert len(server.received) == 1


@each_sender
def test_a_new_key_and_a_wait_work_together(
    sender: Sender, server: ScriptedServer, file: Path
) -> None:
    auth = sender.auth(KeyFile(file))
    write_key(file, NEW)
    steps = iter([Reply(503, {"Retry-After": "0"}), Reply(401), Reply(429, {"Retry-After": "0"})])
    server.script = lambda received: next(steps, Reply())
    assert sender.send(auth, "GET", server.url) == 200
    assert server.secrets == [OLD, OLD, NEW, NEW]


# ---- Redirects


def redirect(to: str, status: int = 307) -> Any:
    """A script that redirects the path / there."""
    return lambda received: Reply(status, {"Location": to}) if received.path == "/" else Reply(200)


@each_sender
@each_scheme
@pytest.mark.parametrize("status", [302, 307, 308])
def test_another_origin_never_gets_the_secret(
    sender: Sender,
    scheme: Scheme,
    status: int,
    server: ScriptedServer,
    other: ScriptedServer,
    file: Path,
) -> None:
    server.script = redirect(f"{other.url}/elsewhere", status)
    other.script = lambda received: Reply(401)
    write_key(file, OLD)
    auth = sender.auth(KeyFile(file), scheme=scheme)
    write_key(file, NEW)
    assert sender.send(auth, "GET", f"{server.url}/") == 401
    assert server.secrets == [OLD]
    (received,) = other.received
    assert OLD not in str(received)
    assert NEW not in str(received)
    assert "ak_live" not in str(received)


@each_sender
@each_scheme
def test_an_origin_that_redirects_back_gets_no_secret(
    sender: Sender, scheme: Scheme, server: ScriptedServer, other: ScriptedServer, file: Path
) -> None:
    """The other origin has chosen the path, so it would act with the key."""
    server.script = redirect(f"{other.url}/elsewhere")
    other.script = lambda received: Reply(307, {"Location": f"{server.url}/delete"})
    auth = sender.auth(KeyFile(file), scheme=scheme)
    assert sender.send(auth, "GET", f"{server.url}/") == 200
    assert server.secrets == [OLD, None]
    assert other.secrets == [None]


@each_sender
@each_scheme
def test_the_same_origin_gets_the_secret(
    sender: Sender, scheme: Scheme, server: ScriptedServer, file: Path
) -> None:
    def moved(received: Received) -> Reply:
        if received.path == "/":
            return Reply(308, {"Location": "/moved"})
        return Reply(200 if received.secret == OLD else 401)

    server.script = moved
    auth = sender.auth(KeyFile(file), scheme=scheme)
    assert sender.send(auth, "POST", f"{server.url}/", b"an order") == 200
    assert {one.body for one in server.received} == {b"an order"}
    assert server.received[0].path == "/"
    assert server.secrets[-1] == OLD


@each_sender
@each_scheme
def test_a_replaced_key_is_used_behind_a_redirect(
    sender: Sender, scheme: Scheme, server: ScriptedServer, file: Path
) -> None:
    """What was redirected is not asked for again: it may have changed something."""

    def see_other(received: Received) -> Reply:
        if received.path == "/":
            return Reply(303, {"Location": "/made"})
        return Reply(200 if received.secret == NEW else 401)

    server.script = see_other
    auth = sender.auth(KeyFile(file), scheme=scheme)
    write_key(file, NEW)
    assert sender.send(auth, "POST", f"{server.url}/", b"an order") == 200
    assert [one.path for one in server.received].count("/") == 1
    assert server.secrets[0] == OLD
    assert server.secrets[-1] == NEW


# ---- Secrecy


@each_sender
@each_scheme
def test_the_secret_is_in_no_log_and_no_repr(
    sender: Sender,
    scheme: Scheme,
    server: ScriptedServer,
    file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    auth = sender.auth(KeyFile(file), scheme=scheme)
    write_key(file, NEW)
    server.script = only(NEW)
    assert sender.send(auth, "GET", server.url) == 200
    assert caplog.records
    assert OLD not in caplog.text + repr(auth)
    assert NEW not in caplog.text + repr(auth)
    assert "ak_live_of_the_test" in repr(auth)


def test_httpx_shows_no_secret_in_its_requests(server: ScriptedServer, file: Path) -> None:
    for scheme in SCHEMES:
        answer = httpx.get(server.url, auth=HttpxAuth(KeyFile(file), scheme=scheme))
        assert server.secrets[-1] == OLD
        assert OLD not in repr(answer.request.headers)
