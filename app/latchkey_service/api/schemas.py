"""The shapes that the API alone has; the OpenAPI document is made from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from latchkey.credentials.models import Mode
from latchkey_service.shapes.fields import ApiKey, Scope
from latchkey_service.shapes.objects import CredentialObject


def _parse_digits(value: object) -> object:
    """Plain digits only: pydantic would also take ``1_0`` and ``1.0`` for whole numbers."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("must be a whole number")
    return value


class ApiKeyPath(BaseModel):
    """The key that a route is about."""

    api_key: str = Field(description="The public key, ak_…")


class PageQuery(BaseModel):
    """Which part of a listing."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100), BeforeValidator(_parse_digits)] = Field(
        default=50, description="The maximum number of items."
    )
    cursor: str | None = Field(default=None, description="The next_cursor of the previous page.")


class Registered(BaseModel):
    """The answer to a registration."""

    api_key: ApiKey


class Revoked(BaseModel):
    """The answer to a revocation, which is in effect."""

    api_key: ApiKey
    revoked: Literal[True] = True


class Account(BaseModel):
    """Whom the presented key speaks for."""

    object: Literal["account"] = "account"
    id: str = Field(description="Stays the same when the key is rotated.")
    name: str | None
    mode: Mode
    api_key: ApiKey
    scopes: list[Scope]


class CredentialList(BaseModel):
    """A page of credentials, newest first; next_cursor is null at the end."""

    credentials: list[CredentialObject]
    next_cursor: str | None


class HealthStatus(BaseModel):
    """The service answers."""

    status: Literal["ok"] = "ok"


class ErrorFields(BaseModel):
    """What went wrong: for programs by type and code, for people by message."""

    type: str
    code: str
    message: str


class ErrorEnvelope(BaseModel):
    """The one shape of every error."""

    error: ErrorFields
