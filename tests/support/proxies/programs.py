"""The reverse proxies: their programs, and the configurations of deploy/.

Only ports and paths differ from what is shipped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.ports import free_port

DEPLOY = Path(__file__).parents[3] / "deploy"
HOST = "api.example.com"
_PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Places:
    """The ports and paths of one test run, which take the place of those in a configuration.

    ``latchkey`` and ``application`` are the ports of both services, and ``needs`` is the query of
    the verify URL, without a question mark.
    """

    directory: Path
    latchkey: int
    application: int
    port: int = field(default_factory=free_port)
    needs: str = ""

    @property
    def certificate(self) -> Path:
        return self.directory / "certificate.pem"

    @property
    def key(self) -> Path:
        return self.directory / "key.pem"

    @property
    def both(self) -> Path:
        return self.directory / "both.pem"

    @property
    def query(self) -> str:
        """The query with its question mark; empty without needs."""
        return f"?{self.needs}" if self.needs else ""

    def write_certificate(self) -> None:
        """Create a certificate for the host name of the configurations."""
        _ran(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={HOST}"),
            *("-addext", f"subjectAltName=DNS:{HOST}"),
            *("-keyout", str(self.key), "-out", str(self.certificate)),
        )
        self.both.write_text(self.certificate.read_text() + self.key.read_text())


def _ran(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def substitute(text: str, replacements: Mapping[str, str]) -> str:
    """Replace texts by others in one pass; fails if one of them is not there."""
    for given in replacements:
        assert given in text, f"the configuration no longer has {given!r}"
    expression = "|".join(re.escape(given) for given in sorted(replacements, key=len, reverse=True))
    return re.sub(expression, lambda found: replacements[found[0]], text)


@dataclass(frozen=True)
class Program:
    """A reverse proxy. ``name`` is also the name of its program and of its directory in deploy/."""

    name: str
    files: tuple[str, ...]
    """The files of a configuration; the last one is given to the program."""
    replacements: Callable[[Places], Mapping[str, Mapping[str, str]]]
    """What is replaced in each file."""
    command: tuple[str, ...]
    """The arguments that run the proxy in the foreground; ``{}`` is the file."""
    check: tuple[str, ...]
    """The arguments that check a configuration; empty if the program has no such check."""

    @property
    def path(self) -> str | None:
        """The program, if this machine has it."""
        return shutil.which(self.name, path=_PATH)

    def write(self, places: Places) -> Path:
        """Write the configuration for a test; returns the file that the program reads."""
        replaced = self.replacements(places)
        for name in self.files:
            text = (DEPLOY / self.name / name).read_text("utf-8")
            (places.directory / name).write_text(substitute(text, replaced[name]), "utf-8")
        if self is NGINX:
            return _write_nginx(places)
        return places.directory / self.files[-1]

    def checked(self, places: Places) -> Path:
        """Write the configuration, and let the program check it."""
        file = self.write(places)
        if self.check:
            self._run(self.check, file, places)
        return file

    def start(self, file: Path, places: Places) -> subprocess.Popen[bytes]:
        """Start the proxy. Its output goes to proxy.log in the directory."""
        with (places.directory / "proxy.log").open("wb") as log:
            return subprocess.Popen(
                self._arguments(self.command, file),
                cwd=places.directory,
                env=_environment(places),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _run(self, arguments: tuple[str, ...], file: Path, places: Places) -> None:
        done = subprocess.run(
            self._arguments(arguments, file),
            cwd=places.directory,
            env=_environment(places),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _arguments(self, arguments: tuple[str, ...], file: Path) -> list[str]:
        assert self.path is not None
        return [self.path, *(argument.replace("{}", str(file)) for argument in arguments)]


def _environment(places: Places) -> dict[str, str]:
    """Caddy stores certificates below the home directory, and Envoy's launcher its copy."""
    return {"PATH": _PATH, "HOME": str(places.directory), "LANG": "C.UTF-8"}


def _write_nginx(places: Places) -> Path:
    """The main configuration, which includes the shipped site."""
    directory = places.directory
    # The workers must be able to read the certificate of this user.
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = " ".join(
        f"{kind}_temp_path {directory}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = directory / "nginx.conf"
    file.write_text(
        f"{user} daemon off; pid {directory}/nginx.pid; error_log stderr;"
        f" events {{}} http {{ access_log off; {temporary}"
        f" include {directory}/protect-a-service.conf; }}"
    )
    return file


def _tls(places: Places) -> dict[str, str]:
    return {
        f"/etc/ssl/certs/{HOST}.pem": str(places.certificate),
        f"/etc/ssl/private/{HOST}.key": str(places.key),
    }


def _nginx(places: Places) -> Mapping[str, Mapping[str, str]]:
    site = {
        **_tls(places),
        "listen 443 ssl": f"listen 127.0.0.1:{places.port} ssl",
        "server 127.0.0.1:8080": f"server 127.0.0.1:{places.latchkey}",
        "server 127.0.0.1:8000": f"server 127.0.0.1:{places.application}",
        "latchkey/verify/nginx;": f"latchkey/verify/nginx{places.query};",
    }
    return {"protect-a-service.conf": site}


def _caddy(places: Places) -> Mapping[str, Mapping[str, str]]:
    site = {
        **_tls(places),
        "http_port 80\n": f"http_port {free_port()}\n",
        "https_port 443": f"https_port {places.port}",
        "admin localhost:2019": f"admin localhost:{free_port()}",
        "forward_auth 127.0.0.1:8080": f"forward_auth 127.0.0.1:{places.latchkey}",
        "reverse_proxy 127.0.0.1:8000": f"reverse_proxy 127.0.0.1:{places.application}",
        "uri /verify/caddy?\n": f"uri /verify/caddy?{places.needs}\n",
    }
    return {"Caddyfile": site}


def _traefik(places: Places) -> Mapping[str, Mapping[str, str]]:
    site = {
        **_tls(places),
        "address: http://127.0.0.1:8080/verify/traefik": (
            f"address: http://127.0.0.1:{places.latchkey}/verify/traefik{places.query}"
        ),
        "url: http://127.0.0.1:8000": f"url: http://127.0.0.1:{places.application}",
    }
    start = {
        '":443"': f'"127.0.0.1:{places.port}"',
        "filename: /etc/traefik/protect-a-service.yml": (
            f"filename: {places.directory}/protect-a-service.yml"
        ),
    }
    return {"protect-a-service.yml": site, "traefik.yml": start}


def _envoy(places: Places) -> Mapping[str, Mapping[str, str]]:
    """Envoy's configuration names no needs: they are in the routes file of the service."""
    site = {
        **_tls(places),
        "0.0.0.0, port_value: 443": f"127.0.0.1, port_value: {places.port}",
        "uri: http://127.0.0.1:8080": f"uri: http://127.0.0.1:{places.latchkey}",
        "port_value: 8080": f"port_value: {places.latchkey}",
        "port_value: 8000": f"port_value: {places.application}",
    }
    return {"envoy.yaml": site}


def _haproxy(places: Places) -> Mapping[str, Mapping[str, str]]:
    action = {
        '"http://127.0.0.1:8080/verify/haproxy"': (
            f'"http://127.0.0.1:{places.latchkey}/verify/haproxy{places.query}"'
        ),
    }
    site = {
        "bind :443": f"bind 127.0.0.1:{places.port}",
        f"/etc/haproxy/{HOST}.pem": str(places.both),
        "lua-load /etc/haproxy/latchkey.lua": f"lua-load {places.directory}/latchkey.lua",
        "server application 127.0.0.1:8000": f"server application 127.0.0.1:{places.application}",
    }
    return {"latchkey.lua": action, "haproxy.cfg": site}


NGINX = Program("nginx", ("protect-a-service.conf",), _nginx, ("-c", "{}"), ("-t", "-c", "{}"))
CADDY = Program(
    "caddy",
    ("Caddyfile",),
    _caddy,
    ("run", "--adapter", "caddyfile", "--config", "{}"),
    ("validate", "--adapter", "caddyfile", "--config", "{}"),
)
TRAEFIK = Program(
    "traefik",
    ("protect-a-service.yml", "traefik.yml"),
    _traefik,
    ("--configFile={}",),
    (),
)
ENVOY = Program(
    "envoy",
    ("envoy.yaml",),
    _envoy,
    # Without the shared memory that a second Envoy of this machine would also use.
    ("--disable-hot-restart", "--concurrency", "2", "--log-level", "warn", "-c", "{}"),
    ("--mode", "validate", "--log-level", "warn", "-c", "{}"),
)
HAPROXY = Program(
    "haproxy", ("latchkey.lua", "haproxy.cfg"), _haproxy, ("-db", "-f", "{}"), ("-c", "-f", "{}")
)
PROGRAMS = (NGINX, CADDY, TRAEFIK, ENVOY, HAPROXY)
