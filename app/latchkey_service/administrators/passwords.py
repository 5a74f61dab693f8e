"""Passwords: Argon2id hashes, made and verified one at a time in each process.

The parameters are argon2-cffi's, which are the second recommendation of RFC 9106: 64 MiB. So much
memory for each is why there is only one at a time, however many ask to sign in at once.
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
    """The password; raises InvalidField where it is too short or too long.

    Length is what makes one hard to guess (NIST SP 800-63B, section 3.1.1); no kinds of
    characters are asked for.
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
    """Whether this is the password; the work is the same if it is not."""
    if len(password) > LONGEST_PASSWORD:
        password = ""
    with _one_at_a_time:
        try:
            return _hasher.verify(password_hash, _bytes(password))
        except (VerificationError, InvalidHashError):
            return False


def is_outdated(password_hash: str) -> bool:
    """Whether a hash was made with other parameters than a new one would be."""
    return _hasher.check_needs_rehash(password_hash)


def unknown_hash() -> str:
    """A hash that belongs to no password: what a name that nobody has is compared with.

    It is drawn and not computed, and costs as much to compare with as any other.
    """
    terms = f"m={_hasher.memory_cost},t={_hasher.time_cost},p={_hasher.parallelism}"
    salt, digest = _drawn(_hasher.salt_len), _drawn(_hasher.hash_len)
    return f"$argon2id$v={ARGON2_VERSION}${terms}${salt}${digest}"


def _drawn(length: int) -> str:
    """Random bytes as an encoded hash has them: base64 without padding."""
    return b64encode(os.urandom(length)).decode().rstrip("=")


def _bytes(password: str) -> bytes:
    # A form may hold halves of surrogate pairs, which are no UTF-8.
    return password.encode("utf-8", "surrogatepass")
