"""The fields of a form for the limits of a key or an account: a row for each limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wtforms import FormField, IntegerField, SelectField, StringField
from wtforms.validators import Optional

from latchkey.credentials.limits import (
    DEFAULT_NAME,
    MOST_LIMITS,
    MOST_PER_SECOND,
    QUOTA_PERIODS,
    RATE_PERIODS,
    Limit,
    QuotaLimit,
    RateLimit,
    RatePeriod,
    check_limit_name,
    checked_limits,
    quota_limit,
    rate_limit,
)
from latchkey.errors import InvalidField
from latchkey_service.console.forms import ConsoleForm
from latchkey_service.shapes.limit_texts import DEFAULT_QUOTA_NAME

_PLAIN = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}
_NUMBER = {"inputmode": "numeric", "autocomplete": "off"}
_KINDS: dict[str, list[tuple[str, str]]] = {
    "Rate": [(f"rate/{period}", f"per {period}") for period in RATE_PERIODS],
    "Quota": [
        (f"quota/{period}", "in total" if period == "total" else f"per calendar {period}")
        for period in QUOTA_PERIODS
    ],
}


class LimitRow(ConsoleForm):
    """One limit. A row without an amount is no limit."""

    amount = IntegerField("Requests", [Optional()], render_kw=_NUMBER)
    kind = SelectField("Period", choices=_KINDS, default="rate/minute")
    burst = IntegerField("At once", [Optional()], render_kw=_NUMBER)
    refill_on = IntegerField("First day", [Optional()], render_kw=_NUMBER)
    name = StringField("Limit name", render_kw={"maxlength": 32, **_PLAIN})

    class Meta(ConsoleForm.Meta):
        """The form around the row has the token against forged requests."""

        csrf = False

    def show(self, limit: Limit) -> None:
        """Fill in a limit."""
        self.name.data = limit.name
        if isinstance(limit, RateLimit):
            self.amount.data = limit.count
            self.kind.data = f"rate/{limit.period}"
            self.burst.data = None if limit.burst == limit.count else limit.burst
            return
        self.amount.data = limit.quota
        self.kind.data = f"quota/{limit.period}"
        self.refill_on.data = limit.refill_on if limit.period == "month" else None

    def limit(self) -> Limit | None:
        """The limit, None for an empty row; raises InvalidField with the name of a field."""
        amount = self.amount.data
        name = (self.name.data or "").strip()
        if amount is None:
            if name or self.burst.data is not None or self.refill_on.data is not None:
                raise InvalidField("amount", "enter a number, or clear the whole row")
            return None
        kind, _, period = (self.kind.data or "").partition("/")
        name = name or (DEFAULT_NAME if kind == "rate" else DEFAULT_QUOTA_NAME)
        _checked("name", check_limit_name, name)
        if period != "month":
            self._require_empty("refill_on", "is used only with a calendar month")
        if kind == "quota":
            self._require_empty("burst", "is used only with a rate")
            _checked("amount", quota_limit, name, amount, "total")
            refill_on = self.refill_on.data
            quota: QuotaLimit = _checked("refill_on", quota_limit, name, amount, period, refill_on)
            return quota
        known: RatePeriod = period  # type: ignore[assignment]
        most = MOST_PER_SECOND * RATE_PERIODS[known]
        if not 1 <= amount <= most:
            raise InvalidField("amount", f"must be 1 to {most:,}")
        rate: RateLimit = _checked("burst", rate_limit, f"{amount}/{period}", name, self.burst.data)
        return rate

    def _require_empty(self, name: str, problem: str) -> None:
        if self[name].data is not None:
            raise InvalidField(name, f"{problem}; clear this field")

    def show_error(self, field: str, problem: str) -> None:
        """Show an error beside a field."""
        text = f"{problem[:1].upper()}{problem[1:]}."
        self[field].errors = [*self[field].errors, text]


class LimitsForm(ConsoleForm):
    """The base of forms with limits."""

    limit_1 = FormField(LimitRow, "Limit 1")
    limit_2 = FormField(LimitRow, "Limit 2")
    limit_3 = FormField(LimitRow, "Limit 3")
    limit_4 = FormField(LimitRow, "Limit 4")

    @property
    def limit_rows(self) -> list[Any]:
        """The fields of the limits, each of which contains a LimitRow."""
        return [self[f"limit_{number}"] for number in range(1, MOST_LIMITS + 1)]

    def has_limits(self) -> bool:
        """Whether a row is filled in or has errors, so that the rows are shown."""
        return any(
            entry.form.amount.data is not None or entry.form.errors for entry in self.limit_rows
        )

    def show_limits(self, limits: Sequence[Limit]) -> None:
        """Fill in the present limits."""
        for entry, limit in zip(self.limit_rows, limits, strict=False):
            entry.form.show(limit)

    def entered_limits(self) -> tuple[Limit, ...]:
        """The limits that were entered.

        Raises InvalidField after showing each error beside its field.
        """
        filled: list[tuple[LimitRow, Limit]] = []
        wrong: InvalidField | None = None
        for entry in self.limit_rows:
            row: LimitRow = entry.form
            try:
                limit = row.limit()
            except InvalidField as error:
                wrong = error
                row.show_error(error.field, error.message.partition(": ")[2])
            else:
                filled += [] if limit is None else [(row, limit)]
        try:
            checked_limits(limit for _, limit in filled)
        except InvalidField as error:
            wrong = error
            _, number, field = error.field.split(".")
            filled[int(number)][0].show_error(field, error.message.partition(": ")[2])
        if wrong is not None:
            raise InvalidField("limits", "see the errors at the limits")
        return tuple(limit for _, limit in filled)

    def limit_fields(self, present: Sequence[Limit] = ()) -> dict[str, Any]:
        """The limits as a field of a body of the API, without it if they are the present ones.

        Setting the same limits again would be a change: a key that shares the limits of another
        key would get limits of its own.
        """
        entered = self.entered_limits()
        if entered == tuple(present):
            return {}
        return {"limits": [limit.to_json() for limit in entered] or None}


def _checked(field: str, make: Callable[..., Any], *values: object) -> Any:
    try:
        return make(*values)
    except ValueError as error:
        raise InvalidField(field, str(error)) from None
