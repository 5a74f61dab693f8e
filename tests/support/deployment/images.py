"""The images of deploy/compose.yaml, with the programs that are installed on this machine.

That of Latchkey follows deploy/Dockerfile. PostgreSQL and nginx are Debian's, with what the entry
points of the images with these names do.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.dockerfile import FINAL, last
from tests.support.postgresql import programs

_ROOT = Path(__file__).parents[3]
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Folder:
    """A directory of an image, with its owner and mode."""

    owner: int = 0
    mode: str = "0755"


@dataclass(frozen=True)
class Image:
    """What a container of this image begins with."""

    program: list[str]
    """The entry point, without the command."""
    command: list[str]
    stop_signal: str
    user: int = 0
    directory: str = "/"
    users: dict[str, tuple[int, str]] = field(default_factory=dict)
    """The number and the home of each user beside root."""
    environment: dict[str, str] = field(default_factory=dict)
    folders: dict[str, Folder] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    """The texts of executable files."""
    programs: dict[str, Path] = field(default_factory=dict)
    """The directories and files of this machine, by their places in the container."""
    health: list[str] = field(default_factory=list)
    """The command that checks whether it is healthy, if it has one."""


def _latchkey() -> Image:
    runs = list(_commands("RUN"))
    users = {
        command[-1]: (int(_option(command, "--uid")), _option(command, "--home-dir"))
        for command in runs
        if command[0] == "useradd"
    }
    folders = {
        path: Folder(users[_option(command, "--owner")][0], _option(command, "--mode"))
        for command in runs
        if command[:2] == ["install", "--directory"]
        for path in command
        if path.startswith("/")
    }
    given = dict(word.split("=", 1) for word in shlex.split(last("ENV")))
    (environment,) = [path for path in given["PATH"].split(":") if path.startswith("/opt/")]
    _, _, health = last("HEALTHCHECK").partition(" CMD ")
    code = [_ROOT / name for name in ("latchkey", "app", "fastcache")]
    # The programs of an environment name its own place in their first lines.
    needed = [*code, Path(sys.prefix), Path(sys.base_prefix)]
    return Image(
        program=json.loads(last("ENTRYPOINT")),
        command=json.loads(last("CMD")),
        stop_signal=last("STOPSIGNAL"),
        user=int(last("USER").partition(":")[0]),
        directory=last("WORKDIR"),
        users=users,
        environment={**given, "PATH": given["PATH"].replace("$PATH", _PATH)},
        folders=folders,
        volumes=tuple(json.loads(last("VOLUME"))),
        programs={
            **{str(path): path for path in needed if not path.is_relative_to("/usr")},
            str(Path(environment).parent): Path(sys.prefix),
        },
        health=json.loads(health),
    )


def _commands(instruction: str) -> Iterator[list[str]]:
    for name, text in FINAL:
        if name == instruction:
            for command in text.split(" && "):
                yield shlex.split(command)


def _option(command: list[str], name: str) -> str:
    (found,) = [word for word in command if word.startswith(f"{name}=") or word == name]
    return found.partition("=")[2] or command[command.index(found) + 1]


# As the one of the image: it prepares the database with a server that only its socket reaches.
_POSTGRESQL = """\
#!/bin/bash
set -e
if [ "$(id -u)" = 0 ]; then
    POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
    export POSTGRES_PASSWORD
    unset POSTGRES_PASSWORD_FILE
    mkdir -p "$PGDATA"
    chown -R postgres "$PGDATA"
    chmod 700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=999 --clear-groups --pdeathsig=KILL "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    eval 'initdb --username="$POSTGRES_USER" --pwfile=<(printf "%s\\n" "$POSTGRES_PASSWORD")' \\
        "$POSTGRES_INITDB_ARGS"
    printf '\\nhost all all all scram-sha-256\\n' >>"$PGDATA/pg_hba.conf"
    pg_ctl --wait --options="-c listen_addresses=''" start
    psql --no-psqlrc --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres \\
        --command="CREATE DATABASE \\"$POSTGRES_DB\\""
    for script in /docker-entrypoint-initdb.d/*; do
        [ ! -e "$script" ] || "$script"
    done
    pg_ctl --wait --mode=fast stop
fi
exec "$@" -c listen_addresses='*'
"""


def _postgresql() -> Image:
    found = programs()
    assert found is not None, "PostgreSQL is not installed"
    return Image(
        program=["/docker-entrypoint.sh"],
        command=["postgres"],
        stop_signal="SIGINT",
        users={"postgres": (999, "/var/lib/postgresql")},
        environment={
            "PATH": f"{_PATH}:{found}",
            "LANG": "C.UTF-8",
            "PGDATA": "/var/lib/postgresql/data",
        },
        folders={
            "/var/lib/postgresql/data": Folder(999, "1777"),
            "/run/postgresql": Folder(999, "3777"),
        },
        volumes=("/var/lib/postgresql/data",),
        files={"/docker-entrypoint.sh": _POSTGRESQL},
    )


_NGINX = """\
user nginx;
error_log stderr notice;
pid /run/nginx.pid;
events {}
http {
    access_log off;
    include /etc/nginx/conf.d/*.conf;
}
"""


def _nginx() -> Image:
    return Image(
        program=["nginx"],
        command=["-c", "/etc/nginx/nginx.conf", "-g", "daemon off;"],
        stop_signal="SIGQUIT",
        users={"nginx": (101, "/nonexistent")},
        environment={"PATH": _PATH},
        folders={"/var/log/nginx": Folder(), "/var/lib/nginx": Folder()},
        files={"/etc/nginx/nginx.conf": _NGINX},
    )


_IMAGES = {"latchkey": _latchkey, "postgres": _postgresql, "nginx": _nginx}


def image_of(name: str) -> Image:
    """The image that a service names, such as ``postgres:15``."""
    return _IMAGES[name.partition(":")[0]]()
