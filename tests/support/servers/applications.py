"""The modules of users' applications that the tests of servers start, as texts."""

from __future__ import annotations

FLASK = """
import os
from flask import Flask
from latchkey import Latchkey, OpenRoutes, any_credential, current_principal

latchkey = Latchkey()


def create_app():
    app = Flask("shop")
    latchkey.init_app(app, OpenRoutes({("GET", "/health")}))

    @app.get("/orders")
    @any_credential
    def orders():
        return {"key": current_principal.api_key, "process": os.getpid()}

    @app.get("/health")
    def health():
        return {"process": os.getpid()}

    return app


app = create_app()
"""
"""An application factory with the extension, which joins where it serves."""

WSGI = """
import os
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path
from latchkey import Latchkey, OpenRoutes, any_credential, current_principal

latchkey = Latchkey.join()
health = OpenRoutes({("GET", "/health")})


def orders(request):
    principal = request.META["latchkey.principal"]
    return JsonResponse({"key": principal.api_key, "process": os.getpid()})


urlpatterns = [path("orders", orders), path("health", lambda request: JsonResponse({}))]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="tests")
django = latchkey.middleware(get_wsgi_application(), health)


def plain(environ, start_response):
    principal = environ["latchkey.principal"]
    known = environ["PATH_INFO"] in ("/orders", "/health")
    start_response(
        "200 OK" if known else "404 Not Found", [("Content-Type", "application/json")]
    )
    key = "null" if principal is None else f'"{principal.api_key}"'
    return [f'{{"key": {key}, "process": {os.getpid()}}}'.encode()]


shop = Flask("shop")


@shop.get("/orders")
@any_credential
def flask_orders():
    return {"key": current_principal.api_key, "process": os.getpid()}


@shop.get("/health")
def flask_health():
    return {}


latchkey.protect(shop, health)
app = DispatcherMiddleware(
    shop, {"/django": django, "/plain": latchkey.middleware(plain, health)}
)
"""
"""Flask, Django and a plain application in one process; they join at import."""

ASGI = """
import asyncio
import os
from typing import Annotated
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import JsonResponse
from django.urls import path
from fastapi import Depends, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route
from latchkey import Latchkey, OpenRoutes, Principal
from latchkey.asgi import LatchkeyMiddleware
from latchkey.fastapi import any_credential, protect, require_scope

latchkey = Latchkey()
health = OpenRoutes({("GET", "/health")})


async def django_orders(request):
    principal = request.scope["state"]["principal"]
    return JsonResponse({"key": principal.api_key, "process": os.getpid()})


urlpatterns = [path("orders", django_orders), path("health", lambda request: JsonResponse({}))]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="tests")


async def starlette_orders(request):
    return JSONResponse({"key": request.state.principal.api_key, "process": os.getpid()})


async def starlette_health(request):
    return JSONResponse({})


starlette = Starlette(
    routes=[Route("/orders", starlette_orders), Route("/health", starlette_health)],
    middleware=[Middleware(LatchkeyMiddleware, latchkey=latchkey, open_routes=health)],
)

app = FastAPI()
protect(app, latchkey, health, only=("/orders/", "/health/", "/stream/", "/ws/"))
app.mount("/django", LatchkeyMiddleware(get_asgi_application(), latchkey, health))
app.mount("/starlette", starlette)


@app.get("/orders")
async def orders(principal: Annotated[Principal, Depends(any_credential)]):
    return {"key": principal.api_key, "process": os.getpid()}


@app.get("/health")
async def health():
    return {}


@app.get("/stream", dependencies=[Depends(require_scope("orders:read"))])
async def stream(go_on: Annotated[str, "a file"]):
    async def parts():
        yield "first"
        while not os.path.exists(go_on):
            await asyncio.sleep(0.01)
        yield "last"

    return StreamingResponse(parts())


@app.websocket("/ws")
async def talk(
    websocket: WebSocket,
    principal: Annotated[Principal, Depends(require_scope("orders:read"))],
):
    await websocket.accept()
    while (asked := await websocket.receive_text()) != "end":
        valid = await websocket.state.still_valid()
        await websocket.send_text(f"{asked} {principal.api_key} {valid}")
    await websocket.close()
"""
"""FastAPI with Django and Starlette below it, which join when the server starts."""
