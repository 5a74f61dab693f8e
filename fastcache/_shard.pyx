"""One shard of a cache: entries in a C array, found by open addressing, kept in two orders.

The entries are linked into two rings by index, both rooted at entry 0: one by use (the
next of the root is the least recently used) and one by birth (the next of the root is the
oldest, which under a constant ttl is the first to expire).

What keeps a shard consistent whatever the objects in it do: Python code can run in three
places only, the comparison in `find`, the release of garbage, and an allocation that the
cyclic collector sees. Every change of the structure lies between such places, and leaves
it whole. References that a change lets go are moved into a `Garbage`, which the caller
releases when the change is done.
"""

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.object cimport Py_EQ, PyObject, PyObject_RichCompareBool
from libc.stdint cimport uint32_t, uint64_t

import sys

from fastcache._garbage cimport Garbage, garbage_add, garbage_make_room
from fastcache._settings cimport Settings


cdef extern from "Python.h":
    void incref "Py_INCREF"(PyObject *reference) noexcept
    void decref "Py_DECREF"(PyObject *reference) noexcept

    # Cython's own declarations of these let exceptions through, which none of them may.
    ctypedef int (*Visit "visitproc")(PyObject *item, void *arg) noexcept
    ctypedef int (*Traverse "traverseproc")(PyObject *self, Visit visit, void *arg) noexcept
    ctypedef int (*Clear "inquiry")(PyObject *self) noexcept
    ctypedef struct Type "PyTypeObject":
        Traverse tp_traverse
        Clear tp_clear


cdef extern from *:
    """
    #if defined(CYTHON_TRACE) && CYTHON_TRACE
    #define FASTCACHE_TRACED 1
    #else
    #define FASTCACHE_TRACED 0
    #endif
    """
    const bint FASTCACHE_TRACED


cdef enum:
    FIRST_ROOM = 8
    FIRST_SLOTS = 16
    MOST_ENTRIES = 0x40000000


@cython.final
@cython.auto_pickle(False)
@cython.trashcan(True)
cdef class Shard:
    """A part of a cache, with its own table, its own orders and its own capacity."""

    def __init__(self, Settings settings not None, double capacity, bint reborn):
        self.settings = settings
        self.capacity = capacity
        self.reborn = reborn

    def __dealloc__(self):
        self.clear()

    # -------------------------------------------------------------- looking up

    cdef uint32_t find(self, object key, Py_hash_t hash_value) except? 0xFFFFFFFF:
        """Index of the entry of `key`, expired or not; 0 where there is none.

        No Python code has run since the answer became true.
        """
        cdef uint32_t tag = <uint32_t>spread(hash_value)
        cdef uint32_t position
        cdef uint32_t index
        cdef uint64_t version
        cdef int same
        cdef object held
        while self.count != 0:
            version = self.version
            position = tag & self.mask
            while True:
                index = self.slots[position].entry
                if index == 0:
                    return 0
                if self.slots[position].tag == tag and self.entries[index].hash == hash_value:
                    if self.entries[index].key == <PyObject *>key:
                        return index
                    same = fastcache_equal(self.entries[index].key, <PyObject *>key)
                    if same < 0:
                        held = <object>self.entries[index].key
                        same = PyObject_RichCompareBool(held, key, Py_EQ)
                        held = None
                        if version != self.version:
                            break   # an __eq__ changed the table: start again
                    if same:
                        return index
                position = (position + 1) & self.mask
        return 0

    cdef PyObject *fetch(self, object key, Py_hash_t hash_value, double now) except? NULL:
        """New reference to the live value of `key`, now the most recently used; or NULL."""
        cdef uint32_t index = self.find(key, hash_value)
        cdef PyObject *value
        if index == 0 or not (now < self.entries[index].deadline):
            self.misses += 1
            return NULL
        self.hits += 1
        self.touch(index)
        value = self.entries[index].value
        incref(value)
        return value

    cdef void touch(self, uint32_t index) noexcept:
        """Make the entry the most recently used."""
        cdef Entry *entries = self.entries
        cdef Entry *entry = &entries[index]
        if entry.next_used == 0:
            return
        entries[entry.prev_used].next_used = entry.next_used
        entries[entry.next_used].prev_used = entry.prev_used
        self.link_used(index)

    cdef Mark *marks(self, bint by_use, uint32_t *count) except? NULL:
        """Marks of all entries, in one of the two orders; the caller frees them."""
        cdef Mark *marks
        cdef uint32_t index
        cdef uint32_t i = 0
        count[0] = 0
        if self.count == 0:
            return NULL
        marks = <Mark *>PyMem_Malloc(self.count * sizeof(Mark))
        if marks == NULL:
            raise MemoryError
        index = self.entries[0].next_used if by_use else self.entries[0].next_born
        while index != 0:
            marks[i].entry = index
            marks[i].serial = self.entries[index].serial
            i += 1
            index = self.entries[index].next_used if by_use else self.entries[index].next_born
        assert i == self.count
        count[0] = i
        return marks

    # -------------------------------------------------------------- changing

    cdef int put(
        self, object key, Py_hash_t hash_value, object value,
        double size, double now, double deadline, Garbage *garbage
    ) except -1:
        """Store one item, after dropping what has expired and what must make room."""
        return self.store(
            self.find(key, hash_value), key, hash_value, value, size, now, deadline, garbage
        )

    cdef int store(
        self, uint32_t index, object key, Py_hash_t hash_value, object value,
        double size, double now, double deadline, Garbage *garbage
    ) except -1:
        """`put` for a key that was just found at `index`. Runs no Python code."""
        cdef Entry *entry
        cdef double before
        self.expire(now, garbage)
        while True:
            # Expiry and eviction may both have taken the entry that is to be replaced.
            if index != 0 and self.entries[index].key == NULL:
                index = 0
            before = self.entries[index].size if index != 0 else 0.0
            if self.count == 0 or not (self.total - before + size > self.capacity):
                break
            self.take(self.entries[0].next_used, garbage)
            self.evictions += 1
        if index != 0:
            garbage_make_room(garbage)
            entry = &self.entries[index]
            garbage_add(garbage, entry.value)
            self.total += size - entry.size
            if self.reborn:
                self.entries[entry.prev_born].next_born = entry.next_born
                self.entries[entry.next_born].prev_born = entry.prev_born
                self.link_born(index)
            self.touch(index)
        else:
            self.reserve()
            index = self.new_entry()
            entry = &self.entries[index]
            incref(<PyObject *>key)
            entry.key = <PyObject *>key
            entry.hash = hash_value
            self.serial += 1
            entry.serial = self.serial
            self.total += size
            self.count += 1
            self.version += 1
            self.link_used(index)
            self.link_born(index)
            place(self.slots, self.mask, <uint32_t>spread(hash_value), index)
        incref(<PyObject *>value)
        entry.value = <PyObject *>value
        entry.size = size
        entry.deadline = deadline
        return 0

    cdef int take(self, uint32_t index, Garbage *garbage) except -1:
        """Remove one entry; its key and value go to the garbage. Runs no Python code."""
        cdef Entry *entry = &self.entries[index]
        assert index != 0
        assert entry.key != NULL
        garbage_make_room(garbage)
        self.vacate(index)
        garbage_add(garbage, entry.key)
        garbage_add(garbage, entry.value)
        self.entries[entry.prev_used].next_used = entry.next_used
        self.entries[entry.next_used].prev_used = entry.prev_used
        self.entries[entry.prev_born].next_born = entry.next_born
        self.entries[entry.next_born].prev_born = entry.prev_born
        self.total -= entry.size
        self.count -= 1
        self.version += 1
        if self.count == 0:
            self.total = 0.0    # sizes may be fractions, whose sum drifts
        entry.key = NULL
        entry.value = NULL
        entry.serial = 0
        entry.next_used = self.free
        self.free = index
        return 0

    cdef int expire(self, double now, Garbage *garbage) except -1:
        """Remove what is past its deadline at `now`. Runs no Python code."""
        cdef uint32_t oldest
        while self.count != 0:
            oldest = self.entries[0].next_born
            if now < self.entries[oldest].deadline:
                break
            self.take(oldest, garbage)
            self.expirations += 1
        return 0

    cdef void clear(self) noexcept:
        """Drop everything. The shard is empty before the first reference is released."""
        cdef Entry *entries = self.entries
        cdef uint32_t used = self.used
        cdef uint32_t i
        PyMem_Free(self.slots)
        self.slots = NULL
        self.entries = NULL
        self.mask = 0
        self.room = 0
        self.used = 0
        self.free = 0
        self.count = 0
        self.total = 0.0
        self.version += 1
        for i in range(1, used):
            if entries[i].key != NULL:
                decref(entries[i].key)
                decref(entries[i].value)
        PyMem_Free(entries)

    # -------------------------------------------------------------- the parts

    cdef void link_used(self, uint32_t index) noexcept:
        cdef uint32_t last = self.entries[0].prev_used
        self.entries[index].prev_used = last
        self.entries[index].next_used = 0
        self.entries[last].next_used = index
        self.entries[0].prev_used = index

    cdef void link_born(self, uint32_t index) noexcept:
        cdef uint32_t last = self.entries[0].prev_born
        self.entries[index].prev_born = last
        self.entries[index].next_born = 0
        self.entries[last].next_born = index
        self.entries[0].prev_born = index

    cdef uint32_t new_entry(self) noexcept:
        cdef uint32_t index = self.free
        if index != 0:
            self.free = self.entries[index].next_used
        else:
            index = self.used
            self.used += 1
        return index

    cdef int reserve(self) except -1:
        """Room for one more entry and its slot, so that adding it cannot fail."""
        cdef Entry *entries
        cdef uint32_t room
        if self.free == 0 and self.used >= self.room:
            room = self.room * 2 if self.room != 0 else FIRST_ROOM
            if room > MOST_ENTRIES:
                raise MemoryError("too many entries in one shard")
            entries = <Entry *>PyMem_Realloc(self.entries, room * sizeof(Entry))
            if entries == NULL:
                raise MemoryError
            if self.room == 0:
                entries[0] = Entry(
                    key=NULL, value=NULL, hash=0, deadline=0.0, size=0.0, serial=0,
                    next_used=0, prev_used=0, next_born=0, prev_born=0,
                )
                self.used = 1
            self.entries = entries
            self.room = room
        if self.slots == NULL or (self.count + 1) * 3 > (self.mask + 1) * 2:
            self.widen()
        return 0

    cdef int widen(self) except -1:
        """Twice the slots. The tags are enough to place them: no entry is touched."""
        cdef uint32_t size = (self.mask + 1) * 2 if self.slots != NULL else FIRST_SLOTS
        cdef Slot *slots = <Slot *>PyMem_Calloc(size, sizeof(Slot))
        cdef uint32_t i
        if slots == NULL:
            raise MemoryError
        if self.slots != NULL:
            for i in range(self.mask + 1):
                if self.slots[i].entry != 0:
                    place(slots, size - 1, self.slots[i].tag, self.slots[i].entry)
        PyMem_Free(self.slots)
        self.slots = slots
        self.mask = size - 1
        self.version += 1
        return 0

    cdef void vacate(self, uint32_t index) noexcept:
        """Empty the slot of an entry, and move up what had to pass it by."""
        cdef Slot *slots = self.slots
        cdef uint32_t mask = self.mask
        cdef uint32_t hole = <uint32_t>spread(self.entries[index].hash) & mask
        cdef uint32_t position
        while slots[hole].entry != index:
            hole = (hole + 1) & mask
        position = hole
        while True:
            position = (position + 1) & mask
            if slots[position].entry == 0:
                break
            # Only what has its home at or before the hole can be found in it.
            if ((position - slots[position].tag) & mask) >= ((position - hole) & mask):
                slots[hole] = slots[position]
                hole = position
        slots[hole].tag = 0
        slots[hole].entry = 0


cdef void place(Slot *slots, uint32_t mask, uint32_t tag, uint32_t index) noexcept:
    cdef uint32_t position = tag & mask
    while slots[position].entry != 0:
        position = (position + 1) & mask
    slots[position].tag = tag
    slots[position].entry = index


# ------------------------------------------------------------------ the cyclic collector

# Cython's own traverse and clear know `settings` only; these go on into the entries.
cdef Traverse _traverse_attributes = (<Type *>Shard).tp_traverse
cdef Clear _clear_attributes = (<Type *>Shard).tp_clear


@cython.linetrace(False)
@cython.profile(False)
cdef int _traverse(PyObject *self, Visit visit, void *arg) noexcept:
    cdef Entry *entries = (<Shard>self).entries
    cdef uint32_t used = (<Shard>self).used
    cdef uint32_t i
    cdef int stop = _traverse_attributes(self, visit, arg)
    if stop != 0:
        return stop
    for i in range(1, used):
        if entries[i].key != NULL:
            stop = visit(entries[i].key, arg)
            if stop != 0:
                return stop
            stop = visit(entries[i].value, arg)
            if stop != 0:
                return stop
    return 0


cdef int _clear(PyObject *self) noexcept:
    (<Shard>self).clear()
    return _clear_attributes(self)


(<Type *>Shard).tp_traverse = _traverse
(<Type *>Shard).tp_clear = _clear

# In a coverage build the tracer runs Python code at every line, inside a change too. No
# thread may take over there, so threads switch only where they wait.
if FASTCACHE_TRACED:
    sys.setswitchinterval(3600)
