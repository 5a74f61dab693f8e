"""Listings of credentials: pages and cursors."""

from __future__ import annotations

from itertools import chain

import pytest

from tests.support.api.contract import INVALID_FIELD
from tests.support.service import Pair, Service


@pytest.mark.parametrize("path", ["/credentials", "/v1/api_keys"])
def test_pages_are_complete_and_newest_first(closed: Service, path: str) -> None:
    made = [closed.issue("test").api_key for _ in range(5)]
    caller = closed.issue("test")

    def pages(limit: int) -> list[list[str]]:
        found, query = [], f"?limit={limit}"
        while True:
            page = closed.get(path + query, caller.headers).json
            found.append([item["api_key"] for item in page["credentials"]])
            if page["next_cursor"] is None:
                return found
            query = f"?limit={limit}&cursor={page['next_cursor']}"

    (everything,) = pages(100)
    assert everything[:6] == [caller.api_key, *reversed(made)]
    assert len(set(everything)) == len(everything)
    for limit in (1, 2, 3, len(everything) - 1, len(everything)):
        found = pages(limit)
        assert list(chain.from_iterable(found)) == everything
        assert all(len(page) == limit for page in found[:-1])
        assert 1 <= len(found[-1]) <= limit


def test_new_keys_do_not_shift_the_next_page(closed: Service) -> None:
    """A cursor is a position in the listing, so that new keys do not shift the rest."""
    caller = closed.issue("test")
    made = [closed.issue("test").api_key for _ in range(4)]
    first = closed.get("/credentials?limit=2", caller.headers).json
    closed.issue("test")
    second = closed.get(f"/credentials?limit=2&cursor={first['next_cursor']}", caller.headers).json
    found = [item["api_key"] for item in first["credentials"] + second["credentials"]]
    assert found == list(reversed(made))


def test_default_limit(closed: Service) -> None:
    caller = closed.issue("test")
    missing = 51 - len(closed.get("/credentials?limit=100", caller.headers).json["credentials"])
    for _ in range(missing):
        closed.issue("test")
    page = closed.get("/credentials", caller.headers).json
    assert len(page["credentials"]) == 50
    assert page["next_cursor"] is not None


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x", "0", "AAAA", "AAAAAAAAAA", "AAAAAAAAAAAA", "__________8", "%00", "-1"),
        *("%F0%9F%94%91", "AAAAAAAA AA", "AAAAAAAAAA%3D", "A" * 300, "ak_live_" + "0" * 22),
    ],
)
def test_bad_cursor(service: Service, live: Pair, cursor: str) -> None:
    for path in ("/credentials", "/v1/api_keys"):
        answer = service.get(f"{path}?cursor={cursor.replace(' ', '%20')}", live.headers)
        INVALID_FIELD.check(answer, "pair")
        assert "cursor" in answer.json["error"]["message"]


def test_a_cursor_of_the_other_mode_shows_nothing_of_it(
    service: Service, live: Pair, test: Pair
) -> None:
    for _ in range(2):
        service.issue("test")
    cursor = service.get("/credentials?limit=1", test.headers).json["next_cursor"]
    page = service.get(f"/credentials?limit=100&cursor={cursor}", live.headers).json
    assert {item["mode"] for item in page["credentials"]} <= {"live"}
