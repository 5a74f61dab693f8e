"""A worker with a key that a test gives any limits, by a clock that only the test moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from latchkey.addresses import ClientAddresses
from latchkey.box.counter_names import Use
from latchkey.box.shared import SharedState
from latchkey.box.sightings import Sightings
from latchkey.check._check import Check
from latchkey.check._entry import CacheEntry
from latchkey.check._limits import LimitPlan
from latchkey.check.open_routes import NOTHING_OPEN
from latchkey.check.request_conditions import RequestConditions
from latchkey.credentials.conditions import NO_CONDITIONS
from latchkey.credentials.limits import StoredLimit, rate_limit
from latchkey.credentials.tokens import lookup_key
from tests.support.auth.limit_clock import Clock, new_tables
from tests.support.auth.worker import Worker

LIMITS = "latchkey.limits"
"""The name in the environ of what was taken."""
ONE = LimitPlan((StoredLimit(1, rate_limit("10/second")),))


class LimitedBox:
    """A worker whose limits run by a clock of the test, and one key."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        shared = SharedState.private()
        shared.limits = new_tables(self.clock)
        self.worker = Worker(path, shared=shared, real_time=True)
        self.tables = shared.limits
        self.secret = self.worker.issue()
        self.found = self.worker.authenticate(self.secret)

    def fill_buckets(self) -> None:
        """Make all units of all rates available."""
        self.clock.now += 10**14

    def limit(self, plan: LimitPlan | None, **fields: Any) -> None:
        """Give the cached entry of the key this plan, in place of what the database has."""
        authenticator = self.worker.authenticator
        lookup = lookup_key(self.secret)
        authenticator.invalidate(lookup)
        self.worker.authenticate(self.secret)
        entry = authenticator.known.get(lookup)
        assert entry is not None
        given = {
            "ticket": entry.ticket,
            "deadline": entry.deadline,
            "digest": entry.digest,
            "principal": entry.principal,
            "revoked": False,
            "conditions": NO_CONDITIONS,
            **fields,
        }
        authenticator.known.put(lookup, CacheEntry(limits=plan, **given))

    def check(self, **options: Any) -> Check:
        authenticator = self.worker.authenticator
        options.setdefault("known", authenticator.compiled)
        return Check(
            authenticator,
            open_routes=NOTHING_OPEN,
            sightings=Sightings(authenticator.shared),
            conditions=RequestConditions(ClientAddresses(), authenticator.shared.count_refusal),
            **options,
        )

    def request(self) -> dict[str, Any]:
        return {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/",
            "REMOTE_ADDR": "192.0.2.7",
            "HTTP_AUTHORIZATION": f"Bearer {self.secret}",
        }

    def uses(self) -> int:
        return self.worker.authenticator.shared.uses.row(self.found.credential_id)[Use.USES]
