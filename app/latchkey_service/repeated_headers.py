"""Headers that a request has more than once, as the parser reports them to the application.

A WSGI server joins repeated headers with a comma. In headers whose values may contain a comma, the
application could not tell one value from two.
"""

from __future__ import annotations

from collections import Counter
from wsgiref.types import WSGIEnvironment

_SEPARATOR = ","
# No client can send a header with this name: parentheses are not allowed in one.
_NAME = "(REPEATED)"
_KEY = f"HTTP_{_NAME}"


def note_repeated(headers: list[tuple[str, str]]) -> None:
    """Called by the parser: add the names of repeated headers to the ``headers``, in capitals."""
    names = [name for name, _ in headers]
    if len(set(names)) < len(names):
        repeated = [name for name, count in Counter(names).items() if count > 1]
        headers.append((_NAME, _SEPARATOR.join(repeated)))


def is_repeated(environ: WSGIEnvironment, name: str) -> bool:
    """Whether the request has the header more than once; ``name`` is in capitals."""
    repeated: str | None = environ.get(_KEY)
    return repeated is not None and name in repeated.split(_SEPARATOR)
