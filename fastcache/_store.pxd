# The shards of a cache, as other compiled modules see them.

from cpython.object cimport PyObject

from fastcache._garbage cimport Garbage
from fastcache._settings cimport Settings
from fastcache._shard cimport Shard


cdef enum:
    # What a Python subclass overrides, so that it has to be called.
    HOOK_MISSING = 1    # __missing__
    HOOK_LOOKUP = 2     # __getitem__ or __contains__
    HOOK_STORE = 4      # __setitem__
    HOOK_DELETE = 8     # __delitem__
    HOOK_POPITEM = 16   # popitem
    HOOK_SIZE = 32      # getsizeof
    HOOK_EXPIRE = 64    # expire


cdef class Store:
    cdef Settings settings
    cdef tuple shards
    cdef int hooks
    cdef bint sized
    cdef object __weakref__

    cdef int open(self, type base, Settings settings, object shards, bint reborn) except -1
    cdef Shard shard_of(self, Py_hash_t hash_value)
    cdef double size_of(self, object value) except -1
    cdef PyObject *fetch(self, object key) except? NULL
    cdef int tidy(self) except -1
    cdef int sweep(self, double now, Garbage *garbage) except -1
    cdef Shard fullest(self)
    cdef tuple state(self)
    cdef int restore(self, tuple state) except -1
