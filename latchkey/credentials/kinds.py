"""The kinds of credentials: how each is recognised, proven and looked up.

A new kind is added to ``KINDS``. The kinds recognise a token in a header, and a lookup key in the
log of invalidations; from there on, the kind is passed along.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from typing import ClassVar, Final

from latchkey.credentials._proof import proof_in
from latchkey.credentials.derivation import DerivationKeys
from latchkey.credentials.models import Verifier
from latchkey.credentials.tokens import api_key_of, has_api_key_shape, lookup_key

LONGEST_FOREIGN = 512
"""Characters of the longest token that can be imported."""

_HASH_LENGTH = 32


class Proof(Enum):
    """The proof that a token gives without the store."""

    GIVEN = "given"
    """It is valid as far as can be decided without the store."""
    FORGED = "forged"
    """It is well-formed, but was not made with a listed derivation key."""
    MISSING = "missing"
    """It is malformed, or the store cannot contain it."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources that credentials are checked against.

    ``derivation`` are the listed keys. ``find`` reads the verifier of a derived credential by its
    api_key, ``find_imported`` that of an imported one by the SHA-256 of its token; both may raise
    StoreError. ``may_be_imported`` says whether the store may have such a hash, without a query; it
    has no false negatives.
    """

    derivation: DerivationKeys
    find: Callable[[str], Verifier | None]
    _: KW_ONLY
    find_imported: Callable[[bytes], Verifier | None] = lambda token_hash: None
    may_be_imported: Callable[[bytes], bool] = lambda token_hash: False


class Kind(ABC):
    """One kind of credentials.

    ``name`` is its name in logs and in the store. ``is_shared`` says whether its entries are kept
    in the cache between the workers, whose records are named by a key's id.
    """

    name: ClassVar[str]
    is_shared: ClassVar[bool]

    @abstractmethod
    def claims(self, token: str) -> bool:
        """Whether a bearer token can be of this kind; the first of ``KINDS`` to claim it wins."""

    @abstractmethod
    def lookup(self, token: str) -> str:
        """The lookup key of a token in caches and stripes; the token may be forged."""

    @abstractmethod
    def owns(self, lookup: str) -> bool:
        """Whether a lookup key is of this kind. No two kinds own the same key."""

    @abstractmethod
    def proof(self, lookup: str, token: str, sources: Sources) -> Proof:
        """The proof that a token gives, by the same steps whether or not its credential exists."""

    @abstractmethod
    def find(self, lookup: str, token: str, sources: Sources) -> Verifier | None:
        """The verifier of a token, read from the store; None if there is none.

        ``token`` is proven. Only a kind whose tokens have no hash in the store needs it.
        """

    def __repr__(self) -> str:
        return f"<kind {self.name}>"


class _Derived(Kind):
    """Secrets of Latchkey, ``sk_…``: derived from their key by one of the derivation keys."""

    name = "derived"
    is_shared = True

    def claims(self, token: str) -> bool:
        # With a wrong checksum it may be another system's token of the same form.
        return proof_in(token) is not None

    def lookup(self, token: str) -> str:
        return lookup_key(token)

    def owns(self, lookup: str) -> bool:
        return has_api_key_shape(api_key_of(lookup))

    def proof(self, lookup: str, token: str, sources: Sources) -> Proof:
        mac = proof_in(token)
        if mac is None:
            return Proof.MISSING
        if sources.derivation.maker_of_proof(api_key_of(lookup), mac) is None:
            return Proof.FORGED
        return Proof.GIVEN

    def find(self, lookup: str, token: str, sources: Sources) -> Verifier | None:
        return sources.find(api_key_of(lookup))


class _Imported(Kind):
    """Tokens of another system, of which only the SHA-256 is stored. They have no public part."""

    name = "imported"
    is_shared = False

    def claims(self, token: str) -> bool:
        return (
            0 < len(token) <= LONGEST_FOREIGN
            and token.isascii()
            and token.isprintable()
            and " " not in token
        )

    def lookup(self, token: str) -> str:
        return hashlib.sha256(token.encode()).hexdigest()

    def owns(self, lookup: str) -> bool:
        try:
            token_hash = bytes.fromhex(lookup)
        except ValueError:
            return False
        return len(token_hash) == _HASH_LENGTH and token_hash.hex() == lookup

    def proof(self, lookup: str, token: str, sources: Sources) -> Proof:
        return Proof.GIVEN if sources.may_be_imported(bytes.fromhex(lookup)) else Proof.MISSING

    def find(self, lookup: str, token: str, sources: Sources) -> Verifier | None:
        return sources.find_imported(bytes.fromhex(lookup))


DERIVED: Final = _Derived()
IMPORTED: Final = _Imported()
KINDS: Final[tuple[Kind, ...]] = (DERIVED, IMPORTED)
"""All kinds. The last one claims every other token."""


def kind_of_bearer(token: str) -> Kind | None:
    """The kind of a bearer token; None if no kind claims it."""
    return next((kind for kind in KINDS if kind.claims(token)), None)


def kind_of_lookup(lookup: str) -> Kind | None:
    """The kind of a lookup key in the log of invalidations.

    None for a key that was written by hand, or by another version of Latchkey.
    """
    return next((kind for kind in KINDS if kind.owns(lookup)), None)
