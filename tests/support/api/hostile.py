"""Hostile requests, and a check of the service after them."""

from __future__ import annotations

import http.client
import socket

from tests.support.api.contract import lines, wire
from tests.support.service import Answer, Pair, Service

CREATE = "POST /v1/api_keys"
JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"


def create(service: Service, key: Pair, *headers: str, body: bytes = b"") -> Answer:
    """Send raw bytes to the route that creates a key."""
    return service.send_raw(wire(CREATE, *lines(key.bearer), *headers, body=body))


def length(body: bytes) -> str:
    return f"Content-Length: {len(body)}"


def send_and_read(
    request: str, headers: list[str], service: Service, version: str = "HTTP/1.1"
) -> Answer:
    """Send without half-closing, and read the response, like an ordinary client."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        connection.sendall(wire(request, *headers, version=version))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, named, answer.read())


def is_well(service: Service, live: Pair) -> bool:
    """Whether the service works as specified, and its log has no failure."""
    return (
        service.get("/v1/account", live.bearer).status == 200
        and service.get("/ready").status == 200
        and "Traceback" not in service.log
    )
