"""Which methods of a cache a subclass overrides."""

cdef tuple _HOOKS = (
    ("__missing__", HOOK_MISSING),
    ("__getitem__", HOOK_LOOKUP),
    ("__contains__", HOOK_LOOKUP),
    ("__setitem__", HOOK_STORE),
    ("__delitem__", HOOK_DELETE),
    ("popitem", HOOK_POPITEM),
    ("getsizeof", HOOK_SIZE),
    ("expire", HOOK_EXPIRE),
    ("__iter__", HOOK_ITER),
)


cdef int hooks_of(type cls, type base) except -1:
    """The hooks of a class; `base` is the class whose methods are not overrides."""
    cdef int hooks = 0
    if cls is not base:
        for name, hook in _HOOKS:
            if getattr(cls, name, None) is not getattr(base, name, None):
                hooks |= hook
    return hooks
