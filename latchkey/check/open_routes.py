"""The routes that need no credential, listed one by one; everything else is closed."""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass, field, replace
from typing import cast

MAYBE = ""
"""A mark among the methods of a path for which only the router can decide."""


_SLASHES = re.compile("/{2,}")


def _contains(routes: Set[tuple[str, str]], method: str, path: str) -> bool:
    return (method, path) in routes or (method == "HEAD" and ("GET", path) in routes)


def _on_the_wire(path: str) -> str:
    """A path as in PATH_INFO (PEP 3333): each byte of its UTF-8 is a character."""
    return path.encode().decode("latin-1")


@dataclass(frozen=True, slots=True)
class OpenRoutes:
    """The (method, path) pairs that need no credential, and areas, which end with a slash.

    A path is a rule of the application: the path itself, or one with placeholders as
    ``/orders/<int:id>``, spelled as the rule is. HEAD counts as GET. An area is open for every
    method: the application must deny requests itself. Raises ValueError for a pair that could never
    match.
    """

    routes: Set[tuple[str, str]] = frozenset()
    areas: tuple[str, ...] = ()
    _paths: frozenset[tuple[str, str]] = field(init=False, repr=False, compare=False)
    _slashed: frozenset[str] = field(init=False, repr=False, compare=False)
    _beginnings: tuple[str, ...] = field(init=False, repr=False, compare=False)
    prefixes: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """The prefixes of rules with placeholders, as they appear in the environ."""
    only: tuple[str, ...] | None = field(init=False, default=None)
    """The parts outside of which everything is open; None for the whole application."""
    only_prefixes: tuple[str, ...] = field(init=False, default=(), repr=False, compare=False)
    """The same parts, as they appear in the environ."""

    def __post_init__(self) -> None:
        # A string would be iterated by character, and "/" would be an area.
        if str in map(type, (self.routes, self.areas)):
            raise ValueError("open routes must be a set and areas a tuple, not a string")
        for method, path in self.routes:
            if not method or method != method.upper() or path[:1] not in ("", "/"):
                raise ValueError(
                    f"{(method, path)!r} opens nothing: a method is in capitals, "
                    "and a path begins with a slash"
                )
        for area in self.areas:
            if not (area.startswith("/") and area.endswith("/")) or "<" in area:
                raise ValueError(
                    f"{area!r} is not an area: it must begin and end with a slash, "
                    "without placeholders"
                )
        set_once = object.__setattr__
        set_once(self, "routes", frozenset(self.routes))
        set_once(self, "areas", tuple(self.areas))
        set_once(
            self,
            "_paths",
            frozenset((method, _on_the_wire(path)) for method, path in self.routes - self.rules),
        )
        paths = [path for _, path in self._paths if path]
        other = (path[:-1] if path.endswith("/") else f"{path}/" for path in paths)
        set_once(self, "_slashed", frozenset(other))
        set_once(self, "_beginnings", tuple(map(_on_the_wire, self.areas)))
        begin = {_on_the_wire(path.partition("<")[0]) for _, path in self.rules}
        set_once(self, "prefixes", tuple(sorted(begin)))

    @property
    def rules(self) -> frozenset[tuple[str, str]]:
        """The pairs whose path has placeholders, which only the router can match."""
        return frozenset(pair for pair in self.routes if "<" in pair[1])

    def admits(self, method: str, path: str) -> bool:
        """Whether a request for this PATH_INFO is open by its path alone."""
        return (
            _contains(self._paths, method, path)
            or path.startswith(self._beginnings)
            or (self.only is not None and not _is_within(path, self.only_prefixes))
        )

    def may_admit(self, path: str) -> bool:
        """Whether the router may lead this PATH_INFO to an open rule.

        That is a rule with placeholders, or one that the router matches with or without a final
        slash.
        """
        if path.startswith("//"):
            # The router would ignore repeated slashes.
            return False
        return path in self._slashed or path.startswith(self.prefixes)

    def opens(self, method: str, rule: str) -> bool:
        """Whether a rule of the application is open for a method: by name, by area, or outside."""
        return self.names(method, rule) or rule.startswith(self.areas) or self.is_outside(rule)

    def is_outside(self, rule: str) -> bool:
        """Whether a rule lies outside of the parts that are protected."""
        return self.only is not None and not _is_within(rule, self.only)

    def may_be_inside(self, rule: str) -> bool:
        """Whether a rule that is outside has placeholders that match paths inside."""
        fixed, placeholder, _ = rule.partition("<")
        return bool(placeholder) and any(part.startswith(fixed) for part in self.only or ())

    def names(self, method: str, rule: str) -> bool:
        """Whether a rule of the application is open by name for a method."""
        return _contains(self.routes, method, rule)

    @property
    def methods(self) -> dict[str, frozenset[str]]:
        """The methods for which each path is open, with HEAD listed.

        MAYBE is added for a path that lacks the trailing slash of an open one.
        """
        methods: dict[str, set[str]] = {}
        for method, path in self._paths:
            methods.setdefault(path, set()).update(
                {method, "HEAD"} if method == "GET" else {method}
            )
            if path.endswith("/"):
                methods.setdefault(path[:-1], set()).add(MAYBE)
        return {path: frozenset(named) for path, named in methods.items()}

    @property
    def beginnings(self) -> tuple[str, ...]:
        """The areas as they appear in the environ."""
        return self._beginnings


def _is_within(path: str, parts: tuple[str, ...]) -> bool:
    """Whether a path is below one of these parts, or is one without its final slash.

    Repeated slashes count as one, and a path begins with a slash, since routers treat it so.
    """
    return _SLASHES.sub("/", f"/{path}/").startswith(parts)


def routes_of(open_routes: OpenRoutes | None, only: tuple[str, ...] | None) -> OpenRoutes:
    """The open routes of an application that is protected only in some parts, if there are any.

    Raises ValueError for invalid parts, which would protect no path.
    """
    routes = open_routes or NOTHING_OPEN
    if only is None:
        return routes
    if isinstance(cast(object, only), str) or not only:
        raise ValueError("only must be a tuple of paths, such as ('/api/',)")
    for part in only:
        if not (part.startswith("/") and part.endswith("/")) or "<" in part or "//" in part:
            raise ValueError(
                f"{part!r} is not a part of an application: it must begin and end with a slash, "
                "without placeholders and doubled slashes"
            )
    limited = replace(routes)
    object.__setattr__(limited, "only", tuple(only))
    object.__setattr__(limited, "only_prefixes", tuple(map(_on_the_wire, only)))
    return limited


NOTHING_OPEN = OpenRoutes()
