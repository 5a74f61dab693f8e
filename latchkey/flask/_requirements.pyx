# cython: always_allow_keywords=False
"""Wraps Flask's preprocess_request to enforce the requirements of views.

Every routed request passes through here, so the common case is compiled. Compiled code only lets
requests through; Python code with the same rules examines all others and refuses.
"""

cimport cython
from cpython.set cimport PySet_Contains


cdef str PRINCIPAL = "latchkey.principal"


@cython.final
@cython.auto_pickle(False)
cdef class Enforcement:
    """A callable that replaces an application's `preprocess_request`, passed as `proceed`.

    `current_request()` returns the current request; `views` maps endpoints to the application's
    view functions. `examine(request)` raises an error if the request must be refused.
    """

    cdef object proceed
    cdef object current_request
    cdef dict views
    cdef object examine
    cdef dict learned       # endpoint: (view, {method: sufficient scopes})
    cdef dict opened        # rule: {method: view}

    def __init__(self, proceed, current_request, dict views not None, examine, /):
        self.proceed = proceed
        self.current_request = current_request
        self.views = views
        self.examine = examine
        self.learned = {}
        self.opened = {}

    def learn(self, endpoint, view, method, sufficient, /):
        """Let callers with one of the `sufficient` scopes through; None: with any credential.

        This applies to requests of this method while the endpoint has this view.
        """
        known = self.learned.get(endpoint)
        by_method = {} if known is None or known[0] is not view else dict(known[1])
        by_method[method] = sufficient
        self.learned[endpoint] = (view, by_method)

    def learn_open(self, rule, view, method, /):
        """Let requests without a principal through that a rule leads to this view."""
        self.opened[rule] = {**self.opened.get(rule, {}), method: view}

    def __call__(self):
        """Call `proceed` and return its result, unless the request must be refused."""
        handled = self.current_request()
        if PRINCIPAL not in handled.environ:
            # The request bypassed the middleware: refuse it before any hook runs.
            self.examine(handled)
        answer = self.proceed()
        rule = handled.url_rule
        if rule is not None and not self.is_met(handled, rule):
            self.examine(handled)
        return answer

    cdef bint is_met(self, object handled, object rule) except -1:
        """Whether the view is known to be open, or a scope of the caller to be sufficient."""
        endpoint = rule.endpoint
        cdef tuple known
        principal = handled.environ[PRINCIPAL]
        if principal is None:
            opened = self.opened.get(rule.rule)
            return opened is not None and (
                (<dict>opened).get(handled.method, self) is self.views[endpoint]
            )
        known = <tuple>self.learned.get(endpoint)
        if known is None or known[0] is not self.views[endpoint]:
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
