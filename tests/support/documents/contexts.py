"""Code that runs before and after the blocks of some pages, in the order of the blocks.

A page that is not listed runs by itself: its blocks follow each other in one program.
"""

from __future__ import annotations

# Each block runs in a new process, in the directory of an instance.
IMPORTS = """
import logging
from collections import Counter
from flask import Flask, Response
from flask.views import MethodView
from latchkey import *
"""
SITE = f"""{IMPORTS}
site = Flask("site")
class Statistics(Counter):
    def add(self, name): self[name] += 1
statistics = Statistics()
"""
VIEWS = """
def view(path, declared=lambda function: function):
    def answer(**arguments): return path
    answer.__name__ = "".join(filter(str.isalnum, path)) or "home"
    site.get(path)(declared(answer))
"""
ASKED = (
    VIEWS
    + """
key = {"Authorization": "Bearer " + SECRET}
def status(method, path, headers=()):
    return site.test_client().open(path, method=method, headers=dict(headers)).status_code
"""
)
DJANGO = """
from django.conf import settings
from django.http import JsonResponse
from django.urls import path
def orders(request):
    principal = request.META.get("latchkey.principal") or request.scope["state"]["principal"]
    return JsonResponse({"key": principal.api_key})
urlpatterns = [path("orders", orders)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="documents")
"""
ASKED_BY_ASGI = """
import asyncio
from httpx import ASGITransport, AsyncClient
key = {"Authorization": "Bearer " + SECRET}
def status(application, path, headers=()):
    async def ask():
        transport = ASGITransport(app=application)
        async with AsyncClient(transport=transport, base_url="http://site") as client:
            return (await client.get(path, headers=dict(headers))).status_code
    return asyncio.run(ask())
"""
CONTEXTS: dict[str, list[tuple[str, str]]] = {
    "README.md": [
        (
            "from flask import Flask\napp = site = Flask('app')",
            f"""{ASKED}
assert status("GET", "/orders") == 401
assert status("GET", "/orders", key) == 200
""",
        ),
    ],
    "docs/how-to/protect-an-application.md": [
        (
            "",
            f"""{ASKED}
assert [status("GET", path) for path in ("/", "/orders")] == [200, 401]
assert status("GET", "/orders", key) == 200
""",
        ),
        (
            "",
            f"""{ASKED}
site = create_app()
assert [status("GET", path) for path in ("/health", "/orders")] == [200, 401]
assert status("GET", "/orders", key) == 200
""",
        ),
        (
            SITE,
            f"""{ASKED}
Latchkey.join().protect(site)
assert [status("GET", "/orders/eu-17", one) for one in ((), key)] == [401, 200]
""",
        ),
        (
            SITE
            + """
orders_with_the_name = lambda name: [name]
orders_that_begin_with = lambda start: [f"{start}1"]
""",
            f"""{ASKED}
Latchkey.join().protect(site)
assert site.test_client().get("/orders", headers=key).json == ["1"]
""",
        ),
        (
            SITE,
            f"""{ASKED}
Latchkey.join().protect(site)
assert [status("GET", "/reports", one) for one in ((), key)] == [401, 200]
""",
        ),
        (
            SITE,
            f"""{ASKED}
latchkey.protect(site)
assert [status("GET", "/exports/5000", one) for one in ((), key)] == [401, 200]
""",
        ),
        (IMPORTS, ""),
        (
            f"""{SITE}{VIEWS}
view("/")
view("/api/orders", any_credential)
view("/API/orders")
""",
            f"""{ASKED}
for path, expected in (("/", 200), ("/API/orders", 200), ("/api/orders", 401), ("/api", 401)):
    assert status("GET", path) == expected
assert status("GET", "/api/orders", key) == 200
assert status("GET", "/x/../api/orders") == 404
""",
        ),
        (
            f"""{SITE}{VIEWS}
view("/orders", any_credential)
""",
            f"""{ASKED}
assert status("GET", "/orders", key) == 200
""",
        ),
        (
            f"""{SITE}{VIEWS}
from werkzeug.exceptions import HTTPException
view("/orders", any_credential)
""",
            f"""{ASKED}
answer = site.test_client().get("/orders")
assert (answer.status_code, "Please sign in" in answer.text) == (401, True)
assert answer.headers["WWW-Authenticate"].startswith("Bearer")
assert status("GET", "/orders", key) == 200
""",
        ),
        (SITE, 'Orders.as_view("orders")'),
        (
            SITE,
            f"""{ASKED}
view("/")
view("/orders", any_credential)
Latchkey.join().protect(site, OpenRoutes({{("GET", "/")}}))
assert status("GET", "/") == 200
assert "X-Key" not in site.test_client().get("/").headers
assert site.test_client().get("/orders", headers=key).headers["X-Key"].startswith("ak_")
assert sorted(statistics.values()) == [1, 2], statistics
""",
        ),
        (
            f"""{SITE}{VIEWS}
def told():
    site.logger.warning("asked")
    return "told"
site.get("/told")(any_credential(told))
""",
            f"""{ASKED}
import io
handler.setStream(io.StringIO())
Latchkey.join().protect(site)
assert status("GET", "/told", key) == 200
assert handler.stream.getvalue() == f"WARNING {{KEY}} asked\\n"
""",
        ),
        (
            f"""{SITE}{VIEWS}
view("/orders", any_credential)
view("/orders/<int:id>", any_credential)
""",
            f"""{ASKED}
asked = {{"Origin": "https://shop.example", "Access-Control-Request-Method": "GET"}}
for path in ("/orders", "/orders/5"):
    assert status("OPTIONS", path, asked) == 200
    assert status("GET", path) == 401
    assert status("GET", path, key) == 200
""",
        ),
        (
            f"""{SITE}{VIEWS}
view("/orders", any_credential)
""",
            f"""{ASKED}
Latchkey.join().protect(site, OpenRoutes(preflights))
assert status("OPTIONS", "/orders") == 200
assert status("GET", "/orders") == 401
""",
        ),
        (
            """
from latchkey import *
def application(environ, start_response):
    start_response("200 OK", [])
    return [repr(environ["latchkey.principal"]).encode()]
""",
            """
from werkzeug.test import Client
assert Client(application).get("/health").data == b"None"
assert Client(application).get("/x").status_code == 401
pair = {"X-Api-Key": KEY, "X-Api-Secret": SECRET}
assert Client(application).get("/x", headers=pair).data != b"None"
""",
        ),
        (
            DJANGO,
            """
from werkzeug.test import Client
pair = {"X-Api-Key": KEY, "X-Api-Secret": SECRET}
assert Client(application).get("/orders").status_code == 401
assert Client(application).get("/orders", headers=pair).json == {"key": KEY}
""",
        ),
    ],
    "docs/how-to/protect-an-asgi-application.md": [
        (
            "",
            f"""{ASKED_BY_ASGI}
assert [status(api, path) for path in ("/orders", "/version", "/x")] == [401] * 3
assert [status(api, path) for path in ("/docs", "/openapi.json")] == [200] * 2
assert [status(api, path, key) for path in ("/orders", "/version", "/x")] == [200, 200, 404]
""",
        ),
        (
            "",
            f"""{ASKED_BY_ASGI}
assert [status(site, "/orders", one) for one in ((), key)] == [401, 200]
assert status(site, "/health") == 404
""",
        ),
        (
            DJANGO,
            f"""{ASKED_BY_ASGI}
assert [status(application, "/orders", one) for one in ((), key)] == [401, 200]
""",
        ),
        (
            """
from typing import Annotated
from fastapi import Depends, FastAPI
from latchkey import Principal
from latchkey.fastapi import protect, require_scope
api = FastAPI()
protect(api)
Reader = Annotated[Principal, Depends(require_scope("orders:read"))]
async def next_event(): return "event"
""",
            "assert api.routes",
        ),
    ],
}
