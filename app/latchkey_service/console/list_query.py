"""The queries in the URLs of the lists of keys and of accounts: search, filters, order and page.

The complete state is in the URL, so that a list can be bookmarked, and pages and sorting are links.
Invalid arguments are ignored, and a secret that was pasted into the search is removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar
from urllib.parse import urlencode

from latchkey.credentials.accounts import (
    LONGEST_EXTERNAL_ID,
    AccountSelection,
    AccountStatus,
)
from latchkey.credentials.listing import (
    CONCERNS,
    LONGEST_SEARCH,
    SORTS,
    STATUSES,
    Concern,
    Order,
    Selection,
    SortBy,
)
from latchkey.credentials.models import MODES, Mode, Status
from latchkey.credentials.tokens import redact_secrets

Choice = TypeVar("Choice", bound=str)
ACCOUNT_STATUSES: tuple[AccountStatus, ...] = ("active", "disabled")
_LARGEST_PAGE = 10**6
_DESCENDING: dict[SortBy, bool] = {
    "created": True,
    "name": False,
    "last_used": True,
    "expires": False,
    "status": False,
}
"""Whether the first click on a column sorts it in descending order."""


@dataclass(frozen=True, slots=True)
class ListQuery:
    """The query of one list of keys. ``page`` counts from 1.

    ``account`` is an account id or an external id, as it was entered.
    """

    search: str = ""
    account: str = ""
    mode: Mode | None = None
    status: Status | None = None
    concern: Concern | None = None
    order: Order = field(default_factory=Order)
    page: int = 1

    @classmethod
    def of(cls, arguments: Mapping[str, str]) -> ListQuery:
        """Parse the arguments of a URL."""
        sort = arguments.get("sort", "")
        by = _one_of(SORTS, sort.removeprefix("-"))
        return cls(
            search=_text(arguments, "q", LONGEST_SEARCH),
            account=_text(arguments, "account", LONGEST_EXTERNAL_ID),
            mode=_one_of(MODES, arguments.get("mode")),
            status=_one_of(STATUSES, arguments.get("status")),
            concern=_one_of(CONCERNS, arguments.get("concern")),
            order=Order() if by is None else Order(by, sort.startswith("-")),
            page=_page_number(arguments),
        )

    def selection(self, account_id: str | None = None) -> Selection:
        """The selection of keys; ``account_id`` is the id of the account that is named."""
        return Selection(self.search or None, self.mode, self.status, self.concern, account_id)

    @property
    def is_filtered(self) -> bool:
        """Whether the list is filtered."""
        return self.account != "" or self.selection() != Selection()

    @property
    def sort(self) -> str:
        """The order, as an argument of a URL."""
        return f"{'-' if self.order.descending else ''}{self.order.by}"

    def address(self) -> str:
        """The arguments of the URL of this list, after a question mark."""
        given = {
            "q": self.search,
            "account": self.account,
            "mode": self.mode,
            "status": self.status,
            "concern": self.concern,
            "sort": "" if self.order == Order() else self.sort,
        }
        return _address(given, self.page)

    def on_page(self, page: int) -> ListQuery:
        """The same list on another page."""
        return replace(self, page=page)

    def sorted_by(self, by: SortBy) -> ListQuery:
        """The list sorted by a column; if it already is, in the opposite direction."""
        same = self.order.by == by
        descending = not self.order.descending if same else _DESCENDING[by]
        return replace(self, order=Order(by, descending), page=1)

    def direction(self, by: SortBy) -> Literal["ascending", "descending"] | None:
        """The direction of sorting by a column; None if the list is sorted by another."""
        if self.order.by != by:
            return None
        return "descending" if self.order.descending else "ascending"


@dataclass(frozen=True, slots=True)
class AccountListQuery:
    """The query of one list of accounts. ``page`` counts from 1."""

    search: str = ""
    status: AccountStatus | None = None
    page: int = 1

    @classmethod
    def of(cls, arguments: Mapping[str, str]) -> AccountListQuery:
        """Parse the arguments of a URL."""
        return cls(
            search=_text(arguments, "q", LONGEST_SEARCH),
            status=_one_of(ACCOUNT_STATUSES, arguments.get("status")),
            page=_page_number(arguments),
        )

    @property
    def selection(self) -> AccountSelection:
        """The selection of accounts."""
        return AccountSelection(self.search or None, status=self.status)

    @property
    def is_filtered(self) -> bool:
        """Whether the list is filtered."""
        return self.selection != AccountSelection()

    def address(self) -> str:
        """The arguments of the URL of this list, after a question mark."""
        return _address({"q": self.search, "status": self.status}, self.page)

    def on_page(self, page: int) -> AccountListQuery:
        """The same list on another page."""
        return replace(self, page=page)


def _text(arguments: Mapping[str, str], name: str, longest: int) -> str:
    return redact_secrets(arguments.get(name, "").strip())[:longest]


def _page_number(arguments: Mapping[str, str]) -> int:
    page = arguments.get("page", "")
    number = int(page) if page.isascii() and page.isdigit() and len(page) < 8 else 1
    return min(max(number, 1), _LARGEST_PAGE)


def _address(given: Mapping[str, str | None], page: int) -> str:
    present = {name: value for name, value in given.items() if value}
    arguments = urlencode(present if page == 1 else {**present, "page": page})
    return f"?{arguments}" if arguments else "?"


def _one_of(choices: tuple[Choice, ...], text: str | None) -> Choice | None:
    return text if text in choices else None
