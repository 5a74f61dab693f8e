"""Granting of scopes: which ones a key may have, and which a caller may give to another key."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from latchkey.credentials.scopes import (
    BUILT_IN_SCOPES,
    LONGEST_SCOPES,
    MOST_SCOPES,
    RESERVED_RESOURCES,
    first_outside,
    parse_scope,
)
from latchkey.errors import InsufficientScope, InvalidField

ANY_SCOPE: frozenset[str] = frozenset()
"""In place of a list of allowed scopes: every well-formed one is allowed."""


def parse_scopes(asked: Iterable[str]) -> frozenset[str]:
    """The set of the scopes ``asked`` for, which are well-formed.

    Raises InvalidField if there is none, one is malformed, or they are too many or too long.
    """
    scopes = frozenset(asked)
    if not scopes:
        raise InvalidField("scopes", "name at least one scope, or leave the field out")
    for scope in sorted(scopes):
        try:
            parse_scope(scope)
        except ValueError as error:
            raise InvalidField("scopes", str(error)) from None
    if len(scopes) > MOST_SCOPES:
        raise InvalidField("scopes", f"at most {MOST_SCOPES} scopes are allowed")
    if sum(map(len, scopes)) + len(scopes) - 1 > LONGEST_SCOPES:
        raise InvalidField("scopes", f"all scopes together may have {LONGEST_SCOPES} characters")
    return scopes


def parse_allowed(listed: str) -> frozenset[str]:
    """The scopes of a comma-separated list of allowed ones, without selectors.

    Raises ValueError for a malformed scope and for one with a selector.
    """
    names = [name.strip() for name in listed.split(",") if name.strip()]
    for name in names:
        if parse_scope(name).selector is not None:
            raise ValueError(f"{name}: list scopes without a selector")
    return frozenset(names)


def require_allowed(asked: Iterable[str], allowed: Collection[str]) -> None:
    """Raise InvalidField, with the list, for a scope that is neither built in nor allowed.

    A scope with a selector is allowed if the same one without it is.
    """
    if not allowed:
        return
    for text in sorted(asked):
        scope = parse_scope(text)
        plain = text if scope.selector is None else f"{scope.resource}:{scope.action}"
        if plain not in allowed and plain not in BUILT_IN_SCOPES:
            listed = ", ".join((*BUILT_IN_SCOPES, *sorted(allowed)))
            raise InvalidField("scopes", f"{plain} is not one of the allowed scopes: {listed}")


def scopes_missing() -> InvalidField:
    """The error for a key whose account is given, but not its scopes."""
    return InvalidField("scopes", "name the scopes of a key whose account you name")


def grantable(scopes: Iterable[str]) -> frozenset[str]:
    """Those of a caller's scopes that a key can pass on."""
    return frozenset(scope for scope in scopes if not _is_reserved(scope))


def require_for_account(asked: Iterable[str], in_instance_account: bool) -> None:
    """Raise InvalidField for scopes that keys outside of the instance account cannot use."""
    for scope in sorted(asked):
        if not in_instance_account and scope.partition(":")[0] == "accounts":
            raise InvalidField("scopes", f"{scope} is only for keys of the instance account")


def require_within(
    asked: Iterable[str], granted: Collection[str], present: Collection[str] = ()
) -> None:
    """Raise InsufficientScope, naming the first scope, unless ``granted`` covers all ``asked``.

    ``granted`` are the caller's own scopes. Scopes on reserved resources are given by the operator
    only; those that the target has already (``present``) may stay.
    """
    outside = first_outside(asked, granted)
    if outside is not None:
        raise InsufficientScope(
            outside, f"A key can only give or change the scopes it has; this needs {outside}"
        )
    for scope in sorted(asked):
        if _is_reserved(scope) and scope not in present:
            raise InsufficientScope(None, f"A key cannot give {scope}; only the operator can")


def _is_reserved(text: str) -> bool:
    return text.partition(":")[0] in RESERVED_RESOURCES
