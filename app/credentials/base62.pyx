# cython: always_allow_keywords=True
"""Base62 numbers of fixed width: ``0-9A-Za-z``, most significant digit first.

Ten digits at a time are a number of 64 bits; only what joins them is done with Python's.
"""

from cpython.unicode cimport PyUnicode_GET_LENGTH
from libc.stdint cimport uint64_t

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


cdef enum:
    TOGETHER = 10
    # Of ASCII, where each kind of digit begins.
    ZERO = 48
    UPPER_A = 65
    LOWER_A = 97

cdef object _BASE = 62
# By the number of digits; made of Python's integers, for C's would overflow.
cdef tuple _POWERS = tuple([_BASE ** digits for digits in range(TOGETHER + 1)])
cdef object _TOGETHER = _POWERS[TOGETHER]
cdef bytes _alphabet = ALPHABET.encode()
cdef const char *_DIGITS = _alphabet


def encode(number, Py_ssize_t width):
    """Write a non-negative `number` in exactly `width` digits.

    Raises OverflowError where it does not fit.
    """
    cdef bytearray digits = bytearray(width)
    cdef char *written = digits
    cdef uint64_t part
    cdef Py_ssize_t end = width
    cdef Py_ssize_t begin
    if number < 0:
        raise OverflowError("a negative number has no base62 digits")
    while end > 0:
        begin = max(end - TOGETHER, 0)
        number, low = divmod(number, _POWERS[end - begin])
        part = low
        while end > begin:
            end -= 1
            written[end] = _DIGITS[part % 62]
            part //= 62
    if number:
        raise OverflowError(f"the number does not fit into {width} base62 digits")
    return digits.decode("ascii")


def decode(str text not None):
    """Read the number that `text` writes; raises ValueError at a character that is no digit."""
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text)
    cdef Py_ssize_t i
    cdef uint64_t part = 0
    cdef Py_UCS4 character
    cdef uint64_t code
    number = 0
    for i in range(length):
        character = text[i]
        code = <uint64_t>character
        if ZERO <= code < ZERO + 10:
            part = part * 62 + code - ZERO
        elif UPPER_A <= code < UPPER_A + 26:
            part = part * 62 + code - UPPER_A + 10
        elif LOWER_A <= code < LOWER_A + 26:
            part = part * 62 + code - LOWER_A + 36
        else:
            raise ValueError("not a base62 number")
        if (i + 1) % TOGETHER == 0:
            number = number * _TOGETHER + part
            part = 0
    return number * _POWERS[length % TOGETHER] + part
