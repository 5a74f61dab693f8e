"""All settings in one table: name, type, default and help. Values come from ``LATCHKEY_*``.

The fields of ``Settings`` are the table, and docs/reference/settings.md is generated from it. An
unknown name or an invalid value is reported in a one-line error that names the setting and the
allowed values.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
)

from latchkey.binding import parse_addresses, parse_origin
from latchkey.credentials.default_limit import parse_default_limit
from latchkey.credentials.granting import parse_allowed
from latchkey.errors import ConfigurationError
from latchkey.errors.limits import HeaderStyle
from latchkey.platform_variables import is_injected
from latchkey.setting_types import DECIMAL, FILE, WHOLE, checked_by, file_or_none, not_empty
from latchkey.shown_urls import without_password

PREFIX = "LATCHKEY_"
MASK = "********"

# Seconds of a request that remain for the rest of a change.
_LEASE_MARGIN = 5

_HOST_NAME = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?"
_DAYS = r"^(keep|[1-9][0-9]{0,4})$"
# The settings of derivation keys, and those that name a file with them instead.
DERIVATION_KEY_FILES = {
    "derivation_keys": "derivation_keys_file",
    "derivation_keys_retired": "derivation_keys_retired_file",
}
SECRET_FILES = {**DERIVATION_KEY_FILES, "database_password": "database_password_file"}
# Names of settings in version 0.1, which are still accepted.
_FORMER = {"LATCHKEY_DERIVATION_KEY_FILE": "derivation_keys_file"}
# Common names of settings in other services, and our names for them.
_SYNONYMS = {"PORT": "BIND", "HOST": "BIND", "LISTEN": "BIND", "DATABASE": "DATABASE_URL"}


class Settings(BaseModel):
    """The settings of one instance, from the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # The fields that were set by command-line options.
    _by_option: frozenset[str] = PrivateAttr(default=frozenset())

    database_url: str = Field(
        default="sqlite:///data/latchkey.db",
        description="The database: `sqlite:///` and a path, absolute (four slashes) or relative to "
        "the working directory; or PostgreSQL, as `postgresql+psycopg://USER@HOST:PORT/DATABASE` "
        "with the parameters of libpq.",
    )
    database_password: SecretStr = Field(
        default=SecretStr(""),
        description="The password for PostgreSQL, instead of one in the URL.",
    )
    database_password_file: Annotated[str, BeforeValidator(file_or_none)] = Field(
        default="",
        json_schema_extra={"format": "path"},
        description="A private file with the password for PostgreSQL: one line of printable ASCII. "
        "It is read for each new connection.",
    )
    derivation_keys: SecretStr = Field(
        default=SecretStr(""),
        description="The instance's derivation keys, each 64 hex digits, comma-separated, newest "
        "first, at most four. If empty, they are read from the file.",
    )
    derivation_keys_file: FILE = Field(
        default=Path("secrets/derivation.key"),
        description="A file with the derivation keys, one per line, newest first; private, and not "
        "in the database's directory. Ignored if `LATCHKEY_DERIVATION_KEYS` is set.",
    )
    derivation_keys_retired: SecretStr = Field(
        default=SecretStr(""),
        description="Retired derivation keys, in the same format, at most four. Pairs made with "
        "them keep working, but can no longer be registered.",
    )
    derivation_keys_retired_file: Annotated[str, BeforeValidator(file_or_none)] = Field(
        default="",
        json_schema_extra={"format": "path"},
        description="A file with the retired derivation keys, instead of "
        "`LATCHKEY_DERIVATION_KEYS_RETIRED`: one per line; private, and not in the database's "
        "directory.",
    )
    audit_key_file: FILE = Field(
        default=Path("secrets/audit.key"),
        description="The file with the key of the audit log, 64 hex digits; private, and not in "
        "the database's directory.",
    )
    audit_head_file: FILE = Field(
        default=Path("secrets/audit.head"),
        description="The file that records the end of the audit log; not in the database's "
        "directory. The service writes it at each change.",
    )
    audit_address_days: str = Field(
        default="keep",
        pattern=_DAYS,
        description="Days for which client addresses are kept in the audit log, and in the list of "
        "addresses that a key was used from: a whole number from 1 to 99999, or `keep` for "
        "always. A running service removes older ones within an hour after midnight in UTC.",
    )
    audit_detail_days: str = Field(
        default="keep",
        pattern=_DAYS,
        description="Days for which the details of rows are kept in the audit log: a whole number "
        "from 1 to 99999, or `keep` for always. The details of rows about the log itself are "
        "always kept.",
    )
    bind: Annotated[str, checked_by(parse_addresses)] = Field(
        default="127.0.0.1:8080",
        description="Where to listen: `HOST:PORT` (an IPv6 address in brackets, `[::1]:8080`; port "
        "0 takes a free one), `unix:PATH`, or `fd://NUMBER` for an inherited socket; several "
        "addresses are separated by commas.",
    )
    socket_mode: str = Field(
        default="0660",
        pattern=r"^0?[67][0-7]{2}$",
        description="The mode of a unix socket that the service creates, in octal, `0600` to "
        "`0777`. A proxy needs write permission.",
    )
    public_url: Annotated[str, checked_by(parse_origin)] = Field(
        default="",
        description="The address of the service for browsers, such as `https://keys.example.com`: "
        "`http://` or `https://`, a host name, and the port unless it is the default of the "
        "scheme. The set-up link of `latchkey init` begins with it, and the console answers to its "
        "host name.",
    )
    workers: Annotated[int, Field(ge=1, le=256), WHOLE] = Field(
        default=4, description="Worker processes, 1 to 256."
    )
    threads: Annotated[int, Field(ge=1, le=256), WHOLE] = Field(
        default=4, description="Threads in each worker, 1 to 256."
    )
    cache_backend: Literal["fastcache", "cachetools", "none"] = Field(
        default="fastcache",
        description="The cache of checked credentials: `fastcache`, `cachetools` (for comparison), "
        "or `none` (a SELECT for each request).",
    )
    cache_ttl: Annotated[float, Field(gt=0, le=300), DECIMAL] = Field(
        default=300.0,
        description="Seconds that a check stays valid, counted from the database read; more than "
        "0, at most 300.",
    )
    cache_size: Annotated[int, Field(ge=1, le=100_000_000), WHOLE] = Field(
        default=100_000, description="Entries of the cache in each worker, 1 to 100000000."
    )
    shared_memory: Annotated[Path, BeforeValidator(not_empty)] = Field(
        default=Path("/dev/shm"),  # noqa: S108 - other users cannot open the files created there
        description="A directory in memory for the state that the workers share. If it is not "
        "usable, only one worker can run.",
    )
    shared_size: Annotated[int, Field(ge=8, le=65536), WHOLE] = Field(
        default=32,
        description="Size of the shared memory in mebibytes, 8 to 65536. Checked credentials take "
        "most of it; use counts grow with the number of keys.",
    )
    lease: Annotated[float, Field(ge=1, le=3595), DECIMAL] = Field(
        default=5.0,
        description="With PostgreSQL, the seconds for which a box that is cut off may use what it "
        "has cached, 1 to 5 less than `LATCHKEY_REQUEST_TIMEOUT`. A change waits that long for "
        "such a box, once.",
    )
    box_name: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,64}$",
        description="With PostgreSQL, the name of this box in lists and log lines: up to 64 "
        "letters, digits, `.`, `_` and `-`. If empty, the name of the host.",
    )
    failure_limit: str = Field(
        default="300/minute",
        pattern=r"^(off|[1-9][0-9]{0,5}/(second|minute|hour|day))$",
        description="Refused credentials from one address (an IPv6 /64 counts as one) before the "
        "answer becomes 429: `COUNT/second`, `/minute`, `/hour` or `/day` with a count of 1 to "
        "999999, or `off`. The workers count together.",
    )
    default_limit: Annotated[str, checked_by(parse_default_limit)] = Field(
        default="",
        description="The rate limit of keys without limits of their own: `COUNT/second`, "
        "`/minute`, `/hour` or `/day`, at most 1000000 per second, such as `100/minute`. "
        "`100/minute,burst=20` admits 20 requests at once; the default burst is the count. If "
        "empty, these keys have no limit.",
    )
    ratelimit_headers: HeaderStyle = Field(
        default="standard",
        description="The headers that tell clients what remains of their limits: `standard` sends "
        "`RateLimit-Policy` and `RateLimit` with all limits, `x` sends `X-RateLimit-Limit`, "
        "`X-RateLimit-Remaining` and `X-RateLimit-Reset` of the one with the smallest remaining "
        "share.",
    )
    rate_share: Literal["full", "divide"] = Field(
        default="full",
        description="With PostgreSQL, the share of a rate that each box admits: `full` is the "
        "whole rate, `divide` the rate divided by the number of live boxes. Quotas are always "
        "counted over all boxes.",
    )
    registration: Literal["open", "off"] = Field(
        default="open",
        description="Whether `POST /credentials` registers pairs that the vendor generated: `open` "
        "or `off`.",
    )
    scopes: Annotated[str, checked_by(parse_allowed)] = Field(
        default="",
        description="The scopes of your application that keys may have, comma-separated, such as "
        "`orders:read,orders:write`; a listed scope also allows the same one with a selector. "
        "Latchkey's own scopes are always allowed. If empty, every well-formed scope is. The "
        "console offers the listed scopes as checkboxes.",
    )
    trusted_proxies: Annotated[int, Field(ge=0, le=16), WHOLE] = Field(
        default=0,
        description="The number of your proxies in front of the service, 0 to 16: the client's "
        "address is that many entries from the right of `X-Forwarded-For`. 0 uses the address of "
        "the connection.",
    )
    verify_routes: Annotated[str, BeforeValidator(file_or_none)] = Field(
        default="",
        json_schema_extra={"format": "path"},
        description="A TOML file with the rules of the `/verify` routes: what a request to an "
        "application behind a proxy needs, by host, method and path. If empty, the URL that the "
        "proxy calls names it.",
    )
    console_hosts: str = Field(
        default="127.0.0.1,localhost,[::1]",
        pattern=rf"^{_HOST_NAME}(\s*,\s*{_HOST_NAME})*$",
        description="The host names that the console answers to, comma-separated. A name with a "
        "port (`latchkey.example:8443`) is valid for that port only. The console also answers to "
        "the host of `LATCHKEY_PUBLIC_URL`, and refuses every other `Host`.",
    )
    console_tls: Literal["auto", "on"] = Field(
        default="auto",
        description="Whether browsers use HTTPS for the console; its cookie is then `Secure`, and "
        "HSTS is sent. `on`, or `auto` to trust `X-Forwarded-Proto` of trusted proxies.",
    )
    console_idle: Annotated[float, Field(ge=1, le=2_592_000), DECIMAL] = Field(
        default=1_800.0,
        description="Seconds of inactivity after which a console session expires, 1 to 2592000.",
    )
    console_session: Annotated[float, Field(ge=1, le=2_592_000), DECIMAL] = Field(
        default=43_200.0,
        description="Seconds after sign-in at which a console session expires even if it is used, "
        "1 to 2592000.",
    )
    sign_in_limit: str = Field(
        default="10/minute",
        pattern=r"^(off|[1-9][0-9]{0,5}/(second|minute|hour|day))$",
        description="Sign-in attempts from one address, successful or not: `COUNT/second`, "
        "`/minute`, `/hour` or `/day`, or `off`. For one name from all addresses, the limit is "
        "five times as high.",
    )
    request_timeout: Annotated[float, Field(ge=1, le=3600), DECIMAL] = Field(
        default=20.0,
        description="Seconds within which a request must arrive and its response must start, 1 to "
        "3600. After that, the client must read part of the response in each such period. The "
        "connection of a slower client is closed.",
    )
    rotation_days: Annotated[int, Field(ge=1, le=3650), WHOLE] = Field(
        default=90,
        description="Days after which a key should be replaced (`rotate_by`), 1 to 3650.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="The lowest level of log lines that are written: `debug`, `info`, `warning` or "
        "`error`.",
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        """The URL of the database may have a password."""
        for name, value in super().__repr_args__():
            yield name, without_password(str(value)) if name == "database_url" else value

    def source(self, field: str) -> str:
        """The name of the option or variable that sets a field, for error messages."""
        return _source(field, self._by_option)


def load_settings(
    environ: Mapping[str, str] | None = None, *, overrides: Mapping[str, str] | None = None
) -> Settings:
    """Read the settings from ``environ``; None means the environment of the process.

    ``overrides``, by field name, come from command-line options and take precedence. Raises
    ConfigurationError with a one-line message for an unknown name or an invalid value.
    """
    values = os.environ if environ is None else environ
    known = {variable(name): name for name in Settings.model_fields}
    accepted = {**_FORMER, **known}
    unknown = sorted(key for key in values if key.startswith(PREFIX) and key not in accepted)
    for name in unknown:
        if not is_injected(name, values):
            raise ConfigurationError(_unknown(name, sorted(known)))
    _require_one_of(values)
    given = {field: values[key].strip() for key, field in accepted.items() if key in values}
    given.update({field: value.strip() for field, value in (overrides or {}).items()})
    by_option = frozenset(overrides or ())
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        field = str(error.errors()[0]["loc"][0])
    else:
        settings._by_option = by_option
        _require_time_for_lease(settings, is_given="lease" in given)
        return settings
    raise ConfigurationError(_problem(_source(field, by_option), field))


def _require_time_for_lease(settings: Settings, *, is_given: bool) -> None:
    """Reject a lease for which a change cannot wait within a request; SQLite has no leases."""
    matters = is_given or not settings.database_url.startswith("sqlite:")
    if matters and settings.lease > settings.request_timeout - _LEASE_MARGIN:
        raise ConfigurationError(
            f"{settings.source('lease')} must be at least {_LEASE_MARGIN} s less than "
            f"{settings.source('request_timeout')}: a change waits that long for a box that is "
            "cut off"
        )


def variable(field: str) -> str:
    """The environment variable of a field: ``cache_ttl`` is ``LATCHKEY_CACHE_TTL``."""
    return PREFIX + field.upper()


def _require_one_of(values: Mapping[str, str]) -> None:
    """Reject a setting under two names, and a secret both in the environment and in a file."""
    pairs = [(former, variable(field)) for former, field in _FORMER.items()]
    for secret, file in SECRET_FILES.items():
        names = [variable(file), *(former for former, field in _FORMER.items() if field == file)]
        pairs += [(variable(secret), name) for name in names]
    for one, other in pairs:
        if values.get(one, "").strip() and values.get(other, "").strip():
            raise ConfigurationError(f"set {one} or {other}, not both")


def _source(field: str, by_option: frozenset[str]) -> str:
    return f"--{field.replace('_', '-')}" if field in by_option else variable(field)


def _unknown(name: str, known: list[str]) -> str:
    """The one-line error for an unknown name."""
    fields = [setting.removeprefix(PREFIX) for setting in known]
    field = name.upper().removeprefix(PREFIX)
    similar = _SYNONYMS.get(field) or next(iter(difflib.get_close_matches(field, fields, 1)), None)
    suggestion = f" (did you mean {PREFIX}{similar}?)" if similar else ""
    # A name can contain any character.
    shown = name.encode("unicode_escape").decode()
    return f"unknown setting {shown}{suggestion}; allowed are {', '.join(known)}"


def _problem(source: str, field: str) -> str:
    """The one-line error for an invalid value. It never repeats the value, which may be secret.

    ``source`` is the environment variable or the command-line option.
    """
    help_text = (Settings.model_fields[field].description or "").replace("`", "")
    return f"{source} has an invalid value. {help_text}"
