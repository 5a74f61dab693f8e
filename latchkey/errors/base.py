"""The base classes of all errors, and errors without an HTTP response."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar, Literal

Dialect = Literal["pair", "bearer"]


class LatchkeyError(Exception):
    """The base class of all errors of Latchkey."""


class ConfigurationError(LatchkeyError):
    """A setting, a file or the environment is wrong. The message is the one line to show."""


class NoPrincipal(LatchkeyError, RuntimeError, AttributeError):
    """`current_principal` was used without a principal. An AttributeError, for ``getattr``."""

    def __init__(self) -> None:
        super().__init__(
            "there is no principal: the route is open, or no request is being handled; "
            "principal_or_none() returns None in that case"
        )


class ServiceUnreachable(LatchkeyError):
    """A command needs the shared memory of a service, and cannot reach it."""


class ApiError(LatchkeyError):
    """An error with an HTTP response: the base class of all errors that a client can get."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    type: ClassVar[str] = "api_error"
    pair_code: ClassVar[str] = "INTERNAL_ERROR"
    bearer_code: ClassVar[str | None] = None
    default_message: ClassVar[str] = "Internal error: the service could not process the request"
    retry_after: int | None = None
    """Seconds after which a retry makes sense, for Retry-After; None omits the header."""

    def __init__(self, message: str | None = None) -> None:
        self.message = message or self.default_message
        super().__init__(self.message)

    def code(self, dialect: Dialect) -> str:
        """The code in the spelling of the dialect."""
        if dialect == "pair":
            return self.pair_code
        return self.bearer_code or self.pair_code.lower()

    def extra_headers(self) -> Mapping[str, str]:
        """Headers of this error in addition to the common ones."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}

    def challenge_parameters(self) -> str | None:
        """The parameters of a bearer challenge after the realm (RFC 6750 section 3)."""
        return None
