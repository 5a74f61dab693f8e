"""What must hold during every fault of the database, checked over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from latchkey.credentials.derivation import DerivationKey
from latchkey.credentials.tokens import new_api_key
from tests.support.service import Answer, Pair, Service

_COLD_KEYS = 3

SETTINGS = {
    "LATCHKEY_WORKERS": "1",
    "LATCHKEY_THREADS": "16",
    "LATCHKEY_FAILURE_LIMIT": "off",
}
"""Settings of a service whose database will fail.

One worker: what it has cached is cached for every request. There are enough threads for several
requests to wait for a lock at the same time.
"""


@dataclass(frozen=True)
class Keys:
    """Credentials of one test: one that the worker has already checked, and others."""

    cached: Pair
    cold: list[Pair]
    unregistered: list[Pair]
    forged: Pair

    @property
    def secrets(self) -> list[str]:
        pairs = [self.cached, *self.cold, *self.unregistered]
        return [pair.api_secret for pair in pairs]


def prepare(service: Service) -> Keys:
    """Create new credentials, and let the worker check one of them."""
    cached, *cold = (service.issue() for _ in range(1 + _COLD_KEYS))
    keys = Keys(
        cached,
        cold,
        unregistered=[derived(service) for _ in range(2)],
        forged=Pair(cold[0].api_key, DerivationKey(bytes(32)).derive(cold[0].api_key)),
    )
    assert service.get("/v1/account", cached.bearer).status == 200
    return keys


def derived(service: Service) -> Pair:
    """A pair as the vendor creates it, which is not registered."""
    key_file = Path(service.settings["LATCHKEY_DERIVATION_KEYS_FILE"])
    api_key = new_api_key("live")
    vendor = DerivationKey(bytes.fromhex(key_file.read_text().strip()))
    return Pair(api_key, vendor.derive(api_key))


def at_once(*requests: Callable[[], Answer]) -> list[Answer]:
    """The answers to concurrent requests, in their order."""
    with ThreadPoolExecutor(len(requests)) as pool:
        return [future.result() for future in [pool.submit(one) for one in requests]]


def assert_internal_error(answer: Answer, code: str) -> None:
    assert (answer.status, answer.json) == (
        500,
        {
            "error": {
                "type": "api_error",
                "code": code,
                "message": "Internal error: the service could not process the request",
            }
        },
    )
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert "www-authenticate" not in answer.headers


def lookups(service: Service, keys: Keys) -> list[Answer]:
    """Look up every uncached key, with both schemes, and one that is not registered.

    The answers to the bearer scheme come first, then as many to the pair scheme.
    """
    asked = [*keys.cold, keys.unregistered[0]]
    return at_once(
        *(partial(service.get, "/v1/account", pair.bearer) for pair in asked),
        *(partial(service.get, "/credentials", pair.headers) for pair in asked),
    )


def assert_lookups_fail(service: Service, keys: Keys) -> None:
    answers = lookups(service, keys)
    half = len(answers) // 2
    for answer in answers[:half]:
        assert_internal_error(answer, "internal_error")
    for answer in answers[half:]:
        assert_internal_error(answer, "INTERNAL_ERROR")


def assert_writes_fail(service: Service, keys: Keys) -> None:
    """Register, issue and revoke, with a cached caller."""
    victim, new = keys.cold[0], keys.unregistered[0]
    body = {"api_key": new.api_key, "api_secret": new.api_secret}
    issue = {"name": "during an outage"}
    register, bearer, pair, revoke = at_once(
        lambda: service.request("POST", "/credentials", json_body=body),
        lambda: service.request("POST", "/v1/api_keys", keys.cached.bearer, json_body=issue),
        lambda: service.request("POST", "/v1/api_keys", keys.cached.headers, json_body=issue),
        lambda: service.request("DELETE", f"/credentials/{victim.api_key}", keys.cached.headers),
    )
    assert_internal_error(register, "INTERNAL_ERROR")
    assert_internal_error(bearer, "internal_error")
    assert_internal_error(pair, "INTERNAL_ERROR")
    assert_internal_error(revoke, "INTERNAL_ERROR")


def assert_cache_serves(service: Service, keys: Keys) -> None:
    """Requests without the database still work: cached keys, refusals of forged ones, /health."""
    assert service.get("/v1/account", keys.cached.bearer).status == 200
    answer = service.get("/v1/account", keys.cached.headers)
    assert (answer.status, answer.json["api_key"]) == (200, keys.cached.api_key)
    assert service.get("/v1/account", keys.forged.bearer).code == "invalid_api_key"
    assert service.get("/health").status == 200


def assert_outage(service: Service, keys: Keys) -> None:
    """Everything that must hold while the database cannot be read or written."""
    assert_lookups_fail(service, keys)
    assert_writes_fail(service, keys)
    assert_internal_error(service.get("/credentials", keys.cached.headers), "INTERNAL_ERROR")
    ready = service.get("/ready")
    assert (ready.status, ready.code) == (503, "NOT_READY")
    assert_cache_serves(service, keys)


def assert_recovered(service: Service, keys: Keys) -> None:
    """The service works as before the fault, and has cached nothing of it."""
    assert service.get("/ready").status == 200
    for pair in keys.cold:
        assert service.get("/v1/account", pair.bearer).status == 200
        assert service.get("/credentials", pair.headers).status == 200
    assert service.get("/v1/account", keys.unregistered[1].bearer).code == "invalid_api_key"
    for new in keys.unregistered:
        body = {"api_key": new.api_key, "api_secret": new.api_secret}
        assert service.request("POST", "/credentials", json_body=body).status == 201
        assert service.get("/v1/account", new.bearer).status == 200
    issued = service.request("POST", "/v1/api_keys", keys.cached.bearer, json_body={"name": "x"})
    assert issued.status == 201
    revoked = service.request("DELETE", f"/credentials/{keys.cold[0].api_key}", keys.cached.headers)
    assert revoked.status == 200
    assert service.get("/v1/account", keys.cold[0].bearer).code == "key_revoked"
    assert not [secret for secret in keys.secrets if secret in service.log]
