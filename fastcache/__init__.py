"""A compiled, thread-safe TTL and LRU cache; ``fastcache.shared`` is for processes."""

from __future__ import annotations

try:
    from fastcache._cached import Cached, cached
    from fastcache._ttl import LRUCache, TTLCache
except ModuleNotFoundError as error:
    if error.name is None or not error.name.startswith("fastcache."):
        raise
    raise ImportError(
        f"the compiled module {error.name} is missing: "
        "install the package, or run `python setup.py build_ext --inplace` in its source"
    ) from error

from fastcache._stats import CacheInfo, CacheStats

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
