"""The form of keys and secrets: everything that is written can be parsed, and nothing else."""

from __future__ import annotations

import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latchkey.credentials import base62, tokens
from latchkey.credentials._proof import API_KEY_SIZE, SECRET_SIZE
from latchkey.credentials.models import MODES, Mode
from tests.support.credentials import reference

MODE = st.sampled_from(MODES)
ID = st.integers(0, 2**128 - 1)
MAC = st.binary(min_size=32, max_size=32)
CHARACTER = st.one_of(st.sampled_from(base62.ALPHABET + "_-., \n\0²Ａа"), st.characters())


@st.composite
def secrets(draw: st.DrawFn) -> str:
    return reference.make_secret(reference.make_api_key(draw(MODE), draw(ID)), draw(MAC))


@st.composite
def hostile_texts(draw: st.DrawFn) -> str:
    """Arbitrary text, or a text similar to a key or a secret."""
    near = draw(st.one_of(secrets(), st.builds(reference.make_api_key, MODE, ID)))
    start, end = sorted([draw(st.integers(0, 80)), draw(st.integers(0, 80))])
    spliced = near[:start] + draw(st.text(max_size=5)) + near[end:]
    return draw(st.sampled_from([spliced, draw(st.text()), near, near.swapcase(), near * 2]))


@given(st.integers(0, 62**43 - 1), st.integers(0, 50))
def test_base62_encodes_exactly_the_numbers_that_fit(number: int, width: int) -> None:
    if number < 62**width:
        text = base62.encode(number, width)
        assert len(text) == width
        assert base62.decode(text) == number
    else:
        with pytest.raises(OverflowError):
            base62.encode(number, width)


@given(st.integers(0, 62**10 - 1), st.integers(0, 62**10 - 1))
def test_base62_texts_sort_like_their_numbers(one: int, other: int) -> None:
    assert (one < other) == (base62.encode(one, 10) < base62.encode(other, 10))


@given(st.text())
def test_base62_accepts_only_its_digits(text: str) -> None:
    if set(text) <= set(base62.ALPHABET):
        assert base62.encode(base62.decode(text), len(text)) == text
    else:
        with pytest.raises(ValueError, match="not a base62 number"):
            base62.decode(text)


@given(MODE, ID, MAC)
def test_a_secret_can_be_parsed_again(mode: Mode, number: int, mac: bytes) -> None:
    api_key = reference.make_api_key(mode, number)
    secret = tokens.compose_secret(api_key, mac)
    assert secret == reference.make_secret(api_key, mac)
    assert len(secret) == SECRET_SIZE == 79
    assert tokens.read_secret(secret) == tokens.SecretParts(api_key, mac)
    assert tokens.check_api_key(api_key) == api_key
    assert len(api_key) == API_KEY_SIZE == 30
    assert tokens.lookup_key(secret) == tokens.lookup_key(api_key)
    assert tokens.api_key_of(tokens.lookup_key(secret)) == api_key
    assert tokens.mode_of(secret) == tokens.mode_of(api_key) == mode


@given(secrets(), st.integers(0, 78), CHARACTER)
def test_any_changed_character_is_detected(secret: str, place: int, character: str) -> None:
    changed = secret[:place] + character + secret[place + 1 :]
    if changed == secret:
        return
    with pytest.raises(tokens.MalformedToken):
        tokens.read_secret(changed)


def test_every_other_character_at_every_position_is_detected() -> None:
    """Exhaustive for one secret, with the alphabet and look-alike characters."""
    secret = reference.make_secret(reference.make_api_key("live", 2**127 + 1), bytes(range(32)))
    alphabet = base62.ALPHABET + "_-+/=., \t\n\r\0²Ａа"
    for place in range(len(secret)):
        for character in set(alphabet) - {secret[place]}:
            with pytest.raises(tokens.MalformedToken):
                tokens.read_secret(secret[:place] + character + secret[place + 1 :])


@given(hostile_texts())
def test_no_text_crashes_and_only_well_formed_ones_are_accepted(text: str) -> None:
    try:
        parts = tokens.read_secret(text)
    except tokens.MalformedToken:
        pass
    else:
        assert tokens.compose_secret(parts.api_key, parts.mac) == text
        assert tokens.check_api_key(parts.api_key) == parts.api_key
        assert zlib.crc32(text[:73].encode()) == base62.decode(text[73:])
    try:
        assert tokens.check_api_key(text) == text
    except tokens.MalformedToken:
        pass
    else:
        assert base62.encode(base62.decode(text[8:]), 22) == text[8:]


@given(hostile_texts())
def test_the_shapes_are_the_published_patterns(text: str) -> None:
    """The OpenAPI document shows the patterns; the code checks the shapes."""
    # fullmatch without the anchors: in Python, "$" would accept a final newline.
    assert tokens.has_secret_shape(text) == bool(
        re.fullmatch(tokens.SECRET_PATTERN.strip("^$"), text)
    )
    assert tokens.has_api_key_shape(text) == bool(
        re.fullmatch(tokens.API_KEY_PATTERN.strip("^$"), text)
    )


@pytest.mark.parametrize("mode", MODES)
def test_new_keys_are_well_formed_and_distinct(mode: Mode) -> None:
    made = {tokens.new_api_key(mode) for _ in range(1000)}
    assert len(made) == 1000
    assert all(tokens.check_api_key(api_key)[3:7] == mode for api_key in made)
    # 128 random bits need all digits: the top digit is used.
    assert len({api_key[8] for api_key in made}) > 3


def test_repr_of_the_parts_shows_no_proof() -> None:
    mac = bytes(range(32))
    api_key = reference.make_api_key("live", 1)
    shown = repr(tokens.SecretParts(api_key, mac))
    assert shown == f"SecretParts(api_key={api_key!r})"


@pytest.mark.parametrize("odd", ["\udc80", "é", "\0", "/", ":", "@", "[", "`", "{", "\U0001f511"])
@pytest.mark.parametrize("at", [0, 7, 8, 29, 30, 72, 73, 78])
def test_a_character_that_is_no_digit_is_rejected_anywhere(odd: str, at: int) -> None:
    secret = reference.make_secret(reference.make_api_key("live", 5), bytes(32))
    assert tokens.read_secret(secret).mac == bytes(32)
    with pytest.raises(tokens.MalformedToken):
        tokens.read_secret(secret[:at] + odd + secret[at + 1 :])


def test_only_a_str_is_accepted() -> None:
    for wrong in (None, 5, b"x" * 79):
        with pytest.raises(TypeError):
            tokens.read_secret(wrong)  # type: ignore[arg-type]
