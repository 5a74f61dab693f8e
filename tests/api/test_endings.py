"""Expiry without any action: to the second, from a cached entry, in every worker."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.support.api.contract import EXPIRED
from tests.support.api.shapes import when
from tests.support.service import Pair, Service
from tests.support.times import await_end, in_time

_REQUESTS = 12


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Four workers, each with its own cache; the kernel selects the one that responds."""
    directory = tmp_path_factory.mktemp("endings")
    with Service(directory, LATCHKEY_WORKERS="4", LATCHKEY_FAILURE_LIMIT="off") as running:
        yield running


def warm(box: Service, pair: Pair) -> None:
    """Send requests until every worker has probably cached the key."""
    for _ in range(_REQUESTS):
        assert box.get("/v1/account", pair.bearer).status == 200


def assert_ended(box: Service, pair: Pair) -> None:
    for _ in range(_REQUESTS):
        EXPIRED.check(box.get("/v1/account", pair.bearer), "bearer", bearer=True)
        EXPIRED.check(box.get("/v1/account", pair.headers), "pair")


def test_a_cached_key_expires_on_time(box: Service) -> None:

    def use(end: datetime) -> Pair:
        pair = box.issue(expires_at=end.isoformat())
        warm(box, pair)
        return pair

    pair, end = in_time(use)
    while True:
        sent = datetime.now(UTC)
        status = box.get("/v1/account", pair.bearer).status
        if status != 200:
            break
        # The request was admitted, so it was sent before the expiry.
        assert sent < end
    assert datetime.now(UTC) >= end.replace(microsecond=end.microsecond // 1000 * 1000)
    assert_ended(box, pair)


def test_a_rotated_key_expires_at_the_end_of_its_overlap(box: Service) -> None:
    """Without any action: no cleanup, no call, no restart."""
    operator = box.create_key()

    def use(end: datetime) -> tuple[Pair, Pair]:
        old = box.issue()
        warm(box, old)
        body = {"overlap_seconds": math.ceil((end - datetime.now(UTC)).total_seconds())}
        path = f"/v1/api_keys/{old.api_key}/rotate"
        made = box.request("POST", path, operator.bearer, json_body=body).json
        warm(box, old)
        return old, Pair(made["api_key"], made["api_secret"])

    (old, new), _ = in_time(use)
    path = f"/v1/api_keys/{old.api_key}"
    await_end(when(box.get(path, operator.bearer).json["expires_at"]))
    assert_ended(box, old)
    warm(box, new)
    shown = box.get(path, operator.bearer).json
    assert (shown["status"], shown["rotated_to"]) == ("expired", new.api_key)


def test_the_last_key_can_revoke_itself_and_no_other(box: Service) -> None:
    reader, other = (box.issue(scopes=["account:read"]) for _ in range(2))
    refused = box.request("DELETE", f"/v1/api_keys/{other.api_key}", reader.bearer)
    assert (refused.status, refused.code) == (403, "insufficient_scope")
    done = box.request("DELETE", f"/v1/api_keys/{reader.api_key}", reader.bearer)
    assert (done.status, done.json["revoked"]) == (200, True)
    for _ in range(_REQUESTS):
        assert box.get("/v1/account", reader.bearer).code == "key_revoked"
    warm(box, other)
