"""A database and the shared state of its workers, for tests of the replay and the flush."""

from __future__ import annotations

from pathlib import Path

from latchkey.box.flush import Flush
from latchkey.box.replay import Replay
from latchkey.box.shared import SharedState, Word
from latchkey.box.use_counts import LiveTallies
from latchkey.credentials.models import Credential
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.service import CredentialService
from latchkey.store.protocols import Store
from tests.support.audited import open_store
from tests.support.auth.worker import Time
from tests.support.credentials.office import KEYS
from tests.support.database import new_database


class UpkeepBox:
    """A database and the shared state of its workers; each ``flush`` belongs to another worker."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store: Store = open_store(new_database(path))
        self.shared = SharedState.private()
        self.tallies = LiveTallies(self.shared)
        self.replay = Replay(self.store.invalidations, self.shared)
        self.timer = Time(1_000_000)
        publisher = Publisher(self.store.audit, self.shared.invalidate, self.replay.note)
        self.service = CredentialService(self.store, KEYS, publisher)

    def flush(self) -> Flush:
        tallies = LiveTallies(self.shared)
        tallies.segment = self.tallies.segment
        return Flush(
            self.store.usage, self.store.invalidations, self.shared, tallies, timer=self.timer
        )

    def generation(self, lookup: str) -> int:
        return self.shared.stripes.generation(lookup)

    @property
    def replayed(self) -> int:
        return self.shared.words.value(Word.REPLAYED)

    def written(self, credential: Credential) -> int:
        record = self.store.usage.record(credential.id, self.tallies.segment)
        return sum(record.hours.values())

    def close(self) -> None:
        self.store.close()
