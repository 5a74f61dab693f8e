"""Rules for names of credentials: they must be visible on a page and in a terminal."""

from __future__ import annotations

import re
import unicodedata

LONGEST_NAME = 100

# Control characters, line breaks and marks of the writing direction could make a terminal or a page
# show something else.
_FORBIDDEN = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
# Spaces, Unicode's Default_Ignorable_Code_Point, and the few characters that are blank by design.
_INVISIBLE = (
    r"\s\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
)
NAME_PATTERN = rf"^(?! )(?=[^{_FORBIDDEN}]*[^{_FORBIDDEN}{_INVISIBLE}])[^{_FORBIDDEN}]*(?<! )$"
"""The rule as far as a regular expression can state it, for the OpenAPI document."""

_ANY_FORBIDDEN = re.compile(rf"[{_FORBIDDEN}]")
_ANY_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ANY_INVISIBLE = re.compile(
    rf"[{_INVISIBLE}\U00013441\U00013442\U00016fe4\U0001bca0-\U0001bca3\U0001d159"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def check_name(name: str) -> str:
    """Return the name if it is valid; otherwise raises ValueError with the rule."""
    if not 1 <= len(name) <= LONGEST_NAME:
        raise ValueError(f"must have 1 to {LONGEST_NAME} characters")
    if _ANY_SURROGATE.search(name):
        raise ValueError("must be a string of valid Unicode")
    if _ANY_FORBIDDEN.search(name):
        raise ValueError(
            "must not have control characters, line breaks, or marks of the text direction"
        )
    if not is_visible(name):
        raise ValueError("must have a visible character")
    if name != name.strip():
        raise ValueError("must not begin or end with a space")
    return name


def is_visible(name: str) -> bool:
    """Whether a name has a character that a person sees."""
    return any(map(_is_drawn, name))


def _is_drawn(character: str) -> bool:
    if _ANY_INVISIBLE.match(character):
        return False
    category = unicodedata.category(character)
    # An unassigned character may be a new emoji. A mark alone is not visible.
    return category[0] in "LNPS" or (category == "Cn" and not _is_noncharacter(character))


def _is_noncharacter(character: str) -> bool:
    code = ord(character)
    return code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
