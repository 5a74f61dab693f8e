"""nginx with the shipped site, in several forms: without a question, and with services to ask.

TLS is left out of all of them: it costs the same everywhere.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load.processes import Cores, running_on
from benchmarks.load.service import end_group, ending_with_us, free_port
from benchmarks.verify.plan import (
    ALONE,
    BARE_PATH,
    EMPTY,
    EMPTY_PATH,
    LATCHKEY,
    NGINX,
    SAME_HEADERS,
)

_SITE = Path(__file__).resolve().parents[2] / "deploy/nginx/protect-a-service.conf"
_PATIENCE = 60.0


class NginxMissing(RuntimeError):
    """nginx is not installed, or it did not start."""


@contextmanager
def running(directory: Path, gunicorn: int, cores: Cores) -> Iterator[Mapping[str, int]]:
    """Start nginx in front of gunicorn's port; yields the port of each form of the site."""
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None:
        raise NginxMissing("this measurement needs nginx: apt-get install nginx-light")
    application = free_port()
    ports = {name: free_port() for name in NGINX}
    sites = []
    for number, (name, port) in enumerate(ports.items()):
        text = site(name, port, gunicorn, application)
        # One namespace for all sites.
        for shared in ("upstream latchkey", "http://latchkey", "upstream application"):
            text = text.replace(shared, f"{shared}{number}")
        text = text.replace("http://application", f"http://application{number}")
        text = text.replace("$latchkey_", f"$latchkey{number}_")
        sites.append(text.replace("$application_", f"$application{number}_"))
    file = directory / "nginx.conf"
    temporary = " ".join(
        f"{kind}_temp_path {directory}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    served = (
        f"server {{ listen 127.0.0.1:{application}; keepalive_requests 1000000;"
        ' location / { default_type application/json; return 200 "[]"; } }'
    )
    file.write_text(
        f"daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr crit;"
        f" events {{}} http {{ access_log off; keepalive_requests 1000000; {temporary} {served}\n"
        + "\n".join(sites)
        + "}"
    )
    with (directory / "nginx.log").open("wb") as log, running_on(cores.server):
        process = subprocess.Popen(
            [*ending_with_us(), nginx, "-c", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _await(process, ports[LATCHKEY], directory / "nginx.log")
        yield ports
    finally:
        end_group(process, _PATIENCE)


def site(name: str, port: int, gunicorn: int, application: int) -> str:
    """The shipped site in one form, on this port."""
    text = _SITE.read_text("utf-8")
    # The second server only refuses other host names.
    first, _, rest = text.partition("# Refuse requests for any other host name.")
    text = first + rest[rest.index("\nserver {", rest.index("\nserver {") + 1) :]
    text = re.sub(r"(?m)^ *ssl_.*\n", "", text)
    changes = [
        ("listen 443 ssl http2;", f"listen 127.0.0.1:{port};"),
        ("server 127.0.0.1:8080", f"server 127.0.0.1:{gunicorn}"),
        ("server 127.0.0.1:8000", f"server 127.0.0.1:{application}"),
    ]
    if name == ALONE:
        changes.append(("auth_request /.latchkey/verify;", ""))
    other = {EMPTY: EMPTY_PATH, SAME_HEADERS: BARE_PATH}.get(name)
    if other is not None:
        changes.append(("http://latchkey/verify/nginx;", f"http://latchkey{other};"))
    for given, here in changes:
        if given not in text:
            raise ValueError(f"the site no longer has {given!r}")
        text = text.replace(given, here)
    return text


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                said = log.read_text(errors="replace")
                raise NginxMissing(f"nginx does not answer:\n{said}") from None
            time.sleep(0.02)
        else:
            return
