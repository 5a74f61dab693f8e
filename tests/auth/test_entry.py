"""Cache entries, and the records by which workers share them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latchkey.check._entry import CacheEntry
from latchkey.credentials.models import Principal

LOOKUP = "live_0000000000000000000000"
DIGEST = bytes(range(16))
MILLISECOND = timedelta(milliseconds=1)

times = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001 - the strategy gives them their zone
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000))
texts = st.text(st.characters(codec="utf-8"), max_size=200)


def principals() -> st.SearchStrategy[Principal]:
    scope = st.text(st.characters(codec="ascii", categories=("L", "P")), min_size=1, max_size=20)
    return st.builds(
        Principal,
        credential_id=st.integers(0, 2**63 - 1),
        account_id=texts,
        api_key=st.just(f"ak_{LOOKUP}"),
        mode=st.sampled_from(["live", "test"]),
        name=st.none() | texts,
        scopes=st.frozensets(scope, max_size=6),
        expires_at=st.none() | times,
    )


def entry(principal: Principal, **fields: object) -> CacheEntry:
    given = {"ticket": 3, "deadline": 4, "digest": DIGEST, "revoked": False, **fields}
    return CacheEntry(principal=principal, **given)  # type: ignore[arg-type]


@given(principals(), st.booleans(), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_a_record_restores_the_entry(
    principal: Principal, revoked: bool, ticket: int, deadline: int
) -> None:
    before = entry(principal, revoked=revoked, ticket=1, deadline=2)
    record = before.record()
    assert record is not None
    after = CacheEntry.of_record(LOOKUP, record, ticket, deadline)
    assert after is not None
    assert after.principal == principal
    assert type(after.principal) is Principal
    assert hash(after.principal) == hash(principal)
    assert (after.ticket, after.deadline) == (ticket, deadline)
    assert (after.revoked, after.digest) == (revoked, DIGEST)
    assert after.expires_at == before.expires_at
    assert after.credential_id == principal.credential_id
    assert after.record() == record


@given(st.binary(max_size=100), st.booleans())
def test_any_bytes_are_a_record_or_rejected(record: bytes, versioned: bool) -> None:
    read = CacheEntry.of_record(LOOKUP, b"\1" + record if versioned else record, 0, 0)
    assert read is None or isinstance(read.principal, Principal)


def test_an_expiry_is_exact_to_the_millisecond() -> None:
    moment = datetime(2026, 1, 15, 10, 30, 0, 123000, tzinfo=UTC)
    made = entry(Principal(1, "acct", "ak_x", "live", None, frozenset(), moment))
    assert made.expires_at == (moment - datetime(1970, 1, 1, tzinfo=UTC)) // MILLISECOND
    assert entry(Principal(1, "acct", "ak_x", "live", None, frozenset(), None)).expires_at is None


def test_a_text_too_long_for_a_record() -> None:
    assert (
        entry(Principal(1, "a" * 65_536, "ak_x", "live", None, frozenset(), None)).record() is None
    )
    assert entry(Principal(1, "a" * 65_535, "ak_x", "live", None, frozenset(), None)).record()


def test_invalid_entries() -> None:
    principal = Principal(1, "acct", "ak_x", "live", None, frozenset(), None)
    for digest in (b"", b"x" * 15, "x" * 16):
        with pytest.raises(ValueError, match="digest"):
            entry(principal, digest=digest)
    with pytest.raises(TypeError, match="Principal"):
        entry("somebody")  # type: ignore[arg-type]
    for field in ("ticket", "deadline"):
        with pytest.raises(OverflowError):
            entry(principal, **{field: 2**64})
        with pytest.raises(OverflowError):
            entry(principal, **{field: -1})
    with pytest.raises(TypeError, match="record"):
        CacheEntry.of_record(LOOKUP, "text", 0, 0)  # type: ignore[arg-type]
    for lookup in ("", LOOKUP + "x", LOOKUP[1:], LOOKUP[1:] + "é", LOOKUP.encode()):
        with pytest.raises(ValueError, match="lookup key"):
            CacheEntry.of_record(lookup, b"", 0, 0)  # type: ignore[arg-type]


def test_its_repr_shows_nothing() -> None:
    principal = Principal(1, "acct", "ak_x", "live", None, frozenset(), None)
    assert "acct" not in repr(entry(principal))
    with pytest.raises(AttributeError):
        entry(principal).ticket = 5  # type: ignore[misc]
