"""One shard of a cache: a table of entries, a capacity, and a lock.

Each method takes the lock, does one complete operation and releases the lock. Under the lock, no
Python code runs, nothing is raised and no reference is released: dropped references are moved to
a `Garbage`, which the caller releases afterwards. Only one operation needs Python in the middle of
a search: the comparison of two keys. It releases the lock, and if the table was changed during the
comparison, the search continues after the compared entry.

Keys are passed with their `mix`: its lower half is the tag in the table, and the whole has chosen
the shard.
"""

cimport cython
from cpython.object cimport Py_EQ, PyObject, PyObject_RichCompareBool
from libc.stdint cimport uint32_t, uint64_t

import math
import sys

from fastcache._garbage cimport Garbage, garbage_add, garbage_make_room
from fastcache._settings cimport CacheSettings
from fastcache._sizes cimport Size, read_capacity
from fastcache._slots cimport Slot, slots_first, slots_home
from fastcache._table cimport (
    Table,
    add_removals,
    exceeds,
    oldest,
    table_add,
    table_free,
    table_order,
    table_replace,
    table_reserve,
    table_start,
    table_take,
    touch,
)


cdef extern from "Python.h":
    void decref "Py_DECREF"(PyObject *reference) noexcept


cdef extern from "_atomics.h":
    uint64_t fastcache_load(uint64_t *word) noexcept nogil


cdef extern from *:
    """
    #if defined(CYTHON_TRACE) && CYTHON_TRACE
    #define FASTCACHE_TRACED 1
    #else
    #define FASTCACHE_TRACED 0
    #endif
    """
    const bint FASTCACHE_TRACED

cdef enum Comparison:
    DIFFERENT = 0
    EQUAL = 1
    CHANGED = 2     # the table was changed during the comparison; added to the others

cdef enum:
    MOST_LATE = 1000    # limit of compared keys that were added after the search began


cdef uint64_t NO_LIMIT = <uint64_t>1 << 62


cdef inline bint born_after(uint32_t serial, uint32_t other) noexcept nogil:
    """Whether a serial was assigned after another; serials wrap around."""
    return serial != other and serial - other < <uint32_t>0x80000000


cdef int done(int failed) except -1:
    """Finish an operation, after the lock was released."""
    if failed:
        raise MemoryError
    return 0


@cython.final
@cython.auto_pickle(False)
@cython.trashcan(True)
cdef class Shard:
    """A part of a cache, with its own table, capacity, and orders of use and of expiry."""

    def __cinit__(
        self, CacheSettings settings not None, capacity, bint sized, bint reborn, bint watched
    ):
        self.settings = settings
        self.most = NO_LIMIT if sized or capacity >= NO_LIMIT else math.floor(capacity)
        if sized:
            read_capacity(capacity, &self.capacity)
        self.table.sized = sized
        self.table.watched = watched
        self.table.reborn = reborn
        table_start(&self.table)

    def __dealloc__(self):
        self.discard()

    # -------------------------------------------------------------- lookups

    cdef uint32_t search(self, object key, uint64_t mix) except? 0xFFFFFFFF:
        """`find` for keys that only Python can compare.

        The slots of a tag are in the order of insertion. So the search can continue after the entry
        that it has compared, even if the comparison or another thread changed the table.
        """
        cdef uint32_t tag = <uint32_t>mix
        cdef uint32_t newest = self.table.serial
        cdef uint32_t serial
        cdef uint32_t index
        cdef int late = 0
        cdef Slot *slot = slots_first(&self.table.slots, tag)
        cdef PyObject *held
        cdef int same
        while slot.tag == tag and slot.entry != 0:
            index = slot.entry
            held = self.table.entries[index].key
            if held == <PyObject *>key:
                return index
            same = fastcache_equal(held, <PyObject *>key)
            if same < 0:
                serial = self.table.births[index].serial
                late += born_after(serial, newest)
                if late > MOST_LATE:
                    unlock(&self.mutex)
                    raise RuntimeError("keys are added faster than they can be compared")
                same = self.compare(held, key)
                if same & CHANGED:
                    if same & EQUAL and self.lives(index, serial):
                        return index
                    slot = slots_first(&self.table.slots, tag)
                    while (
                        slot.tag == tag and slot.entry != 0
                        and not born_after(self.table.births[slot.entry].serial, serial)
                    ):
                        slot += 1
                    continue
            if same == EQUAL:
                return index
            slot += 1
        return 0

    cdef bint lives(self, uint32_t index, uint32_t serial) noexcept:
        """Whether the entry is still the one with that serial."""
        return (
            index < self.table.used
            and self.table.entries[index].key != NULL
            and self.table.births[index].serial == serial
        )

    cdef int compare(self, PyObject *held, object key) except -1:
        """A `Comparison` by Python, during which the lock is released."""
        cdef uint64_t version = self.table.version
        cdef int same
        incref(held)
        unlock(&self.mutex)
        try:
            same = PyObject_RichCompareBool(<object>held, key, Py_EQ)
        finally:
            decref(held)
        lock(&self.mutex)
        return same if version == self.table.version else same | CHANGED

    # -------------------------------------------------------------- changes

    cdef int put(self, object key, uint64_t mix, Item *item, Garbage *garbage) except -1:
        """Store one item, after removing expired entries and evicting others to make room."""
        cdef int failed
        lock(&self.mutex)
        failed = self.store(find(self, <PyObject *>key, mix), key, mix, item, garbage)
        unlock(&self.mutex)
        return done(failed)

    cdef int put_while(
        self, object key, uint64_t mix, Item *item, Garbage *garbage, uint64_t *generation,
        uint64_t expected,
    ) except -1:
        """`put` if `generation` is still as expected, compared after the last Python code has run.

        A thread that changes the generation and then clears the shard also removes this item, or
        the item is not stored.
        """
        cdef int failed = 0
        cdef uint32_t index
        lock(&self.mutex)
        index = find(self, <PyObject *>key, mix)
        if fastcache_load(generation) == expected:
            failed = self.store(index, key, mix, item, garbage)
        unlock(&self.mutex)
        return done(failed)

    cdef PyObject *put_new(
        self, object key, uint64_t mix, Item *item, Garbage *garbage
    ) except? NULL:
        """`put` if the key is missing; otherwise return a new reference to its value."""
        cdef PyObject *value = NULL
        cdef int failed = 0
        cdef uint32_t index
        lock(&self.mutex)
        index = find(self, <PyObject *>key, mix)
        if index != 0 and item.now < self.table.entries[index].deadline:
            touch(&self.table, index)
            value = self.table.entries[index].value
            incref(value)
        else:
            failed = self.store(index, key, mix, item, garbage)
        unlock(&self.mutex)
        done(failed)
        return value

    cdef int store(
        self, uint32_t index, object key, uint64_t mix, Item *item, Garbage *garbage
    ) noexcept:
        """`put` for a key that was just found at `index`; -1 if there is no memory."""
        cdef Table *table = &self.table
        self.prefetch_eviction()
        if self.expire_held(item.now, garbage) < 0:
            return -1
        if not (item.now < item.deadline):
            # The item would expire immediately, so nothing needs to be evicted for it.
            if index != 0 and table.entries[index].key != NULL:
                if self.take(index, garbage) < 0:
                    return -1
                self.counts.expirations += 1
            return 0
        while True:
            # Expiry or eviction may have removed the entry that is to be replaced.
            if index != 0 and table.entries[index].key == NULL:
                index = 0
            if table.count == 0 or not exceeds(
                table, index, &item.size, self.most, &self.capacity
            ):
                break
            if self.take(table.entries[0].next_used, garbage) < 0:
                return -1
            self.counts.evictions += 1
        if index == 0 and table_reserve(table, self.most) < 0:
            return -1
        if garbage_make_room(garbage) < 0 or table_order(table, item.deadline, item.own) < 0:
            return -1
        incref(item.value)
        if index != 0:
            garbage_add(
                garbage, table_replace(table, index, item.value, &item.size, item.deadline)
            )
        else:
            incref(<PyObject *>key)
            table_add(
                table, <uint32_t>mix, <PyObject *>key, item.value, &item.size, item.deadline
            )
        fastcache_prefetch(&table.entries[table.entries[0].next_used])
        fastcache_prefetch(&table.births[table.entries[0].next_used])
        return 0

    cdef void prefetch_eviction(self) noexcept:
        """Prefetch the memory that the next eviction will use.

        The entry itself was prefetched by the previous store.
        """
        cdef uint32_t index
        if self.table.count != 0 and self.table.count >= self.most:
            index = self.table.entries[0].next_used
            fastcache_prefetch(self.table.entries[index].key)
            fastcache_prefetch(self.table.entries[index].value)
            fastcache_prefetch(slots_home(&self.table.slots, self.table.births[index].tag))

    cdef int take(self, uint32_t index, Garbage *garbage) noexcept:
        """Remove one entry; its key and value go to the garbage. -1 if there is no memory."""
        if garbage_make_room(garbage) < 0:
            return -1
        garbage_add(garbage, self.table.entries[index].key)
        garbage_add(garbage, self.table.entries[index].value)
        table_take(&self.table, index)
        return 0

    cdef int expire_held(self, double now, Garbage *garbage) noexcept:
        """`expire` with the lock held; -1 if there is no memory."""
        cdef uint32_t index
        while self.table.count != 0:
            index = oldest(&self.table)
            if now < self.table.entries[index].deadline:
                break
            if self.take(index, garbage) < 0:
                return -1
            self.counts.expirations += 1
        return 0

    cdef int expire(self, double now, Garbage *garbage) except -1:
        """Remove the entries whose deadline has passed at `now`."""
        cdef int failed
        lock(&self.mutex)
        failed = self.expire_held(now, garbage)
        unlock(&self.mutex)
        return done(failed)

    cdef Removal remove(
        self, object key, uint64_t mix, double now, bint counted, Garbage *garbage
    ) except *:
        """Remove a key. With `counted`, it counts as a lookup, and leaves an expired entry."""
        cdef Removal removal = ABSENT
        cdef int failed = 0
        cdef uint32_t index
        lock(&self.mutex)
        index = find(self, <PyObject *>key, mix)
        if index != 0:
            removal = REMOVED if now < self.table.entries[index].deadline else EXPIRED
        if removal == REMOVED or (removal == EXPIRED and not counted):
            failed = self.take(index, garbage)
            self.counts.expirations += removal == EXPIRED and not failed
        self.counts.hits += counted and removal == REMOVED
        self.counts.misses += counted and removal != REMOVED
        unlock(&self.mutex)
        done(failed)
        return removal

    cdef int use(self, object key, uint64_t mix) except -1:
        """Make a key the most recently used."""
        cdef uint32_t index
        lock(&self.mutex)
        index = find(self, <PyObject *>key, mix)
        if index != 0:
            touch(&self.table, index)
        unlock(&self.mutex)
        return 0

    cdef bint lacks_room(self, object key, uint64_t mix, Size *size) except -1:
        """Whether storing `size` under `key` would exceed the capacity."""
        cdef bint lacks
        cdef uint32_t index
        lock(&self.mutex)
        index = find(self, <PyObject *>key, mix)
        lacks = exceeds(&self.table, index, size, self.most, &self.capacity)
        unlock(&self.mutex)
        return lacks

    cdef int pop_used(self, Garbage *garbage) except -1:
        """Remove the least recently used entry, if there is any."""
        cdef int failed = 0
        lock(&self.mutex)
        if self.table.count != 0:
            failed = self.take(self.table.entries[0].next_used, garbage)
        unlock(&self.mutex)
        return done(failed)

    cdef void clear(self) noexcept:
        """Remove all entries. The shard is empty before the first reference is released."""
        cdef Table table
        cdef uint32_t i
        lock(&self.mutex)
        table = self.table
        table_start(&self.table)
        if table.watched:
            add_removals(table.count)
        unlock(&self.mutex)
        for i in range(1, table.used):
            if table.entries[i].key != NULL:
                decref(table.entries[i].key)
                decref(table.entries[i].value)
        table_free(&table)

    cdef void discard(self) noexcept:
        """Remove all entries of a cache that is being destroyed.

        A collection may run in any thread, within a lookup in another cache: these removals must
        not be attributed to that thread.
        """
        self.table.watched = False
        self.clear()

    # -------------------------------------------------------------- statistics

    cdef void count_eviction(self) noexcept:
        lock(&self.mutex)
        self.counts.evictions += 1
        unlock(&self.mutex)

    cdef void reset(self) noexcept:
        """Reset the statistics."""
        lock(&self.mutex)
        self.counts = Counts(hits=0, misses=0, evictions=0, expirations=0)
        unlock(&self.mutex)


# In a coverage build, the tracer runs Python code at every line, also within a change. Other
# threads must not run there, so threads switch only when they wait.
if FASTCACHE_TRACED:
    sys.setswitchinterval(3600)
