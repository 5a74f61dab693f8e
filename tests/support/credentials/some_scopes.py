"""Scopes of every form, for tests that draw some of them."""

from __future__ import annotations

from latchkey.credentials.scopes import RESERVED_RESOURCES

SOME_SCOPES = (
    *("*", "*:read", "account:read", "account:write", "credentials:read", "credentials:write"),
    *("accounts:read", "accounts:write", "verify:write", "orders:read", "orders:write"),
    *("orders:export", "orders:read:eu-17", "orders:read:eu-*", "orders:write:eu-*"),
)


def is_reserved(scope: str) -> bool:
    """Whether no key can give a scope."""
    return scope.partition(":")[0] in RESERVED_RESOURCES
