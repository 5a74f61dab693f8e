"""Numbers in sentences: the only rule for singular and plural in outputs, log lines and pages."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: ``1 key``, ``2 keys``; ``plural`` if it does not just add an s."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
