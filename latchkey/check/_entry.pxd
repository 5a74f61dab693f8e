# A cached result of a check, as declared for other compiled modules.

from libc.stdint cimport int64_t, uint64_t

from fastcache.shared._digest cimport DIGEST_SIZE
from latchkey.check._limits cimport LimitOutcome, LimitPlan, taken_outcome
from latchkey.check._taking cimport Tables, words_of
from latchkey.native._vector cimport unexpected


cpdef enum:
    DIGEST_AT = 28                          # in a record
    RECORD_HEAD = DIGEST_AT + DIGEST_SIZE   # the size of a record without its texts

cdef extern from "_gil.h":
    const bint FASTCACHE_GIL

cdef extern from *:
    """
    #include <stdint.h>
    #define LATCHKEY_NEVER INT64_MAX
    """
    const int64_t NEVER "LATCHKEY_NEVER"    # expires_at of a credential that does not expire


cdef class CacheEntry:
    # Those that a hit of a key with limits reads come first, in one cache line.
    cdef readonly object principal
    cdef readonly LimitPlan limits          # or None
    cdef LimitOutcome outcome               # of each request that took 1 from them, or None
    cdef uint64_t *state                    # of the first of them, or NULL; only to be prefetched
    cdef readonly uint64_t ticket
    cdef uint64_t account_hash              # the fixed hash of the account's id, for its stripe
    cdef readonly uint64_t deadline         # CLOCK_MONOTONIC, nanoseconds
    cdef readonly uint64_t credential_id
    cdef int64_t expires                    # wall clock, milliseconds since 1970, or NEVER
    cdef readonly bint revoked
    cdef unsigned char sum[DIGEST_SIZE]     # the keyed digest of the correct secret
    cdef readonly object evaluation         # of the conditions, or None


cdef CacheEntry entry_of_record(
    const char *key, const unsigned char *record, size_t length, uint64_t ticket,
    uint64_t deadline
)


cdef inline LimitOutcome outcome_of(CacheEntry entry, Tables tables, uint64_t cost):
    """The outcome of a request that took this cost from the limits of an entry.

    It does not depend on the state of the limits, so most requests of an entry share it. Without
    the GIL, another thread could replace it here.
    """
    cdef LimitOutcome outcome = entry.outcome if FASTCACHE_GIL and cost == 1 else None
    if unexpected(outcome is None):
        outcome = taken_outcome(entry.limits, tables, cost)
        if FASTCACHE_GIL and cost == 1:
            entry.outcome = outcome
            entry.state = words_of(tables, entry.limits.steps)
    return outcome
