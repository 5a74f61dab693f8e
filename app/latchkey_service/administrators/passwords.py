"""Passwords: Argon2id hashes, computed and verified one at a time in each process.

The parameters are the defaults of argon2-cffi, the second recommendation of RFC 9106. A hash needs
64 MiB, so only one is computed at a time, however many sign-ins arrive.
"""

from __future__ import annotations

import os
import threading
from base64 import b64encode

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

from latchkey.errors import InvalidField

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1_000

_hasher = PasswordHasher()
_one_at_a_time = threading.Lock()


def require_acceptable(password: str) -> str:
    """Return the password, or raise InvalidField if it is too short or too long.

    Length makes a password hard to guess (NIST SP 800-63B, section 3.1.1), so there are no rules
    about kinds of characters.
    """
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise InvalidField(
            "password", f"must have {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters"
        )
    return password


def hash_password(password: str) -> str:
    """The hash to store."""
    with _one_at_a_time:
        return _hasher.hash(_bytes(password))


def matches(password_hash: str, password: str) -> bool:
    """Whether the password matches. A wrong password takes the same work."""
    if len(password) > LONGEST_PASSWORD:
        password = ""
    with _one_at_a_time:
        try:
            return _hasher.verify(password_hash, _bytes(password))
        except (VerificationError, InvalidHashError):
            return False


def is_outdated(password_hash: str) -> bool:
    """Whether the parameters of a hash differ from those of a new hash."""
    return _hasher.check_needs_rehash(password_hash)


def unknown_hash() -> str:
    """A hash that no password matches, for sign-ins with an unknown name.

    It consists of random bytes. Comparing a password with it costs as much as with a real hash.
    """
    terms = f"m={_hasher.memory_cost},t={_hasher.time_cost},p={_hasher.parallelism}"
    salt, digest = _random_bytes(_hasher.salt_len), _random_bytes(_hasher.hash_len)
    return f"$argon2id$v={ARGON2_VERSION}${terms}${salt}${digest}"


def _random_bytes(length: int) -> str:
    """Random bytes in the encoding of a hash: base64 without padding."""
    return b64encode(os.urandom(length)).decode().rstrip("=")


def _bytes(password: str) -> bytes:
    # A form may contain lone surrogates, which UTF-8 cannot encode.
    return password.encode("utf-8", "surrogatepass")
