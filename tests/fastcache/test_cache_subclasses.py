"""What a subclass may override, by the contract of cachetools' and fastcache's classes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fastcache.cache_kinds import KINDS, Kind


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


def test_missing(kind: Kind) -> None:
    class Computing(kind.base):  # type: ignore[misc, name-defined]
        def __missing__(self, key: int) -> int:
            if key < 0:
                raise LookupError(key)
            self[key] = key * 2
            return key * 2

    cache = kind.make(2, subclass=Computing)
    assert cache[3] == 6
    assert cache[3] == 6
    assert cache.get(4) is None
    assert cache.pop(4, "none") == "none"
    assert cache.setdefault(4, "own") == "own"
    assert 5 not in cache
    assert [cache[5], cache[6]] == [10, 12]
    assert dict(cache) == {5: 10, 6: 12}
    with pytest.raises(LookupError):
        cache[-1]


def test_missing_that_stores_nothing(kind: Kind) -> None:
    class Computing(kind.base):  # type: ignore[misc, name-defined]
        def __missing__(self, key: int) -> int:
            return key * 2

    cache = kind.make(2, subclass=Computing)
    assert cache[3] == 6
    assert len(cache) == 0


def test_getsizeof_by_subclass(kind: Kind) -> None:
    class Method(kind.base):  # type: ignore[misc, name-defined]
        def getsizeof(self, value: int) -> int:
            return value

    class Static(kind.base):  # type: ignore[misc, name-defined]
        @staticmethod
        def getsizeof(value: int) -> int:
            return value

    for subclass in (Method, Static):
        cache = kind.make(3, subclass=subclass)
        cache.update({1: 2, 2: 2})
        assert dict(cache) == {2: 2}
        assert cache.currsize == 2
        # An argument takes precedence over the class's method.
        cache = kind.make(3, lambda value: 1, subclass=subclass)
        cache.update({1: 2, 2: 2})
        assert cache.currsize == 2


def test_popitem_by_subclass_sees_evictions(kind: Kind) -> None:
    class Recording(kind.base):  # type: ignore[misc, name-defined]
        def popitem(self) -> Any:
            item = super().popitem()
            evicted.append(item)
            return item

    evicted: list[Any] = []
    cache = kind.make(2, subclass=Recording)
    cache.update({1: 10, 2: 20, 3: 30})
    cache[2] = 21
    cache[4] = 40
    assert evicted == [(1, 10), (3, 30)]
    assert dict(cache) == {2: 21, 4: 40}


def test_delitem_by_subclass_sees_evictions(kind: Kind) -> None:
    class Recording(kind.base):  # type: ignore[misc, name-defined]
        def __delitem__(self, key: Any) -> None:
            super().__delitem__(key)
            deleted.append(key)

    deleted: list[Any] = []
    cache = kind.make(2, subclass=Recording)
    cache.update({1: 10, 2: 20, 3: 30})
    cache.pop(2)
    cache.popitem()
    with pytest.raises(KeyError):
        cache.popitem()
    assert deleted == [1, 2, 3]


def test_getitem_by_subclass_is_what_get_calls(kind: Kind) -> None:
    class Doubling(kind.base):  # type: ignore[misc, name-defined]
        def __getitem__(self, key: int) -> int:
            return int(super().__getitem__(key)) * 2

    cache = kind.make(3, subclass=Doubling)
    cache.update({1: 10, 2: 20})
    assert cache[1] == cache.get(1) == cache.setdefault(1, 0) == 20
    assert cache.get(9, "none") == "none"
    assert cache.pop(1) == 20
    assert list(cache.items()) == [(2, 40)]
    assert list(cache.values()) == [40]
    assert 1 not in cache


def test_setitem_by_subclass_is_what_setdefault_calls(kind: Kind) -> None:
    class Texts(kind.base):  # type: ignore[misc, name-defined]
        def __setitem__(self, key: int, value: object) -> None:
            super().__setitem__(key, str(value))

    cache = kind.make(3, subclass=Texts)
    cache.update({1: 1})
    cache.setdefault(2, 2)
    assert dict(cache) == {1: "1", 2: "2"}


def test_subclass_with_its_own_init(kind: Kind) -> None:
    class Own(kind.base):  # type: ignore[misc, name-defined]
        def __init__(self, *, name: str) -> None:
            self.name = name
            if kind.timed:
                super().__init__(2, 5)
            else:
                super().__init__(2)

    cache = Own(name="mine")
    cache.update({1: 1, 2: 2, 3: 3})
    assert (cache.name, len(cache)) == ("mine", 2)
