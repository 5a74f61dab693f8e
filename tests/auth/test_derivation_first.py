"""The derivation check comes before the database, with the same steps for every key.

Each test runs with every cache backend.
"""

from __future__ import annotations

import hmac
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import latchkey
from fastcache.shared import KeyedDigest
from latchkey.box.counter_names import Count
from latchkey.check import cache_levels
from latchkey.credentials.derivation import DerivationKey
from latchkey.errors import InvalidCredential
from tests.support.auth.worker import EXPIRY, NewWorker, Worker, derive, forge, presented

FIRST, SECOND, RETIRED, OUTSIDER = (DerivationKey(bytes([65 + number]) * 32) for number in range(4))


def test_forged_secrets_make_no_select(worker: Worker, long: bool) -> None:
    rounds = 20_000 if long else 1_000
    for _ in range(rounds):
        with pytest.raises(InvalidCredential):
            worker.authenticate(forge())
    assert worker.reads.count == 0
    assert worker.authenticator.counters.value(Count.FORGED) == rounds
    assert len(worker.authenticator.known) == len(worker.authenticator.unknown) == 0


def _absent(worker: Worker) -> str:
    return derive(worker.keys.newest)


def _remembered_as_unknown(worker: Worker) -> str:
    secret = derive(worker.keys.newest)
    worker.outcome(secret)
    return secret


def _stored(worker: Worker) -> str:
    return worker.issue()


def _cached(worker: Worker) -> str:
    secret = worker.issue()
    worker.outcome(secret)
    return secret


def _cached_and_invalidated(worker: Worker) -> str:
    secret = _cached(worker)
    worker.authenticator.invalidate(presented(secret).lookup)
    return secret


def _cached_as_revoked(worker: Worker) -> str:
    secret = worker.issue()
    worker.revoke(secret)
    worker.outcome(secret)
    return secret


def _cached_as_expired(worker: Worker) -> str:
    secret = worker.issue(EXPIRY)
    worker.clock.now = EXPIRY.timestamp() + 1
    worker.outcome(secret)
    return secret


STATES = (
    _absent,
    _remembered_as_unknown,
    _stored,
    _cached,
    _cached_and_invalidated,
    _cached_as_revoked,
    _cached_as_expired,
)


@pytest.mark.parametrize(
    "wrong",
    [forge, lambda secret: secret[:-1] + ("0" if secret[-1] != "0" else "1")],
    ids=["wrong mac", "wrong checksum"],
)
def test_a_wrong_secret_takes_the_same_steps_for_every_key(
    new_worker: NewWorker, wrong: Callable[[str], str]
) -> None:
    """There must be no oracle. This traces every call of an authentication, in order."""
    traces = {}
    for state in STATES:
        worker = new_worker(current=[FIRST, SECOND], retired=[RETIRED])
        secret = wrong(state(worker))
        worker.reads.keys.clear()
        traces[state.__name__] = _trace(worker, secret)
        assert worker.reads.count == 0
    first, *others = traces.values()
    assert all(other == first for other in others), traces
    # Every derivation key was tried, or none if the checksum is wrong.
    assert first.count("DerivationKey.mac") == (3 if wrong is forge else 0)
    assert first.count("KeyedDigest.digest") == 1
    # The comparison with the digest of the entry, and one with the proof of each key.
    assert first.count("compare_digest") == (4 if wrong is forge else 1)


def test_the_trace_distinguishes_a_hit_and_a_read(worker: Worker) -> None:
    """Shows that the trace of the previous test can distinguish paths."""
    secret = worker.issue()
    cold, warm = _trace(worker, secret), _trace(worker, secret)
    assert "Authenticator._load" in cold
    assert ("Authenticator._load" in warm) != worker.cached
    assert cold != _trace(worker, forge(secret))


def _trace(worker: Worker, secret: str) -> list[str]:
    """The functions of Latchkey that an authentication calls, and the digests it computes."""
    ours = str(Path(latchkey.__file__).parent)
    # The lookup within a backend is not traced; the caller shows whether there was one.
    backend = cache_levels.__file__
    watched = {hmac.compare_digest, hmac.digest}
    called: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        file = frame.f_code.co_filename
        if not file.startswith(ours) or file == backend:
            return
        if event == "call":
            called.append(frame.f_code.co_qualname)
        elif event == "c_call" and isinstance(getattr(argument, "__self__", None), KeyedDigest):
            called.append("KeyedDigest.digest")
        elif event == "c_call" and argument in watched:
            called.append(argument.__name__)

    sys.setprofile(note)
    try:
        worker.outcome(secret)
    finally:
        sys.setprofile(None)
    return called


# ---- Several derivation keys


@pytest.mark.parametrize("maker", [FIRST, SECOND, RETIRED])
def test_every_listed_key_accepts_use(new_worker: NewWorker, maker: DerivationKey) -> None:
    before = new_worker(current=[maker])
    secret = before.issue()
    after = new_worker(restarted=before, current=[FIRST, SECOND], retired=[RETIRED])
    assert before.outcome(secret) == after.outcome(secret) == "ok"


def test_pairs_of_an_unlisted_key_are_refused_without_a_select(
    new_worker: NewWorker,
) -> None:
    before = new_worker(current=[OUTSIDER])
    secret = before.issue()
    after = new_worker(restarted=before, current=[FIRST], retired=[RETIRED])
    assert before.outcome(secret) == "ok"
    assert after.outcome(secret) == "InvalidCredential"
    assert after.reads.count == 0


def test_a_secret_from_another_listed_key_is_refused_and_cached(new_worker: NewWorker) -> None:
    """It is derived correctly, but is not the secret that is registered for this key."""
    worker = new_worker(current=[FIRST, SECOND], retired=[RETIRED])
    secret = derive(FIRST)
    worker.register(secret)
    assert worker.outcome(secret) == "ok"
    worker.reads.keys.clear()
    for other in (derive(SECOND, secret), derive(RETIRED, secret)):
        for _ in range(3):
            assert worker.outcome(other) == "InvalidCredential"
        assert worker.reads.count == (1 if worker.cached else 3)
        worker.reads.keys.clear()
        # The correct secret was not evicted.
        assert worker.outcome(secret) == "ok"
        assert worker.reads.count == (0 if worker.cached else 1)
        worker.reads.keys.clear()
    worker.revoke(secret)
    # It proves nothing, so the response does not reveal whether the key is revoked.
    assert worker.outcome(derive(SECOND, secret)) == "InvalidCredential"
    assert worker.outcome(secret) == "RevokedCredential"
