"""Latchkey: API keys for people who run their own API. The names that an application uses.

Importing this package loads neither Flask nor SQLAlchemy: each name is loaded when it is first
used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import fastcache

if TYPE_CHECKING:
    from latchkey.assembly import Latchkey
    from latchkey.check.open_routes import OpenRoutes
    from latchkey.credentials.models import Principal
    from latchkey.credentials.needs import all_of, any_of
    from latchkey.flask.requirements import (
        any_credential,
        current_principal,
        principal_or_none,
        require_scope,
    )
    from latchkey.logs import PrincipalFilter

    __version__: str

__all__ = [
    "Latchkey",
    "OpenRoutes",
    "Principal",
    "PrincipalFilter",
    "all_of",
    "any_credential",
    "any_of",
    "current_principal",
    "principal_or_none",
    "require_scope",
]

_MODULES = {
    "Latchkey": "latchkey.assembly",
    "OpenRoutes": "latchkey.check.open_routes",
    "Principal": "latchkey.credentials.models",
    "PrincipalFilter": "latchkey.logs",
    "all_of": "latchkey.credentials.needs",
    "any_credential": "latchkey.flask.requirements",
    "any_of": "latchkey.credentials.needs",
    "current_principal": "latchkey.flask.requirements",
    "principal_or_none": "latchkey.flask.requirements",
    "require_scope": "latchkey.flask.requirements",
}

# Another distribution on PyPI has the same name, and an application may have a module of that name.
if getattr(fastcache, "__distribution__", None) != "latchkey-auth":
    raise ImportError(
        f"the package fastcache at {fastcache.__file__ or fastcache.__path__[0]} "
        "is not Latchkey's; if it was installed: pip uninstall fastcache; "
        "pip install --force-reinstall --no-deps latchkey-auth; otherwise rename it",
        name="fastcache",
    )


def __getattr__(name: str) -> Any:
    """Load a public name, and the modules it needs, on first use.

    ``__version__`` is the version of the installed distribution.
    """
    if name == "__version__":
        return import_module("importlib.metadata").version(fastcache.__distribution__)
    try:
        module = _MODULES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
