"""Scopes: the rights of a credential, and whether one set of them includes another.

A scope is ``<resource>:<read|write>``; ``write`` includes ``read``. ``*`` is everything, including
the scopes of later versions, and ``*:read`` is reading everything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from latchkey.errors import InsufficientScope, InvalidField

RESOURCES = ("account", "credentials")
EVERYTHING = "*"
READ_EVERYTHING = "*:read"
KNOWN_SCOPES = (
    EVERYTHING,
    READ_EVERYTHING,
    *(f"{resource}:{action}" for resource in RESOURCES for action in ("read", "write")),
)
FULL_ACCESS = frozenset({EVERYTHING})
CHANGE_CREDENTIALS = "credentials:write"
"""The scope that a key needs to create or change keys."""


def parse_scopes(asked: Iterable[str]) -> frozenset[str]:
    """The set that ``asked`` names; raises InvalidField if it is empty or names an unknown one."""
    scopes = frozenset(asked)
    if not scopes:
        raise InvalidField("scopes", "name at least one scope, or omit the field")
    if not scopes.issubset(KNOWN_SCOPES):
        raise InvalidField("scopes", f"allowed are {', '.join(KNOWN_SCOPES)}")
    return scopes


def permits(granted: Collection[str], needed: str) -> bool:
    """Whether the ``granted`` scopes include the one ``needed``."""
    if needed in granted or EVERYTHING in granted:
        return True
    resource, _, action = needed.partition(":")
    if action != "read":
        return False
    return READ_EVERYTHING in granted or f"{resource}:write" in granted


def lies_within(asked: Iterable[str], granted: Collection[str]) -> bool:
    """Whether the ``granted`` scopes include all that are ``asked``."""
    return all(permits(granted, scope) for scope in asked)


def require_within(asked: Iterable[str], granted: Collection[str]) -> None:
    """Raise InsufficientScope, naming the first scope, unless ``granted`` covers all ``asked``."""
    for scope in sorted(asked):
        if not permits(granted, scope):
            raise InsufficientScope(
                scope, f"A key can only give or change the scopes it has; this needs {scope}"
            )
