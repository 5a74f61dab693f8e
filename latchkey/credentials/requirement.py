"""What a view requires of its caller, whatever the web framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from latchkey.credentials.models import Principal
from latchkey.credentials.needs import Need, describe, is_met, scopes_of, sufficient_for
from latchkey.errors import InsufficientScope

MOST_COST = 1_000_000


@dataclass(frozen=True, slots=True)
class Requirement:
    """The scopes that a view needs; ``need`` is None if any credential will do.

    ``own`` names a view argument: if that is the caller's own key, no scope is needed. ``of`` names
    the view argument that holds the object on which the scopes are needed. ``sufficient`` are the
    scopes each of which alone meets the requirement, whatever the view's arguments. ``cost`` is
    what a request takes from the caller's limits.
    """

    need: Need | None
    own: str | None = None
    of: str | None = None
    cost: int = 1
    sufficient: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        check_cost(self.cost)
        plain = self.need is not None and self.of is None
        enough = sufficient_for(self.need) if plain and self.need is not None else frozenset()
        object.__setattr__(self, "sufficient", enough)

    def check(self, principal: Principal, view_arguments: Mapping[str, object]) -> None:
        """Raise InsufficientScope unless the principal meets it."""
        if self.need is None or not self.sufficient.isdisjoint(principal.scopes):
            return
        if self.own is not None and view_arguments.get(self.own) == principal.api_key:
            return
        thing = None if self.of is None else _object_in(view_arguments, self.of)
        if is_met(self.need, principal.scopes, thing):
            return
        where = "" if self.of is None else f" for this {self.of}"
        raise InsufficientScope(
            " ".join(scopes_of(self.need)), f"This request needs {describe(self.need)}{where}"
        )


def check_cost(cost: int) -> None:
    """Raise ValueError for a cost that no request can have, TypeError for one of another type."""
    if type(cost) is not int:
        raise TypeError(f"a cost is a whole number, not {type(cost).__name__}")
    if not 1 <= cost <= MOST_COST:
        raise ValueError(f"a cost is 1 to {MOST_COST:,}, not {cost}")


def _object_in(view_arguments: Mapping[str, object], name: str) -> str:
    """The object that a view argument names, as text; empty, which is no object, for None."""
    value = view_arguments.get(name)
    return "" if value is None else str(value)
