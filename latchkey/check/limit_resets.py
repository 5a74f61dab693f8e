"""Resets of limits: a rate admits its whole burst again, and a quota begins anew."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fastcache.shared import RateTable
from latchkey.box.limit_tables import LimitTables
from latchkey.credentials.accounts import Account
from latchkey.credentials.audit import Actor
from latchkey.credentials.limit_rules import limits_to_reset
from latchkey.credentials.limit_service import LimitService
from latchkey.credentials.limits import RateLimit, StoredLimit
from latchkey.credentials.models import MODES, Credential


@dataclass(frozen=True, slots=True)
class LimitResets:
    """Resets the limits of keys and accounts, in the database and in the memory of one box.

    A reset is effective in every worker of the box before it returns. Quotas are reset in all boxes
    that share the database, rates only in this box.
    """

    service: LimitService
    tables: LimitTables

    def reset(
        self, holder: Credential | Account, names: Collection[str] | None = None, *, by: Actor
    ) -> list[str]:
        """Reset the limits with these names, None for all; returns their names.

        Raises as LimitService.
        """
        if isinstance(holder, Account):
            account = self.service.reset_account(holder.id, names, by=by)
            chosen = limits_to_reset(self.service.limits_of(account), names)
            for mode in MODES:
                self._fill(account.limits.of(mode), chosen)
            return chosen
        credential = self.service.reset_key(holder.api_key, names, by=by)
        chosen = limits_to_reset(self.service.limits_of(credential), names)
        applied = credential.applied_limits
        self._fill(applied.own, chosen)
        if not applied.own:
            _fill_row(self.tables.default_rates, applied.shared_from)
        return chosen

    def _fill(self, limits: Iterable[StoredLimit], names: Collection[str]) -> None:
        for stored in limits:
            # The memory of a quota is replaced when its new epoch is published.
            if stored.limit.name in names and isinstance(stored.limit, RateLimit):
                _fill_row(self.tables.rates, stored.id)


def _fill_row(table: RateTable, row: int) -> None:
    # Nothing was ever taken from a row without memory.
    if row < table.backed_rows:
        table.reset(row)
