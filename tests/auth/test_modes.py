"""An application that admits only the keys of one mode."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from latchkey import Latchkey, OpenRoutes, any_credential, current_principal
from latchkey.box.counter_names import Count
from latchkey.check.modes import modes_of
from latchkey.credentials.models import MODES, Mode
from tests.support.audited import TESTER
from tests.support.auth.plain_application import Answer, bearer, call, pair


def site() -> Flask:
    app = Flask("site")

    @app.get("/mode")
    @any_credential
    def mode() -> str:
        return current_principal.mode

    return app


def secret_of(latchkey: Latchkey, mode: Mode) -> str:
    issued = latchkey.credentials.issue(name=mode, caller=None, mode=mode, by=TESTER)
    return issued.secret


def outcome(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body.decode() if answer.status == 200 else answer.error["code"]


@pytest.mark.parametrize("headers", [bearer, pair])
@pytest.mark.parametrize("admitted", MODES)
def test_only_keys_of_the_mode_are_admitted(
    latchkey: Latchkey, admitted: Mode, headers: Any
) -> None:
    app = site()
    latchkey.protect(app, modes={admitted})
    refused_code = "mode_not_allowed" if headers is bearer else "MODE_NOT_ALLOWED"
    # On a miss, on a hit and on a recent hit.
    for _ in range(4):
        for mode in MODES:
            secret = secret_of(latchkey, mode)
            for _ in range(4):
                answer = outcome(call(app.wsgi_app, "/mode", headers(secret)))
                assert answer == ((200, mode) if mode == admitted else (403, refused_code))


def test_the_refusal_names_the_mode(latchkey: Latchkey) -> None:
    app = site()
    latchkey.protect(app, modes={"live"})
    secret = secret_of(latchkey, "test")
    error = call(app.wsgi_app, "/mode", bearer(secret)).error
    assert error["message"] == ("API keys of the mode test are not accepted here: use a live key")


def test_a_refused_key_is_counted_and_not_used(latchkey: Latchkey) -> None:
    app = site()
    latchkey.protect(app, modes={"live"})
    secret = secret_of(latchkey, "test")
    counters = latchkey.authenticator.counters
    used, refused = counters.value(Count.AUTHENTICATED), counters.value(Count.SCOPE)
    for _ in range(3):
        assert call(app.wsgi_app, "/mode", bearer(secret)).status == 403
    assert counters.value(Count.AUTHENTICATED) == used
    assert counters.value(Count.SCOPE) == refused + 3


def test_applications_of_both_modes_share_the_caches(latchkey: Latchkey) -> None:
    apps = {mode: site() for mode in MODES}
    for mode, app in apps.items():
        latchkey.protect(app, modes={mode})
    both = site()
    latchkey.protect(both)
    secrets = {mode: secret_of(latchkey, mode) for mode in MODES}
    for _ in range(3):
        for mode, secret in secrets.items():
            assert outcome(call(both.wsgi_app, "/mode", bearer(secret))) == (200, mode)
            for wall, app in apps.items():
                status = call(app.wsgi_app, "/mode", bearer(secret)).status
                assert status == (200 if wall == mode else 403)


def test_a_wrong_secret_learns_nothing_of_the_wall(latchkey: Latchkey) -> None:
    app = site()
    latchkey.protect(app, OpenRoutes(), modes={"live"})
    secret = secret_of(latchkey, "test")
    forged = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    answers = {outcome(call(app.wsgi_app, "/mode", bearer(one))) for one in (forged, "sk_test_x")}
    assert answers == {(401, "invalid_api_key")}
    latchkey.credentials.revoke(f"ak_{secret[3:30]}", None, by=TESTER)
    assert outcome(call(app.wsgi_app, "/mode", bearer(secret))) == (401, "key_revoked")


@pytest.mark.parametrize("modes", [set(), "live", {"prod"}, {"live", "prod"}, ["live", "x"]])
def test_other_modes_are_refused_at_the_start(latchkey: Latchkey, modes: Any) -> None:
    with pytest.raises(ValueError, match="modes must be a set of live and test"):
        latchkey.protect(site(), modes=modes)
    assert modes_of(None) == modes_of({"live", "test"}) == frozenset(MODES)
