"""The processes of a run."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.micro.cases import Case, MicroJob
from benchmarks.micro.peers import FLOOR, LOCKED, OURS, OURS_SHARDED, PEERS, SHARDS

MAIN_ENTRIES = 100_000
"""The number of entries in the goals."""

ENTRY_BYTES = 150
"""Approximate bytes of a key, its value, and the pointers to them."""
UNKNOWN_BYTES = 600
"""The assumed bytes per entry of a peer whose memory was not measured."""
MEMORY_SHARE = 0.7
"""The share of the available memory that a process may use."""

PARTS = ("get", "sizes", "set", "threads", "memory")


@dataclass(frozen=True)
class MicroSettings:
    """The extent of the measurements. Times are of one process on an idle machine."""

    quick: bool = False
    main_entries: int = MAIN_ENTRIES
    processes: int = 5
    """Processes per case, with the exceptions below."""
    main_processes: int = 6
    """Processes for the cases of the goals."""
    rounds: int = 20
    warm_rounds: int = 4
    block: int = 2_000
    """Calls that are timed together."""
    prelude: int = 1_000
    """Untimed calls before them, which warm the CPU caches for the block."""
    sizes: tuple[tuple[int, int], ...] = (
        (64, 3),
        (1_000, 3),
        (10_000, 3),
        (1_000_000, 2),
        (10_000_000, 1),
    )
    """Entries and processes of the plot by size, in addition to 100,000 entries."""
    hit_percents: tuple[int, ...] = (0, 50, 90, 99, 100)
    threads: tuple[int, ...] = (1, 2, 4)
    thread_rounds: int = 6
    thread_block: int = 20_000
    """Calls of each thread that are timed together."""
    memory_sizes: tuple[tuple[int, int], ...] = (
        (10_000, 1),
        (50_000, 1),
        (100_000, 5),
        (200_000, 1),
        (1_000_000, 1),
    )
    """Entries and processes."""
    parts: tuple[str, ...] = PARTS
    peers: tuple[str, ...] = tuple(PEERS)
    shards: int = SHARDS
    """The shards of fastcache's sharded cache: recorded with the results, not an option."""

    @property
    def whole(self) -> bool:
        """Whether everything was measured, so that the result may be documented."""
        return self == MicroSettings()


FULL = MicroSettings()
QUICK = MicroSettings(
    quick=True,
    processes=1,
    main_processes=1,
    rounds=4,
    warm_rounds=1,
    block=1_000,
    prelude=1_000,
    sizes=((64, 1), (10_000, 1)),
    hit_percents=(50, 100),
    threads=(1, 2),
    thread_rounds=2,
    thread_block=5_000,
    memory_sizes=((100_000, 1),),
)


def jobs(
    settings: MicroSettings, rng: random.Random, free_threaded: bool = False
) -> list[MicroJob]:
    """All processes except those of the largest sizes, in their order.

    Cases take turns: each has a process before any has its second. Memory comes first, because the
    plan of the largest sizes depends on it.
    """
    ordered: list[MicroJob] = []
    planned = [*_memory(settings), *_times(settings), *_threads(settings, free_threaded)]
    for turn in range(max((count for count, _ in planned), default=0)):
        batch = [job for count, job in planned if count > turn]
        rng.shuffle(batch)
        ordered += [_seeded(job, rng) for job in batch]
    return sorted(ordered, key=lambda job: job.cases[0].scenario != "memory")


def _seeded(job: MicroJob, rng: random.Random) -> MicroJob:
    return MicroJob(**{**vars(job), "seed": rng.getrandbits(32)})


def _timed(settings: MicroSettings, cases: Iterable[Case], peers: Iterable[str]) -> MicroJob:
    return MicroJob(
        cases=tuple(cases),
        peers=tuple(peers),
        rounds=settings.rounds,
        warm_rounds=settings.warm_rounds,
        block=settings.block,
        prelude=settings.prelude,
        seed=0,
    )


def _single(settings: MicroSettings) -> list[str]:
    """The peers for everything without threads: sharding makes no difference for one thread."""
    return [name for name in settings.peers if name != OURS_SHARDED]


def _by_size(settings: MicroSettings) -> list[str]:
    """The peers in the plot by size: the cost of the lock does not depend on it."""
    return [name for name in _single(settings) if name != LOCKED]


def _times(settings: MicroSettings) -> Iterable[tuple[int, MicroJob]]:
    if "get" in settings.parts:
        cases = [Case("get", settings.main_entries, "hot")]
        cases += [
            Case("get", settings.main_entries, hit_percent=each) for each in settings.hit_percents
        ]
        yield settings.main_processes, _timed(settings, cases, _single(settings))
    if "set" in settings.parts:
        case = Case("set", settings.main_entries, "new")
        yield settings.main_processes, _timed(settings, [case], _single(settings))
    if "sizes" in settings.parts:
        for entries, count in settings.sizes:
            if not is_large(entries):
                case = Case("get", entries)
                yield count, _timed(settings, [case], _by_size(settings))


def is_large(entries: int) -> bool:
    """Whether the peers may not fit into memory at the same time."""
    return entries > 1_000_000


def large_jobs(
    settings: MicroSettings,
    rng: random.Random,
    entry_bytes: Mapping[str, float],
    available: int,
) -> tuple[list[MicroJob], dict[int, list[str]]]:
    """The processes for the largest sizes, and for each size the peers that do not fit at all.

    `entry_bytes` is what each peer adds to a key and its value. Peers are distributed over as many
    processes as memory requires; ``dict`` and fastcache are in each, as reference values.
    """
    planned: list[MicroJob] = []
    too_large: dict[int, list[str]] = {}
    if "sizes" not in settings.parts:
        return planned, too_large

    def need(name: str, entries: int) -> float:
        # A growing table needs memory for its old and its new array at the same time.
        return entries * (ENTRY_BYTES + 1.5 * entry_bytes.get(name, UNKNOWN_BYTES))

    for entries, count in settings.sizes:
        if not is_large(entries):
            continue
        names = _by_size(settings)
        yardsticks = [name for name in (FLOOR, OURS) if name in names]
        room = available * MEMORY_SHARE - sum(need(name, entries) for name in yardsticks)
        others = [name for name in names if name not in yardsticks]
        too_large[entries] = [name for name in others if need(name, entries) > room]
        if room < 0:
            too_large[entries] = names
            continue
        fitting = [name for name in others if name not in too_large[entries]]
        groups = pack({name: need(name, entries) for name in fitting}, room)
        for _ in range(count):
            for group in groups:
                job = _timed(settings, [Case("get", entries)], [*yardsticks, *group])
                planned.append(_seeded(job, rng))
    return planned, too_large


def pack(needs: Mapping[str, float], room: float) -> list[list[str]]:
    """Pack peers that fit together into groups, the largest first; at least one group."""
    groups: list[list[str]] = [[]]
    left = [room]
    for name in sorted(needs, key=lambda name: -needs[name]):
        place = next((at for at, space in enumerate(left) if needs[name] <= space), len(groups))
        if place == len(groups):
            groups.append([])
            left.append(room)
        groups[place].append(name)
        left[place] -= needs[name]
    return groups


def _threads(settings: MicroSettings, free_threaded: bool) -> Iterable[tuple[int, MicroJob]]:
    if "threads" not in settings.parts:
        return
    # A cache that is not thread-safe is not measured with threads.
    names = [name for name in settings.peers if name != "cachetools"]
    groups = {"default": [names]}
    if free_threaded:
        # If importing a peer enables the GIL, the others must not be affected.
        ours = [name for name in names if name in (FLOOR, OURS, OURS_SHARDED)]
        rest = [name for name in names if name not in ours]
        groups["free-threaded"] = [ours, *([name] for name in rest)]
    for interpreter, listed in groups.items():
        for group in listed:
            yield settings.processes, _thread_job(settings, group, interpreter)


def _thread_job(settings: MicroSettings, peers: Sequence[str], interpreter: str) -> MicroJob:
    return MicroJob(
        cases=tuple(
            Case("threads", settings.main_entries, threads=count) for count in settings.threads
        ),
        peers=tuple(peers),
        rounds=settings.thread_rounds,
        warm_rounds=1,
        block=settings.thread_block,
        prelude=settings.prelude,
        seed=0,
        interpreter=interpreter,
    )


def _memory(settings: MicroSettings) -> Iterable[tuple[int, MicroJob]]:
    if "memory" not in settings.parts:
        return
    for entries, count in settings.memory_sizes:
        for name in _single(settings):
            if name != LOCKED:
                yield count, MicroJob((Case("memory", entries, "new"),), (name,), 1, 0, 1, 0, 0)
