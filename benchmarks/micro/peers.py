"""The caches that are compared, behind a common interface.

Each is used as its own documentation shows, with its defaults: mappings by subscript, others by
their `set`. `get` is the library's own bound method, without a wrapper.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from types import FunctionType
from typing import Any, Protocol

TTL_SECONDS = 3600
SHARDS = 64

Setter = Callable[[str, object], object]


class MeasuredCache(Protocol):
    """A cache, as the benchmarks use it."""

    def get_each(self, keys: Sequence[str]) -> None:
        """Look up each key and discard the result."""

    def set_each(self, keys: Sequence[str], values: Iterable[object]) -> None:
        """Store each key with its value."""

    def holds(self, key: str) -> bool:
        """Whether a lookup finds the key."""

    def settle(self) -> None:
        """Finish the work that the library has postponed. Never timed."""

    def forget(self, keys: Sequence[str]) -> None:
        """Make room if the library does not do so itself. Never timed."""


def _get_each(cache: Any, keys: Sequence[str]) -> None:
    # Each thread gets its own bound method: without the GIL, every call counts a reference to it,
    # and threads that share one mostly wait for each other.
    get = cache.get
    for key in keys:
        get(key)


def _set_each(set_: Setter, keys: Sequence[str], values: Iterable[object]) -> None:
    for key, value in zip(keys, values, strict=False):
        set_(key, value)


def _store_each(cache: Any, keys: Sequence[str], values: Iterable[object]) -> None:
    for key, value in zip(keys, values, strict=False):
        cache[key] = value


def _nothing(*_: object) -> None:
    pass


def _own(function: Callable[..., None]) -> Callable[..., None]:
    """A copy of a loop with its own bytecode.

    The interpreter specialises a call for the types that it has seen. In a shared loop, each peer
    would find the code specialised for another one.
    """
    code = function.__code__.replace()
    return FunctionType(code, function.__globals__, function.__name__)


@dataclass(frozen=True)
class _Asked:
    """A cache composed of its library's functions."""

    get_each: Callable[[Sequence[str]], None]
    set_each: Callable[[Sequence[str], Iterable[object]], None]
    holds: Callable[[str], bool]
    settle: Callable[[], None] = _nothing
    forget: Callable[[Sequence[str]], None] = _nothing


def _mapping(cache: Any, **extra: Callable[..., None]) -> MeasuredCache:
    return _Asked(
        partial(_own(_get_each), cache),
        partial(_own(_store_each), cache),
        lambda key: cache.get(key) is not None,
        **extra,
    )


def _plain_dict(_: Any, capacity: int) -> MeasuredCache:
    cache: dict[str, object] = {}

    def forget(keys: Sequence[str]) -> None:
        for key in keys:
            del cache[key]

    return _mapping(cache, forget=forget)


def _fastcache(module: Any, capacity: int) -> MeasuredCache:
    return _mapping(module.TTLCache(capacity, TTL_SECONDS))


def _fastcache_sharded(module: Any, capacity: int) -> MeasuredCache:
    # With a margin, because a shard that is full before the others would evict.
    spare = capacity // 4 + 32 * SHARDS
    return _mapping(module.TTLCache(capacity + spare, TTL_SECONDS, shards=SHARDS))


def _lru_dict(module: Any, capacity: int) -> MeasuredCache:
    return _mapping(module.LRU(capacity))


def _moka(module: Any, capacity: int) -> MeasuredCache:
    cache = module.Moka(capacity, ttl=TTL_SECONDS)
    return _Asked(
        partial(_own(_get_each), cache),
        partial(_own(_set_each), cache.set),
        lambda key: cache.get(key) is not None,
        settle=cache.run_pending_tasks,
    )


def _theine(module: Any, capacity: int) -> MeasuredCache:
    cache, ttl = module.Cache(capacity), timedelta(seconds=TTL_SECONDS)

    def set_each(set_: Any, keys: Sequence[str], values: Iterable[object]) -> None:
        for key, value in zip(keys, values, strict=False):
            set_(key, value, ttl)

    return _Asked(
        partial(_own(_get_each), cache),
        partial(set_each, cache.set),
        lambda key: bool(cache.get(key)[1]),
    )


class _Locked:
    """A cache under a lock."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache
        self._lock = threading.Lock()

    def get(self, key: str) -> object:
        with self._lock:
            return self._cache.get(key)

    def set(self, key: str, value: object) -> None:
        with self._lock:
            self._cache[key] = value


def _cachetools_locked(module: Any, capacity: int) -> MeasuredCache:
    cache = _Locked(module.TTLCache(capacity, TTL_SECONDS))
    return _Asked(
        partial(_own(_get_each), cache),
        partial(_own(_set_each), cache.set),
        lambda key: cache.get(key) is not None,
    )


class EmptyLoop:
    """The same loops with an empty body."""

    def get_each(self, keys: Sequence[str]) -> None:
        for _key in keys:
            pass

    def set_each(self, keys: Sequence[str], values: Iterable[object]) -> None:
        for _key, _value in zip(keys, values, strict=False):
            pass

    def holds(self, key: str) -> bool:
        return True

    def settle(self) -> None:
        pass

    def forget(self, keys: Sequence[str]) -> None:
        pass


@dataclass(frozen=True)
class Peer:
    """A library, how it is imported, and how one of its caches is created."""

    name: str
    module: str
    distribution: str | None
    """The name of its distribution; ``None`` for a part of Python."""
    make: Callable[[Any, int], MeasuredCache]
    """Creates a cache from the imported module and a capacity in entries."""
    about: str
    """What it is, as far as it matters for the comparison; ``$shards`` is replaced by a number."""


OURS = "fastcache"
OURS_SHARDED = "fastcache, sharded"
FLOOR = "dict"
LOCKED = "cachetools + lock"
LOOP = "empty loop"

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(FLOOR, "builtins", None, _plain_dict, "the floor: no limit, no order, no expiry"),
        Peer(OURS, "fastcache", "latchkey", _fastcache, "`TTLCache`: exact LRU order, one TTL"),
        Peer(
            OURS_SHARDED,
            "fastcache",
            "latchkey",
            _fastcache_sharded,
            "`TTLCache(shards=$shards)`: LRU order within a shard",
        ),
        Peer(
            "cachebox",
            "cachebox",
            "cachebox",
            lambda module, capacity: _mapping(module.TTLCache(capacity, TTL_SECONDS)),
            "`TTLCache`, Rust: one TTL, evicts the oldest, a lookup moves nothing",
        ),
        Peer("lru-dict", "lru", "lru-dict", _lru_dict, "`LRU`, C: exact LRU order, no TTL"),
        Peer(
            "moka-py",
            "moka_py",
            "moka-py",
            _moka,
            "`Moka`, Rust: TTL, TinyLFU admission, evicts in batches",
        ),
        Peer(
            "theine",
            "theine",
            "theine",
            _theine,
            "`Cache`, Python over Rust: TTL, TinyLFU admission, a maintenance thread",
        ),
        Peer(
            "cachetools",
            "cachetools",
            "cachetools",
            lambda module, capacity: _mapping(module.TTLCache(capacity, TTL_SECONDS)),
            "`TTLCache`, Python: exact LRU order, one TTL, not thread-safe",
        ),
        Peer(
            LOCKED,
            "cachetools",
            "cachetools",
            _cachetools_locked,
            "the same under a `threading.Lock`, as its documentation asks for",
        ),
    )
}

NOT_COMPETITORS = frozenset({FLOOR, OURS, OURS_SHARDED, LOOP})
"""The peers to compare with; the others are reference values."""


@dataclass(frozen=True)
class Found:
    """The peers that this interpreter can import, and the errors for the others."""

    modules: dict[str, Any]
    versions: dict[str, str]
    missing: dict[str, str]

    def make(self, name: str, capacity: int) -> MeasuredCache:
        """A new, empty cache of the peer."""
        if name == LOOP:
            return EmptyLoop()
        return PEERS[name].make(self.modules[name], capacity)


def find(names: Iterable[str]) -> Found:
    """Import the named peers."""
    found = Found({}, {}, {})
    for name in names:
        peer = PEERS[name]
        try:
            found.modules[name] = importlib.import_module(peer.module)
        except ImportError as error:
            found.missing[name] = str(error)
            continue
        if peer.distribution is not None:
            try:
                version = importlib.metadata.version(peer.distribution)
            except importlib.metadata.PackageNotFoundError:
                version = "not installed as a package"
            found.versions[peer.distribution] = version
    return found
