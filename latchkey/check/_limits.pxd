# The limits of a key, as declared for other compiled modules.

from libc.stdint cimport int64_t, uint64_t

from latchkey.check._taking cimport (
    ALL_TAKEN,
    MOST_STEPS,
    ONE_NEEDS_STORE,
    ONE_REFUSED,
    Step,
    Tables,
)


cpdef enum:
    TAKEN = ALL_TAKEN
    REFUSED = ONE_REFUSED
    NEEDS_STORE = ONE_NEEDS_STORE


cdef class LimitPlan:
    cdef int count
    cdef Step[MOST_STEPS] steps
    cdef readonly tuple limits
    cdef readonly tuple names
    cdef readonly tuple sources
    cdef readonly str text
    cdef readonly bint has_rates
    cdef readonly bint has_quotas
    cdef tuple shown            # owns what the steps point to
    cdef tuple announced        # the header RateLimit-Policy
    cdef uint64_t announced_until   # the UTC day on which that changes

    cdef int announce(self, int64_t now) except -1


cdef class LimitOutcome:
    cdef readonly int verdict
    cdef readonly int index     # of the limit that refused, or that needs the store; else -1
    cdef uint64_t wait
    cdef readonly uint64_t cost
    cdef readonly LimitPlan plan
    cdef Tables tables


cdef LimitOutcome taken_outcome(LimitPlan plan, Tables tables, uint64_t cost)
cdef int add_headers(LimitOutcome outcome, list headers, bint as_x) except -1
