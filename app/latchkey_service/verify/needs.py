"""What a request needs, as the operator names it in the verify URL of a proxy.

``?scope=`` (repeatable, all are needed), ``?scope_any=`` (one of them is enough), ``?mode=``,
``?cost=`` and ``?preflight=pass``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, cast
from urllib.parse import unquote

from latchkey.credentials.models import MODES, Mode
from latchkey.credentials.needs import AllOf, AnyOf, Need
from latchkey.credentials.requirement import Requirement
from latchkey.credentials.scopes import parse_scope
from latchkey.errors import InvalidField, InvalidRequest
from latchkey_service.shapes.problems import shown_name

LARGEST_COST = 1_000_000
_LONGEST_QUERY = 4_096
_NAMES = ("scope", "scope_any", "mode", "cost", "preflight")
_REPEATABLE = ("scope", "scope_any")
_HIDDEN = "a parameter of the verify URL"


def requirement_of(scopes: Collection[str], scope_any: Collection[str]) -> Requirement:
    """The scopes that are needed: each of ``scopes``, and one of ``scope_any`` if there are any."""
    needs: list[Need] = list(scopes)
    if scope_any:
        needs.append(AnyOf(tuple(scope_any)))
    if len(needs) < 2:
        return Requirement(needs[0] if needs else None)
    return Requirement(AllOf(tuple(needs)))


@dataclass(frozen=True, slots=True, eq=False)
class Needs:
    """The needs that a URL names.

    ``mode`` and ``cost`` are None where it names none.
    """

    scopes: tuple[str, ...] = ()
    scope_any: tuple[str, ...] = ()
    mode: Mode | None = None
    cost: int | None = None
    preflight: Literal["pass"] | None = None
    requirement: Requirement = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "requirement", requirement_of(self.scopes, self.scope_any))

    @property
    def are_named(self) -> bool:
        """Whether the URL names any need of a caller, so that it is not open by a rule."""
        named = self.scopes or self.scope_any or self.mode is not None or self.cost is not None
        return bool(named)


NO_NEEDS = Needs()


@lru_cache(maxsize=256)
def needs_of(query: str) -> Needs:
    """The needs in a query.

    Raises InvalidField, which names the parameter, for an unknown one and for an invalid value.
    """
    if len(query) > _LONGEST_QUERY:
        raise InvalidRequest("The query of the verify URL is too long")
    given: dict[str, list[str]] = {name: [] for name in _NAMES}
    for part in query.split("&") if query else ():
        name, _, value = map(unquote, part.partition("="))
        if name not in given:
            allowed = ", ".join(_NAMES)
            raise InvalidField(shown_name(name, _HIDDEN), f"is unknown here; allowed are {allowed}")
        given[name].append(value)
    for name, values in given.items():
        if len(values) > 1 and name not in _REPEATABLE:
            raise InvalidField(name, "may be given only once")
    return Needs(
        _scopes("scope", given["scope"]),
        _scopes("scope_any", given["scope_any"]),
        _mode(given["mode"]),
        _cost(given["cost"]),
        _preflight(given["preflight"]),
    )


def _scopes(name: str, values: list[str]) -> tuple[str, ...]:
    for value in values:
        try:
            parse_scope(value)
        except ValueError as error:
            raise InvalidField(name, str(error)) from None
    return tuple(dict.fromkeys(values))


def _mode(values: list[str]) -> Mode | None:
    if values and values[0] not in MODES:
        raise InvalidField("mode", f"must be {' or '.join(MODES)}")
    return cast(Mode, values[0]) if values else None


def _cost(values: list[str]) -> int | None:
    if not values:
        return None
    text = values[0]
    if text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_COST)):
        if 1 <= int(text) <= LARGEST_COST:
            return int(text)
    raise InvalidField("cost", f"must be a whole number from 1 to {LARGEST_COST}")


def _preflight(values: list[str]) -> Literal["pass"] | None:
    if values and values[0] != "pass":
        raise InvalidField("preflight", "must be pass, or left out")
    return "pass" if values else None
