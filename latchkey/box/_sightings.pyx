# cython: always_allow_keywords=False
"""Whether a use came from where the last one did: asked of the first use in each second.

A credential's row of tallies has a hash of where its last use came from, and of the span of time.
Where that is the same, nothing is left to do: the address was noted, and the time of the last use
is in the row. So the address itself is read and noted once in some minutes, and when it changes.
"""

cimport cython
from libc.stdint cimport uint64_t

from latchkey.native._clock cimport CLOCK_REALTIME_COARSE, milliseconds


@cython.auto_pickle(False)
cdef class AddressSources:
    """Tells uses from somewhere new; a subclass notes them.

    `record(environ, credential_id, now)` notes where a request came from, `now` in milliseconds
    since 1970; False where it could not, and is to be asked again.
    """

    def __init__(self, Tallies uses not None, bint forwarded):
        self.uses = uses
        self.forwarded = forwarded

    def see(self, dict environ not None, credential_id, uint64_t before, /):
        """Look at a use that has been counted, where that before it, at `before`, is longer ago."""
        cdef uint64_t now = <uint64_t>milliseconds(CLOCK_REALTIME_COARSE)
        cdef uint64_t number = credential_id
        cdef uint64_t *row = self.uses.row_at(number)
        if row != NULL and in_another_second(before, now):
            look(self, environ, row, now)
