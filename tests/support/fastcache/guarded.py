"""Memory between two inaccessible pages: an access outside of it ends the process."""

from __future__ import annotations

import ctypes
import mmap

PAGE = mmap.PAGESIZE


def guarded(size: int) -> memoryview:
    """`size` zero bytes, a multiple of 8, that end at an inaccessible page."""
    pages = -(-size // PAGE)
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for page in (0, pages + 1):
        address = ctypes.c_void_p(start + page * PAGE)
        assert protect(address, ctypes.c_size_t(PAGE), 0) == 0
    end = (pages + 1) * PAGE
    return memoryview(memory)[end - size : end]
