"""A segment with any content: workers continue, and write only valid values to the database."""

from __future__ import annotations

import random

import pytest

from latchkey.box.counter_names import Count, Use
from latchkey.box.flush import Flush
from latchkey.box.shared import Word
from latchkey.box.sightings import Sightings, recent_sightings
from latchkey.box.use_counts import LiveTallies
from latchkey.box.worker_metrics import BLOCK_SIZE
from latchkey.credentials.limits import Limit, quota_limit, rate_limit
from latchkey.credentials.times import utc_now
from tests.support.audited import TESTER, add, revoke
from tests.support.auth.shared_box import SharedBox, through
from tests.support.auth.upkeep_box import UpkeepBox
from tests.support.auth.worker import api_key
from tests.support.fastcache.damage import SEED, damage, survives
from tests.support.store.new_credentials import new_credential

pytestmark = pytest.mark.attack


def test_any_content_of_a_segment(box: SharedBox, long: bool) -> None:
    """Every region is damaged while two workers check, count, flush and report their metrics."""

    def work() -> None:
        chosen = random.Random(SEED)
        workers = [box.worker(), box.worker()]
        secrets = [workers[0].issue() for _ in range(3)]
        limits: list[Limit] = [rate_limit("10/second"), quota_limit("monthly", 1_000, "month")]
        limited = [
            workers[0].service.issue(name="x", caller=None, by=TESTER, limits=own).secret
            for own in (limits[:1], limits)
        ]
        regions = {name: box.segment.memory(name) for name in box.segment.regions}
        regions["uses"] = regions["uses"][:4096]
        regions["blocks"] = regions["blocks"][: 3 * BLOCK_SIZE]
        names = [*regions, "bounds"]
        flushes = [
            Flush(
                worker.store.usage,
                worker.store.invalidations,
                worker.authenticator.shared,
                LiveTallies(worker.authenticator.shared),
            )
            for worker in workers
        ]
        for number in range(3_000 if long else 300):
            name = chosen.choice(names)
            if name == "bounds":
                damage(box.segment.backed_word(chosen.choice(list(box.segment.regions))), chosen)
            else:
                damage(regions[name], chosen)
            worker = workers[number % 2]
            secret = chosen.choice(secrets)
            assert through(worker, secret) == "ok"
            if number % 4 == 0:
                # There is no database here to reserve units in.
                assert through(worker, chosen.choice(limited))[:3] in ("ok", "429", "500")
            assert worker.outcome("sk_live_" + "a" * 40) != "ok"
            shared = worker.authenticator.shared
            shared.count_use(1)
            shared.count_refusal(1, Use.SCOPE)
            shared.invalidate(api_key(secret)[3:])
            shared.worker_metrics.totals()
            shared.claim_block().counters.add(Count.STARTED)
            flushes[number % 2].run()
            worker.store.usage.record(1, box.segment.uuid)

    survives(work, 1_000 if long else 100)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe 1.2.3.4",
        b"1 1.2.3.4\nx",
        b"99999999999999999999 1.2.3.4",
        "²3 1.2.3.4".encode(),
        b"17 not an address",
        b"\0" * 40,
        b"",
    ],
)
def test_damaged_addresses_are_ignored(upkeep_box: UpkeepBox, content: bytes) -> None:
    table = upkeep_box.shared.sightings
    key = (1).to_bytes(8)
    table.put(key, content, ticket=0, deadline=(1 << 64) - 1)
    assert {str(seen.address) for seen in recent_sightings(table, 1, 0)} <= {"1.2.3.4"}
    assert Sightings(upkeep_box.shared).record({"REMOTE_ADDR": "5.6.7.8"}, 1, 17)
    assert recent_sightings(table, 1, 0)[0].address == "5.6.7.8"


@pytest.mark.parametrize("field", list(Use))
@pytest.mark.parametrize("value", [(1 << 64) - 1, 1 << 63])
def test_a_damaged_row_does_not_prevent_the_flush_of_others(
    upkeep_box: UpkeepBox, field: Use, value: int
) -> None:
    damaged, whole = (add(upkeep_box.store, new_credential()) for _ in range(2))
    upkeep_box.shared.uses.put(damaged.id, field, value)
    upkeep_box.shared.count_use(whole.id)
    upkeep_box.flush().run()
    assert upkeep_box.written(whole) == 1
    assert upkeep_box.written(damaged) == 0


def test_a_damaged_time_does_not_postpone_flushes(upkeep_box: UpkeepBox) -> None:
    added = add(upkeep_box.store, new_credential())
    upkeep_box.shared.count_use(added.id)
    upkeep_box.shared.words.raise_to(Word.FLUSH_DUE, (1 << 64) - 1)
    upkeep_box.flush().run_if_due()
    assert upkeep_box.written(added) == 1


def test_a_damaged_position_in_the_log_is_detected(upkeep_box: UpkeepBox) -> None:
    """Changes of a killed process are still invalidated."""
    added = add(upkeep_box.store, new_credential())
    upkeep_box.replay.run()
    upkeep_box.shared.words.raise_to(Word.REPLAYED, 1 << 40)
    revoke(upkeep_box.store, added.api_key, utc_now())
    before = upkeep_box.generation(added.lookup)
    upkeep_box.replay.run()
    assert upkeep_box.generation(added.lookup) > before
    assert upkeep_box.replayed == 2
