"""The text of docs/reference/settings.md, generated from the settings in latchkey/config.py."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

from pydantic import SecretStr
from pydantic.json_schema import PydanticJsonSchemaWarning

from latchkey.config import Settings, variable

_INTRODUCTION = """\
# Settings

<!-- Made by `make reference` from latchkey/config.py and scripts/settings_page.py. -->

Every setting is an environment variable that begins with `LATCHKEY_`. There is no configuration
file of Latchkey's own. systemd reads the variables from a file with `EnvironmentFile=`.

- With an unknown `LATCHKEY_` name or an invalid value, the service does not start. It prints one
  line that names the setting and the allowed values, and never repeats the value.
- `latchkey config` shows every setting with its value and its source. Secrets are masked.
- The options `--bind`, `--workers` and `--threads` of `latchkey serve` take precedence over the
  environment.
- A changed setting takes effect when the service is started again. Only the key files and the
  routes file are also read again at SIGHUP.
- A secret can be given in a file: `LATCHKEY_X_FILE` names a file with the value of `LATCHKEY_X`.
  If both are given, the service does not start, and prints a line that names both. A line break
  at the end of the file is ignored. [Key files](../operations.md#key-files) has the permissions of
  these files.
- Relative paths start at the working directory. In production, use absolute paths.
"""


class Note(NamedTuple):
    """Facts that the table of settings lacks: unit, behaviour at the limits, an example."""

    unit: str
    limits: str
    example: str


class Subject(NamedTuple):
    """Settings that belong together, by the names of their fields."""

    title: str
    notes: dict[str, Note]


SUBJECTS = (
    Subject(
        "Files and keys",
        {
            "database_url": Note(
                "",
                "`latchkey init` and the first start create a missing file. A running service "
                "never "
                "does: it answers 500 while the file is missing.",
                "sqlite:////var/lib/latchkey/data/latchkey.db",
            ),
            "database_password": Note(
                "",
                "The service does not start if the URL has a password too, or names SQLite.",
                "",
            ),
            "database_password_file": Note(
                "",
                "The service does not start if the file is missing, if other users can access it, "
                "or if the URL names SQLite.",
                "/var/lib/latchkey/secrets/database.password",
            ),
            "derivation_keys": Note(
                "",
                "The service does not start if there are more than four keys, or if a key is "
                "listed twice or is also retired.",
                "",
            ),
            "derivation_keys_file": Note(
                "",
                "`latchkey init` creates a missing file. The service does not start without a "
                "derivation key, or if other users can access the file.",
                "/var/lib/latchkey/secrets/derivation.key",
            ),
            "derivation_keys_retired": Note(
                "",
                "The service does not start with more than four keys. Pairs of a key that is not "
                "listed are refused.",
                "",
            ),
            "derivation_keys_retired_file": Note(
                "",
                "The service does not start if the file is missing, or if other users can access "
                "it.",
                "/var/lib/latchkey/secrets/retired.keys",
            ),
            "audit_key_file": Note(
                "",
                "A missing file is created only while the audit log is empty. Otherwise the "
                "service does not start until the file is back.",
                "/var/lib/latchkey/secrets/audit.key",
            ),
            "audit_head_file": Note(
                "",
                "If the file is missing, the start logs an error, and `latchkey audit verify` "
                "reports it.",
                "/var/lib/latchkey/secrets/audit.head",
            ),
            "audit_address_days": Note(
                "days",
                "A change takes effect after a restart. What was removed does not come back.",
                "365",
            ),
            "audit_detail_days": Note(
                "days",
                "A change takes effect after a restart. What was removed does not come back.",
                "730",
            ),
        },
    ),
    Subject(
        "Addresses and proxies",
        {
            "bind": Note(
                "",
                "The service does not start, and prints one line, if an address is in use or the "
                "user may not listen on it.",
                "127.0.0.1:8080,unix:/run/latchkey/http.sock",
            ),
            "socket_mode": Note(
                "",
                "A proxy without write permission cannot connect. `0666` lets every user of the "
                "box "
                "connect.",
                "0660",
            ),
            "public_url": Note(
                "",
                "Without it, links have the address of `LATCHKEY_BIND`.",
                "https://keys.example.com",
            ),
            "trusted_proxies": Note(
                "proxies",
                "If it is too low, all clients of a proxy count as one. If it is too high, "
                "clients can "
                "choose the address that they are counted by.",
                "1",
            ),
            "verify_routes": Note(
                "",
                "The service does not start if the file is missing or invalid, or if another user "
                "may have put it there. It is read again at SIGHUP; an invalid file then changes "
                "nothing. At most 256 rules and 256 KiB.",
                "/etc/latchkey/routes.toml",
            ),
        },
    ),
    Subject(
        "Processes and requests",
        {
            "workers": Note(
                "processes",
                "With 1, the service can run without shared memory. Each worker has a cache of "
                "its own.",
                "2",
            ),
            "threads": Note(
                "threads in each worker",
                "With 1, a change or the hash of a password blocks the worker. Requests beyond the "
                "number of threads wait.",
                "8",
            ),
            "request_timeout": Note(
                "seconds",
                "The connection of a client that is too slow is closed without an answer.",
                "30",
            ),
        },
    ),
    Subject(
        "Caches and shared memory",
        {
            "cache_backend": Note(
                "",
                "Only `fastcache` uses the cache between the workers. The promises of the cache "
                "do not "
                "depend on it.",
                "fastcache",
            ),
            "cache_ttl": Note(
                "seconds",
                "The limit of 300 cannot be raised. A short time causes more SELECTs.",
                "60",
            ),
            "cache_size": Note(
                "entries in each worker",
                "When the cache is full, the least recently used entry is evicted. Its key costs "
                "one "
                "SELECT at its next use.",
                "200000",
            ),
            "shared_memory": Note(
                "",
                "If the directory is full, several workers do not start. If it fills up later, "
                "uses of "
                "further keys are not counted.",
                "/dev/shm",  # noqa: S108 - an example
            ),
            "lease": Note(
                "seconds",
                "SQLite has no leases. Boxes can differ in it. A shorter lease shortens the "
                "longest change; a box that is slow for longer reads the database for each "
                "request until it has caught up.",
                "3",
            ),
            "box_name": Note(
                "",
                "Boxes may have the same name. SQLite has only one box.",
                "east-1",
            ),
            "shared_size": Note(
                "mebibytes",
                "When the cache between the workers is full, entries are evicted: expired ones "
                "first, "
                "then those that expire first.",
                "128",
            ),
        },
    ),
    Subject(
        "Keys and limits",
        {
            "failure_limit": Note(
                "refused credentials in a period",
                "Beyond the limit, refused credentials are answered 429 with `Retry-After`. A "
                "valid key "
                "from the same address is still accepted.",
                "60/minute",
            ),
            "default_limit": Note(
                "requests in a period",
                "A request beyond the limit is answered 429 with `Retry-After`. After a restart, "
                "rates are full, so one burst more may be admitted.",
                "100/minute,burst=20",
            ),
            "ratelimit_headers": Note(
                "",
                "Answers to requests that no limit applies to have none of these headers.",
                "x",
            ),
            "rate_share": Note(
                "",
                "With `divide`, boxes may admit more or less for a few seconds after their number "
                "has changed. The burst is divided too, but each box admits a burst of at least "
                "1. SQLite has only one box.",
                "divide",
            ),
            "scopes": Note(
                "",
                "A key keeps a scope that is not listed any more, and it cannot be granted again.",
                "orders:read,orders:write",
            ),
            "registration": Note(
                "",
                "With `off`, the request is answered 401 without a credential, and 405 with one.",
                "off",
            ),
            "rotation_days": Note(
                "days",
                "A key that is overdue still works. `latchkey keys list --due` lists it.",
                "30",
            ),
        },
    ),
    Subject(
        "Console",
        {
            "console_hosts": Note(
                "",
                "A request with another host name is answered 400, with a page that names this "
                "setting.",
                "keys.example.com",
            ),
            "console_tls": Note(
                "",
                "With `on`, browsers do not send the cookie over plain HTTP, so nobody can sign in "
                "without TLS.",
                "on",
            ),
            "console_idle": Note(
                "seconds", "After that time, the administrator has to sign in again.", "900"
            ),
            "console_session": Note(
                "seconds", "After that time, the administrator has to sign in again.", "28800"
            ),
            "sign_in_limit": Note(
                "attempts in a period",
                "Further attempts are answered 429 before the password is checked.",
                "5/minute",
            ),
        },
    ),
    Subject(
        "Log",
        {
            "log_level": Note(
                "",
                "With `debug`, an unexpected error of a command is shown with its traceback.",
                "warning",
            ),
        },
    ),
)


def page() -> str:
    """The page's text."""
    with warnings.catch_warnings():
        # The lowest versions of pydantic cannot serialize the default of a secret.
        warnings.simplefilter("ignore", PydanticJsonSchemaWarning)
        schema = Settings.model_json_schema()["properties"]
    return "\n".join([_INTRODUCTION, *(_section(subject, schema) for subject in SUBJECTS)])


def _section(subject: Subject, schema: dict[str, Any]) -> str:
    entries = [_entry(field, note, schema[field]) for field, note in subject.notes.items()]
    return "\n".join([f"## {subject.title}\n", *entries])


def _entry(field: str, note: Note, schema: dict[str, Any]) -> str:
    described = Settings.model_fields[field]
    default = described.default
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    lines = [
        f"### `{variable(field)}`\n",
        f"{described.description}\n",
        f"- Allowed: {_allowed(schema)}",
        f"- Default: `{default}`" if default != "" else "- Default: none",
    ]
    if note.unit:
        lines.append(f"- Unit: {note.unit}")
    lines.append(f"- Limits: {note.limits}")
    if note.example:
        lines.append(f"- Example: `{variable(field)}={note.example}`")
    return "\n".join(lines) + "\n"


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "integer":
        return f"whole number, {schema['minimum']} to {schema['maximum']}"
    if schema["type"] == "number":
        most = _figure(schema["maximum"])
        if "minimum" in schema:
            return f"number, {_figure(schema['minimum'])} to {most}"
        return f"number above {_figure(schema['exclusiveMinimum'])}, up to {most}"
    return {"path": "path", "password": "text, a secret"}.get(schema.get("format", ""), "text")


def _figure(bound: float) -> float:
    """A bound; not all versions of pydantic make a float of a whole number."""
    return int(bound) if bound == int(bound) else bound
