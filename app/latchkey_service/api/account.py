"""``/v1/account``: the account of the presented key."""

from __future__ import annotations

from flask import Response, request

from latchkey import current_principal, require_scope
from latchkey.check.limit_levels import LimitLevel
from latchkey.check.limiting import LIMITS_KEY
from latchkey_service.api.callers import worker_parts
from latchkey_service.api.openapi import Resource, answer
from latchkey_service.api.schemas import PresentedAccount
from latchkey_service.shapes.limits import limit_level_objects

account = Resource("account")


@account.protected("GET", "/v1/account", {200: PresentedAccount}, errors=(403,))
@require_scope("account:read")
def show_account() -> Response:
    """Show the account of the presented key.

    Reads the database only if the key has limits: the principal has all other fields.
    """
    levels: list[LimitLevel] = []
    if LIMITS_KEY in request.environ:
        parts = worker_parts()
        own = parts.credentials.get(current_principal.api_key, current_principal)
        levels = parts.begin().levels.levels_of(own, own.mode)
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
            limits=limit_level_objects(levels),
        )
    )
