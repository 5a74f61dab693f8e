"""Conversion of sizes between Python's numbers and the fixed point that shards sum.

A size is a number of units of 2**-128. Every non-negative integer below 2**127 is a whole
number of units, and so is every float below 2**127 that is 0 or at least 2**-76.
"""

from libc.math cimport floor
from libc.stdint cimport uint64_t

import math
from fractions import Fraction
from operator import index


cdef extern from "Python.h":
    bint PyLong_Check(object number) noexcept
    bint PyFloat_CheckExact(object number) noexcept
    double PyFloat_AS_DOUBLE(object number) noexcept
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1


cdef object _ONE = 1 << 128
cdef object _LIMIT = 2.0 ** 127
cdef object _LIMIT_UNITS = 1 << 255
cdef object _LEAST = 2.0 ** -128


cdef int read_size(object measured, Size *size) except -1:
    """Convert a measured size; ValueError if it cannot be summed exactly.

    A size beyond every capacity becomes 2**127.
    """
    cdef int overflow = 0
    cdef long long whole = -1
    cdef double number
    if PyLong_Check(measured):
        whole = PyLong_AsLongLongAndOverflow(measured, &overflow)
    elif PyFloat_CheckExact(measured):
        number = PyFloat_AS_DOUBLE(measured)
        if 0.0 <= number < 2.0 ** 53 and number == floor(number):
            whole = <long long>number
    if whole >= 0 and not overflow:
        size[0] = size_of(<uint64_t>whole)
        return 0
    if measured < 0:
        raise ValueError("value size must be non-negative")
    if not measured < math.inf:
        raise ValueError("value size must be finite")
    units, rest = in_units(measured)
    if rest:
        raise ValueError("value size must be a multiple of 2**-128")
    return put_units(units, size)


cdef int read_capacity(object maxsize, Size *capacity) except -1:
    """Convert a capacity. Rounding down to whole units is exact for sums of whole units."""
    units, _ = in_units(maxsize)
    return put_units(min(units, _LIMIT_UNITS - 1), capacity)


cdef tuple in_units(object number):
    """The whole units in a number, 2**255 at most, and whether a remainder is left."""
    # Checked before the ratio, which is huge for a Decimal with a large exponent. The limits
    # are floats, because not all of numpy's numbers compare with long ints.
    if number >= _LIMIT:
        return (_LIMIT_UNITS, False)
    if number < _LEAST:
        return (0, number != 0)
    if hasattr(number, "as_integer_ratio"):
        above, below = number.as_integer_ratio()
    elif hasattr(number, "__index__"):
        above, below = index(number), 1
    else:
        nearest = float(number)
        if nearest != number:
            raise ValueError(f"{number!r} is not exact as a float")
        above, below = nearest.as_integer_ratio()
    units, rest = divmod(above * _ONE, below)
    return (units, rest != 0)


cdef int put_units(object units, Size *size) except -1:
    cdef int i
    for i in range(SIZE_WORDS):
        size.words[i] = <uint64_t>(units >> 64 * i & 0xFFFFFFFFFFFFFFFF)
    return 0


cdef object units_of(Size size):
    """The number of units in a size."""
    cdef int i
    units = 0
    for i in range(SIZE_WORDS - 1, -1, -1):
        units = units << 64 | size.words[i]
    return units


cdef object exact_number(Size size):
    """This size exactly, as an int, a float or a Fraction."""
    if size.words[0] == 0 and size.words[1] == 0 and size.words[3] == 0:
        return size.words[2]
    units = units_of(size)
    number = rounded_number(units)
    return number if Fraction(number) * _ONE == units else Fraction(units, _ONE)


cdef object rounded_number(object units):
    """Units as a number: an int if it is whole, else the nearest float."""
    whole, rest = divmod(units, _ONE)
    return units / _ONE if rest else whole
