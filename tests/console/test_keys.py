"""The list of keys and the page of a key, over HTTP."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from contextlib import closing
from html import unescape
from urllib.parse import quote

import pytest

from tests.support.console.visitor import Visitor
from tests.support.service import Pair, Service
from tests.support.times import begin_within_an_hour

HOSTILE = "<script>alert('x')</script>&\"'"


def names(text: str) -> list[str]:
    """The names in a list, in their order."""
    return [unescape(name) for name in re.findall(r'class="named" href="[^"]+">([^<]+)</a>', text)]


@pytest.fixture(scope="module")
def pairs(console: Service) -> dict[str, Pair]:
    """Keys of several kinds, by name."""
    return {
        name: console.issue(mode, name=name, **terms)
        for name, mode, terms in (
            ("alpha", "live", {}),
            ("Beta 50%", "test", {"scopes": ["account:read"]}),
            ("gamma", "live", {"scopes": ["*:read"], "expires_at": "2099-01-01T00:00:00Z"}),
            (HOSTILE, "live", {}),
        )
    }


def test_the_list_has_each_key_and_no_secret(ada: Visitor, pairs: dict[str, Pair]) -> None:
    page = ada.get("/console/keys/")
    assert page.status == 200
    for name, pair in pairs.items():
        assert pair.api_key in page.text
        assert name in names(page.text)
        assert pair.api_secret not in page.text
    assert "<script>alert" not in page.text
    assert "account:read" in page.text
    assert "2099-01-01 00:00 UTC" in page.text


def test_search_filters_and_order(ada: Visitor, pairs: dict[str, Pair]) -> None:
    def listed(address: str) -> list[str]:
        return [name for name in names(ada.get(f"/console/keys/{address}").text) if name in pairs]

    assert listed("?q=BETA") == listed("?q=50%25") == ["Beta 50%"]
    assert listed(f"?q={pairs['alpha'].api_key[8:].lower()}") == ["alpha"]
    assert listed("?mode=test") == ["Beta 50%"]
    assert listed("?sort=name") == [HOSTILE, "alpha", "Beta 50%", "gamma"]
    assert listed("?sort=-name") == ["gamma", "Beta 50%", "alpha", HOSTILE]
    assert listed("?sort=expires")[0] == "gamma"
    assert listed("?status=revoked") == []
    assert "No keys match" in ada.get("/console/keys/?q=nothing").text
    # The form and the links contain the current query.
    page = ada.get("/console/keys/?q=%22%3E%3Cb%3E&mode=live&sort=name")
    assert 'value="&#34;&gt;&lt;b&gt;"' in page.text
    assert '<option value="live" selected>' in page.text
    assert 'aria-sort="ascending"' not in page.text  # nothing is found, so there is no table


def test_pages(console: Service, ada: Visitor, pairs: dict[str, Pair]) -> None:
    for number in range(51):
        console.issue("test", name=f"page {number:02}")
    first = ada.get("/console/keys/?q=page+&sort=name")
    assert names(first.text) == [f"page {number:02}" for number in range(50)]
    assert "Page 1 of 2, 51 keys" in first.text
    (following,) = re.findall(r'rel="next" href="([^"]+)"', first.text)
    second = ada.get(f"/console/keys/{unescape(following)}")
    assert names(second.text) == ["page 50"]
    assert 'rel="prev"' in second.text
    # A page number past the end shows the last page.
    assert names(ada.get("/console/keys/?q=page+&page=99").text) == ["page 00"]


def test_the_page_of_a_key_shows_its_use_immediately(console: Service, ada: Visitor) -> None:
    pair = console.issue(name="watched", scopes=["account:read"])
    path = f"/console/keys/{pair.api_key}"
    page = ada.get(path)
    assert page.status == 200
    assert "none yet" in page.text
    begin_within_an_hour()
    for _ in range(3):
        assert console.get("/v1/account", pair.bearer).status == 200
    assert console.get("/v1/api_keys", pair.bearer).status == 403
    text = ada.get(path).text
    assert "Requests per hour in the last 48 hours: 4, at most 4 per hour" in text
    assert "<code>127.0.0.1</code>" in text
    assert re.search(r"A scope was missing</div></td>\s*<td[^>]*><div>1</div>", text)
    assert '<svg role="img"' in text
    assert pair.api_secret not in text
    overview = ada.get("/console/overview/").text
    assert re.search(r"missing scope</div></td>\s*<td[^>]*><div>[1-9]\d*</div>", overview)


def test_marks(console: Service, ada: Visitor) -> None:
    pair = console.issue(name="neglected")
    with closing(sqlite3.connect(console.database)) as connection, connection:
        connection.execute(
            "UPDATE credential SET created_at = created_at - ? WHERE api_key = ?",
            (91 * 86_400_000, pair.api_key),
        )
    for concern in ("due", "unused"):
        assert names(ada.get(f"/console/keys/?concern={concern}").text) == ["neglected"]
    text = ada.get("/console/keys/?q=neglected").text
    assert ">due</span>" in text
    assert ">unused</span>" in text
    overview = ada.get("/console/overview/")
    assert overview.status == 200
    assert re.search(r'concern=due"><span class="figure">1</span>', overview.text)
    # A use counts immediately, even if it has not been persisted.
    assert console.get("/v1/account", pair.bearer).status == 200
    assert ">unused</span>" not in ada.get("/console/keys/?q=neglected").text


def test_a_hostile_name_is_escaped_everywhere(ada: Visitor, pairs: dict[str, Pair]) -> None:
    path = f"/console/keys/{pairs[HOSTILE].api_key}"
    for page in ("", "/edit", "/rotate", "/revoke"):
        answer = ada.get(path + page)
        assert answer.status == 200
        assert "<script>alert" not in answer.text
        assert "&lt;script&gt;" in answer.text
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("key", ["ak_live_" + "0" * 22, "ak_live_x", "x", "%00", "<b>", "ä"])
def test_an_unknown_key_gets_404(ada: Visitor, key: str) -> None:
    for page in ("", "/edit", "/rotate", "/revoke"):
        answer = ada.get(f"/console/keys/{quote(key, safe='%')}{page}")
        assert answer.status == 404
        assert "<h1>Not Found</h1>" in answer.text


def test_the_overview_counts_the_levels(console: Service, ada: Visitor) -> None:
    pair = console.issue(name="counted")
    for _ in range(5):
        console.get("/v1/account", pair.bearer)
    text = ada.get("/console/overview/").text
    rate = re.search(r"own cache</div>.*?([\d.]+) %", text, re.S)
    assert rate is not None
    assert 0 < float(rate[1]) < 100
    assert "Revoked key" in text


def test_the_page_of_an_imported_key_says_so(console: Service, ada: Visitor) -> None:
    digest = hashlib.sha256(b"token-of-another-system").hexdigest()
    file = console.directory / "tokens.csv"
    file.write_text(f"name,sha256\nfrom elsewhere,{digest}\n")
    console.command("keys", "import", str(file))
    (key,) = re.findall(r"<code>(ak_\w+)</code>", ada.get("/console/keys/?q=from+elsewhere").text)
    bearer = {"Authorization": "Bearer token-of-another-system"}
    assert console.get("/v1/account", bearer).status == 200
    page = ada.get(f"/console/keys/{key}")
    assert "imported" in page.text
    assert digest not in page.text
    assert "<code>127.0.0.1</code>" in page.text
    # It is looked up by its digest, and its revocation takes effect as fast as any other.
    path = f"/console/keys/{key}/revoke"
    assert ada.post(path, ada.get(path).fields("")).status == 303
    assert console.get("/v1/account", bearer).code == "key_revoked"
