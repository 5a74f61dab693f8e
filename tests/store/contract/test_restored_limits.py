"""Limits after a restore: none is weaker than before, and no unit of a quota comes back.

On PostgreSQL, by ``latchkey reconcile``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from latchkey.credentials.accounts import INSTANCE_NAME, AccountChange, NewAccount
from latchkey.credentials.audit import Action, AuditEvent
from latchkey.credentials.callers import Author
from latchkey.credentials.conditions import are_looser
from latchkey.credentials.limits import Limit, StoredLimit, quota_limit, rate_limit
from latchkey.credentials.models import Change, Credential, Rotation
from latchkey.credentials.quotas import Held
from latchkey.credentials.scopes import lies_within
from latchkey.store.carrying.carried import Carried
from latchkey.store.database_urls import database_at
from latchkey.store.protocols import Store
from latchkey.store.reconciling import ReconcileRules, reconcile
from latchkey.store.sqlite.restore import carry_over_from
from tests.support.audited import TESTER, add, answered, change, new_seal, result_of, rotate
from tests.support.database import new_database
from tests.support.store.new_credentials import new_credential, verifier_of

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ONE, TWO = "1" * 32, "2" * 32
HUNDRED = rate_limit("100/minute", burst=50)
MONTHLY = quota_limit("monthly", 1000, "month")
OTHER = rate_limit("1/second", "other")


class Restoring:
    """A database in use, a backup of it, and the store that is open; SQLite."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = new_database(directory / "latchkey.db")
        self.backup = ""
        self.store = self.open(self.url)

    def open(self, url: str) -> Store:
        return database_at(url).open_store(seal=new_seal(self.directory / "latchkey.db"))

    def back_up(self) -> None:
        copy = self.directory / "backup.db"
        copy.touch(mode=0o600)
        with closing(sqlite3.connect(self.directory / "latchkey.db")) as source:
            with closing(sqlite3.connect(copy)) as target:
                source.backup(target)
        self.backup = f"sqlite:///{copy}"

    def restore(self, now: datetime = NOW) -> Carried:
        """Restore the backup; the store is then that of the restored database."""
        self.store.close()
        former, restored = (Path(url.removeprefix("sqlite:///")) for url in self._urls)
        carried = carry_over_from(former, restored, lies_within, are_looser, now)
        self.store = self.open(self.backup)
        return carried

    @property
    def _urls(self) -> tuple[str, str]:
        return self.url, self.backup

    def close(self) -> None:
        self.store.close()


class RestoringServer(Restoring):
    """The same on PostgreSQL."""

    def __init__(self, directory: Path, server: Any) -> None:
        self.directory = directory
        self.server = server
        self.names = [server.new_migrated_database()]
        self.url = server.url(self.names[0])
        self.store = self.open(self.url)

    def back_up(self) -> None:
        self.store.close()
        self.names.append(self.server.new_database(self.names[0]))
        self.backup = self.server.url(self.names[-1])

    def restore(self, now: datetime = NOW) -> Carried:
        former, self.store = self.store, self.open(self.backup)
        rules = ReconcileRules(lies_within, are_looser, Author(TESTER), now)

        def record(carried: Carried, number: int) -> AuditEvent:
            return AuditEvent(now, Action.STORE_RESTORE, TESTER, None, carried.detail)

        carried = answered(self.store, reconcile(self.store, former, rules, record))
        former.close()
        return carried

    def close(self) -> None:
        self.store.close()
        for name in self.names:
            self.server.drop_database(name)


@pytest.fixture
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Restoring]:
    if request.config.getoption("--integration"):
        made: Restoring = RestoringServer(tmp_path, request.getfixturevalue("postgresql"))
    else:
        made = Restoring(tmp_path)
    yield made
    made.close()


def key_with(box: Restoring, *limits: Limit, **terms: Any) -> Credential:
    return add(box.store, new_credential(limits=limits, created_at=NOW, **terms))


def set_limits(box: Restoring, key: Credential, *limits: Limit) -> Credential:
    return change(box.store, key.api_key, NOW, lambda found: Change(limits=limits))


def find(box: Restoring, key: Credential) -> Credential:
    found = box.store.find(key.api_key)
    assert found is not None
    assert box.store.verifier(key.api_key) == verifier_of(found)
    return found


def limits(box: Restoring, key: Credential) -> tuple[Limit, ...]:
    return tuple(stored.limit for stored in find(box, key).applied_limits.own)


def reserve(
    box: Restoring, limit: StoredLimit, cost: int, segment: str = ONE, held: Held | None = None
) -> int:
    made = box.store.limits.reserve(limit.id, segment, cost, NOW, held)
    assert made is not None
    return made.used if made.suffices else -1


def used(box: Restoring, limit: StoredLimit) -> int:
    return box.store.limits.states([limit.id], NOW)[limit.id].used


@pytest.mark.parametrize(
    ("backed_up", "present", "expected"),
    [
        ([], [HUNDRED], [HUNDRED]),
        ([HUNDRED], [], [HUNDRED]),
        ([OTHER], [HUNDRED], [HUNDRED, OTHER]),
        ([rate_limit("200/minute", burst=50)], [HUNDRED], [HUNDRED]),
        ([rate_limit("100/minute", burst=51)], [HUNDRED], [HUNDRED]),
        ([rate_limit("100/hour", burst=50)], [HUNDRED], [rate_limit("100/hour", burst=50)]),
        ([quota_limit("monthly", 999, "month")], [MONTHLY], [quota_limit("monthly", 999, "month")]),
        ([quota_limit("monthly", 999, "day")], [MONTHLY], [MONTHLY]),
        ([rate_limit("1/day", "monthly")], [MONTHLY], [MONTHLY]),
        (
            [rate_limit("1/day", f"b{number}") for number in range(4)],
            [rate_limit("1/day", f"a{number}") for number in range(3)],
            [rate_limit("1/day", name) for name in ("a0", "a1", "a2", "b0")],
        ),
    ],
)
def test_limits_never_get_weaker(
    box: Restoring, backed_up: list[Limit], present: list[Limit], expected: list[Limit]
) -> None:
    key = key_with(box, *backed_up)
    new = NewAccount("acct_" + "7" * 22, INSTANCE_NAME, None, None, NOW, tuple(backed_up))
    account = result_of(box.store.accounts.add(lambda caller: new, Author(TESTER)))
    box.back_up()
    box.store = box.open(box.url)
    set_limits(box, key, *present)
    terms = AccountChange(limits=tuple(present))
    decided = box.store.accounts.change(
        account.id, NOW, lambda caller, found: terms, Author(TESTER)
    )
    ids = {one.limit.name: one.id for one in result_of(decided).limits.live}
    carried = box.restore()
    assert limits(box, key) == tuple(expected)
    assert carried.narrowed == ([key.api_key] if expected != backed_up else [])
    found = box.store.accounts.find(account.id)
    assert found is not None
    assert found.limits.definitions == tuple(expected)
    assert all(ids.get(one.limit.name, one.id) == one.id for one in found.limits.live)
    assert len({one.id for of_mode in found.limits for one in of_mode}) == 2 * len(expected)


def test_used_units_stay_used(box: Restoring) -> None:
    key, other = key_with(box, MONTHLY), key_with(box, MONTHLY)
    (limit,) = key.limits
    reserve(box, limit, 100)
    reserve(box, other.limits[0], 300)
    box.back_up()
    box.store = box.open(box.url)
    reserve(box, limit, 400, TWO)
    # What was given back since is not used.
    box.store.limits.give_back(other.limits[0].id, 1, ONE, 120)
    late = key_with(box, MONTHLY, expires_at=NOW + timedelta(days=900))
    reserve(box, late.limits[0], 700)
    box.restore()
    assert used(box, limit) == 500
    assert reserve(box, limit, 501, TWO, Held(1, 400, 400)) == -1
    assert used(box, other.limits[0]) == 300
    assert find(box, late).limits == late.limits
    assert used(box, late.limits[0]) == 700


def test_the_present_period_counts(box: Restoring) -> None:
    yesterday = NOW - timedelta(days=1)
    daily = quota_limit("q", 100, "day")
    key = add(box.store, new_credential(limits=(daily,), created_at=yesterday))
    (limit,) = key.limits
    box.store.limits.reserve(limit.id, ONE, 90, yesterday)
    box.back_up()
    box.store = box.open(box.url)
    assert reserve(box, limit, 30) == 30
    box.restore()
    assert used(box, limit) == 30
    assert reserve(box, limit, 70, TWO) == 100
    assert reserve(box, limit, 1, TWO, Held(2, 70, 70)) == -1


def test_a_backup_without_reservations_after_a_change_of_the_quota(box: Restoring) -> None:
    key = key_with(box, MONTHLY)
    box.back_up()
    box.store = box.open(box.url)
    larger = set_limits(box, key, quota_limit("monthly", 5000, "month"))
    reserve(box, larger.limits[0], 800)
    box.restore()
    (limit,) = find(box, key).limits
    assert limit.limit == MONTHLY
    assert limit.generation > larger.limits[0].generation
    assert used(box, limit) == 800
    assert reserve(box, limit, 201, TWO) == -1


def test_sharing_stays(box: Restoring) -> None:
    root = key_with(box, HUNDRED)
    detached = key_with(box, limits_of=root.id)
    sharing = key_with(box, limits_of=root.id)
    old = key_with(box, MONTHLY)
    box.back_up()
    box.store = box.open(box.url)
    set_limits(box, detached, OTHER)
    new = new_credential(limits_of=old.id, created_at=NOW)
    successor = rotate(
        box.store, old.api_key, NOW, lambda found, former: Rotation(new, found.expires_at)
    )
    late_root = key_with(box, HUNDRED)
    late = key_with(box, limits_of=late_root.id)
    reserve(box, old.limits[0], 600)
    box.restore()
    assert find(box, sharing).limits_of == find(box, root).id
    assert find(box, detached).limits_of is None
    assert limits(box, detached) == (OTHER,)
    assert find(box, successor).limits_of == find(box, old).id
    assert reserve(box, find(box, successor).applied_limits.own[0], 401, TWO) == -1
    # A key that shares its limits is kept with the key that has them.
    assert find(box, late).limits_of == find(box, late_root).id
    assert limits(box, late) == (HUNDRED,)


def test_limited_keys_that_the_backup_lacks_are_kept(box: Restoring) -> None:
    box.back_up()
    box.store = box.open(box.url)
    limited, plain = key_with(box, HUNDRED), key_with(box)
    carried = box.restore()
    # Otherwise its pair could be registered without limits.
    assert limits(box, limited) == (HUNDRED,)
    assert box.store.find(plain.api_key) is None
    assert (carried.kept, carried.lost) == (1, 1)


def test_what_only_the_backup_knows_to_be_used_counts(box: Restoring) -> None:
    key = key_with(box, MONTHLY)
    box.back_up()
    box.store = box.open(box.url)
    reserve(box, key.limits[0], 400)
    box.store.limits.give_back(key.limits[0].id, 1, ONE, 350)
    # The database in use is the older one.
    box.store.close()
    box.url, box.backup = box.backup, box.url
    box.store = box.open(box.url)
    reserve(box, key.limits[0], 50, TWO)
    box.restore()
    assert used(box, key.limits[0]) == 350
    assert reserve(box, key.limits[0], 651) == -1
