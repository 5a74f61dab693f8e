"""Distances of entries from their home slots, for tests with regular hash values."""

from libc.stdint cimport uint32_t

from fastcache._shard cimport Shard, lock, unlock
from fastcache._slots cimport Slots, home_of
from fastcache._store cimport ShardedStore, shards_of


def distances_in(ShardedStore cache not None):
    """For each shard: the number of entries, the sum of their distances in slots, the maximum."""
    return [distances_of(<Shard>shard) for shard in <tuple>shards_of(cache)]


cdef tuple distances_of(Shard shard):
    cdef Slots *slots = &shard.table.slots
    cdef uint32_t place, distance, longest = 0
    cdef size_t entries = 0, total = 0
    lock(&shard.mutex)
    for place in range(slots.end):
        if slots.table[place].entry != 0:
            distance = place - home_of(slots.homes, slots.table[place].tag)
            entries += 1
            total += distance
            longest = max(longest, distance)
    unlock(&shard.mutex)
    return (entries, total, longest)
