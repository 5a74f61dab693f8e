"""The models that only the API uses. The OpenAPI document is generated from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from latchkey.credentials.idempotency import IDEMPOTENCY_KEY_PATTERN
from latchkey.credentials.models import Mode
from latchkey_service.shapes.accounts import AccountObject
from latchkey_service.shapes.fields import ApiKey, ExternalId, Scope
from latchkey_service.shapes.limits import LimitLevelObject
from latchkey_service.shapes.objects import CredentialObject


def _parse_digits(value: object) -> object:
    """Accept plain digits only; pydantic also accepts ``1_0`` and ``1.0`` as whole numbers."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("must be a whole number")
    return value


class ApiKeyPath(BaseModel):
    """The key in the path of a route."""

    api_key: str = Field(description="The public key, ak_…")


class PageQuery(BaseModel):
    """The page of a listing."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100), BeforeValidator(_parse_digits)] = Field(
        default=50, description="The maximum number of items."
    )
    cursor: str | None = Field(default=None, description="The next_cursor of the previous page.")


class OnceHeader(BaseModel):
    """The headers of a request that creates a key."""

    idempotency_key: Annotated[str, Field(pattern=IDEMPOTENCY_KEY_PATTERN)] | None = Field(
        default=None,
        alias="Idempotency-Key",
        description="A new random value for each key to create. If the same request is sent again "
        "with the same value within 24 hours, it creates no second key.",
    )


class CredentialQuery(PageQuery):
    """The page of a listing of credentials."""

    account: str | None = Field(
        default=None, description="Only credentials of the account with this id."
    )


class AccountPath(BaseModel):
    """The account in the path of a route."""

    account_id: str = Field(description="The id of the account, acct_…")


class AccountPageQuery(PageQuery):
    """The page of a listing of accounts."""

    external_id: ExternalId | None = Field(
        default=None, description="Only the account with this external id."
    )


class Registered(BaseModel):
    """The response to a registration."""

    api_key: ApiKey


class Revoked(BaseModel):
    """The response to a revocation, which has taken effect."""

    api_key: ApiKey
    revoked: Literal[True] = True


class PresentedAccount(BaseModel):
    """The account and the terms of the presented key."""

    object: Literal["account"] = "account"
    id: str = Field(description="Stays the same when the key is rotated.")
    name: str | None = Field(description="The name of the key.")
    mode: Mode
    api_key: ApiKey
    scopes: list[Scope]
    external_id: str | None = Field(description="The operator's own id of the customer.")
    metadata: dict[str, Any] | None = Field(description="The metadata of the account.")
    limits: list[LimitLevelObject] = Field(
        description="What remains of the limits that apply to the key."
    )


class CredentialList(BaseModel):
    """A page of credentials, newest first. On the last page, next_cursor is null."""

    credentials: list[CredentialObject]
    next_cursor: str | None


class AccountList(BaseModel):
    """A page of accounts, newest first. On the last page, next_cursor is null."""

    accounts: list[AccountObject]
    next_cursor: str | None


class RevokedKeysObject(BaseModel):
    """The keys of an account that were revoked, or would be."""

    matched: int = Field(description="The number of keys that were not revoked before.")
    revoked: int = Field(description="The number of keys that are revoked now; 0 for a dry run.")
    api_keys: list[ApiKey] = Field(description="The newest of these keys, at most 100.")


class HealthStatus(BaseModel):
    """The service responds."""

    status: Literal["ok"] = "ok"


class ErrorFields(BaseModel):
    """An error: type and code are for programs, the message is for people."""

    type: str
    code: str
    message: str


class ErrorEnvelope(BaseModel):
    """The format of all errors."""

    error: ErrorFields
