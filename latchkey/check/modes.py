"""The modes of the keys that an application admits."""

from __future__ import annotations

from collections.abc import Set
from typing import cast

from latchkey.credentials.models import MODES, Mode

ALL_MODES: frozenset[Mode] = frozenset(MODES)


def modes_of(modes: Set[Mode] | None) -> frozenset[Mode]:
    """The modes that are admitted; None admits all. Raises ValueError for anything else."""
    if modes is None:
        return ALL_MODES
    # A string would be iterated by character.
    if isinstance(cast(object, modes), str) or not modes or not ALL_MODES.issuperset(modes):
        raise ValueError(f"modes must be a set of {' and '.join(MODES)}, not {modes!r}")
    return frozenset(modes)
