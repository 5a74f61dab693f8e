"""Base62 numbers of fixed width: ``0-9A-Za-z``, most significant digit first."""

from __future__ import annotations

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_DIGITS = {digit: value for value, digit in enumerate(ALPHABET)}


def encode(number: int, width: int) -> str:
    """Write a non-negative ``number`` in exactly ``width`` digits.

    Raises OverflowError where it does not fit.
    """
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    if number:
        raise OverflowError(f"the number does not fit into {width} base62 digits")
    return "".join(reversed(digits))


def decode(text: str) -> int:
    """Read the number that ``text`` writes; raises ValueError at a character that is no digit."""
    number = 0
    try:
        for character in text:
            number = number * 62 + _DIGITS[character]
    except KeyError:
        raise ValueError("not a base62 number") from None
    return number
