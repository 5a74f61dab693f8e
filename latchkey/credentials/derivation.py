"""Derivation keys: how secrets are derived, and which key made a pair.

A secret's ``mac`` is HMAC-SHA256(derivation key, ``"latchkey.v1:" + api_key``). Each instance has
its own derivation key, HKDF-SHA256 (RFC 5869) of the vendor's master key with an empty salt and
the info ``"latchkey.v1.instance:" + name``; an instance never holds the master.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from latchkey.credentials.tokens import SecretParts, compose_secret

DERIVATION_KEY_LENGTH = 32

_BLOCK_LENGTH = 64
_PAIR_LABEL = b"latchkey.v1:"
_INSTANCE_LABEL = b"latchkey.v1.instance:"
_ID_LABEL = b"latchkey.v1.derivation_id"
_CONSOLE_LABEL = b"latchkey.v1.console"


class DerivationKey:
    """One 32-byte derivation key. ``id`` names it in the store and reveals nothing about it.

    The console signs its forms with ``console_key``, 32 bytes from HKDF-Expand of RFC 5869. That
    requires a uniformly random key, which a derivation key is.
    """

    __slots__ = ("_inner", "_outer", "console_key", "id")

    def __init__(self, key: bytes) -> None:
        if len(key) != DERIVATION_KEY_LENGTH:
            raise ValueError(f"a derivation key has {DERIVATION_KEY_LENGTH} bytes, not {len(key)}")
        # HMAC (RFC 2104) with both of its key blocks hashed once: forged secrets come in floods,
        # and most of the cost would be setting up a new HMAC.
        block = key.ljust(_BLOCK_LENGTH, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + _PAIR_LABEL)
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
        self.id = hmac.digest(key, _ID_LABEL, hashlib.sha256)[:8].hex()
        self.console_key = hmac.digest(key, _CONSOLE_LABEL + b"\x01", hashlib.sha256)

    def mac(self, api_key: str) -> bytes:
        """The 32-byte proof that belongs to ``api_key``."""
        inner = self._inner.copy()
        inner.update(api_key.encode())
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def derive(self, api_key: str) -> str:
        """The secret of a well-formed ``api_key``."""
        return compose_secret(api_key, self.mac(api_key))

    def __repr__(self) -> str:
        return f"DerivationKey(id={self.id!r})"


class DerivationKeys:
    """The instance's keys: ``current`` (newest first, at least one) and ``retired``.

    New pairs are made with the first current key; every current key accepts registration and use;
    a retired key accepts use only.
    """

    def __init__(self, current: Sequence[DerivationKey], retired: Sequence[DerivationKey]) -> None:
        if not current:
            raise ValueError("at least one current derivation key is needed")
        self.current = tuple(current)
        self.retired = tuple(retired)
        self._all = self.current + self.retired

    @property
    def newest(self) -> DerivationKey:
        """The key that new pairs are made with."""
        return self.current[0]

    @property
    def ids(self) -> frozenset[str]:
        """The ids of every listed key, retired ones too."""
        return frozenset(key.id for key in self._all)

    @property
    def ids_newest_first(self) -> tuple[str, ...]:
        """``ids``: that of the newest key first, the others sorted."""
        first = self.newest.id
        return first, *sorted(self.ids - {first})

    def maker_of(self, parts: SecretParts) -> DerivationKey | None:
        """The listed key that made this secret, or None for a forged one."""
        return self.maker_of_proof(parts.api_key, parts.mac)

    def maker_of_proof(self, api_key: str, mac: bytes) -> DerivationKey | None:
        """``maker_of`` for a secret's parts by themselves.

        Every key is always tried, so the time reveals nothing.
        """
        maker = None
        for key in self._all:
            if hmac.compare_digest(key.mac(api_key), mac):
                maker = key
        return maker

    def registrar_of(self, parts: SecretParts) -> DerivationKey | None:
        """As ``maker_of``, but only a current key may register a pair."""
        maker = self.maker_of(parts)
        return maker if maker in self.current else None


def instance_key(master: bytes, name: str) -> bytes:
    """The 32-byte derivation key of the instance called ``name``, from the vendor's master key.

    HKDF-SHA256 of RFC 5869. ``master`` needs at least 32 bytes; raises ValueError otherwise.
    """
    # Only the vendor's commands need it: a worker never loads it.
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    if len(master) < DERIVATION_KEY_LENGTH:
        raise ValueError(f"a master key has at least {DERIVATION_KEY_LENGTH} bytes")
    info = _INSTANCE_LABEL + name.encode()
    return HKDF(algorithm=SHA256(), length=DERIVATION_KEY_LENGTH, salt=None, info=info).derive(
        master
    )
