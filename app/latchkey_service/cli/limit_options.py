"""The options for the limits of a key or an account, as the field of a request."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from latchkey.credentials.limits import Limit
from latchkey_service.shapes.limit_texts import parse_quota_text, parse_rate_text

# Only newer releases of click have a generic ParamType.
if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType


class LimitType(_ParamType):
    """A limit in the form that ``parse`` reads. Errors do not quote the value."""

    name = "limit"

    def __init__(self, parse: Callable[[str], Limit]) -> None:
        self._parse = parse

    def convert(self, value: Any, param: Any, ctx: click.Context | None) -> Limit:
        """The limit."""
        try:
            return self._parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


_OPTIONS = (
    click.option(
        "--limit",
        "rates",
        type=LimitType(parse_rate_text),
        multiple=True,
        metavar="[NAME=]RATE",
        help="A rate, such as 100/minute, or 100/minute,burst=20 to allow 20 requests at once. "
        "Periods are second, minute, hour and day. May be repeated with different names. The "
        "given rates and quotas replace all present limits.",
    ),
    click.option(
        "--quota",
        "quotas",
        type=LimitType(parse_quota_text),
        multiple=True,
        metavar="[NAME=]QUOTA",
        help="A quota of a calendar period in UTC, such as 1000000/month, or "
        "1000000/month,refill_on=5 for months that begin on day 5. Periods are day, month and "
        "total, which never ends. May be repeated with different names.",
    ),
    click.option(
        "--no-limits",
        is_flag=True,
        help="Remove all limits. LATCHKEY_DEFAULT_LIMIT then applies to keys.",
    ),
)


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which gets ``limits``: the given field of a request."""

    @functools.wraps(command)
    def with_limits(**options: Any) -> Any:
        own = {name: options.pop(name) for name in ("rates", "quotas", "no_limits")}
        return command(limits=_fields(**own), **options)

    wrapped: Callable[..., Any] = with_limits
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def _fields(
    *, rates: tuple[Limit, ...], quotas: tuple[Limit, ...], no_limits: bool
) -> dict[str, object]:
    """The field of a request that the options give; raises UsageError for a contradiction."""
    given = [limit.to_json() for limit in (*rates, *quotas)]
    if given and no_limits:
        raise click.UsageError("Give --no-limits, or --limit and --quota, not both.")
    return {"limits": given or None} if given or no_limits else {}
