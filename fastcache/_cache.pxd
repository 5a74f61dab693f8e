# The mapping that LRUCache and TTLCache share, as other compiled modules see it.

from fastcache._store cimport Store


cdef class Cache(Store):
    cdef int assign_hooked(self, object key, object value) except -1
