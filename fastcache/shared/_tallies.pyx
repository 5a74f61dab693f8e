# cython: always_allow_keywords=False
"""Rows of cumulative counters, by number: the counts of many things of one kind.

A row is `len(fields)` adjacent 64-bit words, each changed by single atomic instructions. The
address range may be larger than the memory that is backed by storage so far. Rows are usable up to
a bound in shared memory, which only ever increases. So every process sees at once when a row
becomes usable, and no process touches memory that the system cannot provide.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport UINT64_MAX, uint64_t, uintptr_t

from fastcache.shared._words cimport Counters, Words, word_from


cdef extern from "_atomics.h":
    uint64_t fastcache_load(uint64_t *word) noexcept nogil
    uint64_t fastcache_load_relaxed(uint64_t *word) noexcept nogil
    void fastcache_store(uint64_t *word, uint64_t value) noexcept nogil
    uint64_t fastcache_fetch_add(uint64_t *word, uint64_t amount) noexcept nogil
    bint fastcache_raise_to(uint64_t *word, uint64_t value) noexcept nogil


cpdef enum:
    BOUND_UNIT = 4096   # bytes per unit of the shared word that counts backed memory

cdef enum:
    FOUND_AT_ONCE = 1024


cdef enum Change:
    ADD
    PUT
    RAISE


@cython.final
@cython.auto_pickle(False)
@cython.no_gc_clear
cdef class Tallies(Words):
    """`rows` rows of the named counters; row 0 is the first.

    `memory` needs `rows * row_size` bytes of address space. `backed`, a word of shared memory
    from Segment.backed_word, is the number of those bytes that may be used; without it, all may
    be used. Rows beyond it read as zeros, and changing them returns False. While that word is
    damaged, its last valid value applies. An invalid field raises IndexError.
    """

    def __init__(self, fields, rows, *, memory=None, backed=None):
        if isinstance(fields, (str, bytes)):
            raise TypeError("fields must be a sequence of names, not one string")
        named = Counters(fields)
        if not named.names:
            raise ValueError("fields must have at least one name")
        if not isinstance(rows, int):
            raise TypeError(f"rows must be an int, not {type(rows).__name__}")
        if rows < 0:
            raise ValueError(f"rows must be >= 0, not {rows}")
        if memory is None and backed is not None:
            raise ValueError("backed requires memory: pass the memory that it describes")
        bound = None if backed is None else Counters(("backed",), memory=backed)
        with cython.critical_section(self):
            self.map(rows * len(named.names), memory)
            self.fields = named.names
            self.width = <uint64_t>len(named.names)
            self.rows = rows
            self.bound_word = bound
            self.backed = UINT64_MAX if bound is None else 0
            self.bound = NULL if bound is None else (<Counters>bound).words

    def __len__(self):
        return self.rows

    @property
    def row_size(self):
        """The number of bytes of a row."""
        return self.width * sizeof(uint64_t)

    @property
    def backed_rows(self):
        """The number of rows that are usable now."""
        return self.bounded()

    cdef uint64_t bounded(self) noexcept nogil:
        if self.width == 0:
            return 0
        return min(<uint64_t>self.rows, self.read_bound() // (self.width * sizeof(uint64_t)))

    cdef uint64_t read_bound(self) noexcept nogil:
        """The number of backed bytes; it only increases, and a damaged word is ignored."""
        cdef uint64_t word, units
        if self.bound != NULL:
            word = fastcache_load(self.bound)
            units = word & 0xFFFFFFFFU
            if word >> 32 == (~units & 0xFFFFFFFFU):
                fastcache_raise_to(&self.backed, units * BOUND_UNIT)
        return fastcache_load(&self.backed)

    cdef uint64_t *row_at(self, uint64_t row) noexcept nogil:
        """The words of a row; NULL if it is not backed."""
        # Checked first, so that the product below cannot overflow.
        if row >= <uint64_t>self.rows:
            return NULL
        cdef uint64_t end = (row + 1) * self.width * sizeof(uint64_t)
        if end > fastcache_load_relaxed(&self.backed) and end > self.read_bound():
            return NULL
        return &self.words[row * self.width]

    cdef uint64_t number_of(self, uint64_t *words) noexcept nogil:
        """The number of the row with these words."""
        return <uint64_t>(words - self.words) // self.width

    cdef uint64_t *word_at(self, object row, Py_ssize_t field) except? NULL:
        cdef uint64_t *words
        if not 0 <= field < <Py_ssize_t>self.width:
            raise IndexError(f"field {field} is not within 0 to {<Py_ssize_t>self.width - 1}")
        words = self.row_at(word_from(row, "row"))
        return NULL if words == NULL else &words[field]

    cdef bint change(
        self, object row, Py_ssize_t field, object number, str name, int change
    ) except -1:
        """Change a counter by `number`, called `name` in errors; False if the row is not backed."""
        cdef uint64_t whole = word_from(number, name)
        cdef uint64_t *word = self.word_at(row, field)
        if word == NULL:
            return False
        if change == ADD:
            fastcache_fetch_add(word, whole)
        elif change == PUT:
            fastcache_store(word, whole)
        else:
            fastcache_raise_to(word, whole)
        return True

    def add(self, row, Py_ssize_t field, amount=1):
        """Add `amount`, from 0 to 2**64 - 1; False if the row is not backed."""
        return self.change(row, field, amount, "amount", ADD)

    def put(self, row, Py_ssize_t field, value):
        """Store a value unconditionally; False if the row is not backed."""
        return self.change(row, field, value, "value", PUT)

    def raise_to(self, row, Py_ssize_t field, value):
        """Store a value if the present one is smaller; False if the row is not backed."""
        return self.change(row, field, value, "value", RAISE)

    def value(self, row, Py_ssize_t field):
        """One counter of a row."""
        cdef uint64_t *word = self.word_at(row, field)
        return 0 if word == NULL else fastcache_load(word)

    def row(self, row):
        """All counters of a row. Each is read atomically, but not all at the same moment."""
        cdef uint64_t *words = self.row_at(word_from(row, "row"))
        cdef uint64_t i
        if words == NULL:
            return (0,) * len(self.fields)
        return tuple([fastcache_load(&words[i]) for i in range(self.width)])

    def changes(self, since, field=None):
        """The numbers of the backed rows that differ from those in `since`, in order.

        `since` is a buffer of 64-bit words, such as an array of type "Q", with the earlier rows;
        with `field`, it has only that word of each row. Rows beyond its end are compared with
        zeros.
        """
        cdef Py_buffer view
        cdef uint64_t found[FOUND_AT_ONCE]
        cdef uint64_t row = 0, first = 0, each = self.width, known, count, end, i
        cdef list rows = []
        if field is not None:
            first = word_from(field, "field")
            if first >= self.width:
                raise IndexError(f"field {field} is not within 0 to {self.width - 1}")
            each = 1
        if each == 0:
            return rows
        PyObject_GetBuffer(since, &view, PyBUF_SIMPLE)
        try:
            known = <uint64_t>view.len // sizeof(uint64_t) // each
            # The address of an empty buffer is arbitrary.
            if known > 0 and <uintptr_t>view.buf % sizeof(uint64_t) != 0:
                raise ValueError("since must be 8-byte aligned")
            end = self.bounded()
            while row < end:
                with nogil:
                    count = self.find_changes(
                        <const uint64_t *>view.buf, known, first, each,
                        &row, end, found, FOUND_AT_ONCE,
                    )
                for i in range(count):
                    rows.append(found[i])
        finally:
            PyBuffer_Release(&view)
        return rows

    cdef uint64_t find_changes(
        self, const uint64_t *since, uint64_t known, uint64_t first, uint64_t each,
        uint64_t *row, uint64_t end, uint64_t *found, uint64_t room,
    ) noexcept nogil:
        """Continue from `row` until `end`, or until `room` rows are found; returns their number."""
        cdef uint64_t count = 0, i
        cdef uint64_t *words
        while row[0] < end and count < room:
            words = &self.words[row[0] * self.width + first]
            for i in range(each):
                if fastcache_load_relaxed(&words[i]) != (
                    since[row[0] * each + i] if row[0] < known else 0
                ):
                    found[count] = row[0]
                    count += 1
                    break
            row[0] += 1
        return count
