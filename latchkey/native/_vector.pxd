# Calls without an argument tuple (PEP 590), and branch hints.

from cpython.object cimport PyObject


cdef extern from *:
    """
    /* Set where instances of a type store the function that calls them. Cython cannot declare
     * this for a class, and CPython before 3.12 does not inherit it in a subclass written in
     * Python. */
    static inline void latchkey_call_by_vector(PyObject *type, Py_ssize_t offset)
    {
        ((PyTypeObject *)type)->tp_vectorcall_offset = offset;
        ((PyTypeObject *)type)->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
    }

    /* Branch hints: the compiler places the expected code without a jump, next to the code that
     * runs before it. Each operand of && and || needs its own hint. */
    #define latchkey_expected(condition) __builtin_expect(!!(condition), 1)
    #define latchkey_unexpected(condition) __builtin_expect(!!(condition), 0)

    /* For a call that failed: the exception is already set. */
    static inline PyObject *latchkey_failed(void)
    {
        return NULL;
    }

    /* For a call that does not follow WSGI. */
    static inline PyObject *latchkey_refused_call(void)
    {
        PyErr_SetString(PyExc_TypeError,
                        "a WSGI application is called with an environ and a start_response");
        return NULL;
    }
    """
    void call_by_vector "latchkey_call_by_vector"(object cls, Py_ssize_t offset) noexcept
    bint expected "latchkey_expected"(bint condition) noexcept nogil
    bint unexpected "latchkey_unexpected"(bint condition) noexcept nogil
    object raise_pending "latchkey_failed"()
    object refuse_call "latchkey_refused_call"()


cdef extern from "Python.h":
    Py_ssize_t PyVectorcall_NARGS(size_t flagged) noexcept
    object PyObject_Vectorcall(
        PyObject *callable, PyObject **arguments, size_t flagged, PyObject *names
    )
    object PyVectorcall_Call(object callable, object arguments, object named)


cdef inline bint is_wsgi_call(size_t flagged, PyObject *names) noexcept:
    """Whether a call has two positional arguments and no keyword arguments (PEP 3333)."""
    return expected(PyVectorcall_NARGS(flagged) == 2 and names == NULL)


cdef inline int refuse_second_setup(bint done) except -1:
    """Raise RuntimeError if __init__ is called again: current requests read what it set."""
    if done:
        raise RuntimeError("this object is already initialised; create another one")
    return 0
