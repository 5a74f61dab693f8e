"""The queries in the URLs of lists: parsed, written, and never trusted."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latchkey.credentials.accounts import LONGEST_EXTERNAL_ID
from latchkey.credentials.listing import (
    CONCERNS,
    LONGEST_SEARCH,
    SORTS,
    STATUSES,
    Order,
    Selection,
    SortBy,
)
from latchkey.credentials.models import MODES
from latchkey_service.console.list_query import ACCOUNT_STATUSES, AccountListQuery, ListQuery


def read(address: str) -> ListQuery:
    return ListQuery.of(dict(parse_qsl(address.removeprefix("?"))))


texts = st.text(max_size=LONGEST_SEARCH).map(str.strip).filter(lambda text: text.isprintable())
pages = st.integers(1, 10**6)
queries = st.builds(
    ListQuery,
    search=texts,
    account=texts,
    mode=st.sampled_from((None, *MODES)),
    status=st.sampled_from((None, *STATUSES)),
    concern=st.sampled_from((None, *CONCERNS)),
    order=st.builds(Order, st.sampled_from(SORTS), st.booleans()),
    page=pages,
)


@given(queries)
def test_a_query_is_the_same_after_writing_and_parsing(query: ListQuery) -> None:
    assert read(query.address()) == query


@given(
    st.dictionaries(
        st.sampled_from(("q", "account", "mode", "status", "concern", "sort", "page", "other")),
        st.text(max_size=300),
    )
)
def test_any_arguments_are_a_valid_query(arguments: dict[str, str]) -> None:
    query = ListQuery.of(arguments)
    assert read(query.address()) == query or not f"{query.search}{query.account}".isprintable()
    assert len(query.search) <= LONGEST_SEARCH
    assert len(query.account) <= LONGEST_EXTERNAL_ID


@given(st.builds(AccountListQuery, texts, st.sampled_from((None, *ACCOUNT_STATUSES)), pages))
def test_a_query_of_accounts_is_the_same_after_writing_and_parsing(query: AccountListQuery) -> None:
    arguments = dict(parse_qsl(query.address().removeprefix("?")))
    assert AccountListQuery.of(arguments) == query
    assert query.is_filtered == bool(query.search or query.status)


def test_invalid_arguments_are_ignored() -> None:
    plain = ListQuery()
    for address in ("?mode=both", "?status=1", "?concern=x", "?sort=secret_hash", "?page=-1"):
        assert read(address) == plain, address
    for page in ("0", "x", "1.5", "²", "9" * 99):
        assert read(f"?page={page}") == plain
    assert plain.address() == "?"
    assert plain.selection() == Selection()
    assert not plain.is_filtered
    assert read("?q=a").is_filtered
    assert read("?account=a").is_filtered


@pytest.mark.parametrize("by", SORTS)
def test_sorting_a_column_again_reverses_it(by: SortBy) -> None:
    query = ListQuery(search="x", page=3)
    first = query.sorted_by(by)
    again = first.sorted_by(by)
    assert (first.page, first.search) == (1, "x")
    assert first.order.by == again.order.by == by
    assert first.order.descending != again.order.descending
    assert {first.direction(by), again.direction(by)} == {
        "ascending",
        "descending",
    }
