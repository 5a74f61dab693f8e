"""``/v1/accounts``: the customers that keys belong to, for keys of the instance account."""

from __future__ import annotations

from flask import Response, request

from latchkey import current_principal, require_scope
from latchkey.credentials.account_service import (
    require_instance_key,
    require_live_instance_key,
)
from latchkey.credentials.scopes import CHANGE_ACCOUNTS, READ_ACCOUNTS
from latchkey.credentials.times import utc_now
from latchkey_service.api.callers import calling_key, worker_parts
from latchkey_service.api.cursors import CursorKind, read_cursor, write_cursor
from latchkey_service.api.json_request import optional_body
from latchkey_service.api.openapi import Resource, answer
from latchkey_service.api.schemas import (
    AccountList,
    AccountPageQuery,
    AccountPath,
    RevokedKeysObject,
)
from latchkey_service.shapes.accounts import (
    AccountChangeBody,
    AccountObject,
    NewAccountBody,
    RevokeKeysBody,
)
from latchkey_service.shapes.limits import limits_of
from latchkey_service.shapes.objects import AccountUsageObject

accounts = Resource("accounts")


@accounts.before_request
def refuse_other_keys() -> None:
    """Refuse keys that may not do this before the body is read: 403 comes before 400.

    This runs before the scope is checked, and leaves the refusal of other scopes to that check.
    """
    changes = request.method in ("POST", "PATCH")
    if not current_principal.permits(CHANGE_ACCOUNTS if changes else READ_ACCOUNTS):
        return
    if changes and request.endpoint != "accounts.revoke_keys_of_account":
        require_live_instance_key(current_principal)
    else:
        require_instance_key(current_principal)


@accounts.protected("GET", "/v1/accounts", {200: AccountList}, errors=(403,))
@require_scope("accounts:read")
def list_accounts(query: AccountPageQuery) -> Response:
    """List all accounts, newest first."""
    page = worker_parts().accounts.page(
        current_principal,
        query.limit,
        read_cursor(CursorKind.ACCOUNTS, query.cursor),
        external_id=query.external_id,
    )
    return answer(
        AccountList(
            accounts=[AccountObject.of(account) for account in page.accounts],
            next_cursor=write_cursor(CursorKind.ACCOUNTS, page.next_before),
        )
    )


@accounts.protected("GET", "/v1/accounts/<account_id>", {200: AccountObject}, errors=(403, 404))
@require_scope("accounts:read")
def show_one_account(path: AccountPath) -> Response:
    """Show one account."""
    found = worker_parts().accounts.get(path.account_id, current_principal)
    return answer(AccountObject.of(found))


@accounts.protected("POST", "/v1/accounts", {201: AccountObject}, errors=(403, 409, 413, 415))
@require_scope("accounts:write")
def create_account(body: NewAccountBody) -> Response:
    """Create an account. It has no keys yet."""
    made = worker_parts().accounts.create(
        name=body.name,
        external_id=body.external_id,
        metadata=body.metadata_text(),
        limits=limits_of(body.limits),
        caller=current_principal,
        by=calling_key(),
    )
    return answer(AccountObject.of(made), 201)


@accounts.protected(
    "PATCH",
    "/v1/accounts/<account_id>",
    {200: AccountObject},
    errors=(403, 404, 409, 413, 415),
)
@require_scope("accounts:write")
def change_account(path: AccountPath, body: AccountChangeBody) -> Response:
    """Change an account, or disable or enable all its keys. Takes effect before the response."""
    changed = worker_parts().accounts.change(
        path.account_id, body.change(), current_principal, by=calling_key()
    )
    return answer(AccountObject.of(changed))


@accounts.protected(
    "POST",
    "/v1/accounts/<account_id>/revoke_keys",
    {200: RevokedKeysObject},
    errors=(403, 404, 413, 415),
)
@require_scope("accounts:write")
@optional_body
def revoke_keys_of_account(path: AccountPath, body: RevokeKeysBody) -> Response:
    """Revoke all keys of an account in the caller's mode. It takes effect before the response."""
    found = worker_parts().accounts.revoke_keys(
        path.account_id,
        current_principal.mode,
        current_principal,
        dry_run=body.dry_run,
        by=calling_key(),
    )
    return answer(
        RevokedKeysObject(
            matched=found.matched, revoked=found.revoked, api_keys=list(found.api_keys)
        )
    )


@accounts.protected(
    "GET", "/v1/accounts/<account_id>/usage", {200: AccountUsageObject}, errors=(403, 404)
)
@require_scope("accounts:read")
def show_account_usage(path: AccountPath) -> Response:
    """Show the usage of an account's keys in the caller's mode, summed up to the last request."""
    latchkey = worker_parts()
    account = latchkey.accounts.get(path.account_id, current_principal)
    mode = current_principal.mode
    usage = latchkey.usage.usage_of_account(account.id, mode)
    levels = latchkey.begin().levels.levels_of(account, mode)
    return answer(AccountUsageObject.of(account.id, mode, usage, levels, utc_now()))
