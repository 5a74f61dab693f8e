"""The concerns about a credential at a given time."""

from __future__ import annotations

from datetime import datetime

from latchkey.credentials.accounts import Account
from latchkey.credentials.models import Credential
from tests.support.store.listing_oracle import AS_OF, DAY
from tests.support.store.new_credentials import NOW


def test_a_mark_includes_uses_that_are_not_yet_persisted() -> None:
    """The page uses the last request; the filter uses the persisted last use."""

    def credential(**times: datetime | None) -> Credential:
        fields = {"created_at": NOW - 100 * DAY, "expires_at": None, "last_used_at": None, **times}
        return Credential(
            id=1,
            api_key="ak_live_0",
            secret_hash=bytes(32),
            derivation_id="",
            account=Account(1, "acct_1", "", None, None, NOW),
            mode="live",
            name=None,
            scopes=frozenset({"*"}),
            revoked_at=None,
            rotated_to=None,
            original_expires_at=None,
            first_used_at=None,
            **fields,  # type: ignore[arg-type]
        )

    assert AS_OF.concerns(credential(), None) == ["due", "unused"]
    assert AS_OF.concerns(credential(), NOW) == ["due"]
    ending = credential(created_at=NOW, expires_at=NOW + DAY)
    assert AS_OF.concerns(ending, None) == ["expiring"]
