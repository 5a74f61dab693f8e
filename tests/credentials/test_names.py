"""The rules for names of credentials."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latchkey.credentials.names import NAME_PATTERN, check_name

INVISIBLE = [
    *("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u034f", "\u180e", "\ufe0f"),
    *("\u3164", "\uffa0", "\u115f", "\u1160", "\u2800", "\u17b4", "\u17b5", "\ufffb"),
    *("\U000e0020", "\U000e0101", "\U0001d159", "\U0001d173", "\U0001bca0", "\U00016fe4"),
    *("\xa0", "\u1680", "\u2003", "\u202f", "\u205f", "\u3000", "\u0301", "\ue000", "\uffff"),
]


@pytest.mark.parametrize("character", INVISIBLE, ids=ascii)
def test_a_name_needs_a_visible_character(character: str) -> None:
    for name in (character, character * 3, f"{character}\u200b{character}"):
        with pytest.raises(ValueError, match="must have a visible character"):
            check_name(name)
    # Together with a visible character, most of them are valid.
    if not character.isspace():
        assert check_name(f"a{character}b") == f"a{character}b"


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "1 to 100 characters"),
        ("x" * 101, "1 to 100 characters"),
        ("a\nb", "control characters"),
        ("a\u202eb", "text direction"),
        (" a", "begin or end with a space"),
        ("a\u3000", "begin or end with a space"),
        ("a\ud800", "valid Unicode"),
    ],
)
def test_the_error_states_the_rule(name: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        check_name(name)


@pytest.mark.parametrize(
    "name", ["a", "billing 2", "\u2764\ufe0f", "!", "\u6f22", "\U0001fae8", "a\u0301"]
)
def test_names(name: str) -> None:
    assert check_name(name) == name


@given(st.text(max_size=120))
def test_the_published_pattern_refuses_no_name(name: str) -> None:
    try:
        check_name(name)
    except ValueError:
        return
    assert re.search(NAME_PATTERN, name)
