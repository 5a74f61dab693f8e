"""A function for the tests of fastcache.cached."""

from __future__ import annotations

from typing import Any


class Calls:
    """A function that records its calls."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.made.append((args, kwargs))
        return len(self.made)
