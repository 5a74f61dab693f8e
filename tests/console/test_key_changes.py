"""Creating, editing, rotating, revoking and registering keys in the console's forms."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from tests.support.console.visitor import Page, Visitor
from tests.support.service import Answer, Pair, Service

NEW, REGISTER = "/console/keys/new", "/console/keys/register"


def send(visitor: Visitor, path: str, **fields: str) -> Page:
    """Open a page, fill in its form, and submit it."""
    return visitor.post(path, {**visitor.get(path).fields(""), **fields})


def pair_in(text: str) -> Pair:
    """The key pair on a page."""
    key = re.search(r'id="api-key">(ak_\w+)<', text)
    secret = re.search(r'id="api-secret">(sk_\w+)<', text)
    assert key is not None
    assert secret is not None
    return Pair(key[1], secret[1])


def account(service: Service, pair: Pair) -> Answer:
    return service.get("/v1/account", pair.bearer)


def shown(service: Service, pair: Pair) -> dict[str, object]:
    """The key in the API, as a key of its mode sees it."""
    issuer = service.issue("live" if "_live_" in pair.api_key else "test")
    answer: dict[str, object] = service.get(f"/v1/api_keys/{pair.api_key}", issuer.bearer).json
    return answer


def path_of(pair: Pair, page: str = "") -> str:
    return f"/console/keys/{pair.api_key}{page}"


TERMS = {"access": "full", "expiry": "never", "mode": "live", "name": "made here"}


def test_the_secret_is_only_in_the_response(console: Service, ada: Visitor) -> None:
    made = send(ada, NEW, **TERMS)
    assert made.status == 201
    assert made.headers["Cache-Control"] == "no-store"
    pair = pair_in(made.text)
    assert account(console, pair).status == 200
    assert f"Authorization: Bearer {pair.api_secret}" in made.text
    assert f"X-Api-Key: {pair.api_key}" in made.text
    assert f"X-Api-Secret: {pair.api_secret}" in made.text
    assert not any(pair.api_secret in cookie for cookie in made.cookies)
    for path in ("/console/keys/", path_of(pair), NEW):
        assert pair.api_secret not in ada.get(path).text
    kept = b"".join(path.read_bytes() for path in console.database.parent.iterdir())
    assert pair.api_secret.encode() not in kept
    assert pair.api_secret not in console.log


def test_a_form_sent_twice_creates_one_key(console: Service, ada: Visitor) -> None:
    fields = {**ada.get(NEW).fields(""), **TERMS, "name": "sent twice"}
    pair = pair_in(ada.post(NEW, fields).text)
    again = ada.post(NEW, fields)
    assert again.status == 409
    assert pair.api_key in again.text
    assert "sk_" not in again.text
    assert ada.get("/console/keys/?q=sent+twice").text.count("/console/keys/ak_") == 1
    # Opening the form again gives another form.
    assert send(ada, NEW, **{**TERMS, "name": "sent twice"}).status == 201


def test_a_form_without_an_id_gets_one(ada: Visitor) -> None:
    for form_id in ("", "x", "x" * 100):
        answer = send(ada, NEW, **TERMS, form_id=form_id)
        assert answer.status == 400
        assert "The form was incomplete." in answer.text
        again = ada.post(NEW, {**answer.fields(""), **TERMS})
        assert again.status == 201


@pytest.mark.parametrize(
    ("fields", "scopes", "expires"),
    [
        ({"access": "read", "expiry": "never"}, ["*:read"], None),
        ({"access": "chosen", "scopes": "account:read", "expiry": "30"}, ["account:read"], 30),
        ({"access": "full", "expiry": "365"}, ["*"], 365),
    ],
)
def test_the_key_has_the_terms_of_the_form(
    console: Service, ada: Visitor, fields: dict[str, str], scopes: list[str], expires: int | None
) -> None:
    pair = pair_in(send(ada, NEW, **{**TERMS, "mode": "test", **fields}).text)
    terms = shown(console, pair)
    assert (terms["mode"], terms["scopes"]) == ("test", scopes)
    if expires is None:
        assert terms["expires_at"] is None
    else:
        end = datetime.fromisoformat(str(terms["expires_at"]))
        left = end - datetime.now(UTC)
        assert abs(left - timedelta(days=expires)) < timedelta(minutes=5)


def test_an_entered_time_is_in_utc(console: Service, ada: Visitor) -> None:
    chosen = {**TERMS, "expiry": "date", "expires_at": "2099-12-31T23:59"}
    pair = pair_in(send(ada, NEW, **chosen).text)
    assert shown(console, pair)["expires_at"] == "2099-12-31T23:59:00.000Z"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": ""}, "Enter a name"),
        ({"name": "x" * 101}, "Must have 1 to 100 characters"),
        ({"name": "a\u202eb"}, "Must not have control characters"),
        ({"name": "\u3164"}, "Must have a visible character"),
        ({"name": "\u200b"}, "Must have a visible character"),
        ({"name": "sk_live_abc"}, "contained an API secret"),
        ({"access": "chosen"}, "Select at least one scope"),
        ({"access": "chosen", "scopes": "ledger"}, "A scope is"),
        ({"access": "some"}, "Not a valid choice"),
        ({"mode": "both"}, "Not a valid choice"),
        ({"expiry": "date"}, "Enter a date and time"),
        ({"expiry": "date", "expires_at": "soon"}, "Not a valid datetime"),
        ({"expiry": "date", "expires_at": "2001-01-01T00:00"}, "Must lie in the future"),
        ({"expiry": "-1"}, "Not a valid choice"),
        ({"scopes": "account:read"}, "Access is “Full access”. Choose “Only the scopes"),
        ({"access": "read", "scopes": "account:read"}, "Access is “Read only”"),
        ({"expires_at": "2099-12-31T23:59"}, "Expires is “Never”. Choose “On a date”"),
        ({"expiry": "30", "expires_at": "2099-12-31T23:59"}, "Expires is “In 30 days”"),
        ({"expires_at": "soon"}, "Not a valid datetime"),
    ],
)
def test_an_error_is_at_its_field_and_other_fields_are_kept(
    ada: Visitor, fields: dict[str, str], said: str
) -> None:
    sent = {**TERMS, "name": "kept <name>", **fields}
    answer = send(ada, NEW, **sent)
    assert answer.status == 400
    (error,) = re.findall(r'class="error" id="[\w-]+">([^<]*)<', answer.text)
    assert said in error
    if "name" not in fields:
        assert 'value="kept &lt;name&gt;"' in answer.text
    assert "sk_" not in answer.text.replace("sk_live_abc", "")


def test_a_filled_in_field_is_never_ignored(console: Service, ada: Visitor) -> None:
    filled = {"scopes": "account:read", "expires_at": "2099-12-31T23:59"}
    answer = send(ada, NEW, **{**TERMS, "name": "contradictory"}, **filled)
    assert answer.status == 400
    assert len(re.findall(r'class="error" id="(scopes|expires_at)-error"', answer.text)) == 2
    # The filled-in values are kept.
    assert 'value="2099-12-31T23:59"' in answer.text
    assert re.search(r'<input[^>]* checked[^>]* value="account:read"', answer.text)
    assert "No keys match" in ada.get("/console/keys/?q=contradictory").text
    # A hand-made request may lack the radio buttons; their defaults must not permit this.
    bare = {"name": "contradictory", "mode": "live"}
    assert send(ada, NEW, **bare, scopes="account:read").status == 400
    assert send(ada, NEW, **bare, expires_at="2099-12-31T23:59").status == 400
    # Blanks do not count.
    assert send(ada, NEW, **TERMS, expires_at=" ").status == 201

    pair = console.issue(name="kept", scopes=["account:read"])
    edit = path_of(pair, "/edit")
    for fields in (
        {"access": "full", "expiry": "keep", "scopes": "account:read"},
        {"access": "read", "expiry": "keep", "scopes": "account:read"},
        {"access": "read", "expiry": "keep", "expires_at": "2099-12-31T23:59"},
        {"access": "read", "expiry": "never", "expires_at": "2099-12-31T23:59"},
    ):
        assert send(ada, edit, name="changed", **fields).status == 400
    terms = shown(console, pair)
    assert (terms["name"], terms["scopes"]) == ("kept", ["account:read"])

    for hours in ("5", "0", "five"):
        refused = send(ada, path_of(pair, "/rotate"), overlap="86400", overlap_seconds=hours)
        assert refused.status == 400
        assert f'value="{hours}"' in refused.text
    assert shown(console, pair)["rotated_to"] is None


def test_a_forged_form_is_refused(ada: Visitor) -> None:
    fields = {**ada.get(NEW).fields(""), **TERMS, "name": "forged"}
    for token in ("", "x", None):
        forged = {**fields, "csrf_token": token} if token is not None else dict(fields)
        if token is None:
            del forged["csrf_token"]
        assert ada.post(NEW, forged).status in (400, 403)
    assert "No keys match" in ada.get("/console/keys/?q=forged").text


def test_edit(console: Service, ada: Visitor) -> None:
    pair = console.issue(name="before", scopes=["account:read", "credentials:read"])
    page = ada.get(path_of(pair, "/edit"))
    assert 'value="before"' in page.text
    assert page.text.count(" checked") == 6  # access, expiry, two scopes
    edited = send(ada, path_of(pair, "/edit"), name="after", access="read", expiry="90")
    assert (edited.status, edited.location) == (303, path_of(pair))
    terms = shown(console, pair)
    assert (terms["name"], terms["scopes"]) == ("after", ["*:read"])
    before = terms["expires_at"]
    send(ada, path_of(pair, "/edit"), name="again", access="read", expiry="keep")
    assert shown(console, pair)["expires_at"] == before
    wrong = send(ada, path_of(pair, "/edit"), name="", access="read", expiry="keep")
    assert wrong.status == 400


def test_scopes_in_addition_to_read_only_are_kept(console: Service, ada: Visitor) -> None:
    pair = console.issue(name="both", scopes=["*:read", "account:write"])
    page = ada.get(path_of(pair, "/edit")).text
    ticked = re.findall(r'<input[^>]* checked[^>]* name="scopes"[^>]* value="([^"]+)"', page)
    assert sorted(ticked) == ["*:read", "account:write"]
    fields = {**ada.get(path_of(pair, "/edit")).fields(""), "name": "both", "expiry": "keep"}
    body = [*fields.items(), ("access", "chosen"), *(("scopes", scope) for scope in ticked)]
    sent = ada.request("POST", path_of(pair, "/edit"), urlencode(body).encode(), {})
    assert sent.status == 303
    assert sorted(str(one) for one in shown(console, pair)["scopes"]) == sorted(ticked)  # type: ignore[attr-defined]


def test_a_key_without_a_name_can_stay_unnamed(console: Service, ada: Visitor) -> None:
    pair = console.derive_pair()
    assert console.request("POST", "/credentials", json_body=vars(pair)).status == 201
    edited = send(ada, path_of(pair, "/edit"), name="", access="read", expiry="keep")
    assert edited.status == 303
    assert shown(console, pair)["name"] is None


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [({"overlap": "3600"}, 3600), ({"overlap": "custom", "overlap_seconds": "5"}, 5 * 3600)],
)
def test_rotate(console: Service, ada: Visitor, fields: dict[str, str], seconds: int) -> None:
    old = console.issue(name="rotated")
    rotated = send(ada, path_of(old, "/rotate"), **fields)
    assert rotated.status == 201
    new = pair_in(rotated.text)
    assert new.api_key != old.api_key
    for pair in (old, new):
        assert account(console, pair).status == 200
    end = datetime.fromisoformat(str(shown(console, old)["expires_at"]))
    left = end - datetime.now(UTC)
    assert abs(left - timedelta(seconds=seconds)) < timedelta(minutes=2)
    page = ada.get(path_of(old))
    assert path_of(new) in page.text
    assert ">rotated</span>" in page.text
    # If sent again, the page names the successor and shows no secret.
    again = ada.post(path_of(old, "/rotate"), {**ada.get(NEW).fields(""), **fields})
    assert again.status == 409
    assert new.api_key in again.text
    assert "sk_" not in again.text


def test_without_an_overlap_the_old_key_expires_immediately(console: Service, ada: Visitor) -> None:
    old = console.issue(name="ended")
    assert account(console, old).status == 200
    new = pair_in(send(ada, path_of(old, "/rotate"), overlap="0").text)
    assert account(console, old).json["error"]["code"] == "key_expired"
    assert account(console, new).status == 200
    gone = send(ada, path_of(old, "/revoke"))
    assert gone.status == 303


@pytest.mark.parametrize("hours", ["", "721", "-1", "x", "1.5"])
def test_an_invalid_overlap(console: Service, ada: Visitor, hours: str) -> None:
    old = console.issue(name="kept")
    answer = send(ada, path_of(old, "/rotate"), overlap="custom", overlap_seconds=hours)
    assert answer.status == 400
    assert 'id="overlap_seconds-error"' in answer.text
    assert shown(console, old)["rotated_to"] is None


def test_revoke(console: Service, ada: Visitor) -> None:
    pair = console.issue(name="to be revoked")
    assert account(console, pair).status == 200
    asked = ada.get(path_of(pair, "/revoke"))
    assert "to be revoked" in asked.text
    assert pair.api_key in asked.text
    assert re.search(r"<dt>Last used</dt><dd><time", asked.text)
    # Opening the question changes nothing.
    assert account(console, pair).status == 200
    fields = asked.fields("")
    done = ada.post(path_of(pair, "/revoke"), fields)
    assert (done.status, done.location) == (303, path_of(pair))
    for _ in range(10):
        assert account(console, pair).code == "key_revoked"
    assert ">revoked</span>" in ada.get(path_of(pair)).text
    again = ada.post(path_of(pair, "/revoke"), fields)
    assert again.status == 303
    assert "had already been revoked" in ada.get(path_of(pair)).text
    for page in ("/edit", "/rotate", "/revoke"):
        assert ada.get(path_of(pair, page)).status == 404


def test_register(console: Service, ada: Visitor) -> None:
    pair = console.derive_pair()
    fields = {"api_key": pair.api_key, "api_secret": pair.api_secret, "name": "made elsewhere"}
    done = send(ada, REGISTER, **fields)
    assert (done.status, done.location) == (303, path_of(pair))
    assert account(console, pair).status == 200
    again = send(ada, REGISTER, **fields)
    assert again.status == 409
    assert "Already registered" in again.text
    assert pair.api_secret not in again.text
    assert 'value="made elsewhere"' in again.text
    other = console.derive_pair()
    wrong = send(ada, REGISTER, api_key=other.api_key, api_secret=pair.api_secret, name="")
    assert wrong.status == 403
    assert "does not belong" in wrong.text
    assert pair.api_secret not in wrong.text


@pytest.mark.parametrize(
    "fields",
    [
        {"api_key": "", "api_secret": ""},
        {"api_key": "ak_live_x", "api_secret": "sk_live_" + "a" * 71},
        {"api_key": "ak_live_" + "z" * 22, "api_secret": "sk_live_" + "a" * 71},
        {"api_key": "ak_live_" + "0" * 22, "api_secret": "wrong-form"},
    ],
)
def test_an_invalid_pair(ada: Visitor, fields: dict[str, str]) -> None:
    answer = send(ada, REGISTER, **fields)
    assert answer.status == 400
    assert 'class="error"' in answer.text
    assert fields["api_secret"] == "" or fields["api_secret"] not in answer.text
