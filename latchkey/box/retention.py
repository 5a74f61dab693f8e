"""Retention limits: removal of old client addresses, and of old details of the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from latchkey.config import Settings
from latchkey.credentials.audit_erasure import Bounds
from latchkey.credentials.publishing import Publisher
from latchkey.store.protocols import AuditLog, UsageStore


@dataclass(frozen=True, slots=True)
class Periods:
    """How long addresses and details are kept; None for always."""

    addresses: timedelta | None = None
    details: timedelta | None = None

    @classmethod
    def of(cls, settings: Settings) -> Periods:
        """The periods of the settings."""
        return cls(_period(settings.audit_address_days), _period(settings.audit_detail_days))

    def bounds(self, now: datetime) -> Bounds:
        """The bounds that apply since the last midnight in UTC, so that they change once a day."""
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return Bounds(
            None if self.addresses is None else midnight - self.addresses,
            None if self.details is None else midnight - self.details,
        )


class Retention:
    """Applies the periods to one store. Several processes may do so at once."""

    def __init__(
        self, periods: Periods, log: AuditLog, usage: UsageStore, publisher: Publisher
    ) -> None:
        self._periods = periods
        self._log = log
        self._usage = usage
        self._publisher = publisher

    def apply(self, now: datetime) -> None:
        """Remove everything that has expired by ``now``, in UTC; raises StoreError.

        Each batch is a transaction of its own, so that changes wait for one batch at most.
        """
        bounds = self._periods.bounds(now)
        if bounds.addresses_before is not None:
            self._usage.forget_addresses(bounds.addresses_before)
        if bounds == Bounds():
            return
        after: int | None = 0
        while after is not None:
            after = self._publisher.publish(self._log.expire(bounds, now, after))


def _period(days: str) -> timedelta | None:
    return None if days == "keep" else timedelta(days=int(days))
