"""The authenticator with a real database: what is cached, for how long, and what is not read.

Each test runs with every cache backend. With a backend that caches nothing, every check that passes
the derivation reads the database, and everything else must be the same.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from latchkey.box.counter_names import Count
from latchkey.check import authenticator as authenticator_module
from latchkey.credentials.models import Principal
from latchkey.errors import ExpiredCredential, RevokedCredential, StoreError
from tests.support.auth.worker import EXPIRY, NewWorker, Worker, api_key, derive, forge, presented

# ---- Cached entries


def test_a_valid_key_is_read_once(worker: Worker) -> None:
    secret = worker.issue()
    principals = [worker.authenticate(secret) for _ in range(5)]
    assert all(one == principals[0] for one in principals)
    assert principals[0] == worker.service.get(api_key(secret), None).principal()
    assert worker.reads.count == (1 if worker.cached else 5)


def test_a_hit_returns_the_same_principal(worker: Worker) -> None:
    """Nothing is built in a hit."""
    secret = worker.issue()
    first = worker.authenticate(secret)
    assert isinstance(first, Principal)
    if worker.cached:
        assert worker.authenticate(secret) is first


def test_an_entry_expires_exactly_after_its_ttl_from_the_database_read(
    new_worker: NewWorker,
) -> None:
    worker = new_worker(cache_ttl=120.0)
    secret = worker.issue()
    read_at = worker.timer.now

    def slow_read() -> None:
        worker.timer.now += 50

    worker.reads.before = slow_read
    worker.authenticate(secret)
    # The time starts before the read, and hits do not extend it.
    for moment in (60.0, 100.0, 119.0, 119.999):
        worker.timer.now = read_at + moment
        assert worker.reads_of(lambda: worker.authenticate(secret)) == (0 if worker.cached else 1)
        worker.timer.now = read_at + moment
    worker.timer.now = read_at + 120
    assert worker.reads_of(lambda: worker.authenticate(secret)) == 1
    # The new entry expires by the time of its own read.
    worker.timer.now = read_at + 239.999
    assert worker.reads_of(lambda: worker.authenticate(secret)) == (0 if worker.cached else 1)
    worker.timer.now = read_at + 240
    assert worker.reads_of(lambda: worker.authenticate(secret)) == 1


def test_an_expiry_is_compared_with_the_wall_clock_at_every_hit(worker: Worker) -> None:
    secret = worker.issue(EXPIRY)
    end = EXPIRY.timestamp()
    worker.clock.now = end - 0.001
    assert worker.outcome(secret) == "ok"
    worker.clock.now = end
    with pytest.raises(ExpiredCredential):
        worker.authenticate(secret)
    worker.clock.now = end + 86_400
    with pytest.raises(ExpiredCredential):
        worker.authenticate(secret)
    # The clock was wrong and is corrected.
    worker.clock.now = end - 0.001
    assert worker.outcome(secret) == "ok"
    assert worker.reads.count == (1 if worker.cached else 4)


def test_the_store_and_the_entry_agree_on_the_millisecond_of_the_expiry(worker: Worker) -> None:
    for milliseconds in (0, 1, 3, 333, 999):
        expiry = EXPIRY + timedelta(milliseconds=milliseconds)
        secret = worker.issue(expiry)
        credential = worker.service.get(api_key(secret), None)
        for moment in (expiry - timedelta(milliseconds=1), expiry):
            worker.clock.now = moment.timestamp()
            status = {"active": "ok", "expired": "ExpiredCredential"}[credential.status(moment)]
            assert worker.outcome(secret) == status


def test_an_expired_record_is_cached_with_its_status(worker: Worker) -> None:
    secret = worker.issue(EXPIRY)
    worker.clock.now = EXPIRY.timestamp()
    for _ in range(3):
        with pytest.raises(ExpiredCredential):
            worker.authenticate(secret)
    assert worker.reads.count == (1 if worker.cached else 3)


def test_a_revoked_record_is_cached_with_its_status(worker: Worker) -> None:
    secret = worker.issue()
    worker.revoke(secret)
    for _ in range(3):
        with pytest.raises(RevokedCredential):
            worker.authenticate(secret)
    assert worker.reads.count == (1 if worker.cached else 3)


def test_revoked_takes_precedence_over_expired(worker: Worker) -> None:
    secret = worker.issue(EXPIRY)
    worker.revoke(secret)
    worker.clock.now = EXPIRY.timestamp() + 1
    for _ in range(2):
        assert worker.outcome(secret) == "RevokedCredential"


def test_a_revocation_invalidates_cached_entries(worker: Worker) -> None:
    secret = worker.issue()
    other = worker.issue()
    assert worker.outcome(secret) == worker.outcome(other) == "ok"
    worker.revoke(secret)
    assert worker.outcome(secret) == "RevokedCredential"
    assert worker.outcome(other) == "ok"
    assert worker.reads.count == (3 if worker.cached else 4)


def test_the_cache_is_bounded(new_worker: NewWorker) -> None:
    worker = new_worker(cache_size=8)
    secrets = [worker.issue() for _ in range(20)]
    assert {worker.outcome(secret) for secret in secrets} == {"ok"}
    assert len(worker.authenticator.known) == (8 if worker.cached else 0)
    assert worker.authenticator.known.evictions() == (12 if worker.cached else 0)
    # The least recently used entries are evicted, the others are still cached.
    assert worker.reads_of(lambda: worker.authenticate(secrets[-1])) == (0 if worker.cached else 1)
    assert worker.reads_of(lambda: worker.authenticate(secrets[0])) == 1


def test_no_cached_entry_contains_a_secret(worker: Worker) -> None:
    secret = worker.issue()
    unknown = derive(worker.keys.newest)
    assert (worker.outcome(secret), worker.outcome(unknown)) == ("ok", "InvalidCredential")
    entry = worker.authenticator.known.get(presented(secret).lookup)
    assert (entry is not None) == worker.cached
    if entry is not None:
        names = ("ticket", "deadline", "digest", "principal", "revoked", "expires_at")
        held = [getattr(entry, name) for name in names]
        assert secret not in repr(held)
        assert secret.encode() not in (entry.record() or b"")
        assert secret not in repr(entry)
        assert entry.digest != secret.encode()


# ---- Unknown keys


def test_an_unknown_key_is_cached_for_ten_seconds(worker: Worker) -> None:
    unknown = derive(worker.keys.newest)
    start = worker.timer.now
    for moment, expected in ((0.0, 1), (0.0, 0), (9.999, 0), (10.0, 1), (19.999, 0), (20.0, 1)):
        worker.timer.now = start + moment
        assert worker.outcome(unknown) == "InvalidCredential"
        if worker.cached:
            assert worker.reads.count == expected
        worker.reads.keys.clear()


def test_an_unknown_key_is_never_cached_longer_than_a_known_one(new_worker: NewWorker) -> None:
    worker = new_worker(cache_ttl=4.0)
    unknown = derive(worker.keys.newest)
    assert worker.outcome(unknown) == "InvalidCredential"
    worker.timer.now += 4
    assert worker.reads_of(lambda: worker.authenticate(unknown)) == 1


def test_a_registration_takes_effect_immediately(worker: Worker) -> None:
    secret = derive(worker.keys.newest)
    assert worker.outcome(secret) == worker.outcome(secret) == "InvalidCredential"
    worker.register(secret)
    assert worker.outcome(secret) == "ok"


def test_a_flood_of_unknown_keys_does_not_evict_valid_ones(
    new_worker: NewWorker, monkeypatch: pytest.MonkeyPatch, long: bool
) -> None:
    """Derived pairs that were never registered: only the vendor could send them."""
    if not long:
        monkeypatch.setattr(authenticator_module, "UNKNOWN_SIZE", 600)
    bound = authenticator_module.UNKNOWN_SIZE
    worker = new_worker(cache_size=16)
    good = [worker.issue() for _ in range(16)]
    assert {worker.outcome(secret) for secret in good} == {"ok"}
    worker.reads.keys.clear()
    flood = [derive(worker.keys.newest) for _ in range(bound * 3 // 2)]
    assert {worker.outcome(secret) for secret in flood} == {"InvalidCredential"}
    assert worker.reads.count == len(flood)
    assert len(worker.authenticator.unknown) <= bound
    worker.reads.keys.clear()
    assert {worker.outcome(secret) for secret in good} == {"ok"}
    if worker.cached:
        assert worker.reads.count == 0
        assert len(worker.authenticator.known) == 16
        assert len(worker.authenticator.unknown) > bound // 2


# ---- The database fails


def test_a_database_failure_is_not_a_refusal_of_the_key(worker: Worker) -> None:
    """The real file is renamed, and renamed back."""
    warm, cold, revoked, unknown = worker.issue(), worker.issue(), worker.issue(), forge()
    not_registered = derive(worker.keys.newest)
    worker.revoke(revoked)
    assert worker.outcome(warm) == "ok"
    away = worker.path.with_name("away.db")
    worker.path.rename(away)
    for _ in range(2):
        for secret in (cold, revoked, not_registered):
            with pytest.raises(StoreError):
                worker.authenticate(secret)
        # Requests that need no database are answered as before.
        assert worker.outcome(unknown) == "InvalidCredential"
        if worker.cached:
            assert worker.outcome(warm) == "ok"
    assert worker.authenticator.counters.value(Count.STORE_ERROR) == 6
    assert len(worker.authenticator.known) == (1 if worker.cached else 0)
    assert len(worker.authenticator.unknown) == 0
    away.rename(worker.path)
    # The failure is not cached: requests work again immediately.
    outcomes = [worker.outcome(secret) for secret in (cold, warm, revoked, not_registered)]
    assert outcomes == ["ok", "ok", "RevokedCredential", "InvalidCredential"]


def test_cached_entries_expire_while_the_database_fails(worker: Worker) -> None:
    secret = worker.issue()
    assert worker.outcome(secret) == "ok"
    away = worker.path.with_name("away.db")
    worker.path.rename(away)
    worker.timer.now += 300
    with pytest.raises(StoreError):
        worker.authenticate(secret)
    away.rename(worker.path)
    assert worker.outcome(secret) == "ok"


# ---- Counters


def test_counters(worker: Worker) -> None:
    good, unknown = worker.issue(), derive(worker.keys.newest)
    for secret in (good, good, unknown, unknown, forge(good)):
        worker.outcome(secret)
    counted = worker.authenticator.counters.snapshot()
    assert {name: value for name, value in counted.items() if value} == (
        {"cache_hit": 1, "cache_miss": 3, "unknown_hit": 1, "store_select": 2, "forged": 1}
        if worker.cached
        else {"cache_miss": 4, "store_select": 4, "forged": 1}
    )
    assert worker.reads.count == counted["store_select"]
