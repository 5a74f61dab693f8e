"""Endpoint rules of a key, ``"GET /orders/*"``: parsing, inclusion, and the match of a request.

A rule is a method, or ``*``, and a path. GET includes HEAD. A segment ``*`` matches one segment
that is not empty; a final ``/**`` matches the path before it, with or without a slash at its end,
and everything below. Paths are compared as the router sees them: decoded, and case-sensitively.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

MOST_ENDPOINTS = 32
LONGEST_ENDPOINT = 512
"""The most characters of one rule."""

_ANY = "*"
_BELOW = "**"
_METHOD = re.compile(r"\*|[A-Z][A-Z-]{0,31}")
_REFUSED_CHARACTERS = frozenset("?#%;\\")
_FORM = 'write a method and a path, such as "GET /orders/*" or "* /orders/**"'


@dataclass(frozen=True, slots=True)
class EndpointRule:
    """One rule. ``segments`` are those of its path before a final ``/**``, which ``below`` is."""

    method: str
    segments: tuple[str, ...]
    below: bool

    def __str__(self) -> str:
        path = "".join(f"/{segment}" for segment in (*self.segments, *[_BELOW][: self.below]))
        return f"{self.method} {path}"

    def includes(self, other: EndpointRule) -> bool:
        """Whether every request that ``other`` matches is matched by this rule."""
        if not self._has_method(other.method):
            return False
        if other.below and not self.below:
            return False
        if not self._has_length(len(other.segments)):
            return False
        return all(map(_covers, self.segments, other.segments))

    def _has_method(self, method: str) -> bool:
        return self.method in (_ANY, method) or (method == "HEAD" and self.method == "GET")

    def _has_length(self, count: int) -> bool:
        return count >= len(self.segments) if self.below else count == len(self.segments)


def parse_endpoint(text: str) -> EndpointRule:
    """Parse one rule; raises ValueError, which says what is wrong."""
    method, space, path = text.partition(" ")
    if not space or not path.startswith("/") or not _METHOD.fullmatch(method):
        raise ValueError(_FORM)
    if len(text) > LONGEST_ENDPOINT:
        raise ValueError(f"a rule has at most {LONGEST_ENDPOINT} characters")
    if not path.isprintable() or " " in path or _REFUSED_CHARACTERS.intersection(path):
        raise ValueError("write the path as the application sees it: decoded, without a query")
    *segments, last = path[1:].split("/")
    below = last == _BELOW
    if not below:
        segments.append(last)
    for number, segment in enumerate(segments):
        if segment in (".", "..") or (not segment and number < len(segments) - 1):
            raise ValueError("a path has no empty, . or .. segment")
        if _ANY in segment and segment != _ANY:
            raise ValueError("* stands for a whole segment, and ** for the end of a path")
    if below and segments and not segments[-1]:
        raise ValueError("a path has no empty, . or .. segment")
    return EndpointRule(method, tuple(segments), below)


def endpoint_within(inner: EndpointRule, outers: Iterable[EndpointRule]) -> bool:
    """Whether one of the ``outers`` includes ``inner``."""
    return any(outer.includes(inner) for outer in outers)


class EndpointSet:
    """Rules, arranged so that a request is matched by a lookup and one linear expression."""

    __slots__ = ("_exact", "_matches_pattern")

    def __init__(self, rules: Iterable[EndpointRule]) -> None:
        exact, patterns = set(), []
        for rule in rules:
            if rule.below or _ANY in rule.segments or rule.method == _ANY:
                patterns.append(rule)
            else:
                path = "".join(f"/{_as_wsgi(segment)}" for segment in rule.segments)
                exact.add(f"{rule.method} {path}")
        self._exact = frozenset(exact)
        self._matches_pattern = (
            re.compile(expression_of(patterns), re.DOTALL).fullmatch if patterns else None
        )

    def matches(self, method: str, path: str) -> bool:
        """Whether a rule matches; ``path`` is WSGI's PATH_INFO, bytes of UTF-8 as Latin-1."""
        # A space would move the boundary between method and path.
        if " " in method:
            return False
        request = f"{method} {path}"
        if request in self._exact:
            return True
        if self._matches_pattern is not None and self._matches_pattern(request) is not None:
            return True
        return method == "HEAD" and self.matches("GET", path)


def expression_of(rules: Iterable[EndpointRule]) -> str:
    """A regular expression for "METHOD /path", without repetitions inside of repetitions."""
    alternatives = "|".join(map(_alternative, rules))
    return rf"\A(?:{alternatives})\Z"


def _alternative(rule: EndpointRule) -> str:
    method = "[^ ]+" if rule.method == _ANY else re.escape(rule.method)
    return f"{method} {path_expression(rule)}"


def path_expression(rule: EndpointRule) -> str:
    """A regular expression for the paths of a rule, in the form of WSGI's PATH_INFO."""
    path = "".join(
        "/[^/]+" if segment == _ANY else f"/{re.escape(_as_wsgi(segment))}"
        for segment in rule.segments
    )
    if rule.below:
        path += "(?:/.*)?" if path else "/.*"
    return path


def _covers(own: str, other: str) -> bool:
    """Whether a rule's segment covers a segment, of a path or of another rule."""
    return own == other or (own == _ANY and other != "")


def _as_wsgi(segment: str) -> str:
    """A segment as PEP 3333 has it in PATH_INFO."""
    return segment.encode().decode("latin-1")
