"""Cache entries, and the records by which workers share them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from latchkey.check._entry import RECORD_HEAD, CacheEntry
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
        external_id=st.none() | texts,
        metadata_text=st.none() | st.dictionaries(texts, texts, max_size=3).map(json.dumps),
        in_instance_account=st.booleans(),
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


VERSION = 4
FLAGS, LENGTHS, TEXTS = 1, 2, RECORD_HEAD
NAMED, CONDITIONS, EXTERNAL_ID, METADATA, INSTANCE, LIMITS = 4, 8, 16, 32, 64, 128
WHOLE = Principal(
    *(1, "acct", f"ak_{LOOKUP}", "live", "name", frozenset({"a:read"}), None),
    *("external", '{"plan":"gold"}', True),
)


def restored(record: bytes) -> CacheEntry | None:
    return CacheEntry.of_record(LOOKUP, record, 0, 0)


@given(st.binary(max_size=100), st.booleans())
def test_any_bytes_are_a_record_or_rejected(record: bytes, versioned: bool) -> None:
    read = restored(bytes([VERSION]) + record if versioned else record)
    assert read is None or isinstance(read.principal, Principal)


@given(principals(), st.integers(0, 11), st.integers(1, 255))
@example(WHOLE, FLAGS, NAMED)
@example(WHOLE, FLAGS, CONDITIONS)
@example(WHOLE, FLAGS, EXTERNAL_ID)
@example(WHOLE, FLAGS, METADATA)
@example(WHOLE, FLAGS, LIMITS)
def test_a_damaged_head_is_rejected_or_consistent(
    principal: Principal, place: int, difference: int
) -> None:
    """Version, flags and lengths: a record that is still read would be written the same way."""
    record = entry(principal).record()
    assert record is not None
    damaged = bytearray(record)
    damaged[place] ^= difference
    read = restored(bytes(damaged))
    if read is not None:
        assert place != 0
        again = read.record()
        assert again is not None
        assert (len(again), again[:TEXTS]) == (len(damaged), bytes(damaged[:TEXTS]))


@pytest.mark.parametrize("flag", [NAMED, CONDITIONS, EXTERNAL_ID, METADATA, LIMITS])
def test_a_text_without_its_flag_is_rejected(flag: int) -> None:
    record = bytearray(entry(WHOLE).record() or b"")
    assert restored(bytes(record)) is not None
    record[FLAGS] ^= flag
    assert restored(bytes(record)) is None


@given(principals(), st.data())
def test_a_record_that_was_cut_or_extended_is_rejected(
    principal: Principal, data: st.DataObject
) -> None:
    record = entry(principal).record()
    assert record is not None
    assert restored(record[: data.draw(st.integers(0, len(record) - 1))]) is None
    assert restored(record + data.draw(st.binary(min_size=1, max_size=20))) is None


def test_records_of_other_versions_are_rejected() -> None:
    record = entry(WHOLE).record() or b""
    versions = [number for number in range(256) if restored(bytes([number]) + record[1:])]
    assert versions == [VERSION]


@pytest.mark.parametrize("text", range(5))
def test_a_text_that_is_not_utf8_is_rejected(text: int) -> None:
    record = bytearray(entry(WHOLE).record() or b"")
    start = TEXTS
    for index in range(text):
        start += int.from_bytes(record[LENGTHS + 2 * index :][:2], sys.byteorder)
    record[start] = 0xFF
    assert restored(bytes(record)) is None


def test_absent_and_empty_texts_are_different() -> None:
    for text in (None, ""):
        principal = replace(WHOLE, name=text, external_id=text, metadata_text=text)
        after = restored(entry(principal).record() or b"")
        assert after is not None
        assert after.principal == principal


@pytest.mark.parametrize("in_instance_account", [False, True])
def test_the_instance_account_is_a_bool(in_instance_account: bool) -> None:
    made = entry(replace(WHOLE, in_instance_account=in_instance_account))
    after = restored(made.record() or b"")
    assert after is not None
    assert after.principal.in_instance_account is in_instance_account


def test_account_metadata_is_a_new_dict_each_time() -> None:
    assert WHOLE.account_metadata == {"plan": "gold"}
    WHOLE.account_metadata["plan"] = "silver"
    assert WHOLE.account_metadata == {"plan": "gold"}
    assert replace(WHOLE, metadata_text=None).account_metadata == {}


def test_an_expiry_is_exact_to_the_millisecond() -> None:
    moment = datetime(2026, 1, 15, 10, 30, 0, 123000, tzinfo=UTC)
    made = entry(Principal(1, "acct", "ak_x", "live", None, frozenset(), moment))
    assert made.expires_at == (moment - datetime(1970, 1, 1, tzinfo=UTC)) // MILLISECOND
    assert entry(Principal(1, "acct", "ak_x", "live", None, frozenset(), None)).expires_at is None


@pytest.mark.parametrize("field", ["account_id", "name", "external_id", "metadata_text"])
def test_a_text_too_long_for_a_record(field: str) -> None:
    too_long: dict[str, Any] = {field: "a" * 65_536}
    assert entry(replace(WHOLE, **too_long)).record() is None
    longest = replace(WHOLE, **{**too_long, field: "a" * 65_535})
    after = restored(entry(longest).record() or b"")
    assert after is not None
    assert after.principal == longest


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
