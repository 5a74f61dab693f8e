"""Authentication: the levels of the check, the middleware before the application, requirements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.auth.authenticator import Authenticator
from app.auth.middleware import AuthMiddleware
from app.auth.open_routes import OpenRoutes

if TYPE_CHECKING:
    from app.auth.requirements import (
        any_credential,
        current_principal,
        principal_or_none,
        require_scope,
    )

__all__ = [
    "AuthMiddleware",
    "Authenticator",
    "OpenRoutes",
    "any_credential",
    "current_principal",
    "principal_or_none",
    "require_scope",
]


def __getattr__(name: str) -> Any:
    """What views of Flask use, loaded with Flask when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from app.auth import requirements

    return getattr(requirements, name)
