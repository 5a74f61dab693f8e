"""``/v1/account``: the account of the presented key."""

from __future__ import annotations

from flask import Response

from latchkey import current_principal, require_scope
from latchkey_service.api.openapi import Resource, answer
from latchkey_service.api.schemas import PresentedAccount

account = Resource("account")


@account.protected("GET", "/v1/account", {200: PresentedAccount}, errors=(403,))
@require_scope("account:read")
def show_account() -> Response:
    """Show the account of the presented key.

    Does not access the database: the principal of the request has all of these fields.
    """
    return answer(
        PresentedAccount(
            id=current_principal.account_id,
            name=current_principal.name,
            mode=current_principal.mode,
            api_key=current_principal.api_key,
            scopes=sorted(current_principal.scopes),
            external_id=current_principal.external_id,
            metadata=(
                None
                if current_principal.metadata_text is None
                else current_principal.account_metadata
            ),
        )
    )
