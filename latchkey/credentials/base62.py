"""Base62 numbers of fixed width: ``0-9A-Za-z``, most significant digit first."""

from __future__ import annotations

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_BASE = len(ALPHABET)
# Ten digits at a time: the processor divides such a number in one step.
_TEN = 10
_TEN_DIGITS = _BASE**_TEN
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
_PAIR = _BASE**2
_DIGITS = {digit: value for value, digit in enumerate(ALPHABET)}


def encode(number: int, width: int) -> str:
    """Write a non-negative ``number`` in exactly ``width`` digits.

    Raises OverflowError if it does not fit.
    """
    texts = []
    for _ in range(width // _TEN):
        number, low = divmod(number, _TEN_DIGITS)
        low, fifth = divmod(low, _PAIR)
        low, fourth = divmod(low, _PAIR)
        low, third = divmod(low, _PAIR)
        first, second = divmod(low, _PAIR)
        texts.append(
            _PAIRS[first] + _PAIRS[second] + _PAIRS[third] + _PAIRS[fourth] + _PAIRS[fifth]
        )
    for _ in range(width % _TEN):
        number, digit = divmod(number, _BASE)
        texts.append(ALPHABET[digit])
    if number:
        raise OverflowError(f"the number does not fit into {width} base62 digits")
    texts.reverse()
    return "".join(texts)


def decode(text: str) -> int:
    """Read the number in ``text``; raises ValueError for a character that is not a digit."""
    number = 0
    try:
        for character in text:
            number = number * _BASE + _DIGITS[character]
    except KeyError:
        raise ValueError("not a base62 number") from None
    return number
