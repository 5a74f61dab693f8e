# Declarations for other compiled modules: iteration over a cache.

from libc.stdint cimport uint32_t

from fastcache._settings cimport CacheSettings
from fastcache._snapshot cimport Mark


cdef enum Part:
    PART_KEY
    PART_VALUE
    PART_ITEM


cdef class Cursor:
    cdef CacheSettings settings
    cdef tuple shards
    cdef Py_ssize_t shard
    cdef Part part
    cdef Mark *marks
    cdef uint32_t count
    cdef uint32_t position

    cdef bint advance(self) except -1


cdef Cursor cursor(CacheSettings settings, tuple shards, Part part)
