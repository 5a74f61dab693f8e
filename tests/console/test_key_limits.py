"""Limits in the console's forms, what remains of them, resets, and the keys at their limit."""

from __future__ import annotations

import re

import pytest

from tests.support.console.accounts import account_path, make_account, submit
from tests.support.console.visitor import Visitor
from tests.support.faults.service_processes import wait_until
from tests.support.service import Pair, Service

NEW = "/console/keys/new"
TERMS = {"access": "full", "expiry": "never", "mode": "live", "name": "limited"}
ROWS = {
    "limit_1-amount": "100",
    "limit_1-kind": "rate/minute",
    "limit_1-burst": "20",
    "limit_3-amount": "1000000",
    "limit_3-kind": "quota/month",
    "limit_3-refill_on": "5",
    "limit_3-name": " monthly ",
}
STORED = [
    {"name": "default", "rate": "100/minute", "burst": 20},
    {"name": "monthly", "quota": 1000000, "period": "month", "refill_on": 5},
]


def create(visitor: Visitor, **fields: str) -> Pair:
    """Create a key."""
    made = submit(visitor, NEW, **{**TERMS, **fields})
    assert made.status == 201, made.text
    key = re.search(r'id="api-key">(ak_\w+)<', made.text)
    secret = re.search(r'id="api-secret">(sk_\w+)<', made.text)
    assert key is not None
    assert secret is not None
    return Pair(key[1], secret[1])


def stored(service: Service, api_key: str) -> object:
    return service.get(f"/v1/api_keys/{api_key}", service.issue().bearer).json["limits"]


def statuses(service: Service, key: Pair, times: int) -> list[int]:
    return [service.get("/v1/account", key.bearer).status for _ in range(times)]


def cells(page: str, label: str) -> list[str]:
    """The texts of a column's cells."""
    found = re.findall(rf'data-label="{label}"[^>]*><div>(.*?)</div>', page, re.DOTALL)
    return [re.sub(r"<[^>]*>", "", text).strip() for text in found]


# ---- Forms


def test_a_key_with_limits(console: Service, ada: Visitor) -> None:
    key = create(ada, **ROWS)
    assert stored(console, key.api_key) == STORED
    page = ada.get(f"/console/keys/{key.api_key}").text
    assert cells(page, "Limit") == ["default", "monthly"]
    assert cells(page, "Allows") == [
        "100 per minute, at most 20 at once",
        "quota of 1,000,000 per month, from day 5",
    ]
    assert cells(page, "Left") == ["20", "1,000,000"]


def test_saving_without_changes_keeps_all_limits(console: Service, ada: Visitor) -> None:
    key = create(ada, **ROWS)
    path = f"/console/keys/{key.api_key}/edit"
    assert '<details class="limits" open>' in ada.get(path).text
    assert submit(ada, path, name="other").status == 303
    assert stored(console, key.api_key) == STORED
    changed = {"limit_1-amount": "", "limit_1-burst": "", "limit_1-name": ""}
    assert submit(ada, path, **changed).status == 303
    assert stored(console, key.api_key) == STORED[1:]
    cleared = {"limit_1-amount": "", "limit_1-refill_on": "", "limit_1-name": ""}
    assert submit(ada, path, **cleared).status == 303
    assert stored(console, key.api_key) is None
    assert '<details class="limits">' in ada.get(path).text


def test_the_limits_of_an_account(console: Service, ada: Visitor) -> None:
    account = make_account(ada, "Limited", **ROWS)
    page = ada.get(account_path(account)).text
    assert cells(page, "Mode")[:4] == ["live", "live", "test", "test"]
    assert cells(page, "Limit") == ["default", "monthly"] * 2
    path = account_path(account, "/edit")
    assert submit(ada, path, **{"limit_4-amount": "7", "limit_4-kind": "quota/total"}).status == 303
    page = ada.get(account_path(account)).text
    assert cells(page, "Limit") == ["default", "monthly", "quota"] * 2


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("amount", "many", "Not a valid integer value."),
        ("amount", "0", "Must be 1 to 60,000,000."),
        ("burst", "0", "Burst must be at least 1."),
        ("burst", "100000000", "The burst must be available again within 366 days"),
        ("refill_on", "5", "Is used only with a calendar month; clear this field."),
        ("name", "Not A Name", "The name of a limit has up to 32 lower-case letters"),
        ("kind", "rate/year", "Not a valid choice"),
    ],
)
def test_an_error_is_shown_beside_its_field(
    ada: Visitor, field: str, value: str, said: str
) -> None:
    row = {"limit_2-amount": "100", "limit_2-kind": "rate/minute", f"limit_2-{field}": value}
    answer = submit(ada, NEW, **{**TERMS, **row})
    assert answer.status == 400
    (error,) = re.findall(rf'class="error" id="limit_2-{field}-error">([^<]*)<', answer.text)
    assert said in error
    assert '<details class="limits" open>' in answer.text
    assert 'value="limited"' in answer.text


@pytest.mark.parametrize(
    ("rows", "field", "said"),
    [
        ({"limit_4-name": "lost"}, "limit_4-amount", "Enter a number, or clear the whole row."),
        (
            {"limit_1-amount": "1", "limit_3-amount": "2"},
            "limit_3-name",
            "The name default is used twice.",
        ),
        (
            {"limit_1-amount": "1", "limit_1-kind": "quota/total", "limit_1-burst": "2"},
            "limit_1-burst",
            "Is used only with a rate; clear this field.",
        ),
        (
            {"limit_1-amount": "1", "limit_1-kind": "quota/month", "limit_1-refill_on": "31"},
            "limit_1-refill_on",
            "Refill_on is a day from 1 to 28.",
        ),
    ],
)
def test_an_error_of_several_fields(
    ada: Visitor, rows: dict[str, str], field: str, said: str
) -> None:
    answer = submit(ada, NEW, **{**TERMS, **rows})
    assert answer.status == 400
    assert re.findall(r'class="error" id="(limit_[^"]*)-error">([^<]*)<', answer.text) == [
        (field, said)
    ]


def test_a_secret_in_a_limit_is_not_sent_back(console: Service, ada: Visitor) -> None:
    secret = console.derive_pair().api_secret
    for field in ("amount", "kind", "burst", "name"):
        answer = submit(ada, NEW, **{**TERMS, f"limit_1-{field}": secret})
        assert answer.status == 400
        assert secret not in answer.text


# ---- What remains, and resets


def test_a_limit_that_is_used_up_and_reset(console: Service, ada: Visitor) -> None:
    key = create(ada, **{"limit_1-amount": "2", "limit_1-kind": "rate/hour"})
    path = f"/console/keys/{key.api_key}"
    assert statuses(console, key, 4) == [200, 200, 429, 429]
    page = ada.get(path).text
    assert cells(page, "Left") == ["0"]
    assert re.search(r'data-label="Full again"[^>]*><div><time datetime="', page)
    # The table of refusals.
    assert re.search(r"A rate was exceeded</div></td>\s*<td[^>]*><div>2<", page)
    # Both plots.
    assert page.count("Refused by limits: 2, above the other requests") == 2
    asked = ada.get(f"{path}/reset-limits").text
    assert cells(asked, "Limit") == ["default"]
    assert ada.post(f"{path}/reset-limits", {"limit": "default"}).status == 400
    assert statuses(console, key, 1) == [429]
    assert submit(ada, f"{path}/reset-limits", limit="").status == 303
    assert statuses(console, key, 3) == [200, 200, 429]


def test_a_reset_names_the_keys_that_share_the_limits(console: Service, ada: Visitor) -> None:
    key = create(ada, **{"limit_1-amount": "2", "limit_1-kind": "rate/hour"})
    path = f"/console/keys/{key.api_key}"
    made = submit(ada, f"{path}/rotate").text
    successor = re.search(r'id="api-key">(ak_\w+)<', made)
    assert successor is not None
    assert "1 other key shares these limits" in ada.get(f"{path}/reset-limits").text
    page = ada.get(f"/console/keys/{successor[1]}").text
    assert "This key shares the limits of" in page
    # Saving its form without changes leaves them shared.
    edit = f"/console/keys/{successor[1]}/edit"
    assert submit(ada, edit).status == 303
    assert "This key shares the limits of" in ada.get(edit).text
    assert submit(ada, edit, **{"limit_1-amount": "3"}).status == 303
    assert "This key shares the limits of" not in ada.get(edit).text


def test_a_reset_of_one_limit_of_an_account(console: Service, ada: Visitor) -> None:
    rows = {"limit_1-amount": "2", "limit_1-kind": "quota/total", "limit_2-amount": "5"}
    account = make_account(ada, "Reset", **rows)
    path = account_path(account, "/reset-limits")
    wrong = submit(ada, path, limit="other")
    assert (wrong.status, "Not a valid choice" in wrong.text) == (400, True)
    assert submit(ada, path, limit="quota").status == 303


def test_keys_at_their_limit(console: Service, ada: Visitor) -> None:
    key = create(ada, name="at its limit", **{"limit_1-amount": "1", "limit_1-kind": "rate/hour"})
    assert statuses(console, key, 3) == [200, 429, 429]

    def shows() -> bool:
        page = ada.get("/console/overview/").text
        return (
            re.search(rf"{key.api_key}.*?Refused requests\"><div>2<", page, re.DOTALL) is not None
        )

    wait_until(shows, "the refusals in the overview")
    page = ada.get("/console/overview/").text
    assert re.search(r"Rate of the key or its account</div></td>\s*<td[^>]*><div>[1-9]", page)
