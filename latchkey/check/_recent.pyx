# cython: always_allow_keywords=False
"""Recently admitted credentials: a small table before the caches, read without creating a key.

A place holds everything that decides a hit in one cache line, and is identified by the digest in
it, which only the secret has. The place of a key with limits leads to them through its entry. A
place is valid under the same ticket, deadline and expiry as the entry from which it was filled. A
key has two adjacent places: a new entry moves the first one to the second place, and evicts the
second.

After some hits the cache is read again, so that it knows which entries are in use.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
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
    MOST_PLACES = 32768     # they fill one huge page
    HITS = 256              # hits of a place until the cache is read again


# no_gc: principals and entries consist of strings and numbers, and never refer back to this table.
@cython.final
@cython.no_gc
@cython.auto_pickle(False)
cdef class Recent:
    """Places for `size` entries, at most MOST_PLACES.

    Without the GIL it stores nothing: only the GIL keeps other threads out while a place is read.
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
                decref(self.places[index].held)
            fastcache_unmap_pages(self.places, 2 * self.pairs * sizeof(Place))

    cdef bint has_places(self) noexcept:
        """Map the memory on first use: in the process that serves, not before a fork.

        It is written before it is read: for reads, a kernel could split a huge page of zeros.
        """
        if self.places == NULL and self.pairs != 0:
            self.places = <Place *>fastcache_map_pages(2 * self.pairs * sizeof(Place))
            if self.places == NULL:
                self.pairs = 0
            else:
                memset(self.places, 0, sizeof(Place))
        return self.places != NULL

    cdef void remember(
        self, uint64_t hashed, CacheEntry entry, uint32_t account_stripe, uint64_t *row
    ) noexcept:
        """Store an entry that was just admitted, and whose uses are counted in `row`."""
        cdef Place *place
        cdef PyObject *former
        if not self.has_places():
            return
        place = pair_in(self.places, self.pairs - 1, hashed)
        if not fastcache_equal_digests(place.digest, entry.sum):
            if not fastcache_equal_digests(place[1].digest, entry.sum):
                former = place[1].held
                place[1] = place[0]
                place.held = former
            else:
                place += 1
        former = place.held
        memcpy(place.digest, entry.sum, DIGEST_SIZE)
        place.ticket = entry.ticket
        place.deadline = entry.deadline
        place.expires = entry.expires
        place.row = row
        place.left = HITS if entry.limits is None else -HITS
        place.account_stripe = account_stripe
        place.held = <PyObject *>(entry.principal if entry.limits is None else entry)
        incref(place.held)
        decref(former)
