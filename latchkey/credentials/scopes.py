"""Scopes: the rights of a credential, and when one scope includes another.

A scope is ``<resource>:<action>``, with an optional ``:<selector>`` that limits it to some objects:
``orders:read``, ``orders:read:eu-17``, ``orders:read:eu-*``. ``write`` includes ``read``; every
other action includes only itself. ``*`` is every scope and ``*:read`` is every ``read``, except on
the reserved resources. This module has no input or output and raises only ValueError.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

BUILT_IN_RESOURCES = ("account", "accounts", "credentials", "verify")
RESERVED_RESOURCES = frozenset({"accounts", "verify"})
"""Resources that ``*`` and ``*:read`` do not include, and that no key can grant."""
EVERYTHING = "*"
READ_EVERYTHING = "*:read"
BUILT_IN_SCOPES = (
    EVERYTHING,
    READ_EVERYTHING,
    *(f"{resource}:{action}" for resource in BUILT_IN_RESOURCES for action in ("read", "write")),
)
"""What Latchkey's own routes need."""
FULL_ACCESS = frozenset({EVERYTHING})
CHANGE_CREDENTIALS = "credentials:write"
"""The scope that a key needs to create or change keys."""
READ_ACCOUNTS = "accounts:read"
CHANGE_ACCOUNTS = "accounts:write"
"""The scopes that a key of the instance account needs to see or change other accounts."""
MOST_SCOPES = 64
"""The most scopes of one key."""
LONGEST_SCOPES = 2048
"""The most characters of all scopes of one key, with a space between each two."""

SCOPE_PATTERN = (
    r"^(\*(:read)?|[a-z][a-z0-9_-]{0,31}:[a-z][a-z0-9_-]{0,31}(:[A-Za-z0-9._-]{1,64}\*?)?)$"
)
SCOPE_FORM = (
    "a scope is <resource>:<action> or <resource>:<action>:<selector>, such as orders:read, "
    "orders:read:eu-17 or orders:read:eu-*; * is full access and *:read is read-only access"
)

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_SELECTOR = re.compile(r"[A-Za-z0-9._-]{1,64}\*?")
_WILDCARD = "*"


@dataclass(frozen=True, slots=True)
class ParsedScope:
    """One scope, parsed. ``selector`` is None for all objects; a final ``*`` makes it a prefix."""

    resource: str
    action: str
    selector: str | None = None

    def includes(self, other: ParsedScope) -> bool:
        """Whether this scope grants everything that ``other`` grants."""
        if not self._reaches(other):
            return False
        if self.selector is None:
            return True
        return other.selector is not None and _covers(self.selector, other.selector)

    def admits(self, needed: ParsedScope, thing: str) -> bool:
        """Whether this scope grants ``needed`` on one object, which is never parsed.

        An empty object is none, and is not granted by any scope.
        """
        if not thing or not self._reaches(needed):
            return False
        if self.selector is None:
            return True
        if self.selector.endswith(_WILDCARD):
            return thing.startswith(self.selector[:-1])
        return thing == self.selector

    def _reaches(self, other: ParsedScope) -> bool:
        """Whether resource and action include those of ``other``, whatever the objects."""
        if self.resource == _WILDCARD:
            if other.resource in RESERVED_RESOURCES:
                return False
            return self.action == _WILDCARD or other.action == "read"
        if self.resource != other.resource:
            return False
        return self.action == other.action or (self.action == "write" and other.action == "read")


@lru_cache(maxsize=4096)
def parse_scope(text: str) -> ParsedScope:
    """Parse one scope; raises ValueError, which says what a scope looks like."""
    if text == EVERYTHING:
        return ParsedScope(_WILDCARD, _WILDCARD)
    if text == READ_EVERYTHING:
        return ParsedScope(_WILDCARD, "read")
    resource, *rest = text.split(":", 2)
    if not rest or not _NAME.fullmatch(resource) or not _NAME.fullmatch(rest[0]):
        raise ValueError(SCOPE_FORM)
    if len(rest) == 1:
        return ParsedScope(resource, rest[0])
    if not _SELECTOR.fullmatch(rest[1]):
        raise ValueError(SCOPE_FORM)
    if resource in BUILT_IN_RESOURCES:
        raise ValueError(f"the scopes of {resource} cannot be limited by a selector")
    return ParsedScope(resource, *rest)


def permits(granted: Iterable[str], needed: str, of: str | None = None) -> bool:
    """Whether the ``granted`` scopes include the one ``needed``, on the object ``of`` if given.

    Without an object, only a scope without a selector is sufficient. A granted text that is not a
    scope grants nothing. Raises ValueError if ``needed`` is not a scope.
    """
    scope = parse_scope(needed)
    if of is None:
        return any(held.includes(scope) for held in _well_formed(granted))
    return any(held.admits(scope, of) for held in _well_formed(granted))


def lies_within(asked: Iterable[str], granted: Collection[str]) -> bool:
    """Whether the ``granted`` scopes include all that are ``asked``; a malformed one is not."""
    return first_outside(asked, granted) is None


def first_outside(asked: Iterable[str], granted: Collection[str]) -> str | None:
    """The first of the ``asked`` scopes, in order of text, that ``granted`` does not include."""
    for text in sorted(asked):
        try:
            included = permits(granted, text)
        except ValueError:
            return text
        if not included:
            return text
    return None


def selectors(granted: Iterable[str], needed: str) -> tuple[str, ...]:
    """The objects on which ``granted`` scopes include ``needed``: names and prefixes, in order.

    A prefix ends in ``*``; ``("*",)`` is every object, and an empty tuple none. Raises ValueError
    if ``needed`` is not a scope without a selector.
    """
    scope = parse_scope(needed)
    if scope.selector is not None or scope.resource == _WILDCARD:
        raise ValueError(f"{needed!r} is not <resource>:<action>")
    found = {held.selector or _WILDCARD for held in _well_formed(granted) if held._reaches(scope)}
    return (_WILDCARD,) if _WILDCARD in found else tuple(sorted(found))


def sufficient_scopes(needed: str) -> frozenset[str]:
    """Every scope without a selector that includes ``needed``, which is one scope.

    Raises ValueError if it is not.
    """
    scope = parse_scope(needed)
    candidates = {needed, EVERYTHING, READ_EVERYTHING}
    if scope.resource != _WILDCARD:
        candidates |= {f"{scope.resource}:{action}" for action in (scope.action, "write")}
    return frozenset(text for text in candidates if parse_scope(text).includes(scope))


def _covers(selector: str, other: str) -> bool:
    """Whether one selector includes every object of another."""
    if selector == other:
        return True
    return selector.endswith(_WILDCARD) and other.startswith(selector[:-1])


def _well_formed(granted: Iterable[str]) -> Iterable[ParsedScope]:
    """The scopes of texts that are scopes; text stored by other means may not be one."""
    for text in granted:
        try:
            yield parse_scope(text)
        except ValueError:
            continue
