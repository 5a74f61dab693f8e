"""Derivation keys: current, retired and several at once; they are never shown."""

from __future__ import annotations

import hmac
import itertools
import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latchkey.credentials.derivation import DerivationKey, DerivationKeys, instance_key
from latchkey.credentials.tokens import SecretParts, new_api_key, read_secret
from tests.support.credentials import reference

KEYS = [DerivationKey(bytes([number]) * 32) for number in range(1, 5)]
OUTSIDER = DerivationKey(bytes(32))


def _parts(key: DerivationKey) -> SecretParts:
    return read_secret(key.derive(new_api_key("live")))


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**128 - 1))
def test_a_secret_is_derived_as_in_the_reference(key: bytes, number: int) -> None:
    api_key = reference.make_api_key("test", number)
    expected = reference.make_secret(api_key, reference.make_mac(key, api_key))
    assert DerivationKey(key).derive(api_key) == expected


def test_each_listed_key_is_found_in_every_order_and_division() -> None:
    for order in itertools.permutations(KEYS):
        for split in range(1, len(order) + 1):
            keys = DerivationKeys(order[:split], order[split:])
            assert keys.newest is order[0]
            assert keys.ids == {key.id for key in KEYS}
            assert keys.ids_newest_first[0] == order[0].id
            assert sorted(keys.ids_newest_first) == sorted(keys.ids)
            for place, key in enumerate(order):
                assert keys.maker_of(_parts(key)) is key
                assert keys.registrar_of(_parts(key)) is (key if place < split else None)
            assert keys.maker_of(_parts(OUTSIDER)) is None
            assert keys.registrar_of(_parts(OUTSIDER)) is None


@pytest.mark.parametrize("maker", [*KEYS, OUTSIDER])
def test_every_key_is_tried_whichever_fits(maker: DerivationKey) -> None:
    """In a trace, each listed key has one HMAC and one constant-time comparison in every case."""
    keys = DerivationKeys(KEYS[:2], KEYS[2:])
    parts = _parts(maker)
    called: list[object] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code is DerivationKey.mac.__code__:
            called.append("mac")
        elif event == "c_call" and argument is hmac.compare_digest:
            called.append("compare")

    sys.setprofile(note)
    try:
        keys.maker_of(parts)
    finally:
        sys.setprofile(None)
    assert called == ["mac", "compare"] * 4


def test_a_proof_is_valid_for_one_key_and_one_mode() -> None:
    parts = _parts(KEYS[0])
    twin = parts.api_key.replace("live", "test")
    keys = DerivationKeys(KEYS, [])
    assert keys.maker_of(SecretParts(twin, parts.mac)) is None
    assert keys.maker_of(SecretParts(new_api_key("live"), parts.mac)) is None


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_a_key_has_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        DerivationKey(bytes(length))


def test_there_is_at_least_one_current_key() -> None:
    with pytest.raises(ValueError, match="at least one"):
        DerivationKeys([], [KEYS[0]])


def test_nothing_shows_a_key() -> None:
    raw = bytes(range(0x41, 0x41 + 32))
    key = DerivationKey(raw)
    keys = DerivationKeys([key], [])
    for shown in (repr(key), str(key), f"{key}", repr(keys), str(keys), repr([key]), key.id):
        assert raw.decode() not in shown
        assert raw.hex() not in shown.lower()
        assert repr(raw) not in shown
    assert repr(key) == f"DerivationKey(id={key.id!r})"
    assert len({key.id for key in (*KEYS, OUTSIDER)}) == 5


@given(st.binary(min_size=32, max_size=80), st.text(max_size=40))
def test_instance_keys_are_derived_as_in_the_reference(master: bytes, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    assert instance_key(master, name) == reference.make_instance_key(master, name)


@pytest.mark.parametrize("length", [0, 1, 31])
def test_a_short_master_key_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="at least 32 bytes"):
        instance_key(bytes(length), "eu-1")
