"""The wheel in an environment of its own: beside applications of users, and as the service.

With ``--long`` everything is compiled, and what is required comes from the package registry.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import product
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.support.packaging.environment import (
    Environment,
    build_wheel,
    install_beside_links,
    install_from_registry,
)
from tests.support.ports import free_port

pytestmark = pytest.mark.timeout(3600)

MODULE = """\
from flask import Flask

from latchkey import Latchkey, any_credential, current_principal

app = Flask(__name__)
Latchkey.join().protect(app)


@app.get("/orders")
@any_credential
def orders() -> dict[str, str]:
    return {"key": current_principal.api_key}
"""
PACKAGE = """\
from flask import Flask

from app.orders import orders
from latchkey import Latchkey

app = Flask(__name__)
app.register_blueprint(orders)
Latchkey.join().protect(app)
"""
ORDERS = """\
from flask import Blueprint

from latchkey import any_credential, current_principal

orders = Blueprint("orders", __name__)


@orders.get("/orders")
@any_credential
def show() -> dict[str, str]:
    return {"key": current_principal.api_key}
"""
FACTORY = """\
from flask import Flask

from latchkey import Latchkey, any_credential, current_principal


def create_app() -> Flask:
    site = Flask(__name__)

    @site.get("/orders")
    @any_credential
    def orders() -> dict[str, str]:
        return {"key": current_principal.api_key}

    Latchkey.join().protect(site)
    return site
"""
TESTS = """\
import os

import app

site = app.app if hasattr(app, "app") else app.create_app()


def test_a_request_without_a_key_is_refused() -> None:
    assert site.test_client().get("/orders").status_code == 401


def test_a_request_with_a_key_is_answered() -> None:
    headers = {"Authorization": "Bearer " + os.environ["SECRET"]}
    assert site.test_client().get("/orders", headers=headers).json == {"key": os.environ["KEY"]}
"""


@dataclass(frozen=True)
class Layout:
    """The files of a user's application, and its name for gunicorn."""

    files: dict[str, str]
    target: str

    def write(self, directory: Path) -> None:
        for name, text in self.files.items():
            path = directory / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)


LAYOUTS = {
    "module": Layout({"app.py": MODULE}, "app:app"),
    "package": Layout({"app/__init__.py": PACKAGE, "app/orders.py": ORDERS}, "app:app"),
    "factory": Layout({"app.py": FACTORY}, "app:create_app()"),
}


@dataclass(frozen=True)
class Instance:
    """A database with a key in it: the settings, the key and its secret."""

    settings: dict[str, str]
    key: str
    secret: str

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, long: bool) -> Path:
    """The wheel of this checkout."""
    return build_wheel(tmp_path_factory.mktemp("wheel"), compiled=not long)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, long: bool, wheel: Path) -> Environment:
    """The library alone, without an extra, beside the server and the test tool of a user."""
    install = install_from_registry if long else install_beside_links
    return install(tmp_path_factory.mktemp("library"), wheel, beside=("gunicorn", "pytest"))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, long: bool, wheel: Path) -> Environment:
    """The library with what the service needs."""
    install = install_from_registry if long else install_beside_links
    return install(tmp_path_factory.mktemp("service"), wheel, extra="service")


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory, service: Environment) -> Instance:
    """An instance that the command created, in the environment of the service."""
    directory = tmp_path_factory.mktemp("instance")
    memory = directory / "memory"
    memory.mkdir()
    settings = {
        "LATCHKEY_DATABASE_URL": f"sqlite:///{directory / 'data' / 'latchkey.db'}",
        "LATCHKEY_DERIVATION_KEYS_FILE": str(directory / "secrets" / "derivation.key"),
        "LATCHKEY_AUDIT_KEY_FILE": str(directory / "secrets" / "audit.key"),
        "LATCHKEY_AUDIT_HEAD_FILE": str(directory / "secrets" / "audit.head"),
        "LATCHKEY_SHARED_MEMORY": str(memory),
        "LATCHKEY_SHARED_SIZE": "8",
    }
    made = service.run("latchkey", "init", directory=directory, **settings)
    assert made.returncode == 0, made.stderr
    arguments = ("keys", "create", "--name", "wheel", "--mode", "live", "--json")
    created = service.run("latchkey", *arguments, directory=directory, **settings)
    assert created.returncode == 0, created.stderr
    fields = json.loads(created.stdout)
    return Instance(settings, fields["api_key"], fields["api_secret"])


def test_the_wheel_holds_nothing_named_app(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = {name.partition("/")[0] for name in archive.namelist()}
    packages = {name for name in names if not name.endswith(".dist-info")}
    assert packages == {"fastcache", "latchkey", "latchkey_service"}


_WHERE = """
import importlib.util, fastcache, latchkey, latchkey_service
assert importlib.util.find_spec("app") is None
print(fastcache.__file__, latchkey.__file__, latchkey_service.__file__)
"""


def test_what_is_imported_is_what_is_installed(library: Environment, tmp_path: Path) -> None:
    asked = library.run("python", "-W", "error", "-c", _WHERE, directory=tmp_path)
    assert asked.returncode == 0, asked.stderr
    assert all(Path(place).is_relative_to(library.directory) for place in asked.stdout.split())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each layout with one program; with ``--long``, each with both."""
    if "program" in metafunc.fixturenames:
        pairs = [("module", "flask"), ("package", "gunicorn"), ("factory", "gunicorn")]
        if metafunc.config.getoption("--long"):
            pairs = list(product(LAYOUTS, ("flask", "gunicorn")))
        metafunc.parametrize(("layout", "program"), pairs)


def test_an_application_of_a_user_is_served(
    layout: str, program: str, library: Environment, instance: Instance, tmp_path: Path
) -> None:
    LAYOUTS[layout].write(tmp_path)
    port = free_port()
    arguments = {
        "flask": ["--app", "app", "run", "--port", str(port)],
        "gunicorn": ["--bind", f"127.0.0.1:{port}", LAYOUTS[layout].target],
    }[program]
    with running(library, program, *arguments, directory=tmp_path, **instance.settings) as process:
        wait_for(process, port, "/orders", 401)
        assert ask(port, "/orders", {"Authorization": "Bearer sk_live_wrong"})[0] == 401
        status, body = ask(port, "/orders", instance.bearer)
        assert (status, json.loads(body)) == (200, {"key": instance.key})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_tests_of_a_user_pass(
    layout: str, library: Environment, instance: Instance, tmp_path: Path
) -> None:
    LAYOUTS[layout].write(tmp_path)
    (tmp_path / "test_app.py").write_text(TESTS)
    done = library.run(
        *("pytest", "-W", "error"),
        directory=tmp_path,
        KEY=instance.key,
        SECRET=instance.secret,
        **instance.settings,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_the_command_names_the_extra_that_it_needs(library: Environment, tmp_path: Path) -> None:
    done = library.run("latchkey", "--help", directory=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith("run: pip install 'latchkey-auth[service]'\n")
    assert len(done.stderr.splitlines()) == 1


def test_the_service_is_served(service: Environment, instance: Instance, tmp_path: Path) -> None:
    port = free_port()
    arguments = ("serve", "--bind", f"127.0.0.1:{port}")
    with running(
        service, "latchkey", *arguments, directory=tmp_path, **instance.settings
    ) as process:
        wait_for(process, port, "/health", 200)
        assert ask(port, "/v1/account")[0] == 401
        assert ask(port, "/v1/account", instance.bearer)[0] == 200
        for path in ("sign-in", "static/console.css", "static/console.js"):
            assert ask(port, f"/console/{path}")[0] == 200
        assert ask(port, "/docs/")[0] == 200


@contextmanager
def running(
    environment: Environment, program: str, *arguments: str, directory: Path, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A program of the environment, until the end of the block; its output is in `log`."""
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [environment.program(program), *arguments],
            cwd=directory,
            env=environment.variables(**variables),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    except Exception as error:
        error.add_note((directory / "log").read_text())
        raise
    finally:
        process.terminate()
        process.wait(60)


def wait_for(process: subprocess.Popen[bytes], port: int, path: str, status: int) -> None:
    """Wait until a path is answered by this status."""
    deadline = time.monotonic() + 60
    while True:
        try:
            answered = ask(port, path)[0]
        except ConnectionError:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)
        else:
            assert answered == status
            return


def ask(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """The status and the body of the answer to one request."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
