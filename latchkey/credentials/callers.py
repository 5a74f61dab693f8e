"""Who makes a change, and whether they still may when its transaction has begun.

A request is checked before it waits for the database. A key that is revoked meanwhile must leave
nothing behind, so it is read again inside the transaction of each change that it makes.
"""

from __future__ import annotations

from dataclasses import dataclass

from latchkey.credentials.audit import Actor
from latchkey.credentials.models import Credential, Principal
from latchkey.credentials.publishing import Refusal
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
    """Who makes a change.

    ``actor`` is how the audit log names them. ``caller`` is the key that makes it, as it was
    authenticated; None for the operator, and for whoever registers a pair. ``needs`` is the scope
    that the change takes; None where a key changes itself without one.
    """

    actor: Actor
    caller: Principal | None = None
    needs: str | None = CHANGE_CREDENTIALS

    def confirm(self, found: Credential | None) -> Principal:
        """The caller as ``found`` in the transaction, by its api_key.

        Raises a Refusal where a request with this key would be refused by now, with the same error:
        InvalidCredential, RevokedCredential, ExpiredCredential or InsufficientScope.
        """
        if self.caller is None or found is None or found.id != self.caller.credential_id:
            raise Refusal(InvalidCredential())
        error = self._objection(found)
        if error is not None:
            # The check let it pass, so what is remembered of it is older than its row.
            raise Refusal(error, [found.lookup])
        return found.principal()

    def _objection(self, found: Credential) -> ApiError | None:
        status = found.status(utc_now())
        if status == "revoked":
            return RevokedCredential()
        if status == "expired":
            return ExpiredCredential()
        if self.needs is not None and not permits(found.scopes, self.needs):
            return InsufficientScope(self.needs)
        return None
