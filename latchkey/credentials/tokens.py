"""The form of keys and secrets: making, reading and checking them without a lookup.

``api_key`` is ``ak_<mode>_<id>``, 30 characters; ``api_secret`` is ``sk_<mode>_<id><mac><crc>``,
79 characters. ``id`` is 22 base62 digits of a random number below 2**128, ``mac`` 43 digits of an
HMAC-SHA256, ``crc`` 6 digits of zlib's CRC-32 over the 73 bytes before it. A number too large for
its field is malformed. tests/credentials/vectors.json has known answers for other implementations.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from latchkey.credentials import base62
from latchkey.credentials._proof import (
    API_KEY_SIZE,
    CRC_SIZE,
    ID_AT,
    ID_SIZE,
    MAC_SIZE,
    MARK_SIZE,
    SECRET_SIZE,
    proof_in,
)
from latchkey.credentials.models import Mode

API_KEY_PATTERN = rf"^ak_(live|test)_[0-9A-Za-z]{{{API_KEY_SIZE - ID_AT}}}$"
SECRET_PATTERN = rf"^sk_(live|test)_[0-9A-Za-z]{{{SECRET_SIZE - ID_AT}}}$"

_SEED_LABEL = b"latchkey.v1.seed:"
_ID_BYTES = 16
# Digits are in ASCII order, so texts of equal width compare like their numbers.
_LARGEST_ID = base62.encode(2**128 - 1, ID_SIZE)
_API_KEY_PREFIXES = frozenset({"ak_live_", "ak_test_"})
_SECRET_PREFIXES = frozenset({"sk_live_", "sk_test_"})
_SECRET_IN_TEXT = re.compile(r"sk_(live|test)_[0-9A-Za-z]+")


class MalformedToken(ValueError):
    """The text is not a Latchkey key or secret. The message never repeats the text."""


class SecretParts(NamedTuple):
    """The parts of a well-formed secret: its key and its proof, not yet verified."""

    api_key: str
    mac: bytes

    def __repr__(self) -> str:
        return f"SecretParts(api_key={self.api_key!r})"


def new_api_key(mode: Mode) -> str:
    """A fresh public key with a random 128-bit id."""
    return f"ak_{mode}_{new_id()}"


def new_id() -> str:
    """A fresh random 128-bit number, in 22 digits: a key's id, or an account's."""
    return next(new_ids(1))


def new_ids(count: int) -> Iterator[str]:
    """``count`` ids, faster than one by one."""
    data = secrets.token_bytes(count * _ID_BYTES)
    for start in range(0, len(data), _ID_BYTES):
        yield base62.encode(int.from_bytes(data[start : start + _ID_BYTES]), ID_SIZE)


def api_key_from(mode: Mode, seed: bytes) -> str:
    """The public key of a seed: a seed for a given key cannot be found."""
    number = int.from_bytes(hashlib.sha256(_SEED_LABEL + seed).digest()[:16])
    return f"ak_{mode}_{base62.encode(number, ID_SIZE)}"


def has_api_key_shape(text: str) -> bool:
    """Whether length, prefix and alphabet are those of an ``api_key``."""
    return (
        len(text) == API_KEY_SIZE
        and text[:ID_AT] in _API_KEY_PREFIXES
        and text.isascii()
        and text[ID_AT:].isalnum()
    )


def has_secret_shape(text: str) -> bool:
    """Whether length, prefix and alphabet are those of an ``api_secret``; the cheap first check."""
    return (
        len(text) == SECRET_SIZE
        and text[:ID_AT] in _SECRET_PREFIXES
        and text.isascii()
        and text[ID_AT:].isalnum()
    )


def lookup_key(token: str) -> str:
    """The public part that a key and its secret share, ``<mode>_<id>``: the key in caches.

    ``token`` is either of the two, of the right shape.
    """
    return token[MARK_SIZE:API_KEY_SIZE]


def api_key_of(lookup: str) -> str:
    """The ``api_key`` of a lookup key."""
    return f"ak_{lookup}"


def mode_of(token: str) -> Mode:
    """The mode that a key or secret of the right shape is for."""
    return "live" if token[MARK_SIZE : ID_AT - 1] == "live" else "test"


def check_api_key(text: str) -> str:
    """Return ``text`` if it is a well-formed ``api_key``; raises MalformedToken otherwise."""
    if not has_api_key_shape(text) or text[ID_AT:] > _LARGEST_ID:
        raise MalformedToken("not a well-formed API key")
    return text


def compose_secret(api_key: str, mac: bytes) -> str:
    """Write the secret for a well-formed ``api_key`` from its 32-byte ``mac``."""
    body = f"sk_{api_key[MARK_SIZE:]}{base62.encode(int.from_bytes(mac), MAC_SIZE)}"
    return body + _checksum(body)


def hash_secret(secret: str) -> bytes:
    """SHA-256 of a secret, the only stored form. 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


def read_secret(text: str) -> SecretParts:
    """Take a secret apart; raises MalformedToken if its form or checksum is wrong."""
    mac = proof_in(text)
    if mac is None:
        raise MalformedToken("not a well-formed API secret")
    return SecretParts(api_key_of(lookup_key(text)), mac)


def redact_secrets(text: str) -> str:
    """``text`` with every secret, and every beginning of a secret, redacted."""
    return _SECRET_IN_TEXT.sub(r"sk_\1_[redacted]", text)


def _checksum(body: str) -> str:
    return base62.encode(zlib.crc32(body.encode()), CRC_SIZE)
