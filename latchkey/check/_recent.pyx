# cython: always_allow_keywords=False
"""What was let through last: a small table before the caches, read without a key being made.

A place holds what decides about a hit in one line of memory, and is taken for the digest in it,
which only the secret has. It counts under the same ticket, deadline and expiry as the entry that
it was made from. A key may be in two places side by side; the one that came later pushes the
other on, and that one's former holder out.

So that the cache knows what is in use, it is asked again after some hits.
"""

cimport cython
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from fastcache.shared._digest cimport DIGEST_SIZE, fastcache_equal_digests


cdef extern from "_gil.h":
    const bint FASTCACHE_GIL


cdef extern from "_huge_pages.h":
    void *fastcache_map_pages(size_t size) noexcept nogil
    void fastcache_unmap_pages(void *pages, size_t size) noexcept nogil


cdef extern from "Python.h":
    void incref "Py_INCREF"(PyObject *reference) noexcept
    void decref "Py_XDECREF"(PyObject *reference) noexcept


cdef enum:
    MOST_PLACES = 32768     # a huge page of them
    HITS = 256              # of a place, before the cache is asked again


# no_gc: a principal is made of texts and numbers, and never leads back to this.
@cython.final
@cython.no_gc
@cython.auto_pickle(False)
cdef class Recent:
    """Places for as many entries as `size` says, some ten thousands at most.

    Without the GIL, which keeps other threads out while a place is read, it remembers nothing.
    """

    def __cinit__(self, size):
        cdef uint64_t places = min(size, MOST_PLACES) if FASTCACHE_GIL else 0
        if places < 2:
            return
        self.pairs = 1
        while self.pairs * 4 <= places:
            self.pairs *= 2

    def __dealloc__(self):
        cdef uint64_t index
        if self.places != NULL:
            for index in range(2 * self.pairs):
                decref(self.places[index].principal)
            fastcache_unmap_pages(self.places, 2 * self.pairs * sizeof(Place))

    cdef bint has_places(self) noexcept:
        """Map the memory where there is none yet: in the process that serves, not before a fork.

        It is written to before it is read, or a kernel could split a huge page of zeros.
        """
        if self.places == NULL and self.pairs != 0:
            self.places = <Place *>fastcache_map_pages(2 * self.pairs * sizeof(Place))
            if self.places == NULL:
                self.pairs = 0
            else:
                memset(self.places, 0, sizeof(Place))
        return self.places != NULL

    cdef void remember(self, uint64_t hashed, CacheEntry entry, uint64_t *row) noexcept:
        """Keep what an entry holds that was just let through, and is counted in `row`."""
        cdef Place *place
        cdef PyObject *former
        if not self.has_places():
            return
        place = pair_in(self.places, self.pairs - 1, hashed)
        if not fastcache_equal_digests(place.digest, entry.sum):
            if not fastcache_equal_digests(place[1].digest, entry.sum):
                former = place[1].principal
                place[1] = place[0]
                place.principal = former
            else:
                place += 1
        former = place.principal
        memcpy(place.digest, entry.sum, DIGEST_SIZE)
        place.ticket = entry.ticket
        place.deadline = entry.deadline
        place.expires = entry.expires
        place.row = row
        place.left = HITS
        place.principal = <PyObject *>entry.principal
        incref(place.principal)
        decref(former)
