# LRUCache and TTLCache for compiled code: `lookup(cache, key, True)` is `get`.

from fastcache._cache cimport Cache
from fastcache._store cimport lookup


cdef class LRUCache(Cache):
    pass


cdef class TTLCache(Cache):
    pass
