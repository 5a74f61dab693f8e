"""Tallies of uses as a segment counts them, and what a store has persisted of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from latchkey.credentials.models import Tally
from latchkey.store.protocols import Store
from tests.support.store.new_credentials import NOW

SEGMENT, OTHER = "1" * 32, "2" * 32
"""The identities of two segments."""
HOUR = 3_600_000
"""In milliseconds."""


def milliseconds(moment: datetime) -> int:
    """Since 1970."""
    return round(moment.timestamp() * 1000)


def tally(number: int, uses: int, moment: datetime = NOW, **refusals: Any) -> Tally:
    """The tally of one credential, used last at ``moment``."""
    return Tally(number, uses, milliseconds(moment), **refusals)


def total(store: Store, number: int) -> int:
    """All persisted uses of a credential."""
    return sum(store.usage.record(number, SEGMENT).hours.values())
