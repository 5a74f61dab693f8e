"""Requests that create a key at most once, because they have an idempotency key.

A client that lost the answer sends its request again with the same idempotency key. The
answer names the key that the first request created. Entries belong to
the calling key, and are kept for a day.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from latchkey.errors import AlreadyCreated, IdempotencyKeyReused

KEPT = timedelta(hours=24)
IDEMPOTENCY_KEY_PATTERN = r"^[\x21-\x7e]{1,64}$"


@dataclass(frozen=True, slots=True)
class Once:
    """The idempotency key of a request, and the SHA-256 of the request."""

    key: str
    fingerprint: bytes

    @classmethod
    def request(cls, key: str, method: str, path: str, body: bytes) -> Once:
        """For a request with this method, path and body."""
        digest = hashlib.sha256()
        for part in (method.encode(), path.encode("utf-8", "surrogatepass"), body):
            digest.update(len(part).to_bytes(8) + part)
        return cls(key, digest.digest())


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier request of the same caller with the same idempotency key, and the key it made."""

    fingerprint: bytes
    api_key: str

    def refusal_of(self, repeated: Once) -> AlreadyCreated | IdempotencyKeyReused:
        """The error for a later request, which is the same one or another one."""
        if repeated.fingerprint != self.fingerprint:
            return IdempotencyKeyReused()
        return AlreadyCreated(self.api_key)
