"""Every setting in a real start: valid values start, invalid ones are refused in one line.

A new setting has to be listed here. The line names the setting, or the option with the value.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from latchkey.config import Settings, variable
from tests.support.command_line import fails, one_line
from tests.support.service import Service

ONE, TWO, THREE = "1" * 64, "2" * 64, "3" * 64
BIND = "127.0.0.1:{port}"


class Row(NamedTuple):
    """Values of a setting that are accepted at the start (None: the default), and invalid ones.

    ``{box}`` is the directory of the instance.
    """

    starts: tuple[str | None, ...]
    refused: tuple[str, ...]


KEY_FILES_REFUSED = (".", "..", "/", "{box}", "secrets", "pipe", "loop", "/dev/null", "a" * 300)


def file_row(*starts: str | None) -> Row:
    """A setting that names a key file, or a file that the service writes."""
    return Row(starts, ("", *KEY_FILES_REFUSED))


SECONDS = ("", "0", "-1", "1_0", "+5", "\uff15", "0x5", "inf", "nan", "5s", "1 0")
NUMBERS = ("", "-1", "+4", "4.0", "4e0", "1_0", "0x4", "\uff14", "9" * 400, "4 4")
DAYS = ("", "0", "-1", "100000", "1.5", "Keep", "01")
RATES = ("", "0/minute", "1", "1/week", "1/minute,", "OFF", "01/minute")

ROWS = {
    "database_url": Row(
        (
            None,
            "sqlite:///./data/../linked.db",
            "sqlite:///{box}/data%2Flatchkey.db",
            "sqlite:///not/yet/made.db",
        ),
        (
            "",
            "data/latchkey.db",
            "sqlite:data/latchkey.db",
            "sqlite://data/latchkey.db",
            "sqlite://",
            "sqlite:///",
            "sqlite:///:memory:",
            "sqlite:///file:x",
            "sqlite:///data/latchkey.db?mode=ro",
            "sqlite+pysqlite:///data/latchkey.db",
            "postgresql://localhost/latchkey",
            "postgresql+psycopg://localhost",
            "postgresql+psycopg://user:pass@word@localhost/latchkey",
            "postgresql+psycopg://127.0.0.1:1/latchkey",
            "postgresql+psycopg:///latchkey?host={box}",
            "sqlite:///..",
            "sqlite:///secrets",
            "sqlite:////dev/null",
            "sqlite:////proc/none/latchkey.db",
            "sqlite:///pipe",
            "sqlite:///loop",
            "sqlite:///text",
            "sqlite:///" + "a" * 300,
        ),
    ),
    # With SQLite, they are mistakes.
    "database_password": Row((None, ""), ("a password",)),
    "database_password_file": Row((None, ""), (*KEY_FILES_REFUSED, "secrets/none")),
    "derivation_keys": Row(
        (None, ONE, f" {ONE} , {TWO} ", None),
        (
            ONE[:-1],
            f"{ONE},",
            "\uff11" * 64,
            f"{ONE},{ONE}",
            ",".join(map("{:064}".format, "12345")),
        ),
    ),
    "derivation_keys_file": file_row(None, None, None, "{box}/secrets/../secrets/derivation.key"),
    "derivation_keys_retired": Row((None, THREE), (ONE[:-1], f"{ONE},", f"{ONE},{ONE}")),
    "derivation_keys_retired_file": Row(
        (None, ""), (*KEY_FILES_REFUSED, "secrets/derivation.key", "secrets/none.key")
    ),
    "audit_key_file": file_row(None, "secrets/audit.key", "{box}/secrets/linked.key"),
    "audit_head_file": file_row(None, "secrets/audit.head", "secrets/other/head"),
    "audit_address_days": Row((None, "keep", "1", "99999"), DAYS),
    "audit_detail_days": Row((None, "keep", "1", "99999"), DAYS),
    "bind": Row(
        (BIND, f"tcp://{BIND}", "localhost:{port}, unix:a b:0,127.0.0.1:0"),
        (
            "",
            "8080",
            "http://127.0.0.1:8080",
            "::1:8080",
            "[fe80::1%lo]:8080",
            "127.1:8080",
            "127.0.0.1:8080,",
            "127.0.0.1:8080,127.0.0.1:8080",
            "192.0.2.1:8080",
            "no-such-host.invalid:8080",
            "unix:",
            "unix:secrets",
            "unix:none/socket",
            "unix:" + "a" * 108,
            "fd://0",
            "fd://99",
        ),
    ),
    "socket_mode": Row(
        (None, "0600", "777"), ("", "0o660", "0060", "rw", "660 0", "\uff16\uff16\uff10")
    ),
    "public_url": Row(
        (None, "", "HTTPS://a.example:8443/"),
        ("a.example", "ftp://a.example", "https://", "https://a.example/x", "https://a b"),
    ),
    "workers": Row(("1", "01", " 1 "), (*NUMBERS, "0", "257")),
    "threads": Row((None, "1", " 09"), (*NUMBERS, "0", "257")),
    "cache_backend": Row((None, "cachetools", "none"), ("", "redis", "Fastcache")),
    "cache_ttl": Row((None, "0.001", ".5", "3e2"), (*SECONDS, "301")),
    "cache_size": Row((None, "1", "100000000"), (*NUMBERS, "0", "100000001")),
    "shared_memory": Row((None, "none", "."), ("",)),
    "shared_size": Row((None, "8", "65536"), (*NUMBERS, "7", "65537", "32M")),
    "lease": Row((None, None, "15"), (*SECONDS, "0.9", "15.1", "3596")),
    "box_name": Row((None, "", "east-1"), ("a" * 65, "a b")),
    "failure_limit": Row((None, "off", "999999/day"), RATES),
    "default_limit": Row(
        (None, "", "100/minute,burst=20", "1000000/second"), ("off", "1/minute,burst=0", *RATES[1:])
    ),
    "ratelimit_headers": Row((None, "x", "standard"), ("", "off", "X")),
    "rate_share": Row((None, "divide", "full"), ("", "half", "Full")),
    "registration": Row((None, "off"), ("", "closed", "Open")),
    "scopes": Row((None, "orders:read,orders:write"), ("orders", "orders:*", "orders:read:a")),
    "trusted_proxies": Row((None, "16"), (*NUMBERS, "17")),
    "verify_routes": Row(
        (None, "", "routes.toml", "{box}/routes.toml"),
        (*KEY_FILES_REFUSED, "none.toml", "text", "derivation.key"),
    ),
    "console_hosts": Row(
        (None, "a.example:8443 , [::1]", "localhost"), ("", ",", "a b", "https://a", "a:b", "*.a")
    ),
    "console_tls": Row((None, "on"), ("", "off", "1")),
    "console_idle": Row((None, "1", "2592000"), (*SECONDS, "2592001")),
    "console_session": Row((None, "1", "2592000"), (*SECONDS, "2592001")),
    "sign_in_limit": Row((None, "off", "1/second"), RATES),
    "request_timeout": Row((None, "1", "3600"), (*SECONDS, "0.9", "3601")),
    "rotation_days": Row((None, "1", "3650"), (*NUMBERS, "0", "3651")),
    "log_level": Row((None, "debug", "warning"), ("", "INFO", "trace")),
}
OPTIONS = ("bind", "workers", "threads")


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an instance, and with unusable files."""
    directory = tmp_path_factory.mktemp("instance")
    Service(directory).initialize()
    os.mkfifo(directory / "pipe", 0o600)
    (directory / "loop").symlink_to("loop")
    (directory / "linked.db").symlink_to("data/latchkey.db")
    (directory / "secrets" / "linked.key").symlink_to("audit.key")
    (directory / "text").write_text("no database and no key\n")
    (directory / "routes.toml").write_text('[[rule]]\npath = "/**"\n')
    return directory


@pytest.fixture
def box(instance: Path) -> Iterator[Service]:
    """A service in that directory, with defaults unless a test sets a value."""
    service = Service(instance)
    service.settings = {}
    yield service
    service.stop()


def test_every_setting_is_listed() -> None:
    assert list(ROWS) == list(Settings.model_fields)


def test_every_option_of_serve_is_listed() -> None:
    from latchkey_service.cli import serve

    assert {str(one.name) for one in serve.params} == set(OPTIONS)


@pytest.mark.parametrize("number", range(max(len(row.starts) for row in ROWS.values())))
def test_valid_values_start(box: Service, number: int) -> None:
    """The values of one column are set together."""
    for field, row in ROWS.items():
        value = row.starts[min(number, len(row.starts) - 1)]
        if value is not None:
            box.settings[variable(field)] = value.replace("{port}", str(box.port)).replace(
                "{box}", str(box.directory)
            )
    box.log_path.unlink(missing_ok=True)
    box.database.touch()
    box.start()
    box.stop()
    assert "Traceback" not in box.log


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, row in ROWS.items() for value in row.refused]
)
def test_invalid_values_are_refused_in_one_line(box: Service, field: str, value: str) -> None:
    box.settings[variable(field)] = value.replace("{box}", str(box.directory))
    if field == "derivation_keys_retired":
        box.settings["LATCHKEY_DERIVATION_KEYS"] = TWO
    line = one_line(fails(box, "serve"))
    assert variable(field) in line
    assert "unexpected fault" not in line


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field in OPTIONS for value in ROWS[field].refused]
)
def test_the_line_names_the_option_instead_of_the_setting(
    box: Service, field: str, value: str
) -> None:
    line = one_line(fails(box, "serve", f"--{field}={value}"))
    assert line.startswith(f"latchkey: --{field}")
    assert variable(field) not in line


def test_workers_by_option_without_shared_memory(box: Service) -> None:
    box.settings["LATCHKEY_SHARED_MEMORY"] = "none"
    line = one_line(fails(box, "serve", "--workers", "2"))
    assert "LATCHKEY_SHARED_MEMORY" in line
    assert line.endswith("or set --workers to 1")


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("audit_key_file", "derivation_keys_file"),
        ("audit_head_file", "derivation_keys_file"),
        ("audit_head_file", "audit_key_file"),
    ],
)
def test_two_settings_do_not_name_one_file(box: Service, field: str, other: str) -> None:
    name = Settings.model_fields[other].default
    box.settings[variable(field)] = str(box.directory / "secrets" / ".." / name)
    line = one_line(fails(box, "serve"))
    assert f"{variable(other)} and {variable(field)} name the same file" in line


def test_warnings_are_only_about_files_and_directories(box: Service) -> None:
    """Changing the mode of a device would damage the whole system."""
    from latchkey.permissions import weaknesses

    settings = Settings(audit_head_file=Path("/dev/null"), shared_memory=Path("/dev/zero"))
    assert [line for line in weaknesses(settings) if "/dev/" in line] == []
    assert weaknesses(Settings(audit_head_file=box.directory / ("a" * 300))) is not None


@pytest.mark.parametrize(
    "environment",
    [
        {"GUNICORN_PID": "1"},
        {"GUNICORN_PID": "x", "GUNICORN_FD": "y"},
        {"GUNICORN_PID": "1", "GUNICORN_FD": "0,99"},
        {"GUNICORN_FD": "3"},
        {"LISTEN_PID": "x", "LISTEN_FDS": "1"},
        {"LISTEN_PID": "1", "LISTEN_FDS": "x"},
    ],
    ids=repr,
)
def test_sockets_that_were_not_inherited(
    start_service: Callable[..., Service], environment: dict[str, str]
) -> None:
    service = start_service(LATCHKEY_WORKERS="1", **environment)
    service.stop()
    assert "Traceback" not in service.log
    assert "unexpected fault" not in service.log
