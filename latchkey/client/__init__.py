"""Auth classes for programs that call an API with requests or httpx; they handle rotation.

Importing this package loads neither requests nor httpx: each auth class is loaded when it is first
used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from latchkey.client.keys import ClientKey, KeyEnvironment, KeyFile, KeySource

if TYPE_CHECKING:
    from latchkey.client.httpx_auth import HttpxAuth
    from latchkey.client.requests_auth import RequestsAuth

__all__ = ["ClientKey", "HttpxAuth", "KeyEnvironment", "KeyFile", "KeySource", "RequestsAuth"]

_MODULES = {
    "HttpxAuth": "latchkey.client.httpx_auth",
    "RequestsAuth": "latchkey.client.requests_auth",
}


def __getattr__(name: str) -> Any:
    """Load an auth class, and its library, on first use."""
    try:
        module = _MODULES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
