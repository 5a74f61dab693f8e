# Declarations for other compiled modules: the views of a cache.

from fastcache._cursor cimport Cursor
from fastcache._snapshot cimport Removals
from fastcache._store cimport ShardedStore

cdef object NOTHING     # the result of a lookup that finds nothing

cdef bint holds(ShardedStore cache, object key) except -1
cdef object hooked_lookup(ShardedStore cache, object key)
cdef object read_pinned(ShardedStore cache, object key, Removals before)
cdef Cursor keys_of(ShardedStore cache)
cdef Cursor items_of(ShardedStore cache)
cdef object values_view(ShardedStore cache)
cdef object items_view(ShardedStore cache)
