"""The callers of changes, and the check of their rights within the transaction.

A request is checked before it waits for the database. A key that is revoked meanwhile must not
change anything, so it is read again inside the transaction of each change that it makes.
"""

from __future__ import annotations

from dataclasses import dataclass

from latchkey.credentials.audit import Actor
from latchkey.credentials.conditions import Evaluation
from latchkey.credentials.idempotency import Once
from latchkey.credentials.models import Credential, Principal
from latchkey.credentials.publishing import Refusal
from latchkey.credentials.reach import EVERYWHERE, Reach, reach_to_change
from latchkey.credentials.scopes import CHANGE_CREDENTIALS, permits
from latchkey.credentials.times import utc_now
from latchkey.errors import (
    ApiError,
    ExpiredCredential,
    InsufficientScope,
    InvalidCredential,
    RevokedCredential,
)


@dataclass(frozen=True, slots=True)
class Author:
    """The author of a change.

    ``actor`` is the author's name in the audit log. ``caller`` is the key that makes the change, as
    authenticated; None for the operator, and for the registration of a pair. ``needs`` is the
    required scope; None if a key changes itself without one. ``once`` is for a request of the
    caller that creates a key at most once, however often it is repeated.
    """

    actor: Actor
    caller: Principal | None = None
    needs: str | None = CHANGE_CREDENTIALS
    once: Once | None = None

    def confirm(self, found: Credential | None) -> Credential:
        """The caller as ``found`` in the transaction, by its api_key.

        Raises a Refusal if a request with this key would now be refused, with the same error:
        InvalidCredential, RevokedCredential, DisabledCredential, NotYetValidCredential,
        ExpiredCredential, AddressNotAllowed, EndpointNotAllowed or InsufficientScope.
        """
        if self.caller is None or found is None or found.id != self.caller.credential_id:
            raise Refusal(InvalidCredential())
        error = self._objection(found)
        if error is not None:
            # The check admitted it, so the cached entry is older than the row.
            raise Refusal(error, [found.lookup])
        return found

    def reach(self, found: Credential | None) -> Reach:
        """What the author may change: everything, or what the caller as ``found`` reaches."""
        return EVERYWHERE if found is None else reach_to_change(found.principal())

    def _objection(self, found: Credential) -> ApiError | None:
        now = utc_now()
        evaluation = Evaluation(found.effective_conditions)
        status = found.status(now)
        if status == "revoked":
            return RevokedCredential()
        early = evaluation.objection_at(now)
        if early is not None:
            return early
        if status == "expired":
            return ExpiredCredential()
        late = evaluation.objection_to(self.actor.facts)
        if late is not None:
            return late
        if self.needs is not None and not permits(found.scopes, self.needs):
            return InsufficientScope(self.needs)
        return None
