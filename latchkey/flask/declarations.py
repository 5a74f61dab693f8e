"""What a view requires of its caller: declarations, and their lookup for a request's method.

A view declares ``@require_scope("orders:read")`` or ``@any_credential``. On a class, or in its
``decorators``, a declaration applies to all methods; on a method of a class, to that method. If
there are several declarations, each must be met.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from inspect import getattr_static
from typing import TypeVar, cast

from flask.views import MethodView, View

from latchkey.credentials.needs import Need, check_need
from latchkey.credentials.requirement import Requirement

Declared = TypeVar("Declared", bound=Callable[..., object])

_ATTRIBUTE = "__latchkey_requirements__"


Requirements = tuple[Requirement, ...]
"""All of them must be met. Empty means that nothing is declared."""


def require_scope(
    need: Need, *, of: str | None = None, or_own: str | None = None, cost: int = 1
) -> Callable[[Declared], Declared]:
    """Declare that a view needs a scope, ``any_of(...)`` or ``all_of(...)`` several.

    With ``of="order_id"`` the scope is needed on the object that this view argument names; a key
    with ``orders:read:eu-17`` then reads this one object. Without it, only a scope without a
    selector is sufficient. With ``or_own="api_key"`` a caller may also act on its own key, named by
    that view argument. ``cost``, 1 to 1,000,000, is what a request takes from the limits of its
    key; of several declarations, the highest counts. Raises ValueError for a malformed scope or an
    invalid cost.
    """
    check_need(need)
    return functools.partial(_declare, Requirement(need, or_own, of, cost))


def any_credential(view: Declared) -> Declared:
    """Declare that a view needs a valid credential but no scope."""
    return _declare(Requirement(None), view)


def requirements_of(view: Callable[..., object], method: str) -> Requirements:
    """What a view declares for requests of a method."""
    found: dict[Requirement, None] = {}
    for part in _parts(view, method):
        found.update(dict.fromkeys(_declared(part)))
    return tuple(found)


def sufficient_scopes(requirements: Requirements) -> frozenset[str] | None:
    """The scopes that meet all requirements by themselves; None if any credential does."""
    scoped = [one.sufficient for one in requirements if one.need is not None]
    return functools.reduce(frozenset.intersection, scoped) if scoped else None


def cost_of(requirements: Requirements) -> int:
    """What a request takes from the limits of its key, once all requirements are met."""
    return max((one.cost for one in requirements), default=1)


def place_of(view: Callable[..., object], method: str) -> str:
    """The qualified name of the function or class that needs a declaration, for messages."""
    view_class = _class_of(view)
    if view_class is not None:
        handler, _ = _handlers(view_class, method)
        named = getattr(handler, "__name__", "dispatch_request")
        return f"{view_class.__module__}.{view_class.__qualname__}.{named}"
    while isinstance(view, functools.partial):
        view = view.func
    name = getattr(view, "__qualname__", None) or type(view).__qualname__
    return f"{getattr(view, '__module__', None) or type(view).__module__}.{name}"


def declares_for_method(view: Callable[..., object], method: str) -> bool:
    """Whether a class has its own method for this HTTP method, with a declaration."""
    view_class = _class_of(view)
    return view_class is not None and any(map(_declared, _handlers(view_class, method)))


def _declare(requirement: Requirement, view: Declared) -> Declared:
    declared = _declared(view)
    if requirement not in declared:
        declared = (*declared, requirement)
    try:
        setattr(view, _ATTRIBUTE, declared)
    except AttributeError:
        # A bound method and an object without a __dict__ do not accept attributes.
        made = functools.update_wrapper(functools.partial(view), view)
        setattr(made, _ATTRIBUTE, declared)
        return cast(Declared, made)
    return view


def _declared(part: object) -> Requirements:
    """The declarations of one function, class or object; a partial has those of its function."""
    own = getattr(part, _ATTRIBUTE, ())
    found: Requirements = own if isinstance(own, tuple) else ()
    if isinstance(part, functools.partial | functools.partialmethod):
        found = (*found, *_declared(part.func))
    return found


def _parts(view: Callable[..., object], method: str) -> Iterator[object]:
    yield view
    view_class = _class_of(view)
    if view_class is None:
        return
    yield view_class
    yield view_class.dispatch_request
    if issubclass(view_class, MethodView):
        yield from _handlers(view_class, method)


def _class_of(view: Callable[..., object]) -> type[View] | None:
    while isinstance(view, functools.partial):
        view = view.func
    found = getattr(view, "view_class", None)
    return found if isinstance(found, type) and issubclass(found, View) else None


def _handlers(view_class: type[View], method: str) -> tuple[object, object]:
    """The function that a class calls for an HTTP method, and its definition in the class.

    HEAD falls back to GET, as in MethodView.
    """
    name = method.lower()
    if method == "HEAD" and getattr(view_class, name, None) is None:
        name = "get"
    return getattr(view_class, name, None), getattr_static(view_class, name, None)
