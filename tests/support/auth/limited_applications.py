"""Applications with limits: plain WSGI, Flask, ASGI and FastAPI, asked in the same way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from flask import Flask, Response
from flask.views import MethodView

from latchkey import Latchkey, Principal, require_scope
from latchkey import fastapi as on_fastapi
from latchkey.asgi import LatchkeyMiddleware
from tests.support.auth.asgi_calls import AsgiApplication, asked
from tests.support.auth.plain_application import Answer, PlainApplication, call

Ask = Callable[[str, dict[str, str]], Answer]

Reader = Annotated[Principal, Depends(on_fastapi.require_scope("orders:read"))]
Paying = Annotated[Principal, Depends(on_fastapi.require_scope("orders:read", cost=2))]
Writer = Annotated[Principal, Depends(on_fastapi.require_scope("orders:write", cost=3))]


class Views(MethodView):
    decorators = [require_scope("orders:read")]  # noqa: RUF012 - as Flask has it

    def get(self) -> str:
        return "hello"

    @require_scope("orders:read", cost=2)
    def post(self) -> str:
        return "hello"


def flask_application(latchkey: Latchkey) -> Flask:
    app = Flask(__name__)

    @app.get("/")
    @require_scope("orders:read")
    def index() -> str:
        return "hello"

    @app.get("/two")
    @require_scope("orders:read", cost=2)
    def two() -> str:
        return "hello"

    @app.get("/stream")
    @require_scope("orders:read")
    def stream() -> Response:
        return Response(iter(["hel", "lo"]))

    @app.get("/fails")
    @require_scope("orders:read")
    def fails() -> str:
        raise RuntimeError

    @app.get("/forbidden")
    @require_scope("orders:write", cost=3)
    def forbidden() -> str:
        return "hello"

    app.add_url_rule("/class", view_func=Views.as_view("class"))
    latchkey.protect(app, errors="every")
    return app


def fastapi_application(latchkey: Latchkey) -> FastAPI:
    app = FastAPI()

    @app.get("/")
    def index(principal: Reader) -> str:
        return "hello"

    @app.get("/two")
    def two(principal: Paying, again: Paying, plain: Reader) -> str:
        return "hello"

    @app.get("/stream")
    def stream(principal: Reader) -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            for part in ("hel", "lo"):
                yield part

        return StreamingResponse(parts())

    @app.get("/forbidden")
    def forbidden(principal: Writer) -> str:
        return "hello"

    on_fastapi.protect(app, latchkey)
    return app


def plain(latchkey: Latchkey) -> Ask:
    application = latchkey.middleware(PlainApplication())
    return lambda path, headers: call(application, path, headers)


def flask(latchkey: Latchkey) -> Ask:
    application = flask_application(latchkey)
    return lambda path, headers: call(application, path, headers)


def asgi(latchkey: Latchkey) -> Ask:
    application = LatchkeyMiddleware(AsgiApplication(), latchkey)
    return lambda path, headers: titled(asked(application, path, headers))


def fastapi(latchkey: Latchkey) -> Ask:
    application = fastapi_application(latchkey)
    return lambda path, headers: titled(asked(application, path, headers))


def titled(answer: Answer) -> Answer:
    """The answer with the names of its headers as WSGI has them."""
    names = {"ratelimit": "RateLimit", "ratelimit-policy": "RateLimit-Policy"}
    headers = {names.get(name, name.title()): value for name, value in answer.headers.items()}
    return Answer(answer.status, headers, answer.body)


ALL = (plain, flask, asgi, fastapi)
