# How the cyclic collector sees a shard.

cdef void show_shards() noexcept
