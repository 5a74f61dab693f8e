"""latchkey.testing: a Latchkey in memory, for the tests of applications."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from fastapi import Depends, FastAPI, WebSocket
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware

from latchkey import Principal, any_credential, current_principal, require_scope
from latchkey.asgi import LatchkeyMiddleware
from latchkey.credentials.times import utc_now
from latchkey.errors import ConfigurationError, InvalidField
from latchkey.fastapi import protect
from latchkey.fastapi import require_scope as needs
from latchkey.testing import InMemoryLatchkey
from tests.support.auth.asgi_calls import AsgiApplication, asked, exchange, new_scope

ROOT = Path(__file__).parents[1]
Reader = Annotated[Principal, Depends(needs("orders:read"))]


@pytest.fixture
def latchkey() -> Iterator[InMemoryLatchkey]:
    made = InMemoryLatchkey()
    yield made
    made.close()


@pytest.fixture
def app(latchkey: InMemoryLatchkey) -> Flask:
    made = Flask("shop")

    @made.get("/orders")
    @require_scope("orders:read")
    def list_orders() -> dict[str, object]:
        return {
            "mode": current_principal.mode,
            "customer": current_principal.external_id,
            "metadata": current_principal.account_metadata,
        }

    @made.get("/anybody")
    @any_credential
    def greet() -> str:
        return current_principal.api_key

    latchkey.instance.protect(made)
    return made


def status(app: Flask, path: str, headers: dict[str, str] | None = None) -> int:
    return app.test_client().get(path, headers=headers).status_code


def test_keys(latchkey: InMemoryLatchkey, app: Flask) -> None:
    assert status(app, "/orders") == 401
    assert status(app, "/orders", {"Authorization": "Bearer sk_live_1"}) == 401
    assert status(app, "/orders", latchkey.issue(scopes=["orders:read"])) == 200
    assert status(app, "/orders", latchkey.issue(scopes=["orders:read"], scheme="pair")) == 200
    assert status(app, "/orders", latchkey.issue(scopes="orders:write")) == 200
    assert status(app, "/orders", latchkey.issue(scopes=["orders:list"])) == 403
    with pytest.raises(InvalidField):
        latchkey.issue(scopes=["Orders"])
    with pytest.raises(InvalidField):
        latchkey.issue(scopes=["orders:read"], expires_at=utc_now() - timedelta(days=1))


@pytest.mark.parametrize("scheme", ["bearer", "pair"])
def test_a_revoked_key(
    latchkey: InMemoryLatchkey, app: Flask, scheme: Literal["bearer", "pair"]
) -> None:
    headers = latchkey.issue(scopes=["orders:read"], scheme=scheme)
    other = latchkey.issue(scopes=["orders:read"])
    assert status(app, "/orders", headers) == 200
    latchkey.revoke(headers)
    assert [status(app, "/orders", one) for one in (headers, other)] == [401, 200]


def test_modes_and_accounts(latchkey: InMemoryLatchkey, app: Flask) -> None:
    latchkey.account("customer-7", '{"plan": "large"}')
    headers = latchkey.issue(scopes=["orders:read"], mode="test", account="customer-7")
    again = latchkey.issue(scopes=["orders:read"], mode="test", account="customer-7")
    for one in (headers, again):
        shown = app.test_client().get("/orders", headers=one).json
        assert shown == {"mode": "test", "customer": "customer-7", "metadata": {"plan": "large"}}


def test_a_principal_without_a_check(latchkey: InMemoryLatchkey, app: Flask) -> None:
    with latchkey.as_principal(app, scopes=["orders:read"], mode="test", account="customer-7"):
        shown = app.test_client().get("/orders").json
        assert shown == {"mode": "test", "customer": "customer-7", "metadata": {}}
    with latchkey.as_principal(app, scopes=["orders:list"]) as principal:
        assert status(app, "/orders") == 403
        assert app.test_client().get("/anybody").text == principal.api_key
    assert status(app, "/anybody") == 401


def test_a_principal_without_a_check_of_fastapi(latchkey: InMemoryLatchkey) -> None:
    api = FastAPI()

    @api.get("/orders")
    async def orders(principal: Reader) -> str:
        return principal.api_key

    @api.websocket("/events")
    async def events(websocket: WebSocket, principal: Reader) -> None:
        await websocket.accept()
        await websocket.send_text(f"{await websocket.state.still_valid()}")

    protect(api, latchkey.instance)
    api.add_middleware(GZipMiddleware)
    with latchkey.as_principal(api, scopes=["orders:read"]) as principal:
        assert asked(api, "/orders").body.decode() == f'"{principal.api_key}"'
        with latchkey.as_principal(api, scopes=["orders:list"]):
            assert asked(api, "/orders").error["code"] == "INSUFFICIENT_SCOPE"
        assert asked(api, "/orders", {"Authorization": "Bearer sk_wrong"}).status == 200
        scope = new_scope("/events", kind="websocket")
        sent = asyncio.run(exchange(api, scope, {"type": "websocket.connect"}))
        assert sent[1]["text"] == "True"
    assert asked(api, "/orders").status == 401
    headers = latchkey.issue(scopes=["orders:read"])
    assert asked(api, "/orders", headers).status == 200
    with latchkey.as_principal(api, scopes=["orders:list"]):
        assert asked(api, "/orders", headers).status == 403


def test_a_principal_without_a_check_of_other_applications(latchkey: InMemoryLatchkey) -> None:
    inner = AsgiApplication()
    added = Middleware(LatchkeyMiddleware, latchkey=latchkey.instance)
    site = Starlette(middleware=[Middleware(GZipMiddleware), added])
    site.mount("/", inner)
    wrapped = LatchkeyMiddleware(inner, latchkey.instance)
    apps: list[Any] = [site, wrapped, GZipMiddleware(wrapped)]
    for app in apps:
        with latchkey.as_principal(app, scopes=["orders:read"], account="customer-7") as principal:
            assert asked(app, "/any").status == 200
        assert inner.principals[-1] is principal
        assert principal.external_id == "customer-7"
        assert asked(app, "/any").status == 401
    unprotected: list[Any] = [inner, FastAPI()]
    for app in unprotected:
        with pytest.raises(ConfigurationError, match="has no LatchkeyMiddleware"):
            with latchkey.as_principal(app, scopes=["orders:read"]):
                pass


def test_each_is_empty() -> None:
    first, second = InMemoryLatchkey(), InMemoryLatchkey()
    app = Flask("shop")
    app.add_url_rule("/", view_func=any_credential(lambda: ""))
    second.instance.protect(app)
    assert status(app, "/", first.issue(scopes=["a:b"])) == 401
    assert status(app, "/", second.issue(scopes=["a:b"])) == 200


# ---- Other systems


def use_elsewhere(directory: Path) -> object:
    """What the program for other systems writes, with the packages of a directory."""
    program = (ROOT / "tests/support/elsewhere.py").read_text("utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


USED = {
    "statuses": [401, 200, 403, 401],
    "joined": "Latchkey's workers can share memory only on Linux, not on darwin; for tests "
    "on this system, use latchkey.testing",
}


def test_it_needs_nothing_of_linux_and_no_file() -> None:
    assert use_elsewhere(ROOT) == {**USED, "place": str(ROOT / "latchkey")}


MISSING = """
#define _GNU_SOURCE 1
#include <time.h>
#include <sys/mman.h>
#undef CLOCK_BOOTTIME
#undef CLOCK_MONOTONIC_COARSE
#undef CLOCK_REALTIME_COARSE
#undef MADV_HUGEPAGE
"""


@pytest.mark.timeout(3600)
def test_it_builds_without_the_headers_of_linux(tmp_path: Path, long: bool) -> None:
    """The compiler knows neither the system nor its headers; only with ``--long``."""
    if not long:
        return
    sources, headers = tmp_path / "sources", tmp_path / "headers"
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    for name in ("fastcache", "latchkey"):
        shutil.copytree(ROOT / name, sources / name, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    for name in ("linux/futex.h", "sys/syscall.h", "sys/prctl.h", "sys/eventfd.h"):
        header = headers / name
        header.parent.mkdir(parents=True, exist_ok=True)
        header.write_text(f'#error "{name} is a header of Linux"\n')
    (headers / "missing.h").write_text(MISSING)
    undefined = "-U__linux__ -U__linux -Ulinux -U__gnu_linux__"
    flags = f"{undefined} -include {headers / 'missing.h'} -I{headers}"
    built = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        cwd=sources,
        env={**os.environ, "CFLAGS": flags, "FASTCACHE_BUILD": "debug"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert use_elsewhere(sources) == {**USED, "place": str(sources / "latchkey")}
