"""The state that workers share: stripes, the cache between workers, use counts and metrics.

It lies in a segment of shared memory, or in private memory if there is a single worker.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import time
from collections.abc import Callable, Iterable
from enum import IntEnum, auto, unique
from math import inf

from fastcache.shared import (
    BloomFilter,
    Counters,
    KeyedDigest,
    Region,
    Segment,
    SharedCache,
    Stripes,
    Tallies,
    WindowTable,
)
from latchkey.box import _counters
from latchkey.box.boot_clock import boot_ns
from latchkey.box.counter_names import Count, Use
from latchkey.box.growing import GrowingRegions
from latchkey.box.limit_tables import LimitTables
from latchkey.box.worker_metrics import BLOCK_SIZE, Block, WorkerMetrics
from latchkey.credentials.kinds import IMPORTED, kind_of_lookup

STRIPES = 4_096
SMALLEST = 5 << 20
"""The smallest size of a segment, in bytes."""

_KEY_SIZE = 32
_PAGE = mmap.PAGESIZE
_FAILURES = 4_096
_FIRST_BLOCKS = 8
_MOST_BLOCKS = 1_024
_FIRST_USES = 16_384
_MOST_USES = 1 << 24
_PRIVATE_USES = 1 << 20
_SLOT_SIZE = 256
_SIGHTINGS = 1 << 20
_IMPORTED_BITS = 1 << 22
_WAYS = 8
_USE_FIELDS = tuple(use.name.lower() for use in Use)
_ROW_SIZE = 8 * len(_USE_FIELDS)


FOREVER = (1 << 64) - 1
"""The lease of a box that uses its database alone: it never expires."""


@unique
class Word(IntEnum):
    """The index of each single word.

    ``REPLAYED`` is the last invalidation that some worker replayed, ``FLUSH_DUE`` the
    CLOCK_MONOTONIC millisecond from which the next flush of use counts may begin, and
    ``ACCOUNTS_CHANGED`` the number of invalidations of accounts.

    The others are those of several boxes with one database. ``FRESH_UNTIL`` is the CLOCK_BOOTTIME
    nanosecond at which the lease expires: from then on, no cached result counts. ``POLL_DUE`` is
    the one from which the log may be polled again; its lowest bit says that a notification caused
    the last poll. ``BOX`` is the id under which the box is registered, 0 before that.
    ``APPLIED_NUMBER`` and ``APPLIED_NONCE`` are those of the last row of the log that was applied.
    ``BOXES`` is the number of live boxes among which rates are divided; 0 if each box has all of a
    rate.
    """

    REPLAYED = 0
    FLUSH_DUE = auto()
    ACCOUNTS_CHANGED = auto()
    FRESH_UNTIL = _counters.FRESH_UNTIL
    POLL_DUE = auto()
    BOX = auto()
    APPLIED_NUMBER = auto()
    APPLIED_NONCE = auto()
    BOXES = _counters.BOXES


class SharedState:
    """All shared state, with each part ready to use. Created by ``over`` or ``private``.

    ``segment`` and ``l2`` are None in private memory. ``sightings`` holds the last addresses of
    credentials by id; ``imported`` contains the hash of each imported token; ``limits`` has the
    state of rates and quotas. ``boot_clock`` gives nanoseconds of CLOCK_BOOTTIME.
    """

    def __init__(
        self,
        *,
        segment: Segment | None,
        stripes: Stripes,
        l2: SharedCache | None,
        uses: Tallies,
        words: Counters,
        failures: WindowTable,
        worker_metrics: WorkerMetrics,
        sightings: SharedCache,
        imported: BloomFilter,
        limits: LimitTables,
        key: bytes,
        boot_clock: Callable[[], int] = boot_ns,
    ) -> None:
        self.segment = segment
        self.stripes = stripes
        self.l2 = l2
        self.uses = uses
        self.words = words
        self.failures = failures
        self.worker_metrics = worker_metrics
        self.sightings = sightings
        self.imported = imported
        self.limits = limits
        # The creator of a segment initialises it.
        self.knows_imported = segment is not None
        self._key = key
        self._boot_clock = boot_clock
        self._regions = GrowingRegions(segment)

    @staticmethod
    def regions(size: int) -> dict[str, Region]:
        """The regions of a segment of ``size`` bytes, at least SMALLEST.

        The cache gets the remaining space. Use counts, limits and metrics may grow beyond their
        regions.
        """
        regions = {
            "words": Region(_PAGE),
            "key": Region(_PAGE),
            "stripes": Region(8 * STRIPES),
            "failures": Region(8 * _FAILURES),
            "blocks": Region(_FIRST_BLOCKS * BLOCK_SIZE, _MOST_BLOCKS * BLOCK_SIZE),
            "sightings": Region(_SIGHTINGS),
            "imported": Region(_IMPORTED_BITS // 8),
            "uses": Region(_FIRST_USES * _ROW_SIZE, _MOST_USES * _ROW_SIZE),
            **LimitTables.regions(),
        }
        taken = sum(region.size + _PAGE for region in regions.values()) + 2 * _PAGE
        if size < SMALLEST:
            raise ValueError(f"a segment has at least {SMALLEST} bytes, not {size}")
        regions["l2"] = Region((size - taken) // _PAGE * _PAGE)
        return regions

    @staticmethod
    def prepare(segment: Segment, *, leased: bool = False) -> None:
        """Initialise a new segment before other processes can attach to it.

        ``leased``: other boxes share the database, so nothing cached counts without a lease.
        """
        if not leased:
            _words(segment.memory("words")).raise_to(Word.FRESH_UNTIL, FOREVER)
        segment.memory("key")[:_KEY_SIZE] = os.urandom(_KEY_SIZE)
        for region in ("l2", "sightings"):
            SharedCache.format(segment.memory(region), slot_size=_SLOT_SIZE, ways=_WAYS)

    @classmethod
    def over(cls, segment: Segment) -> SharedState:
        """The state in a segment that ``prepare`` has initialised."""
        return cls(
            segment=segment,
            stripes=Stripes(STRIPES, memory=segment.memory("stripes")),
            l2=SharedCache(segment.memory("l2")),
            uses=Tallies(
                _USE_FIELDS,
                _MOST_USES,
                memory=segment.memory("uses"),
                backed=segment.backed_word("uses"),
            ),
            words=_words(segment.memory("words")),
            failures=WindowTable(_FAILURES, memory=segment.memory("failures")),
            worker_metrics=WorkerMetrics(segment.memory("blocks"), segment, "blocks"),
            sightings=SharedCache(segment.memory("sightings")),
            imported=BloomFilter(_IMPORTED_BITS, memory=segment.memory("imported")),
            limits=LimitTables.over(segment, _words(segment.memory("words"))),
            key=bytes(segment.memory("key")[:_KEY_SIZE]),
        )

    @classmethod
    def private(
        cls, *, leased: bool = False, boot_clock: Callable[[], int] = boot_ns
    ) -> SharedState:
        """The state of a single process, without a cache between workers.

        ``leased`` as in ``prepare``.
        """
        words = _words(None)
        if not leased:
            words.raise_to(Word.FRESH_UNTIL, FOREVER)
        return cls(
            segment=None,
            stripes=Stripes(STRIPES),
            l2=None,
            uses=Tallies(_USE_FIELDS, _PRIVATE_USES),
            words=words,
            failures=WindowTable(_FAILURES),
            worker_metrics=WorkerMetrics(memoryview(mmap.mmap(-1, BLOCK_SIZE)), None, "blocks"),
            sightings=SharedCache(slot_size=_SLOT_SIZE, ways=_WAYS, size=_SIGHTINGS),
            imported=BloomFilter(_IMPORTED_BITS),
            limits=LimitTables.private(words),
            key=os.urandom(_KEY_SIZE),
            boot_clock=boot_clock,
        )

    def invalidate(self, lookup: str) -> None:
        """Invalidate all cached results for a lookup key, in every worker.

        The lookup key may be that of a new imported token: it is added to the filter, and cached
        refusals of it become invalid. It may be the id of an account: the results for all of its
        keys become invalid, by two increments.
        """
        kind = kind_of_lookup(lookup)
        if kind is IMPORTED:
            self.imported.add(bytes.fromhex(lookup))
        elif kind is None:
            # An account. This word must change first: the stripe's increment releases it, so a
            # reader that loads the stripe's new generation then loads this word's new value, and
            # knows that its SELECT may have been too early.
            self.words.add(Word.ACCOUNTS_CHANGED)
        self.stripes.invalidate(lookup)

    def has_lease(self) -> bool:
        """Whether cached results count now; always, unless other boxes share the database."""
        return self.lease_left() > 0

    def lease_left(self) -> float:
        """The seconds for which cached results count without another confirmation.

        Infinite, unless other boxes share the database.
        """
        until = self.words.value(Word.FRESH_UNTIL)
        if until == FOREVER:
            return inf
        return max(0, until - self._boot_clock()) / 1e9

    def may_be_imported(self, token_hash: bytes) -> bool:
        """Whether this may be the SHA-256 of an imported token; there are no false negatives."""
        return not self.knows_imported or token_hash in self.imported or not self.has_lease()

    def learn_imported(self, token_hashes: Iterable[bytes]) -> None:
        """Load the SHA-256 of all imported tokens, so that other tokens are recognised."""
        for token_hash in token_hashes:
            self.imported.add(token_hash)
        self.knows_imported = True

    def invalidate_all(self) -> None:
        """Invalidate all cached results, in every worker."""
        self.stripes.invalidate_all()

    def digest_for(self, derivation_ids: Iterable[str], default_limit: str = "") -> KeyedDigest:
        """The digest of secrets for workers with the same derivation keys and default limit.

        Other workers have another digest. So an entry does not match here if its worker lists a
        derivation key that this one does not, and the derivation is checked. Nor does it if its
        worker has another default limit, which is part of entries.
        """
        listed = f"{' '.join(sorted(derivation_ids))}\n{default_limit}".encode()
        return KeyedDigest(hashlib.blake2b(listed, key=self._key, digest_size=32).digest())

    def failure_digest(self) -> KeyedDigest:
        """The digest by which callers' addresses are counted; callers cannot predict it."""
        return KeyedDigest(hashlib.blake2b(b"failures", key=self._key, digest_size=32).digest())

    def claim_block(self) -> Block:
        """The block of this worker's counters."""
        return self.worker_metrics.claim()

    def count_use(self, credential_id: int) -> None:
        """Count one use of a credential, now."""
        if self._count(credential_id, Use.USES):
            self.uses.put(credential_id, Use.LAST_USED, time.time_ns() // 1_000_000)

    def count_refusal(self, credential_id: int, reason: Use) -> None:
        """Count one refusal of a credential with a correct secret."""
        self._count(credential_id, reason)

    def make_room(self, credential_id: int) -> bool:
        """Allocate a row for this credential and some more; False if there is no memory."""
        if self.uses.backed_rows > credential_id:
            return True
        return self._regions.grow("uses", credential_id, most_rows=_MOST_USES, row_size=_ROW_SIZE)

    def _count(self, credential_id: int, use: Use) -> bool:
        if self.uses.add(credential_id, use):
            return True
        if self.make_room(credential_id) and self.uses.add(credential_id, use):
            return True
        self.claim_block().counters.add(Count.UNCOUNTED)
        return False


def _words(memory: memoryview | None) -> Counters:
    return Counters([word.name.lower() for word in Word], memory=memory)
