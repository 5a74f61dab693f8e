"""Limits in the output of commands: in words, and with what remains of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from latchkey.check.limit_levels import LimitLevel
from latchkey.credentials.accounts import Account
from latchkey.credentials.limits import RateLimit, limit_of_json
from latchkey.credentials.models import MODES, Credential, Mode
from latchkey.credentials.times import format_time
from latchkey_service.cli.options import NEVER
from latchkey_service.cli.printing import print_table
from latchkey_service.cli.session import Session
from latchkey_service.shapes.limit_texts import readable_limit, readable_limits
from latchkey_service.shapes.limits import limit_level_objects

# A service may run whose memory was removed.
_NOT_RUNNING = (
    "No memory of a running service was found: rates are shown as full, and quotas as the database "
    "has them."
)


@dataclass(frozen=True, slots=True)
class Remaining:
    """What remains of limits, by mode, and whether the memory of a running service said so."""

    levels: list[tuple[Mode, LimitLevel]]
    from_memory: bool
    is_of_account: bool

    def fields(self) -> dict[str, Any]:
        """The fields of JSON output."""
        objects = limit_level_objects([level for _, level in self.levels])
        if self.is_of_account:
            modes = (mode for mode, _ in self.levels)
            objects = [{"mode": mode, **one} for mode, one in zip(modes, objects, strict=True)]
        return {
            "remaining": objects,
            "remaining_from": "memory" if self.from_memory else "database",
        }

    def print_table(self) -> None:
        """Print a line for each limit."""
        if not self.levels:
            click.echo("no limits")
            return
        titles = ["mode" if self.is_of_account else "source", "limit", "allows", "left"]
        print_table([*titles, "full again"], (self._cells(*one) for one in self.levels))
        if not self.from_memory:
            click.echo(_NOT_RUNNING, err=True)

    def print_after_fields(self) -> None:
        """The same, below the fields of a key or an account; nothing if there are no limits."""
        if self.levels:
            click.echo()
            self.print_table()

    def _cells(self, mode: Mode, level: LimitLevel) -> list[str]:
        ends = NEVER if level.reset_at is None else format_time(level.reset_at)
        if isinstance(level.limit, RateLimit) and level.remaining == level.limit.burst:
            ends = "now"
        first = mode if self.is_of_account else level.source
        return [first, level.limit.name, readable_limit(level.limit), f"{level.remaining:,}", ends]


def remaining_of_key(session: Session, credential: Credential) -> Remaining:
    """What remains of the limits that apply to a key, those of its account included."""
    mode = credential.mode
    levels = [(mode, level) for level in session.limit_levels.levels_of(credential, mode)]
    return Remaining(levels, session.shared.segment is not None, is_of_account=False)


def remaining_of_account(session: Session, account: Account) -> Remaining:
    """What remains of the limits of an account in each mode."""
    levels = [
        (mode, level) for mode in MODES for level in session.limit_levels.levels_of(account, mode)
    ]
    return Remaining(levels, session.shared.segment is not None, is_of_account=True)


def with_readable_limits(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a key or an account with its limits in words."""
    limits = fields["limits"]
    if limits is None:
        return dict(fields)
    return {**fields, "limits": readable_limits(map(limit_of_json, limits))}
