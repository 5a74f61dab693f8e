"""deploy/compose.yaml: two boxes, whose names and settings are those of the program and the image.

tests/integration/test_compose_file.py starts it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml  # type: ignore[import-untyped]

from latchkey.config import load_settings, variable
from tests.support.dockerfile import DOCKERFILE, last

DEPLOY = Path(__file__).parents[1] / "deploy"
FILE = DEPLOY / "compose.yaml"
SITE = DEPLOY / "nginx" / "several-boxes.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
BOXES = {name: each for name, each in SERVICES.items() if each["image"] == "latchkey"}

# The attributes of a service that this file uses, of the Compose specification.
_ATTRIBUTES = {
    *("image", "restart", "stop_grace_period", "read_only", "tmpfs", "cap_drop", "security_opt"),
    *("secrets", "networks", "depends_on", "environment", "volumes", "ports", "healthcheck"),
    "command",
}


def test_there_are_two_boxes_that_differ_only_in_their_names_and_files() -> None:
    assert len(BOXES) == 2
    one, two = (re.sub(rf"\b{name}\b", "BOX", yaml.safe_dump(box)) for name, box in BOXES.items())
    assert one == two


def test_everything_that_is_named_is_defined() -> None:
    assert set(COMPOSE) - {"x-box", "x-settings"} == {
        *("name", "services", "secrets", "volumes", "networks"),
    }
    for name, service in SERVICES.items():
        assert set(service) <= _ATTRIBUTES, name
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"]), name
        assert set(service["networks"]) <= set(COMPOSE["networks"]), name
        assert set(service.get("depends_on", [])) <= set(SERVICES), name
        for volume in service.get("volumes", []):
            source, target, *_ = volume.split(":")
            assert target.startswith("/")
            if source.startswith("."):
                assert (DEPLOY / source).is_file(), volume
            else:
                assert source in COMPOSE["volumes"], volume


@pytest.mark.parametrize("name", BOXES)
def test_the_service_accepts_the_settings(name: str) -> None:
    given = BOXES[name]["environment"]
    settings = load_settings(given)
    assert settings.box_name == name
    for field in ("database_password_file", "derivation_keys_file", "audit_key_file"):
        path = Path(given[variable(field)])
        assert path.parent == Path("/run/secrets")
        assert path.name in BOXES[name]["secrets"]
    # No secret is in the environment.
    assert not re.search(r"PASSWORD$|_KEYS$|_KEY$", " ".join(given))


def test_the_database_is_that_of_the_settings() -> None:
    (url,) = {box["environment"]["LATCHKEY_DATABASE_URL"] for box in BOXES.values()}
    parts, server = urlsplit(url), SERVICES["postgresql"]
    assert parts.hostname == "postgresql"
    assert parts.password is None
    assert server["environment"]["POSTGRES_USER"] == parts.username
    assert server["environment"]["POSTGRES_DB"] == parts.path.removeprefix("/")
    password = server["environment"]["POSTGRES_PASSWORD_FILE"]
    assert {box["environment"]["LATCHKEY_DATABASE_PASSWORD_FILE"] for box in BOXES.values()} == {
        password
    }
    # It is reached by the boxes only.
    assert "ports" not in server


def test_the_database_accepts_every_connection_of_the_boxes() -> None:
    (command,) = [text for text in SERVICES["postgresql"]["command"] if "max_connections" in text]
    settings = [load_settings(box["environment"]) for box in BOXES.values()]
    needed = sum(one.workers * (3 * one.threads + 7) for one in settings)
    assert int(command.partition("=")[2]) >= needed + 20


def test_the_image_has_what_the_boxes_need() -> None:
    for name, box in BOXES.items():
        (volume,) = box["volumes"]
        assert volume == f"{name}:{last('WORKDIR')}/secrets"
    assert "[service,postgresql]" in DOCKERFILE.read_text("utf-8")
    user = last("USER").partition(":")[0]
    assert f"user {user}" in FILE.read_text("utf-8").replace("\n# ", " ")


def test_nginx_passes_requests_to_every_box() -> None:
    port = last("EXPOSE")
    assert re.findall(r"server (\S+);", SITE.read_text("utf-8")) == [
        f"{name}:{port}" for name in BOXES
    ]
    (published,) = SERVICES["nginx"]["ports"]
    host, outside, inside = published.split(":")
    assert f"listen {inside};" in SITE.read_text("utf-8")
    (url,) = {box["environment"]["LATCHKEY_PUBLIC_URL"] for box in BOXES.values()}
    assert url == f"http://{host}:{outside}"


@pytest.mark.skipif(NGINX is None, reason="needs nginx")
def test_nginx_accepts_the_site(tmp_path: Path) -> None:
    site = re.sub(r"server box\d:", "server 127.0.0.1:", SITE.read_text("utf-8"))
    (tmp_path / "site.conf").write_text(site)
    config = tmp_path / "nginx.conf"
    places = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config.write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}}"
        f" http {{ access_log off; {places} include {tmp_path}/site.conf; }}"
    )
    assert NGINX is not None
    done = subprocess.run([NGINX, "-t", "-c", config], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
