"""A compiled, thread-safe TTL and LRU cache; ``fastcache.shared`` is for processes.

Importing this package loads no compiled module: each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastcache._stats import CacheInfo, CacheStats

if TYPE_CHECKING:
    from fastcache._cached import Cached, cached
    from fastcache._ttl import LRUCache, TTLCache

# By this attribute, `latchkey` distinguishes this package from another one of the same name.
__distribution__ = "latchkey-auth"

__all__ = (
    "CacheInfo",
    "CacheStats",
    "Cached",
    "LRUCache",
    "TTLCache",
    "cached",
)

_MODULES = {
    "Cached": "fastcache._cached",
    "LRUCache": "fastcache._ttl",
    "TTLCache": "fastcache._ttl",
    "cached": "fastcache._cached",
}


def __getattr__(name: str) -> Any:
    """Load a name, and its compiled module, on first use."""
    try:
        module = _MODULES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    try:
        found = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("fastcache."):
            raise
        raise ImportError(
            f"the compiled module {error.name} is missing: "
            "install the package, or run `python setup.py build_ext --inplace` in its source"
        ) from error
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
