"""Creating, editing, disabling and enabling accounts, and revoking their keys, in the console."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing

import pytest

from tests.support.console.accounts import (
    ACCOUNTS,
    account_path,
    instance_id,
    make_account,
    make_key,
    submit,
)
from tests.support.console.visitor import Visitor
from tests.support.service import Service

NEW, NEW_KEY = f"{ACCOUNTS}new", "/console/keys/new"
TERMS = {"name": "kept <name>", "external_id": "", "metadata": ""}
KEY_TERMS = {"access": "read", "expiry": "never", "mode": "live", "name": "made here"}


def stored(service: Service, account_id: str) -> tuple[object, ...]:
    """The name, the external id and the metadata of an account."""
    query = "SELECT name, external_id, metadata FROM account WHERE id = ?"
    with closing(sqlite3.connect(service.database)) as connection:
        ((*found,),) = connection.execute(query, (account_id,))
    return tuple(found)


def code(service: Service, bearer: dict[str, str]) -> str:
    """The code of the refusal of a request, empty if it is answered."""
    answer = service.get("/v1/account", bearer)
    return "" if answer.status == 200 else answer.code


def history(visitor: Visitor, account_id: str) -> list[tuple[str, str]]:
    """The actions on an account and who did them, oldest first."""
    lines = visitor.get(f"/console/audit/export?key={account_id}").text.splitlines()
    return [(row["action"], row["actor"]) for row in map(json.loads, lines)]


def test_create(console: Service, ada: Visitor) -> None:
    fields = {"name": "  Acme  ", "external_id": " acme-1 ", "metadata": '{"plan": "gold"}'}
    account = make_account(ada, **fields)
    assert stored(console, account) == ("Acme", "acme-1", '{"plan":"gold"}')
    assert "Account created." in ada.get(account_path(account)).text
    plain = make_account(ada, "Plain")
    assert stored(console, plain) == ("Plain", None, None)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": ""}, "Must have 1 to 100 characters"),
        ({"name": "x" * 101}, "Must have 1 to 100 characters"),
        ({"name": "a\u202eb"}, "Must not have control characters"),
        ({"name": "\u200b"}, "Must have a visible character"),
        ({"name": "sk_live_abc"}, "contained an API secret"),
        ({"external_id": "a b"}, "visible ASCII characters"),
        ({"external_id": "ä"}, "visible ASCII characters"),
        ({"external_id": "x" * 256}, "visible ASCII characters"),
        ({"external_id": "sk_live_abc"}, "contained an API secret"),
        ({"metadata": "{"}, "Enter a JSON object"),
        ({"metadata": '{"a": 1, "a": 2}'}, "Enter a JSON object"),
        ({"metadata": '{"a": NaN}'}, "Enter a JSON object"),
        ({"metadata": "[" * 20_000}, "Enter a JSON object"),
        ({"metadata": "[1]"}, "Must be an object"),
        ({"metadata": '{"a": "\\ud800"}'}, "not valid Unicode"),
        ({"metadata": json.dumps({"a": "x" * 768})}, "768 bytes"),
        ({"metadata": '{"key": "sk_live_abc"}'}, "contained an API secret"),
    ],
)
def test_an_error_is_at_its_field_and_other_fields_are_kept(
    console: Service, ada: Visitor, fields: dict[str, str], said: str
) -> None:
    existing = make_account(ada, "Existing")
    for path in (NEW, account_path(existing, "/edit")):
        answer = submit(ada, path, **{**TERMS, **fields})
        assert answer.status == 400, path
        (field,) = fields
        (error,) = re.findall(rf'class="error" id="{field}-error">([^<]*)<', answer.text)
        assert said in error
        if field != "name":
            assert 'value="kept &lt;name&gt;"' in answer.text
        assert "sk_live_abc" not in answer.text
    assert stored(console, existing) == ("Existing", None, None)


def test_a_taken_external_id(console: Service, ada: Visitor) -> None:
    make_account(ada, "First", external_id="taken")
    second = make_account(ada, "Second", external_id="free")
    for path in (NEW, account_path(second, "/edit")):
        answer = submit(ada, path, name="Third", external_id="taken")
        assert answer.status == 409
        assert "Another account has this external id." in answer.text
        assert 'value="Third"' in answer.text
    assert stored(console, second) == ("Second", "free", None)


def test_edit(console: Service, ada: Visitor) -> None:
    metadata = '{"note":"</textarea>\u05d0"}'
    account = make_account(ada, "Before", external_id="before", metadata=metadata)
    edit = account_path(account, "/edit")
    assert submit(ada, edit).status == 303
    assert stored(console, account) == ("Before", "before", metadata)
    edited = submit(ada, edit, name="After", external_id="", metadata="")
    assert (edited.status, edited.location) == (303, account_path(account))
    assert "Account updated." in ada.get(account_path(account)).text
    assert stored(console, account) == ("After", None, None)
    instance = account_path(instance_id(console), "/edit")
    assert submit(ada, instance, external_id="operator").status == 303
    assert submit(ada, instance, external_id="").status == 303


def test_disable_and_enable(console: Service, ada: Visitor) -> None:
    account = make_account(ada, "Switched")
    pair, other = make_key(ada, account), console.issue()
    assert code(console, pair.bearer) == ""
    asked = ada.get(account_path(account, "/disable"))
    assert "will be refused immediately" in asked.text
    assert "1 key</a>" in asked.text
    # Opening the question changes nothing.
    assert code(console, pair.bearer) == ""
    for _ in range(2):
        done = submit(ada, account_path(account, "/disable"))
        assert (done.status, done.location) == (303, account_path(account))
        assert {code(console, pair.bearer) for _ in range(10)} == {"key_disabled"}
        assert code(console, other.bearer) == ""
    text = ada.get(account_path(account)).text
    assert "The account was already disabled." in text
    assert "Disabled since" in text
    assert "accepted again immediately" in ada.get(account_path(account, "/enable")).text
    assert submit(ada, account_path(account, "/enable")).status == 303
    assert {code(console, pair.bearer) for _ in range(10)} == {""}
    assert "Account enabled." in ada.get(account_path(account)).text
    assert history(ada, account) == [
        ("account.create", "ada"),
        ("account.change", "ada"),
        ("account.change", "ada"),
    ]


def test_revoke_keys(console: Service, ada: Visitor) -> None:
    account, other = make_account(ada, "Leaving"), make_account(ada, "Staying")
    live = [make_key(ada, account) for _ in range(3)]
    test = make_key(ada, account, mode="test")
    stays = make_key(ada, other)
    path = account_path(account, "/revoke-keys")
    asked = ada.get(path)
    for said in ("Only in live mode: 3 keys", "Only in test mode: 1 key", "In both modes: 4 keys"):
        assert said in asked.text
    assert "This cannot be undone." in asked.text
    assert " checked" not in asked.text
    # A mode has to be selected.
    for wrong in ("", "x", None):
        fields = asked.fields("") if wrong is None else {**asked.fields(""), "keys": wrong}
        refused = ada.post(path, fields)
        assert refused.status == 400
        assert 'id="keys-error"' in refused.text
    assert code(console, live[0].bearer) == ""
    done = submit(ada, path, keys="live")
    assert (done.status, done.location) == (303, account_path(account))
    assert "3 keys revoked." in ada.get(account_path(account)).text
    assert {code(console, pair.bearer) for pair in live} == {"key_revoked"}
    assert code(console, test.bearer) == ""
    fields = ada.get(path).fields("")
    assert submit(ada, path, keys="both").status == 303
    assert code(console, test.bearer) == "key_revoked"
    assert code(console, stays.bearer) == ""
    assert ada.post(path, {**fields, "keys": "both"}).status == 303
    assert "There was no key left to revoke." in ada.get(account_path(account)).text
    assert "There is no key to revoke." in ada.get(path).text
    assert history(ada, account) == [
        ("account.create", "ada"),
        ("account.revoke_keys", "ada"),
        ("account.revoke_keys", "ada"),
    ]


def test_a_forged_form_changes_nothing(console: Service, ada: Visitor) -> None:
    account = make_account(ada, "Safe")
    pair = make_key(ada, account)
    for page, fields in (
        ("/edit", {"name": "Forged"}),
        ("/disable", {}),
        ("/enable", {}),
        ("/revoke-keys", {"keys": "both"}),
    ):
        for token in ({}, {"csrf_token": ""}, {"csrf_token": "x"}):
            forged = ada.post(account_path(account, page), {**fields, **token})
            assert forged.status == 400
            assert "Nothing was changed" in forged.text
    assert ada.post(NEW, {"name": "Forged"}).status == 400
    assert "No accounts match" in ada.get(f"{ACCOUNTS}?q=Forged").text
    assert stored(console, account) == ("Safe", None, None)
    assert code(console, pair.bearer) == ""


def test_a_key_is_created_for_an_account(console: Service, ada: Visitor) -> None:
    account = make_account(ada, "Customer", external_id="customer:9")
    page = ada.get(f"{NEW_KEY}?account={account}").text
    assert f'value="{account}"' in page
    assert "The key will belong to" in page
    assert not re.search(r'<input[^>]* checked[^>]* name="access"', page)
    for reference in (account, " customer:9 "):
        pair = make_key(ada, reference, access="full")
        assert console.get("/v1/account", pair.bearer).json["id"] == account
    own = make_key(ada, "", access="full")
    assert console.get("/v1/account", own.bearer).json["id"] == instance_id(console)
    own = make_key(ada, instance_id(console), access="full")
    assert console.get("/v1/account", own.bearer).json["id"] == instance_id(console)
    # The newest accounts are offered.
    assert re.search(rf'<option value="{account}">Customer \(customer:9\)</option>', page)


def test_the_access_to_an_account_is_selected_by_hand(console: Service, ada: Visitor) -> None:
    account = make_account(ada, "No default")
    # Full access was preselected for the instance account.
    fields = {**ada.get(NEW_KEY).fields(""), **KEY_TERMS, "account": account}
    refused = ada.post(NEW_KEY, {**fields, "access": "full"})
    assert refused.status == 400
    (error,) = re.findall(r'class="error" id="access-error">([^<]*)<', refused.text)
    assert error == "Select what a key of this account may do."
    assert not re.search(r'<input[^>]* checked[^>]* name="access"', refused.text)
    again = ada.post(NEW_KEY, {**fields, **refused.fields(""), "access": "full"})
    assert again.status == 201
    # No access at all, as from the page of an account.
    for path in (NEW_KEY, f"{NEW_KEY}?account={account}"):
        sent = {**ada.get(path).fields(""), **KEY_TERMS, "account": account}
        del sent["access"]
        refused = ada.post(NEW_KEY, sent)
        assert refused.status == 400
        assert "Select what the key may do." in refused.text
        assert not re.search(r'<input[^>]* checked[^>]* name="access"', refused.text)


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"account": "nobody"}, "account", "There is no account with this id"),
        ({"account": "acct_" + "0" * 22}, "account", "There is no account with this id"),
        ({"account": "ä <b>"}, "account", "There is no account with this id"),
        ({"account": "sk_live_abc"}, "account", "contained an API secret"),
        (
            {"account": "scoped", "access": "chosen", "scopes": "accounts:read"},
            "scopes",
            "Accounts:read is only for keys of the instance account.",
        ),
        ({"account": "scoped", "access": "chosen"}, "scopes", "Select at least one scope"),
    ],
)
def test_an_invalid_account_of_a_key(
    ada: Visitor, fields: dict[str, str], field: str, said: str
) -> None:
    submit(ada, NEW, name="Scoped", external_id="scoped")
    answer = submit(ada, NEW_KEY, **{**KEY_TERMS, "name": "kept", **fields})
    assert answer.status == 400
    (error,) = re.findall(rf'class="error" id="{field}-error">([^<]*)<', answer.text)
    assert said in error
    assert 'value="kept"' in answer.text
    assert "sk_live_abc" not in answer.text
    shown = ada.get(f"{NEW_KEY}?account=nobody")
    assert "There is no account with this id or external id." in shown.text
