"""Scopes of an application and conditions of a key in the console's forms and pages."""

from __future__ import annotations

import re

import pytest

from tests.support.console.form_values import values_of
from tests.support.console.visitor import Page, Visitor
from tests.support.service import Service

NEW = "/console/keys/new"
TERMS = {"access": "full", "expiry": "never", "mode": "live", "name": "limited"}
CONDITIONS = {
    "enabled": "no",
    "not_before": "2035-01-15T10:30",
    "networks": "192.0.2.0/24\r\n\r\n 2001:db8::/32 ",
    "networks_mode": "observe",
    "endpoints": "GET /orders/**\r\nPOST /orders",
    "metadata": '{"team": "<billing>"}',
}
STORED = {
    "enabled": False,
    "not_before": "2035-01-15T10:30:00.000Z",
    "networks": ["192.0.2.0/24", "2001:db8::/32"],
    "networks_mode": "observe",
    "endpoints": ["GET /orders/**", "POST /orders"],
    "metadata": {"team": "<billing>"},
}


def send(visitor: Visitor, path: str, **fields: str) -> Page:
    """Open a page, change fields of its form, and submit it."""
    return visitor.post(path, {**values_of(visitor.get(path).text), **fields})


def create(visitor: Visitor, **fields: str) -> str:
    """Create a key; returns its public key."""
    made = send(visitor, NEW, **{**TERMS, **fields})
    assert made.status == 201, made.text
    found = re.search(r'id="api-key">(ak_\w+)<', made.text)
    assert found is not None
    return found[1]


def stored(service: Service, api_key: str) -> dict[str, object]:
    answer: dict[str, object] = service.get(f"/v1/api_keys/{api_key}", service.issue().bearer).json
    return answer


def test_a_key_with_conditions(console: Service, ada: Visitor) -> None:
    api_key = create(ada, **CONDITIONS)
    assert stored(console, api_key).items() >= STORED.items()
    page = ada.get(f"/console/keys/{api_key}").text
    for shown in (
        "disabled: every request is refused",
        "192.0.2.0/24, 2001:db8::/32 (others are admitted and counted)",
        "<code>GET /orders/**</code>, <code>POST /orders</code>",
        "{&#34;team&#34;:&#34;&lt;billing&gt;&#34;}",
    ):
        assert shown in page
    assert 'class="badge off">disabled<' in ada.get("/console/keys/?q=limited").text


def test_saving_without_changes_keeps_all_conditions(console: Service, ada: Visitor) -> None:
    api_key = create(ada, **CONDITIONS)
    page = ada.get(f"/console/keys/{api_key}/edit")
    assert '<details class="conditions" open>' in page.text
    assert send(ada, f"/console/keys/{api_key}/edit").status == 303
    assert stored(console, api_key).items() >= STORED.items()


def test_conditions_are_removed(console: Service, ada: Visitor) -> None:
    api_key = create(ada, **CONDITIONS)
    cleared = {**dict.fromkeys(CONDITIONS, ""), "enabled": "yes", "networks_mode": "enforce"}
    assert send(ada, f"/console/keys/{api_key}/edit", **cleared).status == 303
    empty = {**dict.fromkeys(STORED), "enabled": True, "networks_mode": "enforce"}
    assert stored(console, api_key).items() >= empty.items()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("networks", "10.0.0.1/8", "Has bits set behind its prefix; did you mean 10.0.0.0/8?"),
        ("networks", "::/0\nx", "Not a network"),
        ("endpoints", "get /", "Write a method and a path"),
        ("endpoints", "GET /a?b", "Write the path as the application sees it"),
        ("metadata", "[1]", "Must be an object"),
        ("metadata", "{", "Enter a JSON object"),
        ("not_before", "soon", "Not a valid datetime"),
        ("enabled", "maybe", "Not a valid choice"),
        ("networks_mode", "off", "Not a valid choice"),
    ],
)
def test_an_invalid_condition_is_reported_at_its_field(
    ada: Visitor, field: str, value: str, said: str
) -> None:
    answer = send(ada, NEW, **{**TERMS, field: value})
    assert answer.status == 400
    (error,) = re.findall(rf'class="error" id="{field}-error">([^<]*)<', answer.text)
    assert said in error
    assert '<details class="conditions" open>' in answer.text


@pytest.mark.parametrize("field", ["networks", "endpoints", "metadata", "more_scopes"])
def test_a_secret_in_a_condition_is_not_sent_back(
    console: Service, ada: Visitor, field: str
) -> None:
    secret = console.derive_pair().api_secret
    fields = {**TERMS, field: f'{{"key": "{secret}"}}'}
    if field == "more_scopes":
        fields["access"] = "chosen"
    answer = send(ada, NEW, **fields)
    assert answer.status == 400
    assert secret not in answer.text
    assert "contained an API secret" in answer.text


def test_scopes_of_an_application(console: Service, ada: Visitor) -> None:
    chosen = {"access": "chosen", "more_scopes": "orders:read:eu-* orders:write"}
    api_key = create(ada, **chosen)
    assert stored(console, api_key)["scopes"] == ["orders:read:eu-*", "orders:write"]
    page = ada.get(f"/console/keys/{api_key}/edit").text
    assert re.search(r'<input[^>]* checked[^>]* value="orders:read:eu-\*"', page)
    wrong = send(ada, NEW, **{**TERMS, "access": "chosen", "more_scopes": "orders"})
    assert wrong.status == 400
    assert "A scope is &lt;resource&gt;" in wrong.text
