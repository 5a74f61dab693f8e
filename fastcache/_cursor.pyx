"""Iteration over a cache that may change during the iteration.

A cursor marks the entries of one shard at a time, then visits those that still exist. It
returns each entry at most once, and no entry that was removed or has expired. Entries that are
added later may be left out. A change of the cache never raises an error. Iteration does not
affect recency or statistics.
"""

cimport cython
from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from fastcache._settings cimport CacheSettings, now_of
from fastcache._shard cimport Shard, fastcache_give
from fastcache._snapshot cimport Mark, marks_of, read_mark


@cython.final
@cython.auto_pickle(False)
cdef class Cursor:
    """Iterator over the live keys, values or items of a tuple of shards."""

    def __dealloc__(self):
        PyMem_Free(self.marks)

    def __iter__(self):
        return self

    @cython.critical_section
    def __next__(self):
        cdef PyObject *key = NULL
        cdef PyObject *value = NULL
        cdef Shard shard
        cdef Mark mark
        cdef double now
        while True:
            now = now_of(self.settings)
            if self.position == self.count and not self.advance():
                raise StopIteration
            mark = self.marks[self.position]
            self.position += 1
            shard = <Shard>self.shards[self.shard]
            if read_mark(shard, mark, now, &key, &value):
                break
        # Both references are owned before the tuple is created, which may start the collector.
        held = fastcache_give(key)
        found = fastcache_give(value)
        if self.part == PART_KEY:
            return held
        return found if self.part == PART_VALUE else (held, found)

    cdef bint advance(self) except -1:
        """Mark the entries of the next shard that has any; false at the end."""
        cdef uint32_t count = 0
        cdef Mark *marks
        cdef Py_ssize_t following
        while self.shard + 1 < len(self.shards):
            # While this waits for a shard's lock, another thread may advance the same cursor.
            following = self.shard + 1
            marks = marks_of(<Shard>self.shards[following], &count)
            PyMem_Free(self.marks)
            self.marks = marks
            self.count = count
            self.position = 0
            self.shard = following
            if count != 0:
                return True
        return False


cdef Cursor cursor(CacheSettings settings, tuple shards, Part part):
    """A cursor at the start of the first shard."""
    cdef Cursor self = Cursor.__new__(Cursor)
    self.settings = settings
    self.shards = shards
    self.shard = -1
    self.part = part
    return self
