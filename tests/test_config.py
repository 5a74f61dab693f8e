"""The settings: defaults, accepted values, and refusals in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from latchkey.config import PREFIX, Settings, load_settings, variable
from latchkey.errors import ConfigurationError

ONE, TWO, THREE = "1" * 64, "2" * 64, "3" * 64
OVERLONG = "9" * 400
NO_FILES = ["", ".", "..", "/", "a/.."]
DAYS: tuple[object, dict[str, object], list[str]] = (
    "keep",
    {"1": "1", "365": "365", "99999": "99999", "keep": "keep"},
    ["", "0", "01", "100000", "1.5", "never", "-1"],
)
NO_DECIMALS = ["1_0", "+1", "\uff11", "0x1p3", "_1", "1.2.3", "e5", "."]

# Name: the default; other valid values, with their results; invalid values.
TABLE: dict[str, tuple[object, dict[str, object], list[str]]] = {
    "database_url": (
        "sqlite:///data/latchkey.db",
        {"sqlite:////var/lib/latchkey/latchkey.db": "sqlite:////var/lib/latchkey/latchkey.db"},
        [],
    ),
    "database_password": ("", {"a b@": "a b@"}, []),
    "database_password_file": ("", {"": "", "/password": "/password"}, NO_FILES[1:]),
    "derivation_keys": ("", {ONE: ONE, f"{ONE},{TWO}": f"{ONE},{TWO}"}, []),
    "derivation_keys_file": (Path("secrets/derivation.key"), {"/keys": Path("/keys")}, NO_FILES),
    "derivation_keys_retired": ("", {ONE: ONE}, []),
    "derivation_keys_retired_file": ("", {"": "", "/keys": "/keys"}, NO_FILES[1:]),
    "audit_key_file": (Path("secrets/audit.key"), {"/keys": Path("/keys")}, NO_FILES),
    "audit_head_file": (Path("secrets/audit.head"), {"/head": Path("/head")}, NO_FILES),
    "audit_address_days": DAYS,
    "audit_detail_days": DAYS,
    "bind": (
        "127.0.0.1:8080",
        {
            "0.0.0.0:1": "0.0.0.0:1",
            "[::1]:65535": "[::1]:65535",
            "localhost:80": "localhost:80",
            "unix:/run/latchkey.sock": "unix:/run/latchkey.sock",
            "unix:a:99999": "unix:a:99999",
            "fd://3": "fd://3",
            "127.0.0.1:80, [::1]:80,unix:/a b": "127.0.0.1:80, [::1]:80,unix:/a b",
        },
        ["", "8080", "localhost", "localhost:", ":8080", "a b:80", "h:65536", "h:٣", "unix:"],
    ),
    "socket_mode": (
        "0660",
        {"0600": "0600", "777": "777"},
        ["", "0o660", "rw", "0060", "0460", "01777", "0668", "٦60"],
    ),
    "public_url": (
        "",
        {
            value: value
            for value in ("", "https://keys.example.com", "HTTP://a:8080/", "https://[::1]:1")
        },
        ["keys.example.com", "ftp://a", "https://", "https://a/b", "https://a:", "https://a:65536"],
    ),
    "workers": (
        4,
        {"1": 1, "256": 256, " 2 ": 2},
        ["", "0", "257", "-1", "two", "1.5", "4.0", OVERLONG],
    ),
    "threads": (
        4,
        {"1": 1, "256": 256},
        ["", "0", "257", "many", "1e2", "+4", "1_0", "٣", OVERLONG],
    ),
    "cache_backend": (
        "fastcache",
        {"cachetools": "cachetools", "none": "none", "fastcache": "fastcache"},
        ["", "redis", "None", "FASTCACHE"],
    ),
    "cache_ttl": (
        300.0,
        {"0.001": 0.001, "300": 300.0, "1e2": 100.0, ".5": 0.5, "1.": 1.0},
        ["", "0", "-1", "300.001", "inf", "nan", "5m", *NO_DECIMALS],
    ),
    "cache_size": (
        100_000,
        {"1": 1, "100000000": 100_000_000},
        ["", "0", "100000001", "-5", "1k", "100.0", OVERLONG],
    ),
    "shared_memory": (Path("/dev/shm"), {"/run/latchkey": Path("/run/latchkey")}, [""]),
    "shared_size": (32, {"8": 8, "65536": 65_536}, ["", "7", "65537", "32M", "32.0", OVERLONG]),
    "lease": (
        5.0,
        {"1": 1.0, "15": 15.0, "2.5": 2.5},
        ["", "0", "0.9", "3596", "inf", "nan", "soon", *NO_DECIMALS],
    ),
    "box_name": ("", {"": "", "East-1.b_c": "East-1.b_c"}, ["a" * 65, "a b", "\u0663"]),
    "failure_limit": (
        "300/minute",
        {value: value for value in ("off", "1/second", "5/minute", "999999/hour", "10/day")},
        ["", "0/minute", "OFF", "300", "5/month", "5 per 3 hours", "1/minute;2/hour", "٣/day"],
    ),
    "default_limit": (
        "",
        {
            value: value
            for value in ("", "1/day", "100/minute", "100/minute,burst=20", "1000000/second")
        },
        [
            "off",
            "0/minute",
            "100",
            "5/month",
            "1000001/second",
            "5/minute,burst=0",
            "5/minute,burst=",
            "5/minute,burst=07",
            "1/day,burst=367",
            "5/minute;burst=2",
            "api=5/minute",
            "٣/day",
        ],
    ),
    "ratelimit_headers": ("standard", {"x": "x"}, ["", "off", "X", "draft"]),
    "rate_share": ("full", {"divide": "divide"}, ["", "half", "Full"]),
    "registration": ("open", {"off": "off"}, ["", "closed", "on", "Open"]),
    "scopes": (
        "",
        {"orders:read, orders:write": "orders:read, orders:write", "*:read": "*:read"},
        ["orders", "orders:read orders:write", "orders:read:eu-1", "orders:*", "Orders:read"],
    ),
    "trusted_proxies": (0, {"0": 0, "16": 16}, ["", "17", "-1", "all", "1.0"]),
    "verify_routes": ("", {"": "", "/routes.toml": "/routes.toml"}, NO_FILES[1:]),
    "console_hosts": (
        "127.0.0.1,localhost,[::1]",
        {"a.example": "a.example", "a.example:8443, [::1]": "a.example:8443, [::1]"},
        [
            "",
            " ",
            ",",
            "a.example,",
            "a b",
            "https://a.example",
            "*.a.example",
            "a:b",
            "\u00e4.example",
        ],
    ),
    "console_tls": ("auto", {"on": "on"}, ["", "off", "On", "1"]),
    "console_idle": (
        1_800.0,
        {"1": 1.0, "2592000": 2_592_000.0},
        ["", "0", "0.5", "2592001", "inf", "nan", "1h", *NO_DECIMALS],
    ),
    "console_session": (
        43_200.0,
        {"1": 1.0, "2592000": 2_592_000.0},
        ["", "0", "0.5", "2592001", "inf", "nan", "1h", *NO_DECIMALS],
    ),
    "sign_in_limit": (
        "10/minute",
        {value: value for value in ("off", "1/second", "5/minute", "999999/hour", "10/day")},
        ["", "0/minute", "OFF", "300", "5/month", "5 per 3 hours", "1/minute;2/hour", "٣/day"],
    ),
    "request_timeout": (
        20.0,
        {"1": 1.0, "2.5": 2.5},
        ["", "0", "0.9", "3601", "inf", "nan", "soon", *NO_DECIMALS],
    ),
    "rotation_days": (90, {"1": 1, "3650": 3650}, ["", "0", "3651", "never", "90.0"]),
    "log_level": (
        "info",
        {level: level for level in ("debug", "info", "warning", "error")},
        ["", "INFO", "trace", "critical"],
    ),
}

# The rule in the message about an invalid value.
ALLOWED = {
    "bind": ["HOST:PORT", "unix:PATH", "fd://NUMBER", "commas"],
    "socket_mode": ["octal", "0600 to 0777"],
    "public_url": ["http://", "https://", "host name"],
    "workers": ["1 to 256"],
    "threads": ["1 to 256"],
    "cache_backend": ["fastcache", "cachetools", "none"],
    "cache_ttl": ["more than 0", "at most 300"],
    "cache_size": ["1 to 100000000"],
    "derivation_keys_file": ["file"],
    "derivation_keys_retired_file": ["file"],
    "database_password_file": ["file"],
    "audit_key_file": ["file"],
    "audit_head_file": ["file"],
    "audit_address_days": ["1 to 99999", "keep"],
    "audit_detail_days": ["1 to 99999", "keep"],
    "shared_memory": ["directory"],
    "shared_size": ["8 to 65536"],
    "lease": ["1 to 5 less than LATCHKEY_REQUEST_TIMEOUT"],
    "box_name": ["up to 64"],
    "failure_limit": ["COUNT/second", "/minute", "/hour", "/day", "off"],
    "default_limit": ["COUNT/second", "/minute", "/hour", "/day", "100/minute,burst=20"],
    "ratelimit_headers": ["standard", "x"],
    "rate_share": ["full", "divide"],
    "registration": ["open", "off"],
    "scopes": ["comma-separated", "orders:read"],
    "trusted_proxies": ["0 to 16"],
    "verify_routes": ["TOML file"],
    "console_hosts": ["host names", "comma-separated"],
    "console_tls": ["on", "auto"],
    "console_idle": ["1 to 2592000"],
    "console_session": ["1 to 2592000"],
    "sign_in_limit": ["COUNT/second", "/minute", "/hour", "/day", "off"],
    "request_timeout": ["1 to 3600"],
    "rotation_days": ["1 to 3650"],
    "log_level": ["debug", "info", "warning", "error"],
}


def value_of(settings: Settings, field: str) -> object:
    value = getattr(settings, field)
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


def refusal(environ: dict[str, str]) -> str:
    """The line with which the settings are rejected."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ)
    # No cause and no context, which would show the value in a traceback.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


def test_every_setting_is_in_this_table() -> None:
    assert list(TABLE) == list(Settings.model_fields)


@pytest.mark.parametrize("field", TABLE)
def test_the_default(field: str) -> None:
    settings = load_settings({})
    assert value_of(settings, field) == TABLE[field][0]
    assert settings.model_fields_set == set()


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [(field, text, value) for field, row in TABLE.items() for text, value in row[1].items()],
)
def test_values_from_the_environment(field: str, text: str, value: object) -> None:
    settings = load_settings({variable(field): text, "PATH": "/bin", "latchkey_workers": "x"})
    assert value_of(settings, field) == value
    assert settings.model_fields_set == {field}


@pytest.mark.parametrize(
    ("field", "text"), [(field, text) for field, row in TABLE.items() for text in row[2]]
)
def test_an_invalid_value(field: str, text: str) -> None:
    message = refusal({variable(field): text})
    assert message.startswith(f"{variable(field)} has an invalid value. ")
    for allowed in ALLOWED[field]:
        assert allowed in message


@pytest.mark.parametrize(
    "field",
    [
        field
        for field, row in TABLE.items()
        if row[2] and row[2] not in (NO_FILES, NO_FILES[1:], [""])
    ],
)
def test_the_line_never_repeats_the_value(field: str) -> None:
    # A single word could be a host name.
    message = refusal({variable(field): "confidential, and more"})
    assert message.startswith(variable(field))
    assert "confidential" not in message


def test_the_process_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LATCHKEY_WORKERS", "7")
    assert load_settings().workers == 7


def test_the_command_line_takes_precedence_over_the_environment() -> None:
    environ = {"LATCHKEY_WORKERS": "2", "LATCHKEY_THREADS": "3"}
    settings = load_settings(environ, overrides={"workers": "5"})
    assert (settings.workers, settings.threads) == (5, 3)
    with pytest.raises(ConfigurationError, match=r"^--workers .* 1 to 256"):
        load_settings(environ, overrides={"workers": "0"})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LATCHKEY_WORKER", "WORKERS"),
        ("LATCHKEY_workers", "WORKERS"),
        ("LATCHKEY_DERIVATION_KEY", "DERIVATION_KEYS"),
        ("LATCHKEY_PORT", "BIND"),
        ("LATCHKEY_SERVICE_PORT", None),
        ("LATCHKEY_", None),
    ],
)
def test_an_unknown_name_is_refused(name: str, meant: str | None) -> None:
    message = refusal({name: "confidential", "LATCHKEY_WORKERS": "2"})
    suggestion = f" (did you mean LATCHKEY_{meant}?)" if meant else ""
    assert message.startswith(f"unknown setting {name}{suggestion}; allowed are ")
    for field in Settings.model_fields:
        assert variable(field) in message
    assert "confidential" not in message


def test_settings_are_immutable_and_hide_secrets() -> None:
    settings = load_settings({"LATCHKEY_DERIVATION_KEYS": ONE})
    with pytest.raises(ValueError, match="frozen"):
        settings.workers = 3  # type: ignore[misc]
    assert ONE not in f"{settings!r} {settings} {settings.model_dump()}"
