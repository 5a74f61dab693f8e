# Calls without a tuple being made (PEP 590), and the layout of code that is run once in a while.

from cpython.object cimport PyObject


cdef extern from *:
    """
    /* Has instances of a type called by the function that each keeps at that offset. Cython
     * cannot say so of a class, and of a class that Python code derives, CPython before 3.12
     * does not say it either. */
    static inline void latchkey_call_by_vector(PyObject *type, Py_ssize_t offset)
    {
        ((PyTypeObject *)type)->tp_vectorcall_offset = offset;
        ((PyTypeObject *)type)->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
    }

    /* What is as good as always so: the code for it comes next, without a jump, and shares lines
     * of memory with what is run before it. Of several conditions, each has to say so. */
    #define latchkey_expected(condition) __builtin_expect(!!(condition), 1)
    #define latchkey_unexpected(condition) __builtin_expect(!!(condition), 0)

    /* What a call returns that failed: the exception is the thread's already. */
    static inline PyObject *latchkey_failed(void)
    {
        return NULL;
    }

    /* The refusal of a call that is not WSGI's. */
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
    """Whether a call has two arguments, neither by name (PEP 3333)."""
    return expected(PyVectorcall_NARGS(flagged) == 2 and names == NULL)


cdef inline int refuse_second_setup(bint done) except -1:
    """Raise RuntimeError where __init__ is called again: requests under way read what it set."""
    if done:
        raise RuntimeError("this object is set up once")
    return 0
