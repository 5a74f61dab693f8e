"""The files of deploy/, checked by the programs that read them, and used with a service."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.ports import free_port
from tests.support.proxies.programs import HAPROXY, Places, Program, substitute
from tests.support.proxies.programs import NGINX as NGINX_ASKS
from tests.support.service import LATCHKEY, Service

DEPLOY = Path(__file__).parents[1] / "deploy"
UNIT = DEPLOY / "systemd" / "latchkey.service"
CREDENTIALS = DEPLOY / "systemd" / "credentials.conf"
SITE = DEPLOY / "nginx" / "console-and-api.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze"
)
needs_nginx = pytest.mark.skipif(
    NGINX is None or shutil.which("openssl") is None, reason="needs nginx and openssl"
)


def ran(*command: str | Path) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_systemd
def test_the_unit_is_valid(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    text = UNIT.read_text()
    assert "ExecStart=/opt/latchkey/bin/latchkey serve" in text
    # systemd checks that the program exists.
    unit.write_text(text.replace("/opt/latchkey/bin/latchkey", str(LATCHKEY)))
    assert UNIT.name not in ran("systemd-analyze", "verify", unit)


@needs_systemd
def test_the_unit_is_hardened() -> None:
    ran("systemd-analyze", "security", "--offline=true", "--threshold=25", UNIT)


@needs_systemd
def test_the_unit_is_valid_with_credentials(tmp_path: Path) -> None:
    """Also as the text after its drop-in, since the program must exist."""
    program = "/opt/latchkey/bin/latchkey"
    unit = tmp_path / UNIT.name
    text = f"{UNIT.read_text()}\n{CREDENTIALS.read_text()}"
    unit.write_text(text.replace(program, str(LATCHKEY)))
    assert UNIT.name not in ran("systemd-analyze", "verify", unit)
    ran("systemd-analyze", "security", "--offline=true", "--threshold=25", unit)
    named = re.findall(r"LoadCredential=(\S+):/etc/latchkey/\1", text)
    assert named == re.findall(r"_FILE=\$\{CREDENTIALS_DIRECTORY\}/(\S+)", text)


@pytest.mark.parametrize(
    ("page", "file", "begins"),
    [
        ("systemd.md", UNIT, "[Unit]"),
        ("systemd.md", CREDENTIALS, "[Service]"),
        ("nginx.md", SITE, "upstream"),
        ("verify/nginx.md", DEPLOY / "nginx/protect-a-service.conf", "# An application"),
        ("verify/caddy.md", DEPLOY / "caddy/Caddyfile", "# An application"),
        ("verify/traefik.md", DEPLOY / "traefik/traefik.yml", "# The start"),
        ("verify/traefik.md", DEPLOY / "traefik/protect-a-service.yml", "# An application"),
        ("verify/envoy.md", DEPLOY / "envoy/envoy.yaml", "# An application"),
        ("verify/haproxy.md", DEPLOY / "haproxy/haproxy.cfg", "# An application"),
        ("verify/haproxy.md", DEPLOY / "haproxy/latchkey.lua", "-- Asks Latchkey"),
    ],
)
def test_a_guide_shows_the_file_as_it_is(page: str, file: Path, begins: str) -> None:
    """Below its comment, which says where to copy the file."""
    text = file.read_text("utf-8")
    guide = (DEPLOY.parent / "docs" / "how-to" / page).read_text("utf-8")
    assert f"\n{text[text.index(begins) :]}```" in guide


@pytest.mark.parametrize("program", [NGINX_ASKS, HAPROXY], ids=lambda program: program.name)
def test_the_configuration_of_a_proxy_is_valid(tmp_path: Path, program: Program) -> None:
    """The other proxies are installed for the tests with proxies, which check theirs."""
    if program.path is None or shutil.which("openssl") is None:
        pytest.skip(f"needs {program.name} and openssl")
    places = Places(tmp_path, latchkey=8080, application=8000, needs="scope=orders:read")
    places.write_certificate()
    program.checked(places)


def test_every_replacement_must_be_in_a_configuration() -> None:
    assert substitute("a 1 b 2", {"1": "2", "2": "1"}) == "a 2 b 1"
    with pytest.raises(AssertionError, match="no longer has '3'"):
        substitute("a 1 b 2", {"1": "2", "3": "1"})


class Nginx:
    """nginx in the way of a user, with the site of deploy/ on free ports."""

    def __init__(self, directory: Path, socket: Path) -> None:
        self.http, self.https = free_port(), free_port()
        certificate, key = directory / "certificate.pem", directory / "key.pem"
        ran(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "1", "-subj", "/CN=keys.example.com"),
            *("-addext", "subjectAltName=DNS:keys.example.com"),
            *("-keyout", key, "-out", certificate),
        )
        site = SITE.read_text()
        for given, here in (
            ("/run/latchkey/http.sock", str(socket)),
            ("/etc/ssl/certs/keys.example.com.pem", str(certificate)),
            ("/etc/ssl/private/keys.example.com.key", str(key)),
            ("listen 80;", f"listen 127.0.0.1:{self.http};"),
            ("listen 443 ssl", f"listen 127.0.0.1:{self.https} ssl"),
        ):
            assert given in site
            site = site.replace(given, here)
        site = re.sub(r" *listen \[::\].*\n", "", site)
        (directory / "site.conf").write_text(site)
        # The workers must be able to read the certificate and the socket of this user.
        user = "user root;" if os.geteuid() == 0 else ""
        self.config = directory / "nginx.conf"
        self.config.write_text(
            f"{user} daemon off; pid {directory}/nginx.pid; error_log stderr;"
            f" events {{}} http {{ access_log off; client_body_temp_path {directory}/body;"
            f" proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;"
            f" uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;"
            f" include {directory}/site.conf; }}"
        )
        self.certificate = certificate
        assert NGINX is not None
        ran(NGINX, "-t", "-c", self.config)
        self.process = subprocess.Popen([NGINX, "-c", str(self.config)])

    def connection(self) -> HTTPSConnection:
        """A connection whose certificate is verified for the name of the site."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.check_hostname = False
        return HTTPSConnection("127.0.0.1", self.https, context=context, timeout=60)

    def send(
        self, path: str, headers: dict[str, str], method: str = "GET"
    ) -> tuple[int, dict[str, str]]:
        """The status and the headers of a response, once nginx listens."""
        deadline = time.monotonic() + 60
        while True:
            connection = self.connection()
            try:
                connection.request(method, path, headers={"Host": "keys.example.com", **headers})
                answer = connection.getresponse()
                answer.read()
                return answer.status, {name.lower(): value for name, value in answer.getheaders()}
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            finally:
                connection.close()

    def stop(self) -> None:
        """Stop nginx and wait for its exit."""
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory in which paths of sockets are short enough."""
    with TemporaryDirectory(prefix="latchkey-") as directory:
        yield Path(directory)


@needs_nginx
def test_the_site_serves_the_api_and_the_console(tmp_path: Path, short_path: Path) -> None:
    socket = short_path / "http.sock"
    box = Service(
        tmp_path,
        LATCHKEY_TRUSTED_PROXIES="1",
        LATCHKEY_CONSOLE_HOSTS="keys.example.com",
        LATCHKEY_PUBLIC_URL="https://keys.example.com",
    )
    box.settings["LATCHKEY_BIND"] += f",unix:{socket}"
    with box as service:
        pair = service.create_key()
        nginx = Nginx(tmp_path, socket)
        try:
            assert nginx.send("/v1/account", pair.bearer)[0] == 200
            assert nginx.send("/v1/account", pair.headers)[0] == 200
            assert nginx.send("/v1/account", {"Authorization": "Bearer nonsense"})[0] == 401
            status, headers = nginx.send("/console/sign-in", {})
            assert (status, "strict-transport-security" in headers) == (200, True)
            assert nginx.send("/metrics", {"X-Forwarded-For": "203.0.113.9"})[0] == 200
            redirected = HTTPConnection("127.0.0.1", nginx.http, timeout=60)
            redirected.request("GET", "/v1/account?a=b", headers={"Host": "keys.example.com"})
            answer = redirected.getresponse()
            assert (answer.status, answer.getheader("Location")) == (
                308,
                "https://keys.example.com/v1/account?a=b",
            )
            redirected.close()
            # The audit log has the address that nginx saw, not the one that the client sent.
            claimed = {**pair.bearer, "X-Forwarded-For": "203.0.113.9"}
            assert nginx.send(f"/v1/api_keys/{pair.api_key}", claimed, "DELETE")[0] == 200
        finally:
            nginx.stop()
        logged = service.command("audit", "list", "--key", pair.api_key, "--json").stdout
        assert ('"address": "127.0.0.1"' in logged, "203.0.113.9" in logged) == (True, False)
