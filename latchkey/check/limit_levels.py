"""What remains of the limits of keys and accounts, for the API, the console and the commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from latchkey.box.limit_tables import LimitTables
from latchkey.check._limits import LimitPlan
from latchkey.credentials.accounts import Account
from latchkey.credentials.limits import AppliedLimits, Limit, QuotaLimit, RateLimit
from latchkey.credentials.models import Credential, Mode
from latchkey.credentials.quotas import EPOCH_TAGS, QuotaUse
from latchkey.credentials.times import utc_now
from latchkey.store.protocols import LimitStore

if TYPE_CHECKING:
    from latchkey.check._limits import Source


@dataclass(frozen=True, slots=True)
class LimitLevel:
    """What remains of a limit now.

    ``name`` is its name in headers, and ``source`` tells whose limit it is. ``reset_at``, in UTC,
    is when all units are available again; None for a quota in total.
    """

    name: str
    limit: Limit
    source: Source
    remaining: int
    reset_at: datetime | None


def plan_of(
    applied: AppliedLimits | None, default: RateLimit | None, credential_id: int
) -> LimitPlan | None:
    """The limits that requests of a credential have to pass; None if there are none.

    The ``default`` limit is for keys without limits of their own.
    """
    if applied is None:
        return None if default is None else LimitPlan(default=(default, credential_id))
    applies = None if applied.own or default is None else (default, applied.shared_from)
    if not applied.own and not applied.account and applies is None:
        return None
    return LimitPlan(applied.own, applied.account, applies)


class LimitLevels:
    """Reads what remains of limits: of rates on this box, of quotas on all boxes."""

    def __init__(
        self,
        tables: LimitTables,
        store: LimitStore,
        default: RateLimit | None,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """``clock`` gives the time in UTC."""
        self._tables = tables
        self._store = store
        self._default = default
        self._clock = clock

    def levels_of(self, holder: Credential | Account, mode: Mode) -> list[LimitLevel]:
        """The levels of all limits of a credential or of an account in a mode.

        For a credential, the limits of its account are included. Raises StoreError.
        """
        if isinstance(holder, Credential):
            plan = plan_of(holder.applied_limits, self._default, holder.id)
        else:
            plan = plan_of(AppliedLimits((), holder.limits.of(mode), 0), None, 0)
        return [] if plan is None else self._levels(plan)

    def _levels(self, plan: LimitPlan) -> list[LimitLevel]:
        now = self._clock()
        outcome = plan.look(self._tables)
        ids = [one.id for one in plan.limits if isinstance(one.limit, QuotaLimit)]
        uses = self._store.states(ids, now) if ids else {}
        found = []
        for (name, remaining, reset), stored, source in zip(
            outcome.levels(), plan.limits, plan.sources, strict=True
        ):
            ends = None if reset is None else now + timedelta(seconds=reset)
            use = uses.get(stored.id) if isinstance(stored.limit, QuotaLimit) else None
            if use is not None:
                remaining, ends = self._of_quota(stored.id, use), use.until
            found.append(LimitLevel(name, stored.limit, source, remaining, ends))
        return found

    def _of_quota(self, limit_id: int, use: QuotaUse) -> int:
        """What remains of a quota, including the units that this box has reserved but not spent."""
        unspent = 0
        if limit_id < self._tables.quotas.backed_rows:
            state = self._tables.quotas.state(limit_id)
            if state.epoch_tag == use.epoch % EPOCH_TAGS:
                unspent = max(0, state.granted - state.spent)
        return max(0, use.limit.quota - use.used + unspent)
