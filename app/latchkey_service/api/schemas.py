"""The models that only the API uses. The OpenAPI document is generated from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from latchkey.credentials.models import Mode
from latchkey_service.shapes.fields import ApiKey, Scope
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
    name: str | None
    mode: Mode
    api_key: ApiKey
    scopes: list[Scope]


class CredentialList(BaseModel):
    """A page of credentials, newest first. On the last page, next_cursor is null."""

    credentials: list[CredentialObject]
    next_cursor: str | None


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
