# cython: always_allow_keywords=False
"""What stands around Flask's preprocess_request: a view's requirement, where it is plainly met.

Every request that was routed comes through here, so that is compiled; all else is examined in
Python, by the same rules. So this lets through what that would let through, and refuses nothing.
"""

cimport cython
from cpython.set cimport PySet_Contains


cdef str PRINCIPAL = "latchkey.principal"


@cython.final
@cython.auto_pickle(False)
cdef class Enforcement:
    """A callable in place of an application's `preprocess_request`, which `proceed` is.

    `current_request()` is the request that is being handled, `views` are the functions of the
    application by endpoint. `examine(request)` raises what there is to be raised.
    """

    cdef object proceed
    cdef object current_request
    cdef dict views
    cdef object examine
    cdef dict learned       # by endpoint: a view, and by method what is enough for it

    def __init__(self, proceed, current_request, dict views not None, examine, /):
        self.proceed = proceed
        self.current_request = current_request
        self.views = views
        self.examine = examine
        self.learned = {}

    def learn(self, endpoint, view, method, sufficient, /):
        """Let through from now on who has one of the `sufficient` scopes; None: any credential.

        For the view's requests of this method, as long as the endpoint has that view.
        """
        known = self.learned.get(endpoint)
        by_method = {} if known is None or known[0] is not view else dict(known[1])
        by_method[method] = sufficient
        self.learned[endpoint] = (view, by_method)

    def __call__(self):
        """What `proceed` returns, for a request that may go on."""
        handled = self.current_request()
        if PRINCIPAL not in handled.environ:
            # Past the middleware: no hook is to see it.
            self.examine(handled)
        answer = self.proceed()
        rule = handled.url_rule
        if rule is not None and not self.is_met(handled, rule.endpoint):
            self.examine(handled)
        return answer

    cdef bint is_met(self, object handled, object endpoint) except -1:
        """Whether the view declares what its caller plainly has."""
        cdef tuple known = <tuple>self.learned.get(endpoint)
        principal = handled.environ[PRINCIPAL]
        if principal is None or known is None or known[0] is not self.views[endpoint]:
            return False
        sufficient = (<dict>known[1]).get(handled.method, False)
        if sufficient is None:
            return True
        if sufficient is False:
            return False
        for scope in principal.scopes:
            if PySet_Contains(sufficient, scope):
                return True
        return False
