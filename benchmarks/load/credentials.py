"""Numbered credentials: all are derived from the derivation key, so no list of them is needed.

The service's database gets their hashes (`benchmarks.load.seeding`), and the client derives the
same secrets. Clients import this module and start often, so it must not import SQL.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from latchkey.credentials.derivation import DerivationKey

_FORGER = DerivationKey(b"\xee" * 32)


def api_key_of(number: int) -> str:
    """The public key with this number; ids are distributed as evenly as random ones.

    Hexadecimal digits are also base62 digits, and are faster to write. The leading zero keeps the
    id below its maximum.
    """
    digest = hashlib.blake2b(number.to_bytes(8, "big"), digest_size=11).hexdigest()
    return f"ak_live_0{digest[1:]}"


def read_derivation_key(path: Path) -> DerivationKey:
    """The newest key in a derivation key file."""
    return DerivationKey(bytes.fromhex(path.read_text("ascii").split()[0]))


def secret_of(number: int, maker: DerivationKey) -> str:
    """The secret of `api_key_of(number)`."""
    return maker.derive(api_key_of(number))


def forged_secret_of(number: int) -> str:
    """A well-formed secret of the same key, not made with the service's derivation key."""
    return _FORGER.derive(api_key_of(number))
