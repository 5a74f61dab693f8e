# Declarations for other compiled modules: the mapping that LRUCache and TTLCache share.
#
# `lookup(cache, key, True)` of _store is `get` for compiled code.

from fastcache._store cimport ShardedStore


cdef class Cache(ShardedStore):
    cdef int assign_many(self, object items, object ttl) except -1
    cdef object pop_pinned(self, object key)
    cdef object popitem_pinned(self)
