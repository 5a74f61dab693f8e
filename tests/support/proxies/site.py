"""A reverse proxy between clients, a service and an application, each of them real."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse
from pathlib import Path

from tests.support.faults.service_processes import wait_until
from tests.support.proxies.programs import HOST, Places, Program
from tests.support.proxies.upstream import Received, Upstream
from tests.support.service import Service

Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """What a client received, and what the application received for it."""

    status: int
    headers: HTTPMessage
    body: bytes
    received: tuple[Received, ...] = ()

    @property
    def code(self) -> str:
        """The code of the error in the envelope; empty if it is none."""
        try:
            return str(json.loads(self.body)["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return ""

    @property
    def passed(self) -> Received:
        """The one request that the application received."""
        (received,) = self.received
        return received


class Site:
    """A running proxy with the shipped configuration; use it as a context.

    ``needs`` is the query of the verify URL: what requests need.
    """

    def __init__(
        self,
        program: Program,
        directory: Path,
        service: Service,
        upstream: Upstream,
        needs: str = "",
        port: int | None = None,
    ) -> None:
        """``port`` takes the place of that of the service."""
        directory.mkdir(exist_ok=True)
        self.program = program
        self.service = service
        self.upstream = upstream
        self.places = Places(directory, port or service.port, upstream.port, needs=needs)
        self.places.write_certificate()
        self._context = self.client_context()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Site:
        file = self.program.checked(self.places)
        self._process = self.program.start(file, self.places)
        try:
            wait_until(self._listens, f"{self.program.name} to listen")
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}:\n{self.log}") from None
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def log(self) -> str:
        return (self.places.directory / "proxy.log").read_text("utf-8", "replace")

    def stop(self) -> None:
        """Stop the proxy, and wait for its end."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"{self.program.name} did not start:\n{self.log}")
        try:
            # Traefik listens before it knows its routes.
            return self.request("GET", "/").status != 404
        except OSError:
            return False

    def client_context(self) -> ssl.SSLContext:
        """TLS for a client that verifies the certificate."""
        return ssl.create_default_context(cafile=str(self.places.certificate))

    def connect(self) -> ssl.SSLSocket:
        """A connection of a client that verifies the certificate."""
        plain = socket.create_connection(("127.0.0.1", self.places.port), timeout=60)
        return self._context.wrap_socket(plain, server_hostname=HOST)

    def request(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        body: bytes = b"",
        *,
        host: str = HOST,
    ) -> Answer:
        """Send a request byte by byte as given on a new connection."""
        length = [("Content-Length", str(len(body)))] if body else []
        named = [("Host", host), *headers, *length, ("Connection", "close")]
        self.upstream.take()
        with closing(self.connect()) as connection:
            answer = exchange(connection, method, target, named, body)
        return Answer(answer.status, answer.headers, answer.body, tuple(self.upstream.take()))


class Visitor:
    """A client that keeps its connection open until an answer announces its end."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._connection: ssl.SSLSocket | None = None

    def get(self, headers: Headers) -> Answer:
        """Send a GET request for the root."""
        if self._connection is None:
            self._connection = self._site.connect()
        answer = exchange(self._connection, "GET", "/", [("Host", HOST), *headers])
        if answer.headers.get("Connection", "").lower() == "close":
            self.close()
        return answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def exchange(
    connection: ssl.SSLSocket, method: str, target: str, headers: Headers, body: bytes = b""
) -> Answer:
    """Send one request and read its answer."""
    connection.sendall(head(method, target, headers) + body)
    return read_answer(connection, method)


def head(method: str, target: str, headers: Headers) -> bytes:
    """The head of a request, with nothing cleaned or added."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def read_answer(connection: ssl.SSLSocket, method: str) -> Answer:
    """Read one complete answer."""
    response = HTTPResponse(connection, method=method)
    response.begin()
    body = response.read()
    return Answer(response.status, response.headers, body)
