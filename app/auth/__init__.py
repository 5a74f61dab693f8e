"""Authentication: the levels of the check, the middleware before the application, requirements."""

from app.auth.authenticator import Authenticator
from app.auth.middleware import AuthMiddleware, OpenRoutes
from app.auth.requirements import any_credential, current_principal, require_scope

__all__ = [
    "AuthMiddleware",
    "Authenticator",
    "OpenRoutes",
    "any_credential",
    "current_principal",
    "require_scope",
]
