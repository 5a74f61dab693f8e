"""Checks of the listen addresses, and the trust in clients of a unix socket."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support.command_line import fails, one_line
from tests.support.faults.service_processes import wait_until
from tests.support.service import LATCHKEY, Service

SOCKET = "latchkey.sock"
"""From the directory of the service: a longer path has no room in an address."""


class UnixConnection(HTTPConnection):
    """A client of a unix socket; ``name`` is the name of its own socket, if given."""

    def __init__(self, path: Path, name: bytes | None = None) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path
        self._name = name

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        if self._name is not None:
            self.sock.bind(self._name)
        directory = os.open(self._path.parent, os.O_PATH)
        try:
            self.sock.connect(f"/proc/self/fd/{directory}/{self._path.name}")
        finally:
            os.close(directory)


@pytest.fixture(scope="module")
def on_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service on a port and a unix socket, without trusted proxies."""
    service = Service(tmp_path_factory.mktemp("socket"), LATCHKEY_WORKERS="1")
    service.settings["LATCHKEY_BIND"] += f",unix:{SOCKET}"
    service.settings["SCRIPT_NAME"] = "/elsewhere"
    with service:
        yield service


@pytest.mark.parametrize(
    "claims",
    [
        {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-Protocol": "ssl", "X-Forwarded-Ssl": "on"},
        {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "off"},
        {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1", "Forwarded": "proto=https"},
        {"SCRIPT_NAME": "/console", "Script-Name": "/console", "X-Forwarded-Prefix": "/console"},
    ],
)
def test_a_client_of_a_unix_socket_is_not_trusted(
    on_socket: Service, claims: dict[str, str]
) -> None:
    with closing(UnixConnection(on_socket.directory / SOCKET)) as client:
        client.request("GET", "/console/sign-in", headers=claims)
        answer = client.getresponse()
        answer.read()
    assert answer.status == 200
    assert answer.headers["Strict-Transport-Security"] is None
    for cookie in answer.headers.get_all("Set-Cookie") or []:
        assert "Secure" not in cookie


@pytest.mark.parametrize("name", [b"\x00192.0.2.77 of %d", b"\x00\xff\xfe %d"])
def test_the_name_of_a_clients_socket_is_not_its_address(on_socket: Service, name: bytes) -> None:
    pair = on_socket.issue()
    with closing(UnixConnection(on_socket.directory / SOCKET, name % os.getpid())) as client:
        client.request("GET", "/v1/account", headers=pair.bearer)
        answer = client.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
    shown = on_socket.command("keys", "show", pair.api_key, "--json").stdout
    assert "192.0.2.77" not in shown


def test_the_mode_of_the_socket(start_service: Callable[..., Service]) -> None:
    service = start_service(LATCHKEY_WORKERS="1")
    for setting, mode in ((None, 0o660), ("0600", 0o600)):
        service.stop()
        assert not (service.directory / SOCKET).exists()
        service.settings["LATCHKEY_BIND"] = f"127.0.0.1:{service.port},unix:{SOCKET}"
        if setting:
            service.settings["LATCHKEY_SOCKET_MODE"] = setting
        service.start()
        assert stat.S_IMODE((service.directory / SOCKET).stat().st_mode) == mode


def test_a_socket_that_was_replaced_is_not_removed_at_exit(
    start_service: Callable[..., Service],
) -> None:
    """The file that replaced the socket is not removed, and the exit is clean."""
    service = start_service(LATCHKEY_WORKERS="1")
    path = service.directory / SOCKET
    for other in (False, True):
        service.stop()
        service.settings["LATCHKEY_BIND"] = f"127.0.0.1:{service.port},unix:{SOCKET}"
        path.unlink(missing_ok=True)
        service.start()
        path.unlink()
        if other:
            path.touch()
    assert service.process is not None
    service.process.terminate()
    assert service.process.wait(60) == 0
    assert path.exists()
    assert "Traceback" not in service.log


def test_an_inherited_socket(start_service: Callable[..., Service]) -> None:
    service = start_service(LATCHKEY_WORKERS="1")
    service.stop()
    with socket.create_server(("127.0.0.1", service.port)) as listener:
        service.settings["LATCHKEY_BIND"] = f"fd://{listener.fileno()}"
        with service.log_path.open("ab") as log:
            service.process = subprocess.Popen(
                [LATCHKEY, "serve"],
                cwd=service.directory,
                env=service.environment(),
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
            )
    wait_until(lambda: service.log.count("Booting worker") == 2, "a worker")
    assert service.get("/health").status == 200
    service.stop()
    assert "Traceback" not in service.log


@pytest.mark.parametrize(
    ("bind", "reason"),
    [
        ("no-such-host.invalid:8123", ""),
        ("192.0.2.1:8123", "Cannot assign requested address"),
        ("127.0.0.1:0,unix:missing/a", "No such file or directory"),
        ("unix:file", "a file that is not a socket has this name"),
        ("unix:link", "a file that is not a socket has this name"),
        ("unix:directory", "a file that is not a socket has this name"),
        ("unix:live", "another process listens on it"),
        ("fd://1", "Socket operation on non-socket"),
    ],
)
def test_an_unusable_address(box: Service, bind: str, reason: str) -> None:
    directory = box.directory
    (directory / "file").touch()
    (directory / "directory").mkdir(exist_ok=True)
    (directory / "link").unlink(missing_ok=True)
    (directory / "live").unlink(missing_ok=True)
    (directory / "link").symlink_to("live")
    former = os.open(".", os.O_PATH)
    with socket.socket(socket.AF_UNIX) as live:
        os.chdir(directory)
        try:
            live.bind("live")
        finally:
            os.fchdir(former)
            os.close(former)
        live.listen()
        line = one_line(fails(box, "serve", "--bind", bind))
    unusable = bind.rpartition(",")[2]
    assert line.startswith(f"latchkey: --bind: cannot listen on {unusable}: ")
    assert line.rstrip().endswith(reason)
