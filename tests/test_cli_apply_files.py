"""Files that ``latchkey apply`` refuses: every problem is named with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.applying import ACCOUNT, KEY, applied, problems
from tests.support.service import Service


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """For files that are refused: nothing in it changes."""
    prepared = Service(tmp_path_factory.mktemp("untouched"))
    prepared.initialize()
    return prepared


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[[accounts]", "not valid TOML: Expected ']]' at the end of an array declaration (at li"),
        ("a = 1\na = 2\n", "not valid TOML: Cannot overwrite a value (at line 2, column 6)"),
        ("a = " + "9" * 5_000, "the file has a number that is too long"),
        ("a = " + "[" * 3_000, "the file is nested too deeply"),
        (
            ACCOUNT + "metadata = { a = " + "[" * 300 + "]" * 300 + " }",
            "accounts[0].metadata: is nested too deeply",
        ),
        ("key = 1", "key: is unknown here; allowed are accounts, keys"),
        ("accounts = 1", "accounts: must be a list"),
        ("accounts = [1]", "accounts[0]: must be a table"),
        ('[[accounts]]\nname = "x"', "accounts[0].external_id: is required"),
        (ACCOUNT + 'limits = "x"', "accounts[0].limits: must be a list"),
        (ACCOUNT + "metadata = { a = nan }", "accounts[0].metadata: has a value that JSON cannot"),
        (ACCOUNT + "metadata = { a = 2030-01-01 }", "accounts[0].metadata: has a value that JSO"),
        (ACCOUNT + ACCOUNT, "accounts[1].external_id: accounts[0] has the same; choose another"),
        (
            ACCOUNT + KEY + KEY,
            "accounts[0].keys[1].id: accounts[0].keys[0] has the same; choose another",
        ),
        (ACCOUNT + KEY + "scope = 1", "accounts[0].keys[0].scope: is unknown here; allowed are id"),
        (ACCOUNT + KEY + "expires_at = 7", "accounts[0].keys[0].expires_at: must be an RFC 3339"),
        (ACCOUNT + KEY + "expires_at = 2020-01-01", "accounts[0].keys[0].expires_at: must lie in"),
        (
            ACCOUNT + KEY + "expires_at = 2035-01-01T10:00:00",
            "accounts[0].keys[0].expires_at: must be an RFC 3339 time such as",
        ),
        (ACCOUNT + KEY + "enabled = 1", "accounts[0].keys[0].enabled: must be true or false"),
        (ACCOUNT + KEY + 'networks = ["x"]', "accounts[0].keys[0].networks.0: not a network"),
        (
            ACCOUNT + KEY + "metadata = { latchkey = 1 }",
            "accounts[0].keys[0].metadata: the member latchkey is reserved; remove it",
        ),
        (
            ACCOUNT + KEY.replace("orders:", "accounts:"),
            "accounts[0].keys[0].scopes: accounts:read is only for keys of the instance account",
        ),
        (ACCOUNT + KEY.replace('"production"', '"a b"'), "accounts[0].keys[0].id: must be 1 to 64"),
        ('[[keys]]\nid = "a"\nname = "n"', "keys[0].scopes: is required"),
    ],
)
def test_an_invalid_file_is_refused_with_the_place(
    untouched: Service, text: str, line: str
) -> None:
    (said,) = problems(untouched, text)
    assert said.startswith(line)


def test_every_problem_is_named_and_no_value_is_quoted(untouched: Service) -> None:
    secret = untouched.derive_pair().api_secret
    text = f"""
[[accounts]]
external_id = "{secret}"
name = "x"
[[accounts]]
external_id = "b"
name = "{secret}"
[[accounts]]
external_id = "c"
name = "c"
[[accounts.keys]]
id = "{secret}"
name = "{secret}"
scopes = ["{secret}"]
[[accounts.keys]]
id = "n"
name = "{secret}"
scopes = ["a:read"]
"""
    said = problems(untouched, text)
    assert [line.partition(":")[0] for line in said] == [
        "accounts[0].external_id",
        "accounts[1].name",
        "accounts[2].keys[0].id",
        "accounts[2].keys[1].name",
    ]
    assert secret not in "".join(said)


def test_a_mode_cannot_change_and_scopes_must_be_allowed(box: Service, tmp_path: Path) -> None:
    api_key = applied(box, ACCOUNT + KEY)["secrets"][0]["api_key"]
    (line,) = problems(box, ACCOUNT + KEY + 'mode = "test"')
    cannot_change = f"cannot be changed: {api_key} is a live key; give the other key another id"
    assert line == f"accounts[0].keys[0].mode: {cannot_change}"
    limited = Service(tmp_path / "limited", LATCHKEY_SCOPES="invoices:read")
    limited.initialize()
    (line,) = problems(limited, ACCOUNT + KEY)
    assert line.startswith("accounts[0].keys[0].scopes: orders:read is not one of the allowed")
