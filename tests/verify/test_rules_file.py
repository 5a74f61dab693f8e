"""The routes file: what it may say, and each fault with its line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from latchkey.config import load_settings
from latchkey.errors import ConfigurationError
from latchkey_service.verify.rules_file import (
    LARGEST_FILE,
    MOST_RULES,
    InvalidRules,
    load_rules,
    read_rules,
    warnings_about,
)

WRITTEN = """\
# Routes of the shop.
[[rule]]
host = "API.example.com"
method = ["GET", "POST"]
path = "/orders/**"
scopes = ["orders:read"]
scope_any = ["orders:write", "orders:read:eu-*"]
mode = "test"
cost = 2

[[rule]]  # for probes
path = "/health"
open = true

[[ rule ]]
method = "*"
path = "/**"
"""


def test_what_a_file_says() -> None:
    first, second, third = read_rules(WRITTEN.encode(), "routes.toml").rules
    assert (first.line, first.host, str(first)) == (
        *(2, "api.example.com"),
        "GET, POST api.example.com/orders/**",
    )
    assert (first.scopes, first.scope_any, first.mode, first.cost, first.open) == (
        *(("orders:read",), ("orders:write", "orders:read:eu-*")),
        *("test", 2, False),
    )
    assert (second.line, str(second), second.open) == (11, "* /health", True)
    assert (third.line, str(third), third.scopes, third.mode, third.cost) == (
        *(15, "* /**", ()),
        *(None, 1),
    )


def test_lines_of_windows_and_a_byte_order_mark() -> None:
    content = b"\xef\xbb\xbf" + WRITTEN.replace("\n", "\r\n").encode()
    assert [one.line for one in read_rules(content, "").rules] == [2, 11, 15]


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("", "1: there is no rule"),
        ("# nothing\n", "1: there is no rule"),
        ("rule = []\n", "1: there is no rule"),
        ("[[rule]\n", "1: not valid TOML"),
        ('[[rule]]\npath = "/a"\npath = "/b"\n', "3: not valid TOML"),
        ('[[rule]]\npath = """\n', "3: not valid TOML"),
        ('[[rule]]\npath = "\udc80"\n', "2: not UTF-8"),
        ('x = 1\n[[rule]]\npath = "/"\n', "1: x is unknown here"),
        ('rule = [{path = "/"}]\n', "1: write each rule as a table"),
        ('[rule]\npath = "/"\n', "1: write each rule as a table"),
        ("rule = 1\n", "1: write each rule as a table"),
        ('[[rule]]\npath = """\n[[rule]]\n"""\n', "1: write each rule as a table"),
        ('\n[[rule]]\nhost = "a"\n', "2: path: is required"),
        ('[[rule]]\nhost = "a"\nscope = ["a:b"]\n', "3: scope: is unknown here; allowed are path"),
        ("[[rule]]\npath = 1\n", "2: path: must be a string"),
        ('[[rule]]\npath = "a"\n', "2: path: must begin with a slash"),
        ('[[rule]]\npath = "/a*"\n', "2: path: * stands for a whole segment"),
        ('[[rule]]\npath = "/a//b"\n', "2: path: a path has no empty"),
        ('[[rule]]\npath = "/a?x"\n', "2: path: write the path as the application sees it"),
        ('[[rule]]\npath = "/%2e"\n', "2: path: write the path as the application sees it"),
        ('[[rule]]\nmethod = "get"\npath = "/"\n', "2: method: must be a method such as GET"),
        ('[[rule]]\nmethod = []\npath = "/"\n', "2: method: must have at least 1 item"),
        ('[[rule]]\nmethod = "GET /x"\npath = "/"\n', "2: method: must be a method"),
        ('[[rule]]\npath = "/"\nhost = "a.example:80"\n', "3: host: must be a name"),
        ('[[rule]]\npath = "/"\nhost = "a.*.example"\n', "3: host: must be a name"),
        ('[[rule]]\npath = "/"\nhost = "https://a.example"\n', "3: host: must be a name"),
        ('[[rule]]\npath = "/"\nhost = ""\n', "3: host: must be a name"),
        ('[[rule]]\npath = "/"\nhost = "a.example."\n', "3: host: must be a name"),
        ('[[rule]]\npath = "/"\nscopes = []\n', "3: scopes: must have at least 1 item"),
        ('[[rule]]\npath = "/"\nscopes = "a:b"\n', "3: scopes: must be a list"),
        ('[[rule]]\npath = "/"\nscopes = ["a:b", "c"]\n', "3: scopes.1: a scope is"),
        ('[[rule]]\npath = "/"\n"scope_any" = ["c"]\n', "3: scope_any.0: a scope is"),
        ('[[rule]]\npath = "/"\nmode = "prod"\n', "3: mode: must be 'live' or 'test'"),
        ('[[rule]]\npath = "/"\ncost = 0\n', "3: cost: must be a whole number from 1 to 1000000"),
        ('[[rule]]\npath = "/"\ncost = 1000001\n', "3: cost: must be a whole number"),
        ('[[rule]]\npath = "/"\ncost = true\n', "3: cost: "),
        ('[[rule]]\npath = "/"\nopen = 1\n', "3: open: must be true or false"),
        ('[[rule]]\npath = "/"\nopen = true\nscopes = ["a:b"]\n', "3: open: contradicts scopes"),
        ('[[rule]]\npath = "/"\nopen = true\nmode = "live"\n', "3: open: contradicts mode"),
        ('[[rule]]\npath = "/"\nopen = true\ncost = 1\n', "3: open: contradicts cost"),
        ('[[rule]]\npath = "/"\n[rule.more]\nx = 1\n', "1: more: is unknown here"),
        ("a = " + "[" * 10_000, "1: "),
        ("a = " + "9" * 10_000 + "\n", "1: the file has a number that is too long"),
    ],
)
def test_a_fault_and_its_line(written: str, problem: str) -> None:
    with pytest.raises(InvalidRules) as caught:
        read_rules(written.encode(errors="surrogateescape"), "routes.toml")
    assert str(caught.value).startswith(f"routes.toml:{problem}")
    assert "\n" not in str(caught.value)


def test_every_faulty_rule_is_counted() -> None:
    with pytest.raises(InvalidRules) as caught:
        read_rules(b'[[rule]]\nx = 1\n[[rule]]\npath = ""\n[[rule]]\npath = "/"\n', "r")
    assert [one.partition(": ")[0] for one in caught.value.problems] == ["r:2", "r:4"]
    assert str(caught.value).endswith("(and 1 more)")


def test_a_secret_in_the_file_is_not_quoted() -> None:
    secret = f"sk_live_{'a' * 71}"
    for written in (f"[[rule]]\n{secret} = 1\n", f'[[rule]]\npath = "{secret}"\n', f"{secret}\n"):
        with pytest.raises(InvalidRules) as caught:
            read_rules(written.encode(), "r")
        assert secret not in str(caught.value)
        # Names of the file have no place in a body.
        assert "body" not in str(caught.value)


def test_the_number_of_rules_and_the_size_are_bounded(tmp_path: Path) -> None:
    one = '[[rule]]\npath = "/"\n'
    assert len(read_rules((one * MOST_RULES).encode(), "").rules) == MOST_RULES
    with pytest.raises(InvalidRules, match=rf"^r:{2 * MOST_RULES + 1}: more than {MOST_RULES}"):
        read_rules((one * (MOST_RULES + 1)).encode(), "r")
    file = tmp_path / "routes.toml"
    file.write_text(one + "#" * (LARGEST_FILE - len(one)))
    settings = load_settings({"LATCHKEY_VERIFY_ROUTES": str(file)})
    assert load_rules(settings) is not None
    file.write_text(one + "#" * (LARGEST_FILE - len(one) + 1))
    with pytest.raises(ConfigurationError, match=r"^LATCHKEY_VERIFY_ROUTES: .*: more than"):
        load_rules(settings)


def test_no_file_is_named() -> None:
    assert load_rules(load_settings({})) is None


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    for name in ("none", "pipe", ".", "link"):
        path = tmp_path / name
        settings = load_settings(
            {"LATCHKEY_VERIFY_ROUTES": str(path / "x" if name == "." else path)}
        )
        with pytest.raises(ConfigurationError, match=r"^LATCHKEY_VERIFY_ROUTES: "):
            load_rules(settings)


def test_warnings_about_rules(tmp_path: Path) -> None:
    file = tmp_path / "routes.toml"
    file.write_text(
        '[[rule]]\npath = "/**"\nscopes = ["orders:read", "orders:read:eu", "verify:write"]\n'
        '[[rule]]\npath = "/x"\nscope_any = ["order:read", "*"]\n'
    )
    environment = {"LATCHKEY_VERIFY_ROUTES": str(file), "LATCHKEY_SCOPES": "orders:read"}
    settings = load_settings(environment)
    rules = load_rules(settings)
    assert rules is not None
    assert warnings_about(rules, settings) == [
        f"{file}:4: never matches, because line 1 matches all its requests",
        f"{file}:4: order:read is not listed in LATCHKEY_SCOPES",
    ]
    del environment["LATCHKEY_SCOPES"]
    assert len(warnings_about(rules, load_settings(environment))) == 1
