"""The models of accounts: bodies, and the JSON form over HTTP and on the command line."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from latchkey.credentials.accounts import (
    LARGEST_METADATA,
    Account,
    AccountChange,
    AccountStatus,
)
from latchkey_service.shapes.conditions import RequestModel, metadata_text, without_default
from latchkey_service.shapes.fields import ExternalId, Name, Time
from latchkey_service.shapes.limits import LimitObject, Limits, limit_objects, limits_of

_Metadata = Annotated[
    dict[str, Any] | None,
    Field(
        json_schema_extra=without_default,
        description=f"An object of your own, at most {LARGEST_METADATA} bytes of JSON; null for "
        "none. Requests of the account's keys carry it to your application.",
    ),
]
_ExternalId = Annotated[
    ExternalId | None,
    Field(
        json_schema_extra=without_default,
        description="Your own id of the customer, which no other account has; null for none.",
    ),
]


class NewAccountBody(RequestModel):
    """A new account."""

    name: Name
    external_id: _ExternalId = None
    metadata: _Metadata = None
    limits: Limits = None

    def metadata_text(self) -> str | None:
        """The metadata as it is stored; raises InvalidField."""
        return metadata_text(self, LARGEST_METADATA) or None


class AccountChangeBody(RequestModel):
    """New terms of an account. Omitted fields are not changed."""

    name: Name = Field(default="", json_schema_extra=without_default)
    external_id: _ExternalId = None
    metadata: _Metadata = None
    limits: Limits = None
    status: AccountStatus = Field(
        default="active",
        json_schema_extra=without_default,
        description="All keys of a disabled account are refused.",
    )

    def change(self) -> AccountChange:
        """The given terms, for the service of accounts; raises InvalidField."""
        given = self.model_fields_set
        return AccountChange(
            name=self.name if "name" in given else None,
            external_id=(self.external_id or "") if "external_id" in given else None,
            metadata=metadata_text(self, LARGEST_METADATA),
            status=self.status if "status" in given else None,
            limits=limits_of(self.limits) if "limits" in given else None,
        )


class RevokeKeysBody(RequestModel):
    """Whether to revoke the keys of an account."""

    dry_run: bool = Field(
        default=False, description="Only report which keys would be revoked, and change nothing."
    )


class AccountObject(BaseModel):
    """An account: a customer, to whom keys belong."""

    object: Literal["account"] = "account"
    id: str
    name: str | None = Field(description="Null only for an erased account.")
    external_id: str | None
    metadata: dict[str, Any] | None
    limits: list[LimitObject] | None = Field(
        description="The limits of all keys of the account together, separately in each mode."
    )
    status: AccountStatus
    created_at: Time

    @classmethod
    def of(cls, account: Account) -> AccountObject:
        """The object for a stored account."""
        return cls(
            id=account.id,
            name=account.name,
            external_id=account.external_id,
            metadata=None if account.metadata is None else json.loads(account.metadata),
            limits=limit_objects(account.limits.definitions),
            status=account.status,
            created_at=account.created_at,
        )
