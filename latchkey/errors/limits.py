"""Refusals by the limits of a key or of its account: 429, with the state of these limits."""

from __future__ import annotations

from http import HTTPStatus
from typing import Literal, Protocol

from latchkey.errors.base import ApiError

HeaderStyle = Literal["standard", "x"]
"""``standard`` names the headers RateLimit and RateLimit-Policy, ``x`` those of X-RateLimit."""


class LimitState(Protocol):
    """The state of the limits that a request had to pass."""

    def headers(self, style: HeaderStyle) -> list[tuple[str, str]]:
        """The headers that describe it."""


class LimitReached(ApiError):
    """429: the base class of refusals by a limit; ``outcome`` is the state of the limits.

    ``retry_after`` is in whole seconds, and None if waiting does not help.
    """

    status = HTTPStatus.TOO_MANY_REQUESTS
    type = "rate_limit_error"
    pair_code = "RATE_LIMITED"

    def __init__(
        self,
        retry_after: int | None,
        message: str | None = None,
        outcome: LimitState | None = None,
    ) -> None:
        self.retry_after = retry_after
        self.outcome = outcome
        super().__init__(message)


class RateLimited(LimitReached):
    """429: a rate of the key or of its account admits no more now, or never so much at once."""

    default_message = "The rate limit of this API key is reached: wait, and send fewer requests"


class QuotaExceeded(LimitReached):
    """429: a quota of the key or of its account is used up, or smaller than the request's cost."""

    pair_code = "QUOTA_EXCEEDED"
    default_message = "The quota of this API key is used up: wait until it is refilled"
