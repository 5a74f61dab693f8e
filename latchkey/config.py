"""Every setting: its name, type, default and help, in one table, read from ``LATCHKEY_*``.

The fields of ``Settings`` are the table; docs/configuration.md is made from it. An unknown name
or a bad value stops the start with one line that says which, and what is allowed.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from latchkey.binding import parse_addresses, parse_origin
from latchkey.errors import ConfigurationError
from latchkey.files.shared_places import open_regular
from latchkey.platform_variables import is_injected

PREFIX = "LATCHKEY_"
MASK = "********"

_HEX_KEY = re.compile(r"[0-9a-fA-F]{64}")
_DIGITS = re.compile(r"[0-9]+")
_HOST_NAME = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?"
# What other services call a setting.
_SYNONYMS = {"PORT": "BIND", "HOST": "BIND", "LISTEN": "BIND", "DATABASE": "DATABASE_URL"}
_MAX_KEYS = 4


def _only_digits(value: object) -> object:
    """Refuse what pydantic would take for a whole number, as ``4.0`` and ``1_0``."""
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise ValueError("not a whole number")
    return value


_WHOLE = BeforeValidator(_only_digits)


def _checked_by(parse: Callable[[str], object]) -> AfterValidator:
    """Refuse the text that ``parse`` refuses, and keep any other as it is."""

    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


class Settings(BaseModel):
    """The settings of one Latchkey, as the environment gives them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: str = Field(
        default="sqlite:///data/latchkey.db",
        description="The database: `sqlite:///` and a path, absolute (four slashes) or from the "
        "working directory.",
    )
    derivation_keys: SecretStr = Field(
        default=SecretStr(""),
        description="The instance's derivation keys, each 64 hex digits, comma-separated, newest "
        "first, four at most. Empty: they are read from the file.",
    )
    derivation_key_file: Path = Field(
        default=Path("secrets/derivation.key"),
        description="A file with the derivation keys, one in a line, newest first; mode 0600, and "
        "not in the database's directory. Not used where `LATCHKEY_DERIVATION_KEYS` is set.",
    )
    derivation_keys_retired: SecretStr = Field(
        default=SecretStr(""),
        description="Derivation keys that accept use but no registration, written as the others, "
        "four at most.",
    )
    audit_key_file: Path = Field(
        default=Path("secrets/audit.key"),
        description="The file with the key of the audit log, 64 hex digits; mode 0600, and not in "
        "the database's directory.",
    )
    audit_head_file: Path = Field(
        default=Path("secrets/audit.head"),
        description="The file that says how far the audit log goes; not in the database's "
        "directory. The service writes it at each change.",
    )
    bind: Annotated[str, _checked_by(parse_addresses)] = Field(
        default="127.0.0.1:8080",
        description="Where to listen: `HOST:PORT` (an IPv6 address in brackets, `[::1]:8080`; port "
        "0 takes a free one), `unix:PATH`, or `fd://NUMBER` for a socket that is handed down; "
        "several are separated by commas.",
    )
    socket_mode: str = Field(
        default="0660",
        pattern=r"^0?[67][0-7]{2}$",
        description="The mode of a unix socket that the service makes, in octal, `0600` to `0777`: "
        "a proxy needs the permission to write.",
    )
    public_url: Annotated[str, _checked_by(parse_origin)] = Field(
        default="",
        description="Where browsers reach the service, as `https://keys.example.com`: `http://` or "
        "`https://`, a host name, and the port if it is not the scheme's own. The set-up link of "
        "`latchkey init` begins with it, and the console answers to its host name.",
    )
    workers: Annotated[int, Field(ge=1, le=256), _WHOLE] = Field(
        default=4, description="Worker processes, 1 to 256."
    )
    threads: Annotated[int, Field(ge=1, le=256), _WHOLE] = Field(
        default=4, description="Threads in each worker, 1 to 256."
    )
    cache_backend: Literal["fastcache", "cachetools", "none"] = Field(
        default="fastcache",
        description="What holds checked credentials: `fastcache`, `cachetools` (for comparison), "
        "or `none` (a SELECT for each request).",
    )
    cache_ttl: Annotated[float, Field(gt=0, le=300, allow_inf_nan=False)] = Field(
        default=300.0,
        description="Seconds that a check stays valid, counted from the database read; more than "
        "0, at most 300.",
    )
    cache_size: Annotated[int, Field(ge=1, le=100_000_000), _WHOLE] = Field(
        default=100_000, description="Entries of the cache in each worker, 1 to 100000000."
    )
    shared_memory: Path = Field(
        default=Path("/dev/shm"),  # noqa: S108 - nobody else can open what is made there
        description="A directory in memory, for what the workers share. Where nothing can be made "
        "there, only one worker can run.",
    )
    shared_size: Annotated[int, Field(ge=8, le=65536), _WHOLE] = Field(
        default=32,
        description="Mebibytes that are shared, 8 to 65536; most of them hold checked credentials, "
        "and use counts take more as there are more keys.",
    )
    failure_limit: str = Field(
        default="300/minute",
        pattern=r"^(off|[1-9][0-9]{0,5}/(second|minute|hour|day))$",
        description="Refused credentials from one address (an IPv6 /64 counts as one) before the "
        "answer becomes 429: `COUNT/second`, `/minute`, `/hour` or `/day` with a count of 1 to "
        "999999, or `off`. The workers count together.",
    )
    registration: Literal["open", "off"] = Field(
        default="open",
        description="Whether `POST /credentials` registers pairs that the vendor made: `open` or "
        "`off`.",
    )
    trusted_proxies: Annotated[int, Field(ge=0, le=16), _WHOLE] = Field(
        default=0,
        description="How many proxies in front are yours: the caller's address is that many from "
        "the right of `X-Forwarded-For`. 0 to 16; 0 takes the peer's.",
    )
    console_hosts: str = Field(
        default="127.0.0.1,localhost,[::1]",
        pattern=rf"^{_HOST_NAME}(\s*,\s*{_HOST_NAME})*$",
        description="The host names by which the console may be called, comma-separated; one with "
        "a port (`latchkey.example:8443`) with that port only. It refuses every other `Host`, "
        "except that of `LATCHKEY_PUBLIC_URL`.",
    )
    console_tls: Literal["auto", "on"] = Field(
        default="auto",
        description="Whether browsers reach the console by HTTPS, which makes its cookie `Secure` "
        "and sends HSTS: `on`, or `auto` to believe `X-Forwarded-Proto` where there are trusted "
        "proxies.",
    )
    console_idle: Annotated[float, Field(ge=1, le=2_592_000, allow_inf_nan=False)] = Field(
        default=1_800.0,
        description="Seconds without use after which a console session ends, 1 to 2592000.",
    )
    console_session: Annotated[float, Field(ge=1, le=2_592_000, allow_inf_nan=False)] = Field(
        default=43_200.0,
        description="Seconds after the sign-in at which a console session ends, used or not, 1 to "
        "2592000.",
    )
    sign_in_limit: str = Field(
        default="10/minute",
        pattern=r"^(off|[1-9][0-9]{0,5}/(second|minute|hour|day))$",
        description="Tries to sign in to the console from one address, right or wrong, as "
        "`COUNT/second`, `/minute`, `/hour` or `/day`, or `off`; five times as many for one name "
        "from all addresses.",
    )
    request_timeout: Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False)] = Field(
        default=20.0,
        description="Seconds in which a request must be read and its answer begun, 1 to 3600; from "
        "then on the client must take some of the answer within each such time. The connection of "
        "a slower client is cut.",
    )
    rotation_days: Annotated[int, Field(ge=1, le=3650), _WHOLE] = Field(
        default=90,
        description="Days after which a key should be replaced (`rotate_by`), 1 to 3650.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="The least severe log line that is written: `debug`, `info`, `warning` or "
        "`error`.",
    )


def load_settings(
    environ: Mapping[str, str] | None = None, *, overrides: Mapping[str, str] | None = None
) -> Settings:
    """Read the settings from ``environ`` (the process's own where None).

    ``overrides``, by field name, come from the command line's options of the same names, and win.
    Raises ConfigurationError, one line, for an unknown name or a value that is not allowed.
    """
    values = os.environ if environ is None else environ
    known = {variable(name): name for name in Settings.model_fields}
    unknown = sorted(key for key in values if key.startswith(PREFIX) and key not in known)
    for name in unknown:
        if not is_injected(name, values):
            raise ConfigurationError(_unknown(name, sorted(known)))
    given = {field: values[key].strip() for key, field in known.items() if key in values}
    given.update({field: value.strip() for field, value in (overrides or {}).items()})
    if given.get("derivation_keys") and "derivation_key_file" in given:
        raise ConfigurationError(
            f"set {variable('derivation_keys')} or {variable('derivation_key_file')}, not both"
        )
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        field = str(error.errors()[0]["loc"][0])
    source = f"--{field.replace('_', '-')}" if field in (overrides or {}) else variable(field)
    raise ConfigurationError(_problem(source, field))


def variable(field: str) -> str:
    """The environment's name for a field: ``cache_ttl`` is ``LATCHKEY_CACHE_TTL``."""
    return PREFIX + field.upper()


def derivation_keys(settings: Settings) -> tuple[list[bytes], list[bytes]]:
    """The current and the retired derivation keys, 32 bytes each, newest first.

    Raises ConfigurationError where there is none, one is malformed, or the file is not private.
    """
    inline = settings.derivation_keys.get_secret_value()
    if inline:
        current = _parse_keys(variable("derivation_keys"), inline.split(","))
    else:
        current = _read_key_file(settings)
    retired_text = settings.derivation_keys_retired.get_secret_value()
    retired = (
        _parse_keys(variable("derivation_keys_retired"), retired_text.split(","))
        if retired_text
        else []
    )
    if len({*current, *retired}) < len(current) + len(retired):
        raise ConfigurationError("a derivation key is listed twice; list each one once")
    return current, retired


def audit_key(settings: Settings) -> bytes | None:
    """The 32-byte key of the audit log; None where there is no file.

    Raises ConfigurationError where it is malformed, or the file is not private.
    """
    path = settings.audit_key_file.absolute()
    try:
        lines = _read_private_lines("the audit key file", path)
    except FileNotFoundError:
        return None
    if len(lines) != 1 or not _HEX_KEY.fullmatch(lines[0]):
        raise ConfigurationError(f"the audit key file {path}: one line of 64 hex digits is needed")
    return bytes.fromhex(lines[0])


def _read_key_file(settings: Settings) -> list[bytes]:
    path = settings.derivation_key_file.absolute()
    try:
        lines = _read_private_lines("the derivation key file", path)
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no derivation key: set {variable('derivation_keys')}, or "
            f"{variable('derivation_key_file')}, which names {path}, or change to the instance's "
            "directory; a new instance is made with: latchkey init"
        ) from None
    return _parse_keys(f"the derivation key file {path}", lines)


def _read_private_lines(what: str, path: Path) -> list[str]:
    """What a key file says, without empty lines and comments; raises FileNotFoundError."""
    try:
        with open(open_regular(path), encoding="ascii") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            text = file.read(64 * 1024)
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not ASCII text"
        raise ConfigurationError(f"{what} {path}: {reason}") from None
    if mode & 0o077:
        raise ConfigurationError(
            f"{what} {path} has mode {mode:04o}; make it private: chmod 600 {path}"
        )
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _parse_keys(source: str, keys: list[str]) -> list[bytes]:
    if not 1 <= len(keys) <= _MAX_KEYS:
        raise ConfigurationError(f"{source}: 1 to {_MAX_KEYS} keys are allowed, not {len(keys)}")
    if not all(_HEX_KEY.fullmatch(key.strip()) for key in keys):
        raise ConfigurationError(f"{source}: a derivation key is 64 hex digits")
    return [bytes.fromhex(key.strip()) for key in keys]


def _unknown(name: str, known: list[str]) -> str:
    """The one line about a name that is no setting."""
    fields = [setting.removeprefix(PREFIX) for setting in known]
    field = name.upper().removeprefix(PREFIX)
    similar = _SYNONYMS.get(field) or next(iter(difflib.get_close_matches(field, fields, 1)), None)
    suggestion = f" (did you mean {PREFIX}{similar}?)" if similar else ""
    # A name may have any character in it.
    shown = name.encode("unicode_escape").decode()
    return f"unknown setting {shown}{suggestion}; allowed are {', '.join(known)}"


def _problem(source: str, field: str) -> str:
    """The one line about a bad value. It never repeats the value: it may be a secret.

    ``source`` is where the value came from: the variable, or the option of the command line.
    """
    help_text = (Settings.model_fields[field].description or "").replace("`", "")
    return f"{source} has a value that is not allowed. {help_text}"
