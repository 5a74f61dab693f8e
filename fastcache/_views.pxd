# The views of a cache, as other compiled modules see them.

from fastcache._cursor cimport Cursor
from fastcache._store cimport Store

cdef object NOTHING     # what a lookup gives where there is nothing

cdef bint holds(Store cache, object key) except -1
cdef object look(Store cache, object key)
cdef object look_held(Store cache, object key)
cdef Cursor keys_of(Store cache)
cdef Cursor items_of(Store cache)
cdef object values_view(Store cache)
cdef object items_view(Store cache)
