"""Memory that a worker has before a job comes.

The system clears a page when it is first touched, and that costs a short job a tenth of its time. A waiting worker
touches what most models take, in huge pages where the system has some, and its C library keeps what is freed, large
blocks as well, instead of giving it back.
"""

from __future__ import annotations

import ctypes
import mmap

SIZE = 64 * 1024 * 1024
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h


def have_memory_ready(size: int = SIZE) -> None:
    """Take `size` bytes from the system for what this thread allocates from now on; raises `MemoryError`."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.mallopt(_MMAP_MAX, 0)  # no block lies apart, whatever its size
    libc.mallopt(_TRIM_THRESHOLD, -1)  # nothing is given back
    block = libc.malloc(size)
    if not block:
        raise MemoryError
    start = -(-block // mmap.PAGESIZE) * mmap.PAGESIZE
    libc.madvise(start, block + size - start, mmap.MADV_HUGEPAGE)  # refused where there are none: no matter
    ctypes.memset(block, 0, size)
    libc.free(block)
