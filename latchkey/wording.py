"""Numbers in sentences: the one rule for singular and plural in every output, log line and page."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: ``1 key``, ``2 keys``; ``plural`` where an s does not make it."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
