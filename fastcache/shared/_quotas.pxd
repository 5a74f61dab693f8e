# Declarations for other compiled modules: quotas that processes share.

from libc.stdint cimport uint64_t

from fastcache.shared._tallies cimport Tallies


cdef enum Spending:
    SPENT
    NOT_LEFT        # everything was granted already, and it does not suffice
    NOT_GRANTED     # the words do not tell: ask whoever grants


cdef enum:
    QUOTA_WORDS = 4
    NEVER_ENDS = 65535      # the day on which a period without an end ends


cdef struct Standing:       # what the words of a row say
    uint64_t tag
    uint64_t spent
    uint64_t granted
    uint64_t elsewhere
    uint64_t generation
    uint64_t until_day


cdef class Quota:
    cdef readonly uint64_t row
    cdef readonly uint64_t generation
    cdef uint64_t most          # units, or 0 for an unknown amount
    cdef bint ready


cdef class QuotaTable:
    cdef Tallies words

    # The words of a row, or NULL if it is not backed.
    cdef uint64_t *row_at(self, uint64_t row) noexcept nogil
    cdef Tallies checked(self)
    cdef uint64_t *found(self, object row) except NULL


# Spend `cost` units if they are granted, or only look; `after` is the word that was stored.
cdef Spending spend_units(
    uint64_t *words, uint64_t generation, uint64_t most, uint64_t cost, uint64_t day,
    bint looks_only, uint64_t *after
) noexcept nogil
cdef void read_standing(uint64_t *words, Standing *standing) noexcept nogil
