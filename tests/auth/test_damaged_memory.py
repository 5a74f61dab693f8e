"""A segment with any content: workers go on, and what they write to the database is sane."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from latchkey.box.counted import Count, Use
from latchkey.box.flush import Flush
from latchkey.box.shared import Word
from latchkey.box.sightings import Sightings, recent_sightings
from latchkey.box.use_counts import LiveTallies
from latchkey.box.worker_metrics import BLOCK_SIZE
from latchkey.credentials.service import utc_now
from tests.audited import new_trail
from tests.auth.shared_box import Box, through
from tests.auth.upkeep_box import Box as UpkeepBox
from tests.auth.worker import api_key
from tests.fastcache.test_damaged_memory import SEED, damage, survives
from tests.store.conftest import new_credential

pytestmark = pytest.mark.attack


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with closing(Box(tmp_path)) as box:
        yield box


@pytest.fixture
def kept_up(tmp_path: Path) -> Iterator[UpkeepBox]:
    with closing(UpkeepBox(tmp_path / "latchkey.db")) as box:
        yield box


def test_any_content_of_a_segment(box: Box, long: bool) -> None:
    """Every region is damaged while two workers check, count, flush and show their metrics."""

    def work() -> None:
        chosen = random.Random(SEED)
        workers = [box.worker(), box.worker()]
        secrets = [workers[0].issue() for _ in range(3)]
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
            assert worker.outcome("sk_live_" + "a" * 40) != "ok"
            shared = worker.authenticator.shared
            shared.count_use(1)
            shared.count_refusal(1, Use.SCOPE)
            shared.invalidate(api_key(secret)[3:])
            shared.blocks.totals()
            shared.claim_block().counters.add(Count.STARTED)
            flushes[number % 2].run()
            worker.store.usage.record(1, box.segment.uuid)

    survives(work)


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
def test_damaged_addresses_are_left_out(kept_up: UpkeepBox, content: bytes) -> None:
    table = kept_up.shared.sightings
    key = (1).to_bytes(8)
    table.put(key, content, ticket=0, deadline=(1 << 64) - 1)
    assert {str(seen.address) for seen in recent_sightings(table, 1, 0)} <= {"1.2.3.4"}
    assert Sightings(kept_up.shared).record({"REMOTE_ADDR": "5.6.7.8"}, 1, 17)
    assert recent_sightings(table, 1, 0)[0].address == "5.6.7.8"


@pytest.mark.parametrize("field", list(Use))
@pytest.mark.parametrize("value", [(1 << 64) - 1, 1 << 63])
def test_a_damaged_row_does_not_keep_others_from_the_database(
    kept_up: UpkeepBox, field: Use, value: int
) -> None:
    damaged, whole = (kept_up.store.add(new_credential(), new_trail()) for _ in range(2))
    kept_up.shared.uses.put(damaged.id, field, value)
    kept_up.shared.count_use(whole.id)
    kept_up.flush().run()
    assert kept_up.written(whole) == 1
    assert kept_up.written(damaged) == 0


def test_a_damaged_time_does_not_put_flushes_off(kept_up: UpkeepBox) -> None:
    added = kept_up.store.add(new_credential(), new_trail())
    kept_up.shared.count_use(added.id)
    kept_up.shared.words.raise_to(Word.FLUSH_DUE, (1 << 64) - 1)
    kept_up.flush().run_if_due()
    assert kept_up.written(added) == 1


def test_a_damaged_place_in_the_log_is_noticed(kept_up: UpkeepBox) -> None:
    """What a killed process changed is still invalidated."""
    added = kept_up.store.add(new_credential(), new_trail())
    kept_up.replay.run()
    kept_up.shared.words.raise_to(Word.REPLAYED, 1 << 40)
    kept_up.store.revoke(added.api_key, None, utc_now(), new_trail())
    before = kept_up.generation(added.lookup)
    kept_up.replay.run()
    assert kept_up.generation(added.lookup) > before
    assert kept_up.replayed == 2
