# cython: always_allow_keywords=False
"""Arrays of words that threads and processes share: stripe generations and cumulative counters.

Both are arrays of 64-bit words, which are changed by single atomic instructions, and normally only
increase. The words are in private memory or in memory of the caller: any writable, contiguous
buffer that is 8-byte aligned, such as a shared mmap. Passed memory keeps its content, so that
another process can attach to it; new memory starts with zeros.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.number cimport PyNumber_Index
from cpython.unicode cimport PyUnicode_Check
from libc.stdint cimport uint64_t, uintptr_t


cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL


cdef extern from "_atomics.h":
    uint64_t fastcache_load(uint64_t *word) noexcept nogil
    uint64_t fastcache_fetch_add(uint64_t *word, uint64_t amount) noexcept nogil
    bint fastcache_compare_exchange(
        uint64_t *word, uint64_t expected, uint64_t desired
    ) noexcept nogil
    bint fastcache_raise_to(uint64_t *word, uint64_t value) noexcept nogil


cdef extern from "_fixed_hash.h":
    uint64_t fastcache_fixed_hash(const char *key, size_t length) noexcept nogil


cdef const char *text_of(object text, size_t *length, str name) except NULL:
    """The bytes of a bytes object, or the UTF-8 bytes of a str; `name` is used in errors."""
    cdef const char *found
    cdef Py_ssize_t size = 0
    if PyUnicode_Check(text):
        found = PyUnicode_AsUTF8AndSize(text, &size)
    elif PyBytes_Check(text):
        found = PyBytes_AS_STRING(text)
        size = PyBytes_GET_SIZE(text)
    else:
        raise TypeError(f"{name} must be str or bytes, not {type(text).__name__}")
    length[0] = <size_t>size
    return found


cdef uint64_t word_from(object number, str name) except? 0:
    """An int from 0 to 2**64 - 1 as a word; `name` is used in errors."""
    cdef object whole = PyNumber_Index(number)
    if whole < 0:
        raise ValueError(f"{name} must be >= 0, not {whole}")
    return <uint64_t>whole


@cython.auto_pickle(False)
@cython.no_gc_clear
cdef class Words:
    """An array of 64-bit words in private or passed memory."""

    # no_gc_clear: the words must not outlive the buffer that contains them.

    cdef int map(self, Py_ssize_t count, object memory) except -1:
        """Use the first `count` words of `memory`, or new private ones for None."""
        cdef Py_buffer view
        if self.words != NULL:
            raise RuntimeError(f"{type(self).__name__} is already initialised")
        if memory is None:
            # At least one word, because NULL means that the object is not initialised.
            self.words = <uint64_t *>PyMem_Calloc(<size_t>max(count, 1), sizeof(uint64_t))
            if self.words == NULL:
                raise MemoryError
            self.count = count
            return 0
        PyObject_GetBuffer(memory, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        try:
            if view.len // <Py_ssize_t>sizeof(uint64_t) < count:
                raise ValueError(
                    f"memory has {view.len} bytes, {count} words need "
                    f"{count * <Py_ssize_t>sizeof(uint64_t)}"
                )
            if <uintptr_t>view.buf % sizeof(uint64_t) != 0:
                raise ValueError("memory must be 8-byte aligned")
        except ValueError:
            PyBuffer_Release(&view)
            raise
        self.view = view
        self.given = True
        self.words = <uint64_t *>view.buf
        self.count = count
        return 0

    def __dealloc__(self):
        if self.given:
            PyBuffer_Release(&self.view)
        else:
            PyMem_Free(self.words)

    def __len__(self):
        return self.count


@cython.final
@cython.auto_pickle(False)
@cython.no_gc_clear
cdef class Stripes(Words):
    """Generations that show whether cached values are current.

    A fixed hash (see _fixed_hash.h) assigns each key to one of `count` stripes, a power of two. To
    cache a value, load the generation of its stripe before reading the value, and store both. The
    cached value is valid while the stripe still has that generation. Invalidation is one
    wait-free increment; generations only ever increase.

    A str stands for its UTF-8 bytes. `memory` needs 8 * count bytes.
    """

    def __init__(self, count=65536, *, memory=None):
        if not isinstance(count, int):
            raise TypeError(f"count must be an int, not {type(count).__name__}")
        if count < 1 or count & (count - 1) != 0:
            raise ValueError(f"count must be a power of two, not {count}")
        with cython.critical_section(self):
            self.map(count, memory)

    cdef uint64_t *word_of(self, object key) except NULL:
        cdef size_t length = 0
        cdef const char *text = text_of(key, &length, "key")
        if self.words == NULL:
            raise RuntimeError("Stripes is not initialised")
        return self.word_at(text, length)

    cdef uint64_t *word_at(self, const char *key, size_t length) noexcept nogil:
        """The generation of a key's stripe; the object must be initialised."""
        return &self.words[fastcache_fixed_hash(key, length) & <uint64_t>(self.count - 1)]

    def generation(self, key):
        """The generation of the key's stripe."""
        return fastcache_load(self.word_of(key))

    def invalidate(self, key):
        """Invalidate everything cached for the key, and for all keys of its stripe."""
        fastcache_fetch_add(self.word_of(key), 1)

    def invalidate_all(self):
        """Invalidate everything cached, by incrementing each generation."""
        cdef Py_ssize_t i
        for i in range(self.count):
            fastcache_fetch_add(&self.words[i], 1)


@cython.final
@cython.auto_pickle(False)
@cython.no_gc_clear
cdef class Counters(Words):
    """Named cumulative 64-bit counters that many threads may add to.

    A counter is addressed by its index in `names`; another index raises IndexError. `memory` needs
    8 * len(names) bytes. `raise_to` and `compare_exchange` are for words that are not sums, such
    as a maximum or the owner of a task.
    """

    def __init__(self, names, *, memory=None):
        if isinstance(names, (str, bytes)):
            raise TypeError("names must be a sequence of names, not one string")
        made = tuple(names)
        for name in made:
            if not isinstance(name, str):
                raise TypeError(f"a name must be a str, not {type(name).__name__}")
        if len(set(made)) != len(made):
            raise ValueError("names must be distinct")
        with cython.critical_section(self):
            self.map(len(made), memory)
        self.names = made

    cdef uint64_t *word_at(self, Py_ssize_t index) except NULL:
        if not 0 <= index < self.count:
            raise IndexError(f"counter index {index} is not within 0 to {self.count - 1}")
        return &self.words[index]

    def add(self, Py_ssize_t index, amount=1):
        """Add `amount`, from 0 to 2**64 - 1, to the counter at `index`."""
        fastcache_fetch_add(self.word_at(index), word_from(amount, "amount"))

    def raise_to(self, Py_ssize_t index, value):
        """Set the counter at `index` to `value` if it is smaller; returns whether it was."""
        return fastcache_raise_to(self.word_at(index), word_from(value, "value"))

    def compare_exchange(self, Py_ssize_t index, expected, new):
        """Set the counter at `index` to `new` if it equals `expected`; returns whether it did.

        If several threads try this with the same `expected`, one succeeds.
        """
        cdef uint64_t before = word_from(expected, "expected")
        return fastcache_compare_exchange(self.word_at(index), before, word_from(new, "new"))

    def value(self, Py_ssize_t index):
        """The value of the counter at `index`."""
        return fastcache_load(self.word_at(index))

    def snapshot(self):
        """All values by name. Each is read atomically, but not all at the same moment."""
        cdef Py_ssize_t i
        return {self.names[i]: fastcache_load(&self.words[i]) for i in range(self.count)}
