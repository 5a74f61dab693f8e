"""A secret that was pasted into the wrong field is never sent back, and gets an error."""

from __future__ import annotations

import pytest

from latchkey_service.console.list_query import ListQuery
from latchkey_service.console.sign_in import own_page
from tests.support.console.visitor import PASSWORD, Visitor
from tests.support.service import Pair, Service

NEW, REGISTER = "/console/keys/new", "/console/keys/register"
SIGN_IN = "/console/sign-in"
TERMS = {"access": "full", "expiry": "never", "mode": "live", "name": "kept"}
REMOVED = "contained an API secret"


@pytest.fixture(scope="module")
def pair(console: Service) -> Pair:
    """A key and the secret that is pasted."""
    return console.issue(name="pasted")


@pytest.mark.parametrize("around", ["{}", " {} ", "the key is {}, really", "'{}'"])
def test_the_name_of_a_new_key(ada: Visitor, pair: Pair, around: str) -> None:
    pasted = {**TERMS, "name": around.format(pair.api_secret)}
    answer = ada.post(NEW, {**ada.get(NEW).fields(""), **pasted})
    assert answer.status == 400
    assert pair.api_secret not in answer.text
    assert REMOVED in answer.text


@pytest.mark.parametrize("field", ["form_id", "access", "scopes", "expiry", "expires_at", "mode"])
def test_any_field_of_a_new_key(ada: Visitor, pair: Pair, field: str) -> None:
    # Another field is invalid too, so that the form is always shown again.
    pasted = {**TERMS, "expiry": "date", field: pair.api_secret}
    answer = ada.post(NEW, {**ada.get(NEW).fields(""), **pasted})
    assert answer.status == 400
    assert pair.api_secret not in answer.text
    # The other values are kept.
    assert 'value="kept"' in answer.text


@pytest.mark.parametrize("field", ["api_key", "name", "api_secret"])
def test_the_registration_of_a_pair(console: Service, ada: Visitor, pair: Pair, field: str) -> None:
    other = console.derive_pair()
    entered = {"api_key": other.api_key, "api_secret": "wrong", "name": "kept"}
    pasted = {**entered, field: pair.api_secret}
    answer = ada.post(REGISTER, {**ada.get(REGISTER).fields(""), **pasted})
    assert answer.status in (400, 403)
    assert pair.api_secret not in answer.text
    assert (REMOVED in answer.text) == (field != "api_secret")
    for name in {"api_key", "name"} - {field}:
        assert f'value="{entered[name]}"' in answer.text


@pytest.mark.parametrize("page", ["edit", "rotate"])
def test_the_changes_of_a_key(ada: Visitor, pair: Pair, page: str) -> None:
    path = f"/console/keys/{pair.api_key}/{page}"
    names = ("name", "scopes", "access", "expiry", "expires_at", "overlap", "overlap_seconds")
    answer = ada.post(path, {**ada.get(path).fields(""), **dict.fromkeys(names, pair.api_secret)})
    assert answer.status == 400
    assert pair.api_secret not in answer.text


@pytest.mark.parametrize("field", ["name", "next", "password"])
def test_the_sign_in(console: Service, pair: Pair, field: str) -> None:
    entered = {"name": "ada", "password": "wrong", "next": "/console/password/"}
    answer = Visitor(console).send(SIGN_IN, SIGN_IN, **{**entered, field: pair.api_secret})
    assert answer.status == (400 if field == "name" else 403)
    assert pair.api_secret not in answer.text
    # The target is not a page of the console.
    if field == "next":
        signed_in = Visitor(console).send(
            SIGN_IN, SIGN_IN, **{**entered, "password": PASSWORD, "next": pair.api_secret}
        )
        assert signed_in.location == "/console/"


def test_no_redirect_to_a_url_with_a_secret(console: Service, pair: Pair) -> None:
    for path in (f"/console/keys/?q={pair.api_secret}", f"/console/keys/{pair.api_secret}"):
        asked = Visitor(console).get(path)
        assert (asked.status, asked.location) == (303, SIGN_IN)
        assert own_page(path) is None
    shown = Visitor(console).get(f"{SIGN_IN}?next=/console/keys/?q={pair.api_secret}")
    assert shown.status == 200
    assert pair.api_secret not in shown.text


def test_searches(ada: Visitor, pair: Pair) -> None:
    for path in (
        f"/console/keys/?q={pair.api_secret}&sort=name",
        f"/console/keys/?mode={pair.api_secret}&status={pair.api_secret}",
        f"/console/audit/?key={pair.api_secret}&before=9",
        f"/console/audit/?actor={pair.api_secret}&action={pair.api_secret}",
        f"/console/audit/export?key={pair.api_secret}",
    ):
        page = ada.get(path)
        assert page.status == 200, path
        assert pair.api_secret not in page.text, path
    # It is not treated as an empty search, which finds everything.
    assert ListQuery.of({"q": pair.api_secret}).is_filtered
    assert "No keys match" in ada.get(f"/console/keys/?q={pair.api_secret}").text


def test_urls_of_no_page(ada: Visitor, pair: Pair) -> None:
    for path in (
        f"/console/keys/{pair.api_secret}",
        f"/console/keys/{pair.api_secret}/edit",
        f"/console/{pair.api_secret}",
    ):
        page = ada.get(path)
        assert page.status == 404
        assert pair.api_secret not in page.text
