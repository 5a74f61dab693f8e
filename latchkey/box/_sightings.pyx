# cython: always_allow_keywords=False
"""Detects uses from a new source: checked for the first use in each second.

A credential's row of tallies stores a hash of the last source and of the current period. If the
hash is unchanged, the address is already recorded, and the row has the time of the last use. So an
address is read and recorded only once per period, and when it changes.
"""

cimport cython
from libc.stdint cimport uint64_t

from latchkey.native._clock cimport CLOCK_REALTIME_COARSE, milliseconds


@cython.auto_pickle(False)
cdef class AddressSources:
    """Detects uses from a new source; a subclass records them.

    `record(environ, credential_id, now)` records the source of a request, `now` in milliseconds
    since 1970. It returns False if it could not; then the next check calls it again.
    """

    def __init__(self, Tallies uses not None, bint forwarded):
        self.uses = uses
        self.forwarded = forwarded

    def see(self, dict environ not None, credential_id, uint64_t before, /):
        """Check the source of a counted use, if the use before it (`before`) was a second ago."""
        cdef uint64_t now = <uint64_t>milliseconds(CLOCK_REALTIME_COARSE)
        cdef uint64_t number = credential_id
        cdef uint64_t *row = self.uses.row_at(number)
        if row != NULL and in_another_second(before, now):
            check_source(self, environ, row, now)
