"""The list of accounts and the page of an account, and accounts on the pages of keys."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from html import unescape
from urllib.parse import quote

import pytest

from tests.support.console.accounts import (
    ACCOUNTS,
    account_path,
    erase,
    instance_id,
    make_account,
    make_key,
    submit,
)
from tests.support.console.visitor import Visitor
from tests.support.service import Service

HOSTILE = "<script>alert('x')</script>&\"'{{7*7}}"
PAGES = ("", "/edit", "/disable", "/enable", "/revoke-keys")


def names(text: str) -> list[str]:
    """The names in a list, in their order."""
    return [
        unescape(re.sub("<[^>]+>", "", name))
        for name in re.findall(r'class="named" href="[^"]+">(.*?)</a>', text)
    ]


def test_the_list_has_each_account(console: Service, ada: Visitor) -> None:
    first = make_account(ada, "Acme", external_id="customer-1", metadata='{"plan": "gold"}')
    second = make_account(ada, "Globex")
    make_key(ada, first)
    make_key(ada, first, mode="test")
    text = ada.get(ACCOUNTS).text
    assert names(text)[:2] == ["Globex", "Acme"]
    assert "Instance account" in names(text)
    for shown in (first, second, "<code>customer-1</code>", 'class="badge off">instance<'):
        assert shown in text
    assert f'href="/console/keys/?account={first}">2<' in text
    assert f'href="/console/keys/?account={second}">0<' in text


def test_search_and_status(console: Service, ada: Visitor) -> None:
    found = make_account(ada, "Initech 50%", external_id="INI-1")
    make_account(ada, "Umbrella")

    def listed(arguments: str) -> list[str]:
        return names(ada.get(f"{ACCOUNTS}{arguments}").text)

    assert listed("?q=initech") == listed("?q=50%25") == listed("?q=ini-1") == ["Initech 50%"]
    assert listed(f"?q={found[-10:].lower()}") == ["Initech 50%"]
    assert listed("?q=initech&status=disabled") == []
    assert submit(ada, account_path(found, "/disable")).status == 303
    assert listed("?status=disabled") == ["Initech 50%"]
    assert "Initech 50%" not in listed("?status=active")
    assert "No accounts match" in ada.get(f"{ACCOUNTS}?q=nothing").text
    for ignored in ("?status=x", "?page=-1", "?page=x", "?status=active&page=999"):
        assert ada.get(f"{ACCOUNTS}{ignored}").status == 200


def test_pages_of_the_list(console: Service, ada: Visitor) -> None:
    with closing(sqlite3.connect(console.database)) as connection, connection:
        connection.executemany(
            "INSERT INTO account (id, name, created_at) VALUES (?, ?, 0)",
            [(f"acct_paged{number:017}", f"paged {number:02}") for number in range(51)],
        )
    first = ada.get(f"{ACCOUNTS}?q=paged")
    assert names(first.text) == [f"paged {number:02}" for number in range(50, 0, -1)]
    assert "Page 1 of 2, 51 accounts" in first.text
    (following,) = re.findall(r'rel="next" href="([^"]+)"', first.text)
    second = ada.get(f"{ACCOUNTS}{unescape(following)}")
    assert names(second.text) == ["paged 00"]
    assert 'rel="prev"' in second.text
    assert names(ada.get(f"{ACCOUNTS}?q=paged&page=99").text) == ["paged 00"]


def test_the_page_of_an_account(console: Service, ada: Visitor) -> None:
    account = make_account(ada, "Hooli", external_id="hooli/1", metadata='{"a":"<b>"}')
    text = ada.get(account_path(account)).text
    for shown in (
        f"<code>{account}</code>",
        "<code>hooli/1</code>",
        "<code>{&#34;a&#34;:&#34;&lt;b&gt;&#34;}</code>",
        "no keys",
        'class="badge good">active<',
        "account.create",
        f'href="/console/audit/?key={account}"',
        f'href="/console/keys/new?account={account}"',
    ):
        assert shown in text
    pairs = [make_key(ada, account, name=f"key {number:02}") for number in range(11)]
    text = ada.get(account_path(account)).text
    assert names(text) == [f"key {number:02}" for number in range(10, 0, -1)]
    assert "All 11 keys" in text
    assert "<dt>Keys</dt><dd>11</dd>" in text
    path = f"/console/keys/{pairs[0].api_key}/revoke"
    assert submit(ada, path).status == 303
    assert "<dt>Keys</dt><dd>10, and 1 revoked</dd>" in ada.get(account_path(account)).text


def test_the_page_of_an_account_sums_the_use_of_its_keys(console: Service, ada: Visitor) -> None:
    account = make_account(ada, "Busy")
    live = [make_key(ada, account) for _ in range(2)]
    test = make_key(ada, account, mode="test")
    for pair in (*live, *live, test):
        assert console.get("/v1/account", pair.bearer).status == 200
    assert submit(ada, f"/console/keys/{test.api_key}/revoke").status == 303
    assert console.get("/v1/account", test.bearer).status == 401
    text = ada.get(account_path(account)).text
    assert "Requests per hour in the last 48 hours: 5, at most" in text
    assert re.search(r"live</div></td>\s*<td[^>]*><div>4</div></td>\s*<td[^>]*><div>0<", text)
    assert re.search(r"test</div></td>\s*<td[^>]*><div>1</div></td>\s*<td[^>]*><div>1<", text)
    other = account_path(make_account(ada, "Idle"))
    assert "Requests per hour in the last 48 hours: 0" in ada.get(other).text


def test_the_use_of_many_keys_is_summed_on_request(console: Service, ada: Visitor) -> None:
    account = make_account(ada, "Many")
    pair = make_key(ada, account)
    with closing(sqlite3.connect(console.database)) as connection, connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)"
            " INSERT INTO credential (api_key, secret_hash, derivation_id, account_id, mode, name,"
            " scopes, created_at) SELECT 'ak_live_' || printf('%022d', i), randomblob(32), '', ?,"
            " 'live', 'one of many', '*', 0 FROM n",
            (account,),
        )
    assert console.get("/v1/account", pair.bearer).status == 200
    path = account_path(account)
    text = ada.get(path).text
    assert "Requests per hour" not in text
    assert f'href="{path}?usage=1">Sum the requests of all 1001 keys<' in text
    assert "Requests per hour in the last 48 hours: 1," in ada.get(f"{path}?usage=1").text


def test_the_instance_account(console: Service, ada: Visitor) -> None:
    path = account_path(instance_id(console))
    text = ada.get(path).text
    assert 'class="badge off">instance<' in text
    assert "It cannot be disabled." in text
    assert f'href="{path}/disable"' not in text
    assert 'href="/console/keys/new"' in text
    for page in ("/disable", "/enable"):
        assert ada.get(path + page).status == 404
        assert ada.post(path + page, ada.get(f"{path}/edit").fields("")).status == 404
    assert 'class="badge good">active<' in ada.get(path).text


def test_an_erased_account(console: Service, ada: Visitor) -> None:
    account = make_account(ada, "Forgotten", external_id="forget-me")
    pair = make_key(ada, account)
    erase(console, account)
    text = ada.get(account_path(account)).text
    assert "<h1>Erased account" in text
    assert 'class="badge off">erased<' in text
    assert "were removed on" in text
    assert pair.api_key in text
    assert f'href="{account_path(account)}/edit"' not in text
    for page in PAGES[1:]:
        assert ada.get(account_path(account, page)).status == 404
        forged = ada.get("/console/keys/new").fields("")
        assert ada.post(account_path(account, page), {**forged, "name": "x"}).status == 404
    assert account in ada.get(ACCOUNTS).text
    assert "erased account" in ada.get(f"/console/keys/{pair.api_key}").text
    assert f'value="{account}"' not in ada.get("/console/keys/new").text
    refused = submit(ada, "/console/keys/new", name="x", access="read", account=account)
    assert refused.status == 400
    assert "This account was erased; enter another one." in refused.text


@pytest.mark.parametrize("account", ["acct_" + "0" * 21 + "z", "acct_x", "x", "%00", "<b>", "ä"])
def test_an_unknown_account_gets_404(ada: Visitor, account: str) -> None:
    for page in PAGES:
        answer = ada.get(account_path(quote(account, safe="%"), page))
        assert answer.status == 404
        assert "<h1>Not Found</h1>" in answer.text


@pytest.mark.parametrize(
    "name", [HOSTILE, "שלום עולם", "م" * 100, "w" * 100], ids=["markup", "rtl", "arabic", "long"]
)
def test_a_hostile_account_is_escaped_everywhere(ada: Visitor, name: str) -> None:
    account = make_account(
        ada,
        name,
        external_id=f"<script>alert(1)</script>{ord(name[0])}{'x' * 200}",
        metadata='{"</code><script>alert(2)</script>": "</textarea><script>"}',
    )
    pair = make_key(ada, account)
    paths = [account_path(account, page) for page in PAGES]
    paths += [ACCOUNTS, f"{ACCOUNTS}?q={quote(name)}", "/console/keys/", "/console/audit/"]
    paths += ["/console/keys/new", f"/console/keys/new?account={account}"]
    paths += [f"/console/keys/{pair.api_key}{page}" for page in ("", "/edit", "/revoke")]
    for path in paths:
        text = ada.get(path).text
        assert "<script>alert" not in text, path
        assert "</textarea><script>" not in text, path
        if path != "/console/audit/":
            assert str(name) in unescape(text), path


def test_the_list_of_keys_shows_and_filters_by_account(console: Service, ada: Visitor) -> None:
    account = make_account(ada, "Filtered", external_id="filtered:1")
    ours, theirs = make_key(ada, account, name="theirs"), console.issue(name="ours")
    everything = ada.get("/console/keys/").text
    assert f'href="{account_path(account)}"><bdi>Filtered</bdi>' in everything
    assert "<bdi>Instance account</bdi>" in everything
    for reference in (account, "filtered:1"):
        text = ada.get(f"/console/keys/?account={reference}&mode=live").text
        assert names(text) == ["theirs"]
        assert ours.api_key in text
        assert theirs.api_key not in text
        assert f'value="{reference}"' in text
        assert f"account={quote(reference, safe='')}" in text  # the links that sort the list
        assert f'href="/console/keys/new?account={account}"' in text
    instance = ada.get(f"/console/keys/?account={instance_id(console)}").text
    assert theirs.api_key in instance
    assert ours.api_key not in instance
    for unknown in ("acct_" + "0" * 22, "nobody", "x y", "%F0%9F%98%80", "<b>"):
        text = ada.get(f"/console/keys/?account={quote(unknown, safe='%')}").text
        assert "There is no account with this id or external id." in text
        assert names(text) == []


def test_the_pages_of_a_key_show_its_account(console: Service, ada: Visitor) -> None:
    account = make_account(ada, "Owner")
    pair = make_key(ada, account)
    for page in ("", "/edit", "/revoke"):
        text = ada.get(f"/console/keys/{pair.api_key}{page}").text
        assert f'href="{account_path(account)}"><bdi>Owner</bdi>' in text
    assert 'name="account"' not in ada.get(f"/console/keys/{pair.api_key}/edit").text
    assert submit(ada, account_path(account, "/disable")).status == 303
    text = ada.get(f"/console/keys/{pair.api_key}").text
    assert "account disabled" in text
    assert "the account is disabled: every request is refused" in text
    assert "account disabled" in ada.get(f"/console/keys/?account={account}").text


def test_a_secret_in_a_search_is_removed(console: Service, ada: Visitor) -> None:
    secret = console.derive_pair().api_secret
    for path in (
        f"{ACCOUNTS}?q={secret}",
        f"/console/keys/?account={secret}",
        f"/console/keys/new?account={secret}",
        account_path(secret),
    ):
        assert secret not in ada.get(path).text, path
