"""`cached`: a decorator that caches results, with one call in flight for each key."""

cimport cython
from libc.stdint cimport uint64_t
from cpython.bytes cimport PyBytes_CheckExact
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_CheckExact

import inspect
import math
from functools import partial, update_wrapper
from time import monotonic
from types import FunctionType, MethodType

from fastcache._cache cimport Cache
from fastcache._flights cimport (
    Flight, end, error_of_its_own, failed, flight_of_thread, mark_of, may_wait, waited
)
from fastcache._shard cimport Shard, fastcache_give
from fastcache._store cimport lookup
from fastcache._stats import CacheInfo
from fastcache._ttl import LRUCache, TTLCache


cdef extern from "_atomics.h":
    uint64_t fastcache_load(uint64_t *word) noexcept nogil
    uint64_t fastcache_fetch_add(uint64_t *word, uint64_t amount) noexcept nogil


cdef extern from "Python.h":
    ctypedef object (*Vectorcall "vectorcallfunc")(
        object callable, PyObject *const *args, size_t count, PyObject *names
    )
    object PyObject_Vectorcall(
        object callable, PyObject *const *args, size_t count, PyObject *names
    )
    object PyVectorcall_Call(object callable, object args, object kwargs)
    Py_ssize_t PyVectorcall_NARGS(size_t count) noexcept
    Py_ssize_t tuple_size "PyTuple_GET_SIZE"(PyObject *items) noexcept
    PyObject *tuple_item "PyTuple_GET_ITEM"(PyObject *items, Py_ssize_t index) noexcept

    ctypedef object (*Call "ternaryfunc")(object callable, object args, object kwargs)
    ctypedef struct Type "PyTypeObject":
        unsigned long tp_flags
        Py_ssize_t tp_vectorcall_offset
        Call tp_call
    const unsigned long Py_TPFLAGS_HAVE_VECTORCALL
    const unsigned long Py_TPFLAGS_METHOD_DESCRIPTOR


cdef object _ABSENT = object()
cdef object _NAMED = object()
cdef object _monotonic = monotonic
cdef object _asyncio = None


@cython.final
@cython.auto_pickle(False)
cdef class Cached:
    """A function with a cache of its results, as `cached` returns it."""

    cdef Vectorcall vectorcall
    cdef object function
    cdef Cache cache
    cdef dict parameters
    cdef object flying          # a dict: marks of keys, and their flights
    cdef uint64_t generation    # of the cache's contents; cache_clear starts another one
    cdef bint typed
    cdef dict __dict__
    cdef object __weakref__

    def __get__(self, instance, owner):
        return self if instance is None else MethodType(self, instance)

    def __call__(self, *args, **kwargs):
        return PyVectorcall_Call(self, args, kwargs)

    def __reduce__(self):
        return self.__qualname__

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __repr__(self):
        return f"<cached {self.function!r}>"

    def cache_info(self):
        """CacheInfo: hits, misses, maxsize, currsize."""
        stats = self.cache.stats()
        return CacheInfo(
            stats.hits, stats.misses, self.parameters["maxsize"], self.cache.currsize
        )

    def cache_clear(self):
        """Remove all results and reset the statistics.

        The result of a call in progress is returned to its waiters, but not cached.
        """
        # First: from now on, the results of earlier calls are not cached.
        fastcache_fetch_add(&self.generation, 1)
        self.cache.clear()
        for shard in self.cache.shards:
            (<Shard>shard).reset()

    def cache_parameters(self):
        """A dict of maxsize, ttl and typed."""
        return dict(self.parameters)

    cdef object find(self, object key, bint counted):
        cdef PyObject *value = lookup(self.cache, <PyObject *>key, counted)
        return _ABSENT if value == NULL else fastcache_give(value)

    cdef int store(self, object key, object value, uint64_t generation) except -1:
        """Cache a result, unless it is too large or the call began before a clear."""
        if generation != fastcache_load(&self.generation):
            return 0
        try:
            self.cache.assign_while(key, value, &self.generation, generation)
        except ValueError:
            pass
        return 0

    cdef object call(
        self, object key, PyObject *const *args, size_t count, PyObject *names
    ):
        """Call the function and cache its result."""
        cdef uint64_t generation = fastcache_load(&self.generation)
        value = PyObject_Vectorcall(self.function, args, count, names)
        self.store(key, value, generation)
        return value

    cdef object fill(
        self, object key, PyObject *const *args, size_t count, PyObject *names
    ):
        """The value of a missing key, from a call by this thread or by another one."""
        cdef tuple mark
        cdef Flight mine
        cdef Flight flight
        while True:
            mark = mark_of(fastcache_load(&self.generation), None, key)
            mine = flight_of_thread()
            flight = self.flying.setdefault(mark, mine)
            if flight is mine:
                break
            if not may_wait(mine.owner, flight):
                value = self.find(key, False)
                return self.call(key, args, count, names) if value is _ABSENT else value
            try:
                with flight.done:
                    pass
            finally:
                waited(mine.owner)
            if flight.landed:
                return flight.value
            if flight.error is not None:
                error = error_of_its_own(flight, False)
                if error is not None:
                    raise error
            # The other call was aborted, such as by KeyboardInterrupt, or its exception cannot be
            # raised in two threads: call again.
        try:
            # A flight may have landed between the miss and the start of this one.
            mine.value = self.find(key, False)
            if mine.value is _ABSENT:
                mine.value = self.call(key, args, count, names)
            mine.landed = True
            return mine.value
        except Exception as error:
            failed(mine, error)
            raise
        finally:
            self.land(mark, mine)

    cdef int land(self, tuple mark, Flight flight) except -1:
        """Finish a flight. Its waiters are released even if the key's comparison raises."""
        try:
            self.flying.pop(mark, None)
        finally:
            end(flight)
        return 0


# ------------------------------------------------------------------ calls

cdef object key_of(PyObject *const *args, Py_ssize_t count, PyObject *names, bint typed):
    """The cache key for the arguments of a call, equal where functools.lru_cache's would be."""
    cdef Py_ssize_t named = 0 if names == NULL else tuple_size(names)
    cdef Py_ssize_t size = count + named
    cdef Py_ssize_t place = 0
    cdef Py_ssize_t i
    cdef object key
    if size == 1 and named == 0 and not typed:
        key = <object>args[0]
        if PyUnicode_CheckExact(key) or PyLong_CheckExact(key) or PyBytes_CheckExact(key):
            return key
    key = PyTuple_New(size * (1 + typed) + (2 if named != 0 else 0))
    for i in range(size):
        put(key, &place, <object>args[i])
    if typed:
        for i in range(size):
            put(key, &place, <object>type(<object>args[i]))
    if named != 0:
        put(key, &place, <object>names)
        put(key, &place, _NAMED)
    return key


cdef inline void put(object key, Py_ssize_t *place, object part) noexcept:
    Py_INCREF(part)
    PyTuple_SET_ITEM(key, place[0], part)
    place[0] += 1


cdef object call_function(object self, PyObject *const *args, size_t count, PyObject *names):
    cdef Cached cached = <Cached>self
    cdef Py_ssize_t positional = PyVectorcall_NARGS(count)
    cdef object key = key_of(args, positional, names, cached.typed)
    cdef PyObject *value = lookup(cached.cache, <PyObject *>key, True)
    if value != NULL:
        return fastcache_give(value)
    return cached.fill(key, args, <size_t>positional, names)


cdef object call_coroutine(object self, PyObject *const *args, size_t count, PyObject *names):
    cdef Cached cached = <Cached>self
    cdef Py_ssize_t positional = PyVectorcall_NARGS(count)
    cdef Py_ssize_t i
    cdef dict named = {}
    cdef list given = []
    for i in range(positional):
        given.append(<object>args[i])
    if names != NULL:
        for i in range(tuple_size(names)):
            named[<object>tuple_item(names, i)] = <object>args[positional + i]
    return _answer(cached, key_of(args, positional, names, cached.typed), tuple(given), named)


@cython.final
@cython.auto_pickle(False)
cdef class _Released:
    """A future in place of a lock: released once, which wakes all waiters."""

    cdef object future

    def __init__(self, future):
        self.future = future

    def release(self):
        """Wake the waiters; a closed loop has none."""
        if not self.future.done() and not self.future.get_loop().is_closed():
            self.future.set_result(None)


async def _answer(Cached self, key, tuple args, dict named):
    """Await the value of a key. Flights are separate for each event loop."""
    cdef Flight mine
    cdef Flight flight
    cdef uint64_t generation
    value = self.find(key, True)
    if value is not _ABSENT:
        return value
    loop = _asyncio.get_running_loop()
    task = _asyncio.current_task()
    while True:
        generation = fastcache_load(&self.generation)
        mark = mark_of(generation, loop, key)
        mine = Flight.__new__(Flight)
        mine.owner = task
        mine.done = _Released(loop.create_future())
        flight = self.flying.setdefault(mark, mine)
        if flight is mine:
            break
        if not may_wait(task, flight):
            value = await self.function(*args, **named)
            self.store(key, value, generation)
            return value
        try:
            await _asyncio.wait([(<_Released>flight.done).future])
        finally:
            waited(task)
        if flight.landed:
            return flight.value
        if flight.error is not None:
            raise error_of_its_own(flight, True)
    try:
        mine.value = self.find(key, False)
        if mine.value is _ABSENT:
            mine.value = await self.function(*args, **named)
            self.store(key, mine.value, generation)
        mine.landed = True
        return mine.value
    except Exception as error:
        failed(mine, error)
        raise
    finally:
        self.land(mark, mine)


# Called without an argument tuple, and as a method without creating a bound method.
cdef Cached _some = Cached.__new__(Cached)
(<Type *>Cached).tp_vectorcall_offset = <char *>&_some.vectorcall - <char *><PyObject *>_some
(<Type *>Cached).tp_call = <Call>PyVectorcall_Call
(<Type *>Cached).tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR


# ------------------------------------------------------------------ the decorator

def cached(
    maxsize, ttl=None, *, typed=False, timer=_monotonic, getsizeof=None, shards=1
):
    """A decorator that caches up to `maxsize` results of a function, each for `ttl` seconds.

    It works like functools.lru_cache, with two additions: results expire unless `ttl` is None,
    and while a call is in progress, other calls with equal arguments wait for its result. An
    exception is not cached; every waiting call raises a copy of it. If it cannot be copied, all
    raise the same object, or, without the GIL, call the function one after the other. `timer`,
    `getsizeof` and `shards` are those of TTLCache; `maxsize=None` means no limit.

    Arguments must be hashable. On a method, the instance is one of the arguments, and the cache
    keeps it alive. A coroutine function stays one: its results are cached, not its coroutines,
    and its callers wait for each other within one event loop. Generator functions are rejected
    with a TypeError. A call that needs its own result, directly or through threads that wait for
    each other, calls the function again instead of waiting.
    """
    if callable(maxsize):
        raise TypeError("cached needs a maxsize: @cached(128)")
    limit = math.inf if maxsize is None else maxsize
    parameters = {"maxsize": maxsize, "ttl": ttl, "typed": bool(typed)}

    def new_cache():
        if ttl is None:
            return LRUCache(limit, getsizeof, shards=shards)
        return TTLCache(limit, ttl, timer, getsizeof, shards=shards)

    def decorate(function):
        return _decorated(function, new_cache(), parameters)

    new_cache()     # raises now for invalid arguments
    return decorate


def _decorated(function, cache, parameters):
    cdef Cached made
    global _asyncio
    if not callable(function):
        raise TypeError(f"cached decorates functions, not {type(function).__name__}")
    core = _core(function)
    if inspect.isgeneratorfunction(core) or inspect.isasyncgenfunction(core):
        raise TypeError("cached cannot decorate a generator function: its results are used once")
    made = Cached.__new__(Cached)
    made.function = function
    made.cache = cache
    made.parameters = parameters
    made.flying = {}
    made.typed = parameters["typed"]
    made.vectorcall = call_function
    update_wrapper(made, function)
    if inspect.iscoroutinefunction(function) or _is_coroutine_function(core):
        import asyncio

        _asyncio = asyncio
        made.vectorcall = call_coroutine
        if hasattr(inspect, "markcoroutinefunction"):
            inspect.markcoroutinefunction(made)
        else:
            # Python 3.11 inspects the attributes of functions.
            made._is_coroutine = asyncio.coroutines._is_coroutine
            names = {}
            exec("async def function(*args, **kwargs): pass", names)
            made.__code__ = names["function"].__code__
            made.__defaults__ = made.__kwdefaults__ = None
            if not hasattr(made, "__name__"):
                made.__name__ = getattr(core, "__name__", "coroutine")
    return made


def _core(function):
    """The function that a callable finally calls, or the `__call__` method of its class."""
    while isinstance(function, (partial, staticmethod, MethodType)):
        function = function.func if isinstance(function, partial) else function.__func__
    if isinstance(function, (FunctionType, Cached)) or inspect.isclass(function):
        return function
    called = getattr(type(function), "__call__", None)
    return called if isinstance(called, (FunctionType, Cached)) else function


cdef bint _is_coroutine_function(object core) except -1:
    if isinstance(core, Cached):
        return (<Cached>core).vectorcall == call_coroutine
    return inspect.iscoroutinefunction(core)
