"""The check of a credential that another service received and describes by JSON.

It uses the caches, the counters and the refusals of the check of requests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from latchkey.addresses import ClientAddresses
from latchkey.assembly import Latchkey
from latchkey.box.throttle import WindowLimit
from latchkey.check._check import Check
from latchkey.check._entry import CacheEntry
from latchkey.check._limits import LimitOutcome
from latchkey.check.headers import Presented, read_bearer, read_pair
from latchkey.check.open_routes import NOTHING_OPEN
from latchkey.credentials.conditions import RequestFacts
from latchkey.credentials.models import Principal
from latchkey.credentials.requirement import Requirement
from latchkey.errors import (
    ApiError,
    InsufficientScope,
    InvalidCredential,
    LimitReached,
    StoreError,
    TooManyFailures,
)

_PEER = ClientAddresses()


@dataclass(frozen=True, slots=True)
class DescribedRequest:
    """A request as the service that received it describes it.

    ``api_key`` is None for a secret alone. A fact that is None is not known, and a condition on it
    is not met. ``cost`` is what it takes from each limit of the key.
    """

    secret: str = field(repr=False)
    api_key: str | None
    requirement: Requirement
    facts: RequestFacts
    cost: int = 1

    def presented(self) -> Presented:
        """The credential; raises InvalidCredential if it is malformed."""
        if self.api_key is None:
            return read_bearer(self.secret)
        return read_pair(self.api_key, self.secret)


class CheckResult(NamedTuple):
    """The result of a check: ``error`` is None if the request is to be admitted.

    ``principal`` is None unless the secret is right. ``limits`` is None if no limit was applied.
    """

    error: ApiError | None
    principal: Principal | None
    limits: LimitOutcome | None = None


class DescribedRequests:
    """Checks described requests for one worker."""

    def __init__(self, latchkey: Latchkey) -> None:
        parts = latchkey.begin()
        self._authenticator = parts.authenticator
        self._limiter = parts.limiter
        self._count_scope_refusal = latchkey.count_scope_refusal
        # Only counts uses, with the address that the caller gives as that of the peer.
        self._uses = Check(
            parts.authenticator,
            known=None,
            open_routes=NOTHING_OPEN,
            sightings=parts.sightings(_PEER),
            takes_limits=False,
        )
        self._failures = WindowLimit(
            parts.settings.failure_limit, parts.shared.failures, parts.shared.failure_digest()
        )

    def check(self, described: DescribedRequest, caller: Principal) -> CheckResult:
        """Check a request for a caller. If the key may be used, take the cost and count a use.

        A key that the caller may not verify is found like one that does not exist. Raises
        TooManyFailures for an invalid credential, if the caller has sent too many; StoreError.
        """
        try:
            entry = self._authenticator.find(described.presented())
            if not _reaches(caller, entry.principal):
                raise InvalidCredential
        except InvalidCredential as error:
            self._count_failure(caller)
            return CheckResult(error, None)
        try:
            principal = self._authenticator.result_of(entry, lambda: described.facts)
            taken = self._take(entry, described.cost)
        except StoreError:
            raise
        except LimitReached as error:
            left = error.outcome if isinstance(error.outcome, LimitOutcome) else None
            return CheckResult(error, entry.principal, left)
        except ApiError as error:
            return CheckResult(error, entry.principal)
        address = described.facts.address
        self._uses.admit({"REMOTE_ADDR": "" if address is None else str(address)}, principal)
        try:
            described.requirement.check(principal, {})
        except InsufficientScope as error:
            self._count_scope_refusal(principal)
            return CheckResult(error, principal, taken)
        return CheckResult(None, principal, taken)

    def _take(self, entry: CacheEntry, cost: int) -> LimitOutcome | None:
        """Take the cost from the limits of a key; None if it has none."""
        if entry.limits is None:
            return None
        return self._limiter.take(entry.limits, entry.credential_id, cost)

    def _count_failure(self, caller: Principal) -> None:
        try:
            self._failures.count(f"verify {caller.api_key}")
        except TooManyFailures as limited:
            raise TooManyFailures(
                limited.retry_after,
                "Too many invalid credentials were verified with this key; try again later",
            ) from None


def _reaches(caller: Principal, found: Principal) -> bool:
    """Whether a caller may verify a key: of its mode, and of its account unless it is our own."""
    if found.mode != caller.mode:
        return False
    return caller.in_instance_account or found.account_id == caller.account_id
