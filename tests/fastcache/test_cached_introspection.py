"""Introspection of a function decorated with `cached`: the same as with functools.lru_cache."""

from __future__ import annotations

import abc
import collections.abc
import copy
import doctest
import functools
import inspect
import pickle
import pydoc
import sys
import types
import typing
import unittest.mock
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from fastcache import Cached, cached

THIS = sys.modules[__name__]
CALLABLE: Any = collections.abc.Callable


@functools.lru_cache(8)
def plain(number: int, *, name: str = "x") -> str:
    """Repeat a name.

    >>> plain(2, name="y")
    'yy'
    """
    return name * number


@cached(8)
def ours(number: int, *, name: str = "x") -> str:
    """Repeat a name.

    >>> ours(2, name="y")
    'yy'
    """
    return name * number


class PlainOwner:
    """Methods of every kind."""

    @functools.lru_cache(8)  # noqa: B019 - compared with
    def method(self, number: int) -> str:
        """Do it."""
        return "x" * number

    @classmethod
    @functools.lru_cache(8)
    def of_class(cls, number: int) -> str:
        """Do it."""
        return cls.__name__ * number

    @staticmethod
    @functools.lru_cache(8)
    def static(number: int) -> str:
        """Do it."""
        return "x" * number


class OurOwner:
    """Methods of every kind."""

    @cached(8)
    def method(self, number: int) -> str:
        """Do it."""
        return "x" * number

    @classmethod
    @cached(8)
    def of_class(cls, number: int) -> str:
        """Do it."""
        return cls.__name__ * number

    @staticmethod
    @cached(8)
    def static(number: int) -> str:
        """Do it."""
        return "x" * number


def cached_above_static(decorate: Callable[..., Any]) -> Any:
    """Applied to a staticmethod object, which is callable."""

    class Owner:
        @decorate(8)  # type: ignore[untyped-decorator]
        @staticmethod
        def function(number: int) -> str:
            """Do it."""
            return "x" * number

    return Owner.function


def of_abstract(decorate: Callable[..., Any]) -> Any:
    """Applied to an abstract method."""
    return decorate(8)(abc.abstractmethod(lambda self: None))


QUESTIONS: dict[str, Callable[[Any, Any], object]] = {
    "Callable": lambda f, _: isinstance(f, CALLABLE),
    "Hashable": lambda f, _: isinstance(f, collections.abc.Hashable),
    "callable": lambda f, _: callable(f),
    "__call__": lambda f, _: f.__call__(2, name="z"),
    "type's __call__": lambda f, _: type(f).__call__(f, 2, name="z"),
    "signature": lambda f, _: inspect.signature(f),
    "signature of a partial": lambda f, _: inspect.signature(functools.partial(f, 3)),
    "unwrap": lambda f, _: inspect.isfunction(inspect.unwrap(f)),
    "getdoc": lambda f, _: "Repeat a name." in (inspect.getdoc(f) or ""),
    "getsourcefile": lambda f, _: inspect.getsourcefile(f),
    "getsource": lambda f, _: "def " in inspect.getsource(f),
    "getmodule": lambda f, _: inspect.getmodule(f),
    "annotations": lambda f, _: f.__annotations__,
    "type hints": lambda f, _: typing.get_type_hints(f),
    "module": lambda f, _: f.__module__,
    "is a routine": lambda f, _: inspect.isroutine(f),
    "is a method descriptor": lambda f, _: inspect.ismethoddescriptor(f),
    "is a function": lambda f, _: inspect.isfunction(f),
    "is a built-in": lambda f, _: inspect.isbuiltin(f),
    "is a coroutine function": lambda f, _: inspect.iscoroutinefunction(f),
    "is a generator function": lambda f, _: inspect.isgeneratorfunction(f),
    "is a data descriptor": lambda f, _: inspect.isdatadescriptor(f),
    "names match": lambda f, _: f.__name__ == f.__qualname__ == f.__wrapped__.__name__,
    "copy": lambda f, _: copy.copy(f) is copy.deepcopy([f])[0] is f,
    "pickle": lambda f, _: pickle.loads(pickle.dumps(f)) is f,  # noqa: S301
    "weakref": lambda f, _: weakref.ref(f)() is f and len(weakref.WeakSet([f])),
    "attributes": lambda f, _: vars(f).setdefault("note", 1) == f.note,
    "update_wrapper": lambda f, _: functools.wraps(f)(lambda: None).__wrapped__ is f,
    "total": lambda f, _: functools.reduce(lambda x, y: x + y, map(f, [1, 2, 3])),
    "partial": lambda f, _: functools.partial(f, name="q")(2),
    "__get__ of None": lambda f, _: f.__get__(None, int) is f,
    "__get__ of an instance": lambda f, _: f.__get__(3)(name="w"),
    "bound type": lambda f, _: type(f.__get__(3, int)),
    "cache attributes": lambda f, _: [
        hasattr(f, name) for name in ("cache_info", "cache_clear", "cache_parameters")
    ],
    "help": lambda f, _: [
        part in pydoc.plain(pydoc.render_doc(f))
        for part in ("(number: ", "Repeat a name", "name: ")
    ],
    "autospec": lambda f, _: inspect.signature(unittest.mock.create_autospec(f)),
    "spec": lambda f, _: callable(unittest.mock.Mock(spec=f)),
    "doctest": lambda f, _: [
        (len(found.examples), found.lineno is not None) for found in doctest.DocTestFinder().find(f)
    ],
    "methods": lambda _, owner: (owner().method(2), owner.method(owner(), 3)),
    "class methods": lambda _, owner: len(owner.of_class(2)) - len(owner().of_class(2)),
    "static methods": lambda _, owner: (owner.static(2), owner().static(2)),
    "routines": lambda _, owner: [
        name for name, _ in inspect.getmembers(owner, inspect.isroutine) if name[0] != "_"
    ],
    "kinds": lambda _, owner: [
        (found.name, found.kind)
        for found in inspect.classify_class_attrs(owner)
        if found.name[0] != "_"
    ],
    "signatures of methods": lambda _, owner: [
        str(inspect.signature(getattr(holder, name)))
        for holder in (owner, owner())
        for name in ("method", "of_class", "static")
    ],
    "docs of methods": lambda _, owner: [
        inspect.getdoc(getattr(owner(), name)) for name in ("method", "of_class", "static")
    ],
    "autospec of a class": lambda _, owner: [
        (name, str(inspect.signature(getattr(unittest.mock.create_autospec(owner), name))))
        for name in ("method", "of_class", "static")
    ],
}


def answer(ask: Callable[[Any, Any], object], function: Any, owner: type) -> object:
    """The answer, or the type of the error if functools.lru_cache raises one."""
    try:
        return ask(function, owner)
    except TypeError as error:
        return type(error)


@pytest.mark.parametrize("question", QUESTIONS)
def test_as_functools(question: str) -> None:
    ask = QUESTIONS[question]
    assert answer(ask, ours, OurOwner) == answer(ask, plain, PlainOwner)


def test_answers_are_useful() -> None:
    """Equal answers are not enough: both could be wrong."""
    assert isinstance(cached(8)(len), CALLABLE)
    assert ours.__call__(2, name="z") == "zz"
    assert str(inspect.signature(ours)) == "(number: 'int', *, name: 'str' = 'x') -> 'str'"
    assert typing.get_type_hints(ours) == {"number": int, "name": str, "return": str}
    assert inspect.isroutine(ours)


@pytest.mark.parametrize("decorate", [functools.lru_cache, cached])
def test_stacking(decorate: Callable[..., Any]) -> None:
    function = cached_above_static(decorate)
    assert function(2) == function(2) == "xx"
    assert of_abstract(decorate).__isabstractmethod__
    twice = decorate(8)(decorate(4)(len))
    assert twice("abc") == twice("abc") == 3
    assert isinstance(twice.__wrapped__, type(decorate(4)(len)))


@pytest.mark.parametrize("name", ["plain", "ours"])
def test_patched_with_autospec(name: str) -> None:
    with unittest.mock.patch.object(THIS, name, autospec=True) as mock:
        assert callable(mock)
        mock.return_value = 5
        assert getattr(THIS, name)(3, name="x") == 5
        mock.assert_called_once_with(3, name="x")
    owner = {"plain": PlainOwner, "ours": OurOwner}[name]
    with unittest.mock.patch.object(owner, "static", autospec=True) as mock:
        mock.return_value = 6
        assert owner.static(1) == 6  # type: ignore[attr-defined]


def test_an_object_that_cached_did_not_create() -> None:
    bare = Cached.__new__(Cached)
    with pytest.raises(TypeError):
        bare(1)
    for use in ("cache_info", "cache_clear", "cache_parameters"):
        with pytest.raises((AttributeError, TypeError)):
            getattr(bare, use)()


def test_the_class() -> None:
    assert isinstance(ours, Cached)
    assert "__call__" in dir(ours)
    assert inspect.getdoc(Cached)
    assert isinstance(ours.__get__(3), types.MethodType)
