"""How the C library's allocator is set for indexing."""

from __future__ import annotations

import contextlib
import ctypes

_TRIM_AT, _MAP_FROM = -1, -3  # glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
_LARGE, _LARGEST_BEFORE_2_35 = 1 << 30, 1 << 25


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, instead of asking the system for zeroed pages every time.

    For a process that indexes and ends: each batch takes and frees the same tens of megabytes, and zeroing their
    pages took a quarter of the time of indexing photos (`benchmarks/index_speed.py`). Other C libraries are left alone.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_TRIM_AT, _LARGE)
        if not library.mallopt(_MAP_FROM, _LARGE):
            library.mallopt(_MAP_FROM, _LARGEST_BEFORE_2_35)
