# cython: always_allow_keywords=False
"""The proof in a secret, parsed in one pass: form, checksum and numbers.

Compiled because anybody can send any number of requests with forged secrets.
"""

from cpython.unicode cimport PyUnicode_Check, PyUnicode_GET_LENGTH
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp

from zlib import crc32


cdef extern from *:
    ctypedef uint64_t uint128_t "unsigned __int128"


cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text) noexcept
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL


cdef enum:
    LIMBS = 4               # of a number below 2**256
    DIGITS_AT_ONCE = 10     # 62**10 is below 2**64
    ZERO = 48               # where each kind of digit starts in ASCII
    UPPER_A = 65
    LOWER_A = 97


cdef inline int digit_of(char character) noexcept nogil:
    """The value of a base62 digit; -1 for any other character."""
    if ZERO <= character < ZERO + 10:
        return character - ZERO
    if UPPER_A <= character < UPPER_A + 26:
        return character - UPPER_A + 10
    if LOWER_A <= character < LOWER_A + 26:
        return character - LOWER_A + 36
    return -1


cdef inline bint read_number(
    const char *digits, const char *end, uint64_t *limbs, int count
) noexcept nogil:
    """Read base62 into `count` limbs, least significant first; False if it is not a number."""
    cdef uint128_t carry
    cdef uint64_t several, factor
    cdef const char *stop
    cdef int digit
    cdef int i
    for i in range(count):
        limbs[i] = 0
    while digits < end:
        # As many digits at a time as fit into 64 bits.
        several, factor = 0, 1
        stop = digits + min(end - digits, <Py_ssize_t>DIGITS_AT_ONCE)
        while digits < stop:
            digit = digit_of(digits[0])
            if digit < 0:
                return False
            several = several * 62 + <uint64_t>digit
            factor *= 62
            digits += 1
        carry = <uint128_t>several
        for i in range(count):
            carry += <uint128_t>limbs[i] * factor
            limbs[i] = <uint64_t>carry
            carry >>= 64
        if carry:
            return False
    return True


def proof_in(text):
    """The 32 bytes of the `mac` in a well-formed secret with a valid checksum; else None."""
    cdef const char *secret
    cdef uint64_t limbs[LIMBS]
    cdef uint64_t crc = 0
    cdef unsigned char mac[32]
    cdef Py_ssize_t size = 0
    cdef int i
    if not PyUnicode_Check(text):
        raise TypeError(f"text must be a str, not {type(text).__name__}")
    if PyUnicode_GET_LENGTH(text) != SECRET_SIZE or not PyUnicode_IS_ASCII(text):
        return None
    secret = PyUnicode_AsUTF8AndSize(text, &size)
    if memcmp(secret, b"sk_live_", ID_AT) != 0 and memcmp(secret, b"sk_test_", ID_AT) != 0:
        return None
    if not read_number(secret + CRC_AT, secret + SECRET_SIZE, &crc, 1):
        return None
    if crc != <uint32_t>crc32(secret[:CRC_AT]):
        return None
    # An id is below 2**128.
    if not read_number(secret + ID_AT, secret + MAC_AT, limbs, 2):
        return None
    if not read_number(secret + MAC_AT, secret + CRC_AT, limbs, LIMBS):
        return None
    for i in range(32):
        mac[i] = <unsigned char>(limbs[3 - i // 8] >> (56 - 8 * (i % 8)))
    return mac[:32]
