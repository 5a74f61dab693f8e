"""Options and arguments that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from latchkey.credentials.models import MODES
from latchkey.credentials.times import parse_time
from latchkey.credentials.tokens import MalformedToken, check_api_key
from latchkey.errors import CredentialNotFound

NEVER = "never"
SHOWN = 50
"""The default number of rows of a listing."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOST_ROWS = 1_000_000_000
_ForTime = TypeVar("_ForTime", bound=Callable[..., Any])

# Only newer releases of click have a generic ParamType.
if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType


class Never:
    """The value of a time option that was given as ``never``."""


NO_END: Final = Never()


def read_moment(text: str) -> datetime:
    """Parse RFC 3339, or a date for the start of that day in UTC.

    Raises ValueError, whose message does not repeat the value.
    """
    text = text.strip()
    if _DATE.fullmatch(text):
        text = f"{text}T00:00:00Z"
    try:
        return parse_time(text)
    except ValueError as error:
        raise ValueError(
            f"{error}, or a date such as 2026-01-15 (the start of that day in UTC)"
        ) from None


def read_expiry(text: str) -> datetime | None:
    """Like ``read_moment``; ``never`` is None."""
    if text.strip().lower() == NEVER:
        return None
    try:
        return read_moment(text)
    except ValueError as error:
        raise ValueError(f"{error}, or {NEVER}") from None


class Text(_ParamType):
    """A text; bytes that are invalid in the terminal's encoding are refused."""

    name = "text"

    def convert(self, value: Any, param: Any, ctx: click.Context | None) -> str:
        """The unchanged text."""
        text = str(value)
        if not text.isprintable() and any("\ud800" <= one <= "\udfff" for one in text):
            self.fail("contains bytes that are not text", param, ctx)
        return text


class Moment(_ParamType):
    """A time, as ``read_moment`` parses it."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: click.Context | None) -> datetime:
        """The moment in UTC."""
        try:
            return value if isinstance(value, datetime) else read_moment(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Expiry(_ParamType):
    """A time, or NO_END for ``never``; None means that the option was not given."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: click.Context | None) -> datetime | Never:
        """The moment in UTC, or NO_END."""
        if isinstance(value, (datetime, Never)):
            return value
        try:
            return read_expiry(str(value)) or NO_END
        except ValueError as error:
            self.fail(str(error), param, ctx)


class ApiKeyType(_ParamType):
    """A well-formed public key. An invalid text is not quoted: it may be a secret."""

    name = "api_key"

    def convert(self, value: Any, param: Any, ctx: click.Context | None) -> str:
        """The unchanged key."""
        try:
            return check_api_key(str(value))
        except MalformedToken:
            raise CredentialNotFound("the argument is not a well-formed API key (ak_…)") from None


TEXT, MOMENT, EXPIRY, API_KEY = Text(), Moment(), Expiry(), ApiKeyType()

api_key_argument = click.argument("api_key", type=API_KEY)
account_argument = click.argument("account", type=TEXT)
name_argument = click.argument("name", type=TEXT)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
mode_option = click.option(
    "--mode",
    type=click.Choice(MODES),
    default="live",
    show_default=True,
    help="The mode of the key.",
)
only_mode_option = click.option("--mode", type=click.Choice(MODES), help="Only keys of this mode.")


def scope_option(meaning: str) -> Callable[[_ForTime], _ForTime]:
    """The option of a key's scopes."""
    return click.option(
        "--scope", "scopes", type=TEXT, multiple=True, help=f"Can be repeated; {meaning}."
    )


def account_option(help_text: str) -> Callable[[_ForTime], _ForTime]:
    """The option that names an account, by its id or its external id."""
    return click.option("--account", type=TEXT, help=f"{help_text} Give its id or its external id.")


def expiry_option(meaning: str = "") -> Callable[[_ForTime], _ForTime]:
    """The option of a key's expiry."""
    help_text = (
        "When the key expires: 2030-01-15 (the start of that day in UTC), 2030-01-15T10:30:00Z, or "
        "never"
    )
    return click.option("--expires-at", type=EXPIRY, metavar="TIME", help=f"{help_text}{meaning}.")


def length_options(command: _ForTime) -> _ForTime:
    """The options for the length of a listing: ``limit`` and ``every``, for ``rows_shown``."""
    limit = click.option(
        "--limit",
        type=click.IntRange(1, _MOST_ROWS),
        metavar="N",
        help=f"Show at most N rows. The default is {SHOWN}; with --json, all.",
    )
    every = click.option("--all", "every", is_flag=True, help="Show all rows.")
    return limit(every(command))


def rows_shown(limit: int | None, every: bool, as_json: bool) -> int | None:
    """The number of rows that a listing shows; None for all."""
    if every and limit is not None:
        raise click.UsageError("Give --limit or --all, not both.")
    if limit is None and (every or as_json):
        return None
    return limit or SHOWN
