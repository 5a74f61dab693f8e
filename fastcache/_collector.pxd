# Traversal of shards by the cyclic garbage collector.

cdef void install_traversal() noexcept
