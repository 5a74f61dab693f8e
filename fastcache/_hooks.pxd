# Declarations for other compiled modules: the hooks of a cache class.

cdef enum:
    # Each flag stands for methods that a Python subclass overrides.
    HOOK_MISSING = 1    # __missing__
    HOOK_LOOKUP = 2     # __getitem__ or __contains__
    HOOK_STORE = 4      # __setitem__
    HOOK_DELETE = 8     # __delitem__
    HOOK_POPITEM = 16   # popitem
    HOOK_SIZE = 32      # getsizeof
    HOOK_EXPIRE = 64    # expire
    HOOK_ITER = 128     # __iter__


cdef int hooks_of(type cls, type base) except -1
