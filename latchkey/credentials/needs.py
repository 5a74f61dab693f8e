"""What a view needs of its caller's scopes: one scope, one of several, or all of several."""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass

from latchkey.credentials.scopes import parse_scope, permits, sufficient_scopes


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of these is enough."""

    needs: tuple[Need, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """Each of these is needed."""

    needs: tuple[Need, ...]


Need = str | AnyOf | AllOf


def any_of(*needs: Need) -> AnyOf:
    """A need that each of ``needs`` meets: ``require_scope(any_of("a:read", "b:read"))``.

    Raises ValueError for a malformed scope, or if there are none.
    """
    return AnyOf(_checked(needs))


def all_of(*needs: Need) -> AllOf:
    """A need that only all of ``needs`` together meet.

    Raises ValueError for a malformed scope, or if there are none.
    """
    return AllOf(_checked(needs))


def is_met(need: Need, granted: Collection[str], of: str | None = None) -> bool:
    """Whether the ``granted`` scopes meet the need, on the object ``of`` if given."""
    if isinstance(need, AnyOf):
        return any(is_met(one, granted, of) for one in need.needs)
    if isinstance(need, AllOf):
        return all(is_met(one, granted, of) for one in need.needs)
    return permits(granted, need, of)


def scopes_of(need: Need) -> tuple[str, ...]:
    """All scopes that a need names, each once."""
    if isinstance(need, str):
        return (need,)
    return tuple(dict.fromkeys(scope for one in need.needs for scope in scopes_of(one)))


def sufficient_for(need: Need) -> frozenset[str]:
    """The scopes without a selector each of which alone meets the need."""
    if isinstance(need, str):
        return sufficient_scopes(need)
    each = [sufficient_for(one) for one in need.needs]
    combine = frozenset.union if isinstance(need, AnyOf) else frozenset.intersection
    return functools.reduce(combine, each)


def describe(need: Need) -> str:
    """The need for an error message: ``the scope a:read``, ``a:read or b:read``."""
    return f"the scope {need}" if isinstance(need, str) else _listed(need, nested=False)


def _listed(need: Need, *, nested: bool = True) -> str:
    if isinstance(need, str):
        return need
    word = " or " if isinstance(need, AnyOf) else " and "
    text = word.join(map(_listed, need.needs))
    return f"({text})" if nested and len(need.needs) > 1 else text


def check_need(need: Need) -> None:
    """Raise ValueError for a need that names a malformed scope."""
    for scope in scopes_of(need):
        try:
            parse_scope(scope)
        except ValueError as error:
            raise ValueError(f"{scope!r} is not a scope: {error}") from None


def _checked(needs: tuple[Need, ...]) -> tuple[Need, ...]:
    if not needs:
        raise ValueError("name at least one scope")
    for need in needs:
        check_need(need)
    return needs
