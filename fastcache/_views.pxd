# The views of a cache, as other compiled modules see them.

from fastcache._cursor cimport Cursor
from fastcache._snapshot cimport Removals
from fastcache._store cimport ShardedStore

cdef object NOTHING     # the result of a lookup that finds nothing

cdef bint holds(ShardedStore cache, object key) except -1
cdef object look(ShardedStore cache, object key)
cdef object look_held(ShardedStore cache, object key, Removals before)
cdef Cursor keys_of(ShardedStore cache)
cdef Cursor items_of(ShardedStore cache)
cdef object values_view(ShardedStore cache)
cdef object items_view(ShardedStore cache)
