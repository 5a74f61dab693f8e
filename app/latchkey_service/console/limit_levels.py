"""What remains of limits, as the pages of keys and accounts show it, and resets of limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from latchkey.check.limit_levels import LimitLevel, LimitLevels
from latchkey.check.limit_resets import LimitResets
from latchkey.credentials.accounts import Account
from latchkey.credentials.default_limit import parse_default_limit
from latchkey.credentials.limit_service import LimitService
from latchkey.credentials.limits import RateLimit
from latchkey.credentials.models import MODES, Credential, Mode
from latchkey_service.console.sessions import latchkey
from latchkey_service.shapes.limit_texts import readable_limit


@dataclass(frozen=True, slots=True)
class ShownLimit:
    """A limit and what remains of it. ``source`` tells whose limit it is."""

    name: str
    allows: str
    remaining: int
    reset_at: datetime | None
    is_full: bool
    source: str
    mode: Mode
    is_of_account: bool


def limits_of_key(credential: Credential) -> list[ShownLimit]:
    """The limits that apply to a key, those of its account included."""
    shared = credential.shared_limits is not None
    sources = {
        "key": "another key, shared" if shared else "this key",
        "account": "the account",
        "default": "the default",
    }
    levels = _levels().levels_of(credential, credential.mode)
    return [_shown(level, credential.mode, sources[level.source]) for level in levels]


def limits_of_account(account: Account) -> list[ShownLimit]:
    """The limits of an account, in each mode."""
    return [
        _shown(level, mode, "the account")
        for mode in MODES
        for level in _levels().levels_of(account, mode)
    ]


def limit_resets() -> LimitResets:
    """Resets limits, for the operator."""
    parts = latchkey()
    default = parse_default_limit(parts.settings.default_limit)
    return LimitResets(LimitService(parts.store, parts.publisher, default), parts.shared.limits)


def _levels() -> LimitLevels:
    parts = latchkey()
    default = parse_default_limit(parts.settings.default_limit)
    return LimitLevels(parts.shared.limits, parts.store.limits, default)


def _shown(level: LimitLevel, mode: Mode, source: str) -> ShownLimit:
    limit = level.limit
    is_full = isinstance(limit, RateLimit) and level.remaining == limit.burst
    return ShownLimit(
        name=limit.name,
        allows=readable_limit(limit),
        remaining=level.remaining,
        reset_at=None if is_full else level.reset_at,
        is_full=is_full,
        source=source,
        mode=mode,
        is_of_account=level.source == "account",
    )
