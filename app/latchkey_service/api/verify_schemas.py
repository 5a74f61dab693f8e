"""The bodies and the objects of ``/v1/verify``."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BaseModel, Field

from latchkey.addresses import parse_address
from latchkey.check._limits import LimitOutcome
from latchkey.credentials.conditions import RequestFacts
from latchkey.credentials.limits import Limit, QuotaLimit
from latchkey.credentials.models import Mode, Principal
from latchkey.credentials.scopes import MOST_SCOPES, parse_scope
from latchkey.credentials.times import to_milliseconds, utc_now
from latchkey.errors import ApiError, InvalidCredential, InvalidRequest
from latchkey_service.shapes.conditions import RequestModel, without_default
from latchkey_service.shapes.fields import ApiKey, Scope, Time
from latchkey_service.shapes.limits import LimitSource
from latchkey_service.verify.checking import CheckResult, DescribedRequest
from latchkey_service.verify.needs import LARGEST_COST, requirement_of
from latchkey_service.verify.targets import path_of

MOST_ITEMS = 100
"""The most items of a batch."""

_VALID = "VALID"
_SECRET = "sk_live_0123456789ABCDEFGHIJklmnopqrstuvwxyz0123456789ABCDEFGHIJklmnopqrstuvwx"  # noqa: S105 - an example


def _known_address(text: str) -> str:
    if parse_address(text) is None:
        raise ValueError("must be an IP address")
    return text


def _needed(scopes: list[str]) -> list[str]:
    for scope in scopes:
        parse_scope(scope)
    return scopes


_Scopes = Annotated[
    list[Scope], Field(min_length=1, max_length=MOST_SCOPES), AfterValidator(_needed)
]


class VerifyBody(RequestModel):
    """A credential that another service received, and what is known of the request."""

    api_secret: str = Field(
        repr=False,
        min_length=1,
        description="The secret, sk_…, or an imported token.",
        examples=[_SECRET],
    )
    api_key: str | None = Field(
        default=None,
        json_schema_extra=without_default,
        description="The key, ak_…, if the client sent a pair. It must belong to the secret.",
    )
    scopes: _Scopes = Field(
        default=[],
        json_schema_extra=without_default,
        description="Scopes that are all needed.",
        examples=[["orders:read"]],
    )
    scope_any: _Scopes = Field(
        default=[],
        json_schema_extra=without_default,
        description="Scopes of which one is needed.",
    )
    method: str | None = Field(
        default=None,
        json_schema_extra=without_default,
        description="The method of the request. A key that is limited to endpoints needs it.",
        examples=["GET"],
    )
    path: str | None = Field(
        default=None,
        json_schema_extra=without_default,
        description="The path of the request, decoded and without the query. A key that is limited "
        "to endpoints needs it.",
        examples=["/orders/17"],
    )
    address: Annotated[str, AfterValidator(_known_address)] | None = Field(
        default=None,
        json_schema_extra=without_default,
        description="The IP address of the client. A key that is limited to networks needs it.",
        examples=["192.0.2.17"],
    )
    cost: Annotated[int, Field(ge=1, le=LARGEST_COST)] = Field(
        default=1,
        json_schema_extra=without_default,
        description="The units that the request takes of each limit of the key.",
    )

    def described(self) -> DescribedRequest:
        """The same, as it is checked."""
        return DescribedRequest(
            secret=self.api_secret,
            api_key=self.api_key,
            requirement=requirement_of(self.scopes, self.scope_any),
            facts=RequestFacts(
                self.method,
                _plain_path(self.path),
                None if self.address is None else parse_address(self.address),
            ),
            cost=self.cost,
        )


class VerifyBatchBody(RequestModel):
    """Several credentials, each checked by itself."""

    items: Annotated[list[VerifyBody], Field(min_length=1, max_length=MOST_ITEMS)] = Field(
        description="The credentials, with what is known of their requests."
    )


class VerifiedPrincipal(BaseModel):
    """The key that a valid secret belongs to, and its account."""

    api_key: ApiKey
    account: str = Field(description="The id of the account.")
    external_id: str | None = Field(description="The operator's own id of the customer.")
    mode: Mode
    name: str | None = Field(description="The name of the key.")
    scopes: list[Scope]
    metadata: dict[str, Any] | None = Field(description="The metadata of the account.")
    expires_at: Time | None

    @classmethod
    def of(cls, principal: Principal) -> VerifiedPrincipal:
        """The object for a principal."""
        metadata = None if principal.metadata_text is None else principal.account_metadata
        return cls(
            api_key=principal.api_key,
            account=principal.account_id,
            external_id=principal.external_id,
            mode=principal.mode,
            name=principal.name,
            scopes=sorted(principal.scopes),
            metadata=metadata,
            expires_at=principal.expires_at,
        )


class RemainingLimit(BaseModel):
    """What remains of a limit that was applied."""

    name: str
    remaining: int = Field(description="The units that can be taken at the moment.")
    reset_at: Time | None = Field(
        description="When all units are available again, if none is taken meanwhile; null for "
        "a quota in total."
    )
    source: LimitSource = Field(
        description="Whether it is a limit of the key, of its account, or the default limit."
    )


class VerifiedObject(BaseModel):
    """The result of a check. A field that does not apply is left out."""

    valid: bool
    code: str = Field(
        description="`VALID`, or why the request must be refused.", examples=[_VALID, "KEY_REVOKED"]
    )
    message: str = Field(
        default="",
        json_schema_extra=without_default,
        description="The reason as a sentence, if the request must be refused.",
    )
    api_key: ApiKey = Field(
        default="",
        json_schema_extra=without_default,
        description="The key of a refused request whose secret is right.",
    )
    account: str = Field(
        default="",
        json_schema_extra=without_default,
        description="The id of the account of a refused request whose secret is right.",
    )
    principal: VerifiedPrincipal = Field(
        default=cast(Any, None),
        json_schema_extra=without_default,
        description="The key that the credential belongs to, if it is valid.",
    )
    limits: list[RemainingLimit] = Field(
        default=[],
        json_schema_extra=without_default,
        description="What remains of the limits that were applied; empty for a key without limits.",
    )

    @classmethod
    def of(cls, finding: CheckResult) -> VerifiedObject:
        """The object for a finding."""
        if finding.error is None and finding.principal is not None:
            principal = VerifiedPrincipal.of(finding.principal)
            left = _remaining(finding.limits)
            return cls(valid=True, code=_VALID, principal=principal, limits=left)
        return cls.refused(finding.error or InvalidCredential(), finding.principal, finding.limits)

    @classmethod
    def refused(
        cls,
        error: ApiError,
        principal: Principal | None = None,
        limits: LimitOutcome | None = None,
    ) -> VerifiedObject:
        """The object for a refusal; ``principal`` is None unless the secret was right."""
        fields: dict[str, Any] = {"code": error.code("bearer").upper(), "message": error.message}
        if principal is not None:
            fields |= {"api_key": principal.api_key, "account": principal.account_id}
        if limits is not None:
            fields["limits"] = _remaining(limits)
        return cls(valid=False, **fields)


class VerifiedBatch(BaseModel):
    """The results of a batch, in the order of its items."""

    results: list[VerifiedObject]


def _remaining(limits: LimitOutcome | None) -> list[RemainingLimit]:
    """What remains of limits now; none without limits."""
    if limits is None:
        return []
    now, plan = utc_now(), limits.plan
    levels = limits.levels(now=to_milliseconds(now))
    return [
        RemainingLimit(
            name=stored.limit.name,
            remaining=remaining,
            reset_at=_reset_at(stored.limit, now, reset),
            source=source,
        )
        for stored, source, (_, remaining, reset) in zip(
            plan.limits, plan.sources, levels, strict=True
        )
    ]


def _reset_at(limit: Limit, now: datetime, reset: int | None) -> datetime | None:
    """When all units are available again; ``reset`` is in seconds, rounded up."""
    if reset is None:
        return None
    found = now + timedelta(seconds=reset)
    # A period ends at midnight.
    return found.replace(microsecond=0) if isinstance(limit, QuotaLimit) else found


def _plain_path(path: str | None) -> str | None:
    """The path in the form that endpoints are compared with.

    None for one that programs read in different ways, such as one that is still encoded: no
    decision is based on it.
    """
    if path is None or "%" in path or "?" in path:
        return None
    try:
        return path_of(path.encode().decode("latin-1"))
    except InvalidRequest:
        return None
