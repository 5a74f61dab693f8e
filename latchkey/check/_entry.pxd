# A cached result of a check, as declared for other compiled modules.

from libc.stdint cimport int64_t, uint64_t

from fastcache.shared._digest cimport DIGEST_SIZE
from latchkey.check._limits cimport LimitPlan


cpdef enum:
    DIGEST_AT = 28                          # in a record
    RECORD_HEAD = DIGEST_AT + DIGEST_SIZE   # the size of a record without its texts

cdef extern from *:
    """
    #include <stdint.h>
    #define LATCHKEY_NEVER INT64_MAX
    """
    const int64_t NEVER "LATCHKEY_NEVER"    # expires_at of a credential that does not expire


cdef class CacheEntry:
    cdef readonly uint64_t ticket
    cdef uint64_t account_hash              # the fixed hash of the account's id, for its stripe
    cdef readonly uint64_t deadline         # CLOCK_MONOTONIC, nanoseconds
    cdef readonly uint64_t credential_id
    cdef int64_t expires                    # wall clock, milliseconds since 1970, or NEVER
    cdef readonly bint revoked
    cdef unsigned char sum[DIGEST_SIZE]     # the keyed digest of the correct secret
    cdef readonly object principal
    cdef readonly object evaluation         # of the conditions, or None
    cdef readonly LimitPlan limits          # or None


cdef CacheEntry entry_of_record(
    const char *key, const unsigned char *record, size_t length, uint64_t ticket,
    uint64_t deadline
)
