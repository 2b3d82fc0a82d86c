"""Memory of long jobs: large arrays in anonymous temporary files, and settings of the C library's allocator.

The system may drop the pages of a file and read them again, so an array in a file does not count as memory that the
process must keep. Where the folder of temporary files is itself in memory (tmpfs), this saves nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import sys
import tempfile
from typing import cast

import numpy as np
from jaxtyping import Float32, UInt8

from crossgraph.core.errors import InputError
from crossgraph.files import reserve

MATRIX_BYTES = 1 << 28  # a larger matrix is kept in a file

# Parameters of glibc's mallopt, from <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_LARGEST = 2**31 - 1


def empty_matrix(shape: tuple[int, int]) -> Float32[np.ndarray, "img txt"]:
    """Return an uninitialised matrix, in memory or, above `MATRIX_BYTES`, in an anonymous temporary file.

    Raises:
        InputError: The folder of temporary files has not enough space, or cannot be written.
    """
    size = 4 * shape[0] * shape[1]
    if size <= MATRIX_BYTES:
        return np.empty(shape, dtype=np.float32)
    return file_backed(size, f"{shape[0]:,} × {shape[1]:,} scores").view(np.float32).reshape(shape)


def file_backed(size: int, what: str) -> UInt8[np.ndarray, " byte"]:
    """Return a byte array in an anonymous temporary file, which is deleted with the array.

    Args:
        size: Bytes, at least one.
        what: Name of the content, for the error message.

    Raises:
        InputError: The folder of temporary files has not enough space, or cannot be written.
    """
    try:
        with tempfile.TemporaryFile(prefix="crossgraph-") as file:
            reserve(file, size)  # writing to a memory map on a full disk kills the process by SIGBUS
            return np.memmap(file, np.uint8, "w+", shape=(size,))
    except OSError as error:
        where = tempfile.tempdir or "temporary files"  # None where no folder is writable
        why = os.strerror(error.errno).lower() if error.errno else str(error)
        problem = f"{where}: cannot hold {what} ({size:,} bytes): {why}"
        remedy = "free some space, or name a folder with more in TMPDIR"
        if error.errno in (errno.EMFILE, errno.ENFILE):
            remedy = "allow more open files, for example with: ulimit -n 4096"
        raise InputError(problem, remedy) from error


def release_pages(array: np.ndarray) -> None:
    """Drop the pages of a file-backed array from memory; they are read again on the next access.

    Args:
        array: From `empty_matrix` or `file_backed`, or a view of one; arrays in memory are left alone. Changes to a
            private map (mode "c") would be lost.
    """
    base: object = array
    while isinstance(base, np.ndarray):
        base = cast("object", base.base)  # NumPy's stubs say that a base is an array
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def trim_heap() -> None:
    """Return freed heap memory to the system, where the C library is glibc.

    glibc keeps memory that threads have freed in one pool per thread, each as large as it once was. Without a trim,
    what the next phase allocates comes on top of these pools.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed_memory() -> bool:
    """Keep freed memory in this process instead of returning it to the system, where the C library is glibc.

    Training and indexing allocate and free the same large blocks at every step. By default glibc maps each block anew
    and the system zeroes its pages: a seventh of the time of SAF's training step, a quarter of the time of indexing
    photos (`benchmarks/index_speed.py`). The peak memory stays the same.

    Returns:
        Whether it could be set.
    """
    if not sys.platform.startswith("linux"):
        return False
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _LARGEST))
    return False
