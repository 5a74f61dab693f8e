"""Numbered credentials: who knows the derivation key can make any of them, so none is written down.

The service's database gets their hashes (`benchmarks.load.seeding`); the client derives the same
secrets for itself. It imports this, and starts often, so nothing here needs SQL.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from latchkey.credentials.derivation import DerivationKey

_FORGER = DerivationKey(b"\xee" * 32)


def api_key_of(number: int) -> str:
    """The public key with this number; ids are spread as evenly as random ones.

    Hexadecimal digits are base62 digits too, and sooner written; with a zero before them the id is
    small enough.
    """
    digest = hashlib.blake2b(number.to_bytes(8, "big"), digest_size=11).hexdigest()
    return f"ak_live_0{digest[1:]}"


def read_derivation_key(path: Path) -> DerivationKey:
    """The newest key in a derivation key file."""
    return DerivationKey(bytes.fromhex(path.read_text("ascii").split()[0]))


def secret_of(number: int, maker: DerivationKey) -> str:
    """The secret that belongs to `api_key_of(number)`."""
    return maker.derive(api_key_of(number))


def forged_secret_of(number: int) -> str:
    """A well-formed secret of the same key that no service's derivation key made."""
    return _FORGER.derive(api_key_of(number))
