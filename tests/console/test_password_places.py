"""Many sign-ins at once: a few are processed, the others get 503, and the API responds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager

import pytest
from argon2 import PasswordHasher, extract_parameters

from latchkey_service.administrators.passwords import (
    hash_password,
    is_outdated,
    matches,
    unknown_hash,
)
from tests.support.console.visitor import PASSWORD, Page, Visitor, make_administrator, set_up_path
from tests.support.service import Service

StartService = Callable[..., Service]

SIGN_IN = "/console/sign-in"
MANY = 8
SOON = "Try again in a moment."


@contextmanager
def nobody_writes(service: Service) -> Iterator[None]:
    """Hold the write lock of the database, so that a processed sign-in must wait."""
    with closing(sqlite3.connect(service.database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


def ready(service: Service, address: str, name: str) -> Callable[[], Page]:
    """Send the sign-in form, filled in."""
    visitor = Visitor(service, X_Forwarded_For=address)
    fields = {**visitor.get(SIGN_IN).fields(SIGN_IN), "name": name, "password": PASSWORD}
    return lambda: visitor.post(SIGN_IN, fields)


@pytest.mark.parametrize(("threads", "places"), [(2, 1), (4, 2)])
def test_sign_ins_leave_threads_to_the_api(
    start_service: StartService, threads: int, places: int
) -> None:
    service = start_service(
        LATCHKEY_WORKERS="1",
        LATCHKEY_THREADS=str(threads),
        LATCHKEY_SIGN_IN_LIMIT="2/day",
        LATCHKEY_TRUSTED_PROXIES="1",
    )
    make_administrator(service)
    pair = service.issue()
    assert service.get("/v1/account", pair.bearer).status == 200
    names = {f"192.0.2.{number}": ("ada", "nobody")[number % 2] for number in range(MANY)}
    tries = {address: ready(service, address, name) for address, name in names.items()}
    refused: dict[str, Page] = {}
    with ThreadPoolExecutor(MANY) as pool:
        with nobody_writes(service):
            sent: dict[Future[Page], str] = {
                pool.submit(send): address for address, send in tries.items()
            }
            for answered in as_completed(sent):
                refused[sent.pop(answered)] = answered.result()
                if len(refused) == MANY - places:
                    break
            # The others are still being processed, and cannot finish before the lock is released.
            assert {page.status for page in refused.values()} == {503}
            for _ in range(20):
                assert service.get("/v1/account", pair.bearer).status == 200
        looked_at = {names[address]: answered.result() for answered, address in sent.items()}
    assert len(sent) == places
    for name, page in looked_at.items():
        assert page.status == (303 if name == "ada" else 403)
    # The same for an unknown name. The response has Retry-After.
    told = {names[address]: page for address, page in refused.items()}
    assert set(told) == {"ada", "nobody"}
    pages = set()
    for name, page in told.items():
        assert page.headers["Retry-After"] == "1"
        assert SOON in page.text
        shown = page.text.replace(f'value="{name}"', 'value=""').partition("<main")[2]
        pages.add(shown.partition("csrf_token")[0])
    assert len(pages) == 1
    # It did not count as an attempt, so this address has two left.
    again = next(address for address in refused if names[address] == "ada")
    visitor = Visitor(service, X_Forwarded_For=again)
    assert [visitor.sign_in(password="wrong").status for _ in range(3)] == [403, 403, 429]


def test_the_other_forms_with_a_password_do_not_wait_either(start_service: StartService) -> None:
    service = start_service(LATCHKEY_WORKERS="1", LATCHKEY_THREADS="2")
    link = set_up_path(service)
    visitor = Visitor(service)
    first = {**visitor.get(link).fields("/console/set-up"), "name": "grace"}
    first |= {"password": PASSWORD, "again": PASSWORD}
    make_administrator(service, "joan")
    signed_in = Visitor(service)
    assert signed_in.sign_in("joan").status == 303
    passwords = "/console/password/"
    other = {**signed_in.get(passwords).fields(passwords), "current": PASSWORD}
    other |= {"password": "another horse battery", "again": "another horse battery"}
    with ThreadPoolExecutor(2) as pool:
        with nobody_writes(service):
            # One of two requests waits for the lock; after that, there is no place.
            one, two = (
                pool.submit(ready(service, f"192.0.2.{number}", "nobody")) for number in (1, 2)
            )
            assert next(as_completed([one, two])).result().status == 503
            for page in (
                visitor.post("/console/set-up", first),
                signed_in.post(passwords, other),
            ):
                assert (page.status, page.headers["Retry-After"]) == (503, "1")
                assert SOON in page.text
    assert {one.result().status, two.result().status} == {403, 503}
    assert signed_in.post(passwords, other).status == 303


def test_the_hash_for_unknown_names_costs_the_same_and_matches_nothing() -> None:
    drawn = unknown_hash()
    assert extract_parameters(drawn) == extract_parameters(hash_password(PASSWORD))
    assert not is_outdated(drawn)
    assert len(drawn) == len(PasswordHasher().hash(PASSWORD))
    assert drawn != unknown_hash()
    assert not matches(drawn, PASSWORD)
    assert not matches(drawn, "")
