"""The sources of a client's key, and the error of each invalid source."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from latchkey.client import ClientKey, KeyEnvironment, KeyFile
from latchkey.client.attempts import may_carry_key, seconds_in
from latchkey.client.keys import CurrentKey
from latchkey.errors import ConfigurationError
from tests.support.latchkey_command import run_here
from tests.support.service import Service

KEY = ClientKey("sk_live_1", "ak_live_1")


def written(path: Path, text: str, mode: int = 0o600) -> KeyFile:
    path.touch(mode=0o600)
    path.write_text(text)
    path.chmod(mode)
    return KeyFile(path)


def test_the_output_of_the_command(box: Service, tmp_path: Path) -> None:
    printed = run_here(box, "keys", "create", "--name", "client", "--json").stdout
    made = json.loads(printed)
    found = written(tmp_path / "key.json", printed).read()
    assert (found.api_key, found.api_secret) == (made["api_key"], made["api_secret"])


@pytest.mark.parametrize(
    "text",
    [
        "API_KEY=ak_live_1\nAPI_SECRET=sk_live_1\n",
        "# of the shop\n\n export API_KEY='ak_live_1'\nexport API_SECRET=\"sk_live_1\"\nX=1",
        '  {"api_secret": "sk_live_1", "api_key": "ak_live_1", "expires_at": null}',
    ],
)
def test_files(tmp_path: Path, text: str) -> None:
    assert written(tmp_path / "key", text).read() == KEY


def test_other_names_of_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "key", "LIVE_API_SECRET=sk_live_1\n").path
    assert KeyFile(path, secret="LIVE_API_SECRET").read() == ClientKey("sk_live_1")
    monkeypatch.setenv("SHOP_KEY", "ak_live_1")
    monkeypatch.setenv("SHOP_SECRET", "sk_live_1")
    assert KeyEnvironment(secret="SHOP_SECRET", key="SHOP_KEY").read() == KEY


def test_the_environment_is_read_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("API_KEY", raising=False)
    monkeypatch.setenv("API_SECRET", "sk_live_0")
    current = CurrentKey(KeyEnvironment(), "bearer")
    monkeypatch.setenv("API_SECRET", "sk_live_1")
    assert current.renew(current.key)
    assert current.key.api_secret == "sk_live_1"
    assert not current.renew(current.key)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no API_SECRET in the key file"),
        ("API_SECRET=\n", "there is no API_SECRET in the key file"),
        ("sk_live_1\n", "there is no API_SECRET in the key file"),
        ('{"api_secret": "sk_live_1"', "not valid JSON"),
        ('{"api_key": "ak_live_1"}', "there is no api_secret in the key file"),
        ("API_SECRET='sk_live_1 2'\n", "the API secret contains a space"),
        ("API_SECRET=sk_live_\x7f1\n", "the API secret is empty, or not printable ASCII text"),
        ("API_SECRET=sk_live_é\n", "not ASCII text"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, said: str) -> None:
    source = written(tmp_path / "key", text)
    with pytest.raises(ConfigurationError) as raised:
        source.read()
    assert said in str(raised.value)
    assert str(source.path) in str(raised.value)
    assert "sk_live" not in str(raised.value).replace(str(source.path), "")


def test_a_missing_file_and_an_empty_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="there is no such file"):
        KeyFile(tmp_path / "none").read()
    monkeypatch.delenv("API_SECRET", raising=False)
    with pytest.raises(ConfigurationError, match="there is no API_SECRET in the environment"):
        KeyEnvironment().read()


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="make it private: chmod 600"):
        written(tmp_path / "key", "API_SECRET=sk_live_1\n", mode=0o644).read()


def test_the_pair_needs_the_key_at_the_start() -> None:
    class Secret:
        def read(self) -> ClientKey:
            return ClientKey("sk_live_1")

    with pytest.raises(ConfigurationError, match="needs the API key as well"):
        CurrentKey(Secret(), "pair")


def test_the_secret_is_not_in_the_repr() -> None:
    assert repr(KEY) == "ClientKey(api_key='ak_live_1')"


def test_threads_that_were_refused_together_read_the_key_once() -> None:
    reads: list[int] = []

    class Counted:
        def read(self) -> ClientKey:
            reads.append(1)
            return ClientKey(f"sk_live_{len(reads)}")

    current = CurrentKey(Counted(), "bearer")
    refused, together = current.key, threading.Barrier(8)
    renewed: list[bool] = []

    def renew() -> None:
        together.wait()
        renewed.append(current.renew(refused))

    threads = [threading.Thread(target=renew) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert renewed == [True] * 8
    assert len(reads) == 2


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("9" * 400, float("inf")),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0.0),
        ("Sun Nov  6 08:49:37 1994", 0.0),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        (f"Sun, 06 Nov {'9' * 400} 08:49:37 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
    ],
)
def test_forms_of_retry_after(header: str | None, seconds: float | None) -> None:
    assert seconds_in(header) == seconds


@pytest.mark.parametrize(
    ("first", "url", "may"),
    [
        ("http://a.example/x", "http://a.example:80/y", True),
        ("http://a.example/x", "https://A.example/y", True),
        ("https://a.example/x", "http://a.example/x", False),
        ("http://a.example:8080/x", "https://a.example/x", False),
        ("https://a.example/x", "https://a.example:444/x", False),
        ("https://a.example/x", "https://a.example.evil.example/x", False),
        ("https://a.example/x", "https://a.example@evil.example/x", False),
    ],
)
def test_where_a_key_may_be_sent(first: str, url: str, may: bool) -> None:
    assert may_carry_key(first, url) is may


ALONE = """
import sys
for name in ("sqlalchemy", "alembic", "flask", "werkzeug", "pydantic", "cryptography", "{other}"):
    sys.modules[name] = None
from latchkey.client import {name}
compiled = [
    one for one, module in sys.modules.items()
    if one.startswith(("latchkey", "fastcache"))
    and not str(getattr(module, "__file__", "")).endswith(".py")
]
sys.exit(f"loads {{compiled}}" if compiled else 0)
"""


@pytest.mark.parametrize(
    ("name", "other"), [("RequestsAuth", "httpx"), ("HttpxAuth", "requests"), ("KeyFile", "httpx")]
)
def test_an_auth_class_needs_only_its_library(name: str, other: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE.format(name=name, other=other)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
