"""The kinds of credentials: which kind a token is, its lookup key, and its proof."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latchkey.credentials.derivation import DerivationKey
from latchkey.credentials.kinds import (
    DERIVED,
    IMPORTED,
    KINDS,
    Kind,
    Proof,
    Sources,
    kind_of_bearer,
    kind_of_lookup,
)
from latchkey.credentials.models import Verifier
from tests.support.credentials.office import KEYS, NEW, OUTSIDER, RETIRED

KEY = "ak_live_0123456789ABCDEFGHIJKL"
SECRET = NEW.derive(KEY)
WRONG_CHECKSUM = SECRET[:-1] + ("0" if SECRET[-1] != "0" else "1")
HASH = hashlib.sha256(b"token").hexdigest()

tokens = st.sampled_from([SECRET, WRONG_CHECKSUM, KEY, HASH, SECRET[:-1]]) | st.text(max_size=90)
lookups = st.sampled_from([KEY[3:], HASH, HASH.upper(), KEY, "acct_1"]) | st.text(max_size=70)


def nothing(asked: str | bytes) -> Verifier | None:
    raise AssertionError("the store is not asked for a proof")


SOURCES = Sources(
    KEYS,
    nothing,
    find_imported=nothing,
    may_be_imported=lambda token_hash: token_hash.hex() == HASH,
)


def test_every_kind_has_its_own_name() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        (SECRET, DERIVED),
        (OUTSIDER.derive(KEY), DERIVED),
        (WRONG_CHECKSUM, IMPORTED),
        (KEY, IMPORTED),
        (HASH, IMPORTED),
        ("x" * 512, IMPORTED),
        ("x" * 513, None),
        ("", None),
        ("a b", None),
        ("é", None),
        ("a\n", None),
    ],
)
def test_the_kind_of_a_bearer_token(token: str, kind: Kind | None) -> None:
    assert kind_of_bearer(token) is kind


@given(token=tokens)
def test_a_tokens_lookup_key_is_of_its_kind(token: str) -> None:
    kind = kind_of_bearer(token)
    if kind is not None:
        assert kind_of_lookup(kind.lookup(token)) is kind


@given(lookup=lookups)
def test_no_two_kinds_own_a_lookup_key(lookup: str) -> None:
    owners = [kind for kind in KINDS if kind.owns(lookup)]
    assert len(owners) <= 1
    assert kind_of_lookup(lookup) is (owners[0] if owners else None)


@pytest.mark.parametrize(
    "lookup", ["", KEY, HASH.upper(), f" {HASH[1:]}", HASH[:-2], f"{HASH}00", "acct_1", "live_é"]
)
def test_an_arbitrary_text_is_of_no_kind(lookup: str) -> None:
    assert kind_of_lookup(lookup) is None


@pytest.mark.parametrize(
    ("maker", "proof"), [(NEW, Proof.GIVEN), (RETIRED, Proof.GIVEN), (OUTSIDER, Proof.FORGED)]
)
def test_a_derived_secret_proves_its_maker(maker: DerivationKey, proof: Proof) -> None:
    secret = maker.derive(KEY)
    assert DERIVED.proof(DERIVED.lookup(secret), secret, SOURCES) is proof


def test_a_malformed_secret_proves_nothing() -> None:
    lookup = DERIVED.lookup(WRONG_CHECKSUM)
    assert DERIVED.proof(lookup, WRONG_CHECKSUM, SOURCES) is Proof.MISSING


def test_an_imported_token_is_looked_up_only_if_it_may_exist() -> None:
    for token, proof in (("token", Proof.GIVEN), ("other", Proof.MISSING)):
        assert IMPORTED.proof(IMPORTED.lookup(token), token, SOURCES) is proof
    without = Sources(KEYS, nothing)
    assert IMPORTED.proof(IMPORTED.lookup("token"), "token", without) is Proof.MISSING


def test_each_kind_looks_up_its_own_column() -> None:
    asked: list[str | bytes] = []

    def find(key: str | bytes) -> None:
        asked.append(key)

    sources = Sources(KEYS, find, find_imported=find)
    DERIVED.find(DERIVED.lookup(SECRET), SECRET, sources)
    IMPORTED.find(IMPORTED.lookup("token"), "token", sources)
    assert asked == [KEY, bytes.fromhex(HASH)]
